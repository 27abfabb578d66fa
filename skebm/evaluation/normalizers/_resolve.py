"""Resolves the option `normalizer` to an estimator of log Z."""

from __future__ import annotations

from skebm.evaluation import NORMALIZERS, AbstractNormalizer
from skebm.utils import resolve_option


def resolve_normalizer(
    normalizer: str | AbstractNormalizer | None,
) -> AbstractNormalizer | None:
    """Return a fresh estimator of log Z with checked options; None stays None.

    Raises
    ------
    ValueError
        Where the name is unknown or an option of the estimator is out of its range.
    """
    if normalizer is None:
        return None
    resolved: AbstractNormalizer = resolve_option(
        "normalizer", normalizer, NORMALIZERS, AbstractNormalizer, also=(None,)
    )
    resolved.check_options()
    return resolved
