"""Resolves the option `reference` to an unfitted reference."""

from __future__ import annotations

from typing import Any

from skebm.references import REFERENCES, EstimatorReference, Reference
from skebm.utils import resolve_option


def resolve_reference(reference: Any) -> Reference:
    """Return a fresh, unfitted reference with checked options.

    Parameters
    ----------
    reference : str, None, Reference or density estimator
        A fitted estimator with ``score_samples`` is kept as it is: a clone of it would
        not be fitted.

    Raises
    ------
    ValueError
        Where the name is unknown or an option of the reference is out of its range.
    """
    if hasattr(reference, "score_samples"):
        resolved: Reference = EstimatorReference(reference)
    else:
        resolved = resolve_option(
            "reference",
            reference,
            REFERENCES,
            Reference,
            also=("auto",),
            instances="Reference, or GaussianMixture or KernelDensity of scikit-learn",
        )
    resolved.check_options()
    return resolved
