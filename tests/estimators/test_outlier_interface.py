"""scikit-learn's checks of outlier detectors, but for the share of the rows of fit.

``contamination`` is a share of new rows here; the checks want it of the rows of `fit`.
"""

import pytest
from sklearn.utils import estimator_checks
from sklearn.utils._tags import get_tags

from skebm import EBMDensityEstimator, GaussianRBM

DETECTORS = {
    "density": EBMDensityEstimator(
        reference="gaussian",
        max_iter=1,
        normalizer=None,
        ood_score="log_density",
        random_state=0,
    ),
    "machine": GaussianRBM(2, n_iter=1, random_state=0),
}


@pytest.mark.parametrize("face", DETECTORS)
@pytest.mark.parametrize("name", ["train", "fit_predict"])
def test_signs_shapes_and_errors_are_those_of_outlier_detectors(
    monkeypatch, face, name
):
    told = []
    monkeypatch.setattr(
        estimator_checks, "check_outlier_corruption", lambda *args: told.append(args)
    )
    check = getattr(estimator_checks, f"check_outliers_{name}")
    check(type(DETECTORS[face]).__name__, DETECTORS[face])
    for n_outliers, n_expected, _ in told:
        assert 0.5 * n_expected < n_outliers <= n_expected


@pytest.mark.parametrize("face", DETECTORS)
def test_they_say_that_they_are_densities(face):
    """So that scikit-learn does not expect a share of the rows of fit."""
    assert get_tags(DETECTORS[face]).estimator_type == "density_estimator"
