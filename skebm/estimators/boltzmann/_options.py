"""Checks of the options of RBM estimators that ask for more than a type or a range."""

from __future__ import annotations

import inspect

from skebm.evaluation import RBMAnnealing
from skebm.objectives import DISCRETE_LOSSES
from skebm.references import REFERENCES
from skebm.utils import InvalidParameterError

#: Most Markov chains, and rows a batch, which are as many by default.
MAX_CHAINS = 10**6


def check_normalizer(normalizer):
    """Raise ValueError unless an estimator of log Z takes what an RBM gives it.

    Raises
    ------
    ValueError
        Where its `estimate` takes other arguments, or one of its options is wrong.
    """
    if normalizer is None or isinstance(normalizer, str):
        return
    signature = inspect.signature(normalizer.estimate)
    try:
        signature.bind(None, None, None, None)
    except TypeError as error:
        raise InvalidParameterError(
            "The 'normalizer' parameter of an RBM must have a method estimate(rbm, "
            "base_bias, rows, generator), as skebm.evaluation.RBMAnnealing has. Got "
            f"{normalizer!r}, whose method is estimate{signature}."
        ) from error
    if isinstance(normalizer, RBMAnnealing):
        normalizer.check_options()


def check_shrinkage(learning_rate, weight_decay, momentum):
    """Raise ValueError where one step of weight decay turns the weights' signs."""
    shrinkage = learning_rate * (weight_decay or 0.0) / (1 - momentum)
    if shrinkage > 1:
        raise InvalidParameterError(
            "The 'weight_decay' parameter must be at most (1 - momentum) / "
            f"learning_rate = {(1 - momentum) / learning_rate:.3g}: a step shrinks "
            f"weights by their product. Got {weight_decay!r}."
        )


def tree_reference(estimator):
    """Return the reference that an RBM of finitely many values tilts, or None.

    Raises
    ------
    ValueError
        Where one of its options is wrong, or the method has no place for it.
    """
    reference = getattr(estimator, "reference", None)
    if reference is None:
        return None
    if estimator.method in DISCRETE_LOSSES:
        raise InvalidParameterError(
            f"method={estimator.method!r} compares rows with their neighbours by the "
            "weights alone, and knows no reference. Take reference=None, or "
            "method='pcd', 'cd' or 'tempering'."
        )
    if isinstance(reference, str):
        reference = REFERENCES[reference]()
    reference.check_options()
    return reference
