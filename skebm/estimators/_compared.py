"""Scores of given calibration rows, which p-values compare new rows with."""

from __future__ import annotations

from skebm.estimators._given import of_parameter
from skebm.evaluation.outliers._detector import CalibrationScores


def scores_of(estimator, calibration):
    """Return the scores of calibration rows by an estimator that has `ood_scores`."""
    with of_parameter("calibration"):
        return CalibrationScores(estimator.ood_scores(calibration))
