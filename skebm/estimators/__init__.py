"""The estimators, behind scikit-learn's interface."""

from skebm.estimators import _old_pickles

_old_pickles.install()
