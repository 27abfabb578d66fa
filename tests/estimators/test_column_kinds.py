"""A column kind of one's own: one class and one row of `COLUMN_KINDS` are enough."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr
from scipy.stats import norm, poisson

from skebm import EBMDensityEstimator
from skebm.networks import MLP
from skebm.tables import COLUMN_KINDS, ColumnKind, Intervals


class Counts(ColumnKind):
    """Columns of counts x at log(1 + x): each count has an interval of the line.

    The last interval stands for all counts from ``largest`` on.
    """

    moves = True

    def __init__(self, columns, largest):
        self.columns, self.largest = columns, largest

    @classmethod
    def claim(cls, table, free):
        seen = [table.X[~np.isnan(table.X[:, j]), j] for j in free]
        is_count = [(x >= 0).all() and (x == np.round(x)).all() for x in seen]
        columns = free[np.array(is_count, dtype=bool)]
        if not len(columns):
            return None
        return cls(columns, 2 * int(np.nanmax(table.X[:, columns])) + 2)

    def standardize(self, X, moments):
        self.location = moments.mean
        self.scale = np.where(moments.varies, moments.spread, 1.0)

    def to_line(self, x):
        return np.log1p(x)

    def from_line(self, t, indices):
        return indices.astype(np.float64)

    def intervals(self):
        counts = np.arange(self.largest + 1)
        line = np.log(np.r_[0.25, counts + 0.5])
        parts = zip(self.location, self.scale, strict=True)
        return [self._intervals((line - m) / s, s) for m, s in parts]

    @staticmethod
    def _intervals(ends, unit):
        centre, scale = (ends[1:] + ends[:-1]) / 2, np.diff(ends) / 2
        start = np.r_[-np.inf, ends[1:-1], np.inf]
        quantile = ndtr((start[:-1] - centre) / scale)
        share = ndtr((start[1:] - centre) / scale) - quantile
        log_unit = np.full(len(centre), np.log(unit))
        return Intervals(start, centre, scale, quantile, share, log_unit)

    def interval_indices(self, x):
        counts = np.where(np.isnan(x), 0, x)
        return np.minimum(counts, self.largest).astype(np.int64)

    def to_arrays(self):
        return vars(self)

    @classmethod
    def from_arrays(cls, arrays):
        kind = cls(arrays["columns"], arrays["largest"])
        kind.location, kind.scale = arrays["location"], arrays["scale"]
        return kind


def visits(n_rows, random_state=0):
    """A count, a number that depends on it, and a category."""
    rng = np.random.RandomState(random_state)
    count = rng.poisson(2.0, n_rows)
    return pd.DataFrame(
        {
            "count": count,
            "amount": rng.normal(10 + 2 * np.sqrt(count), 1.0),
            "kind": rng.choice(["a", "b"], n_rows),
        }
    )


@pytest.fixture(scope="module", autouse=True)
def with_counts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(COLUMN_KINDS, "counts", Counts)
        yield


@pytest.fixture(scope="module")
def rows():
    return visits(1200)


def make(**options):
    defaults = {
        "network": partial(MLP, hidden_features=(32, 32)),
        "max_iter": 20,
        "ood_score": "log_density",
        "random_state": 0,
    }
    return EBMDensityEstimator(**(defaults | options))


@pytest.fixture(scope="module")
def model(rows):
    return make().fit(rows)


def every_count(model, row):
    """Return the row with each count that has an interval."""
    (kind,) = (k for k in model._fitted.encoder.kinds if isinstance(k, Counts))
    X = pd.concat([row] * (kind.largest + 1), ignore_index=True)
    return X.assign(count=np.arange(kind.largest + 1))


def test_each_kind_has_its_columns(model):
    columns = {type(k).__name__: list(k.columns) for k in model._fitted.encoder.kinds}
    assert columns == {"CategoryIndices": [2], "Counts": [0], "Numbers": [1]}


def test_probabilities_of_counts_are_learnt(rows):
    model = make().fit(rows[["count"]])
    X = every_count(model, rows[["count"]].head(1))
    probability = np.exp(model.score_samples(X))
    error = 4 * model.log_normalizer_se_
    assert probability.sum() == pytest.approx(1, abs=0.01 + error)
    expected = poisson(2.0).pmf(np.arange(8))
    np.testing.assert_allclose(probability[:8], expected, atol=0.05)


def test_scores_are_probabilities_times_densities(model):
    """Sums over counts and categories, integrals over the number."""
    amounts, parts = np.linspace(2, 26, 61), []
    for kind in ("a", "b"):
        for amount in amounts:
            row = pd.DataFrame({"count": [0], "amount": [amount], "kind": [kind]})
            parts.append(every_count(model, row))
    X = pd.concat(parts, ignore_index=True)
    mass = np.exp(model.score_samples(X)).sum() * (amounts[1] - amounts[0])
    assert mass == pytest.approx(1, abs=0.02 + 4 * model.log_normalizer_se_)


def test_what_counts_say_of_numbers_is_learnt(model):
    fresh = visits(2000, random_state=1)
    truth = poisson(2.0).logpmf(fresh["count"]) + np.log(0.5)
    truth += norm.logpdf(fresh["amount"], 10 + 2 * np.sqrt(fresh["count"]), 1.0)
    assert truth.mean() - 0.2 < model.score(fresh) < truth.mean() + 0.03


def test_samples_are_counts(model):
    drawn = model.sample(3000, random_state=0)
    assert (drawn["count"] == drawn["count"].round()).all()
    shares = drawn["count"].value_counts(normalize=True).reindex(range(6)).to_numpy()
    np.testing.assert_allclose(shares, poisson(2.0).pmf(np.arange(6)), atol=0.05)


def test_counts_may_be_missing(model):
    row = visits(1, random_state=2)
    holes = row.assign(count=np.nan)
    expected = np.logaddexp.reduce(model.score_samples(every_count(model, row)))
    assert model.score_samples(holes)[0] == pytest.approx(expected, abs=0.2)
    drawn = model.impute(holes, strategy="draw", random_state=0)["count"]
    assert drawn[0] == round(drawn[0]) >= 0


def test_models_with_counts_pickle(model, rows):
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.score_samples(rows), model.score_samples(rows))
