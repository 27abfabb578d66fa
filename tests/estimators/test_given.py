"""Errors and warnings on `given`, `calibration` and the values of later passes."""

import copy

import numpy as np
import pandas as pd
import pytest

from skebm import EBMDensityEstimator, GaussianRBM
from skebm.estimators._density_methods import DensityMethods
from skebm.exceptions import DataWarning

N_ROWS = 60
QUICK = {
    "network": "mlp",
    "reference": "gaussian",
    "normalizer": None,
    "ood_score": "log_density",
    "max_iter": 1,
    "random_state": 0,
}
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "age": RNG.integers(18, 70, N_ROWS),
        "size": RNG.normal(size=N_ROWS),
        "town": np.resize(["Bern", "Basel"], N_ROWS),
    }
)
NUMBERS = TABLE[["age", "size"]]


@pytest.fixture(scope="module")
def models():
    return {
        "density": EBMDensityEstimator(**QUICK).fit(TABLE),
        "rbm": GaussianRBM(2, n_iter=1, random_state=0).fit(NUMBERS),
    }


WRONG = {
    "a word for a number": ({"age": "old"}, ValueError, r"column 'age' .*'old'"),
    "a word": ("Bern", TypeError, r"a dict of columns to values.* Got 'Bern'"),
    "a number": (3, TypeError, r"a dict of columns to values.* Got 3"),
    "a list": ([1.0, 2.0], ValueError, r"Got shape \(2,\)"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", ["density", "rbm"])
def test_errors_name_the_parameter(models, kind, case):
    given, error, message = WRONG[case]
    with pytest.raises(error, match=rf"The 'given' parameter .*{message}"):
        models[kind].sample(given=given)


def test_an_unknown_category_names_the_known_ones(models):
    message = r"'given' .*'Paris' in column 'town'.* in fit: 'Basel', 'Bern'\. .*NaN"
    with pytest.raises(ValueError, match=message):
        models["density"].sample(given={"town": "Paris"})


@pytest.mark.parametrize("kind", ["density", "rbm"])
def test_numbers_that_cannot_be_are_held_and_told(models, kind):
    message = r"'given' .*column 'age' \(-3, where fit saw whole numbers above 0\)"
    with pytest.warns(DataWarning, match=message):
        drawn = models[kind].sample(2, given={"age": -3}, random_state=0)
    assert drawn["age"].tolist() == [-3, -3]
    models["density"].sample(given={"age": 80})  # beyond the rows, and it can be


def test_the_columns_of_calibration_rows_are_checked(models):
    message = r"The 'calibration' parameter .*feature names"
    with pytest.raises(ValueError, match=message):
        models["density"].p_values(TABLE, calibration=TABLE[["age"]])
    message = r"The 'calibration' parameter .*X has 1 features, but .* 3 features"
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=message):
        models["density"].p_values(TABLE, calibration=np.ones((9, 1)))


@pytest.mark.parametrize("kind", ["density", "rbm"])
def test_draws_have_the_values_of_later_passes(kind):
    model = {
        "density": EBMDensityEstimator(**QUICK),
        "rbm": GaussianRBM(2, random_state=0),
    }[kind]
    model.partial_fit(NUMBERS.to_numpy())
    ages = model.sample(20, random_state=0)[:, 0]
    assert (ages == np.rint(ages)).all()
    before = copy.copy(model)
    model.partial_fit(NUMBERS.to_numpy() + 0.25)
    ages = model.sample(20, random_state=0)[:, 0]
    assert (ages != np.rint(ages)).any()
    kept = before.sample(20, random_state=0)[:, 0]
    assert (kept == np.rint(kept)).all()  # the earlier model is not touched


class Line(DensityMethods):
    """Scores by the distance to the weighted mean of the rows."""

    offset_ = -1.0

    def fit(self, X, y=None, sample_weight=None):
        self.mean_ = np.average(X, weights=sample_weight)
        return self

    def ood_scores(self, X):
        return -np.abs(X - self.mean_)


def test_fit_predict_is_fit_and_predict():
    X = np.array([0.0, 1.0, 5.0])
    assert Line().fit_predict(X).tolist() == [-1, 1, -1]
    assert Line().fit_predict(X, sample_weight=[0, 0, 1]).tolist() == [-1, -1, 1]
    assert hasattr(GaussianRBM, "fit_predict")
    assert hasattr(EBMDensityEstimator, "fit_predict")
