"""Categories and numbers that determine each other; categories far from all rows."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from skebm import EBMDensityEstimator
from skebm.networks import MLP
from skebm.references import GaussianMixtureReference

DEGREES = np.array(["bachelor", "doctor", "master", "none", "school"])
YEARS = np.array([13.0, 20.0, 16.0, 5.0, 10.0])
QUICK = {
    "network": partial(MLP, hidden_features=(4,)),
    "reference": "gaussian",
    "normalizer": "importance",
    "ood_score": "log_density",
    "max_iter": 1,
    "random_state": 0,
}


def people(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    degree = rng.integers(0, 5, n_rows)
    return pd.DataFrame(
        {
            "degree": pd.Categorical(DEGREES[degree], categories=DEGREES),
            "wage": rng.normal(YEARS[degree], 2),
            "years": YEARS[degree],
        }
    )


@pytest.fixture(scope="module")
def model():
    X = people(300)
    X.loc[::7, "years"] = np.nan
    X.loc[3::7, "degree"] = np.nan
    return EBMDensityEstimator(**QUICK).fit(X)


def agree(X):
    degree = pd.Categorical(X["degree"], categories=DEGREES).codes
    return (YEARS[degree] == X["years"]).all()


def test_each_fills_the_other(model):
    X = people(60, seed=1)
    for column in ("degree", "years"):
        holes = X.copy()
        holes[column] = np.nan
        holes[column] = holes[column].astype(X[column].dtype)
        for strategy in ("mean", "draw"):
            pd.testing.assert_frame_equal(model.impute(holes, strategy), X)
        drawn = model.sample(2, random_state=0, given=holes.head(3))
        assert (drawn[column].to_numpy() == X[column].head(3).repeat(2)).all()


@pytest.mark.parametrize("strategy", ["mean", "median", "draw"])
def test_fills_and_draws_agree(strategy, model):
    X = people(10, seed=2).assign(years=np.nan)
    X["degree"] = X["degree"].where(X["wage"] < 0)
    assert agree(model.impute(X, strategy))
    assert agree(model.sample(50, random_state=0))


def test_scores_know_it(model):
    X = people(20, seed=3)
    wrong = X.assign(years=np.roll(YEARS, 1)[X["degree"].cat.codes])
    assert (model.score_samples(X) > model.score_samples(wrong) + 3).all()
    row = X.head(1)
    alternatives = pd.concat([row] * 5).assign(
        degree=pd.Categorical(DEGREES, categories=DEGREES)
    )
    total = np.logaddexp.reduce(model.score_samples(alternatives))
    assert total == pytest.approx(model.score_samples(row).item(), abs=0.05)
    unknown = row.assign(degree=row["degree"].where([False]))
    assert model.score_samples(unknown).item() == pytest.approx(total, abs=0.05)


def test_a_number_far_away_keeps_the_category_of_its_side():
    rng = np.random.default_rng(0)
    right = rng.integers(0, 2, 200).astype(bool)
    x = np.where(right, rng.normal(2, 0.3, 200), rng.normal(-2, 0.7, 200))
    X = pd.DataFrame({"side": np.where(right, "right", "left"), "x": x})
    two = GaussianMixtureReference(n_components=(2,), n_repeats=1)
    model = EBMDensityEstimator(**(QUICK | {"reference": two})).fit(X)
    far = pd.DataFrame({"side": [None] * 4, "x": [50.0, -50.0, 1e6, 4.0]})
    filled = model.impute(far)
    assert filled["side"].tolist() == ["right", "left", "right", "right"]
    assert filled["x"].tolist() == far["x"].tolist()
    drawn = model.sample(100, random_state=0, given=far.head(1))
    assert (drawn["side"] == "right").mean() > 0.8


def test_a_category_alone_has_a_probability_whatever_the_unit_of_its_number():
    X = people(300)
    known = people(60, seed=2)
    known["years"] = np.nan
    scores = []
    for unit in (1.0, 1e3, 1e-3):
        table = X.assign(years=unit * X["years"])
        model = EBMDensityEstimator(**QUICK).fit(table)
        scores.append(model.score_samples(known))
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-3)
    np.testing.assert_allclose(scores[2], scores[0], atol=1e-3)


def test_a_rare_category_is_rare_where_its_number_is_missing():
    X = people(300)
    degrees = [*DEGREES, "rare"]
    X["degree"] = pd.Categorical(X["degree"], categories=degrees)
    X.loc[:1, "degree"] = "rare"
    model = EBMDensityEstimator(**QUICK).fit(X)
    rows = pd.DataFrame(
        {
            "degree": pd.Categorical(degrees, categories=degrees),
            "wage": X["wage"].mean(),
            "years": np.nan,
        }
    )
    scores = model.score_samples(rows)
    assert scores[-1] < scores[:-1].min()
