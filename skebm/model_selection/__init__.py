"""Splits and scorers for tables with unlabelled rows."""

from skebm.model_selection._scorer import ignore_unlabeled
from skebm.model_selection._split import SemiSupervisedSplit

__all__ = ["SemiSupervisedSplit", "ignore_unlabeled"]
