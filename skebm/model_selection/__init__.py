"""Searches and fits that train together; splits and scorers of unlabelled rows."""

from skebm.model_selection._batched_search import BatchedSearchCV, fit_many
from skebm.model_selection._scorer import ignore_unlabeled
from skebm.model_selection._split import SemiSupervisedSplit
from skebm.model_selection._with_unlabeled import WithUnlabeledRows

__all__ = [
    "BatchedSearchCV",
    "SemiSupervisedSplit",
    "WithUnlabeledRows",
    "fit_many",
    "ignore_unlabeled",
]
