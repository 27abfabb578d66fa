"""Splits, scorers and a wrapper for tables with unlabelled rows."""

from skebm.model_selection._scorer import ignore_unlabeled
from skebm.model_selection._split import SemiSupervisedSplit
from skebm.model_selection._with_unlabeled import WithUnlabeledRows

__all__ = ["SemiSupervisedSplit", "WithUnlabeledRows", "ignore_unlabeled"]
