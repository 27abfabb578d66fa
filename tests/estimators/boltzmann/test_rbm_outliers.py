"""Outliers by RBMs: p-values, and entries given the others, by sums over all states."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skebm import (
    BernoulliRBM,
    DeepBeliefNetwork,
    GaussianRBM,
    RBMClassifier,
    SoftmaxRBM,
)
from skebm.exceptions import CalibrationWarning

STATES = np.array([[i >> k & 1 for k in range(4)] for i in range(16)], dtype=float)


def column_of(found, name, n_features):
    return found[name].to_numpy(float).reshape(-1, n_features)


@pytest.fixture(scope="module")
def bits():
    rng = np.random.RandomState(0)
    return STATES[rng.choice(16, 120, p=rng.dirichlet(np.full(16, 0.4)))]


@pytest.fixture(scope="module")
def machine(bits):
    return BernoulliRBM(3, n_iter=20, random_state=0).fit(bits)


@pytest.fixture(scope="module")
def classifier(bits):
    y = (bits[:, 0] + bits[:, 1]).astype(int)
    return RBMClassifier(3, n_iter=5, random_state=0).fit(bits, y)


@pytest.mark.parametrize("name", ["machine", "classifier"])
def test_binary_entries_are_enumerated(request, name):
    model = request.getfixturevalue(name)
    log_p = column_of(model.explain(STATES), "log_p", 4)
    scores = dict(zip(map(tuple, STATES), model.score_samples(STATES), strict=True))
    for row, found in zip(STATES, log_p, strict=True):
        for j in range(4):
            pair = [(*row[:j], value, *row[j + 1 :]) for value in (0, 1)]
            total = np.logaddexp(*(scores[state] for state in pair))
            assert found[j] == pytest.approx(scores[tuple(row)] - total, abs=1e-9)


def test_missing_entries_are_summed_out(machine):
    X = STATES.copy()
    X[:, 2] = np.nan
    found = machine.explain(X)
    log_p = column_of(found, "log_p", 4)
    without = X.copy()
    without[:, 0] = np.nan
    expected = machine.score_samples(X) - machine.score_samples(without)
    np.testing.assert_allclose(log_p[:, 0], expected, atol=1e-9)
    assert np.isnan(log_p[:, 2]).all()
    assert found.loc[(0, 2), "sentence"] == "column 2: missing"


@pytest.mark.parametrize("kind", [BernoulliRBM, SoftmaxRBM])
@pytest.mark.parametrize("n_gaps", [1, 4, 11])
def test_gaps_are_summed_out_once_for_all_columns(kind, n_gaps, monkeypatch):
    """Over the missing entries of each row or, where these are many, over h."""
    import skebm.models.boltzmann._explanation as module

    rng = np.random.RandomState(0)
    X = (rng.rand(60, 14) < 0.3).astype(float)
    model = kind(3, n_iter=3, learning_rate=0.1, random_state=0).fit(X)
    X[np.arange(3)[:, None], rng.rand(3, 14).argsort(axis=1)[:, :n_gaps]] = np.nan
    monkeypatch.setattr(module, "conditional_means", None)  # once for each column
    log_p = column_of(model.explain(X[:4]), "log_p", 14)
    for j in range(14):
        without = X[:4].copy()
        without[:, j] = np.nan
        expected = model.score_samples(X[:4]) - model.score_samples(without)
        expected[np.isnan(X[:4, j])] = np.nan
        np.testing.assert_allclose(log_p[:, j], expected, atol=1e-9)


def test_a_grey_entry_is_a_mean_over_draws(machine):
    ends = column_of(machine.explain(STATES[[0, 1]]), "log_p", 4)
    grey = machine.explain([[0.25, 0, 0, 0]])
    expected = 0.75 * ends[0, 0] + 0.25 * ends[1, 0]
    assert grey["log_p"].iloc[0] == pytest.approx(expected)


def test_a_sparse_table_is_explained_as_a_dense_one(machine):
    sparse_rows = sparse.csr_matrix(STATES[:5])
    dense = machine.explain(STATES[:5])
    pd.testing.assert_frame_equal(machine.explain(sparse_rows), dense)
    given = machine.explain(sparse_rows, calibration=sparse_rows)
    assert given["p_value"].min() >= 1 / 6


def test_categories_are_enumerated():
    rng = np.random.RandomState(0)
    X = pd.DataFrame({"a": rng.choice(list("uvw"), 150)}, index=range(50, 200))
    X["b"] = np.where(rng.uniform(size=150) < 0.9, X["a"] == "u", X["a"] == "v")
    X["c"] = "one"
    model = SoftmaxRBM(3, n_iter=10, random_state=0).fit(X)
    rows = X[:6]
    found = model.explain(rows)
    scores = np.stack([model.score_samples(rows.assign(a=k)) for k in "uvw"])
    shares = np.exp(scores - np.logaddexp.reduce(scores))
    own = np.array(["uvw".index(k) for k in rows["a"]])
    of_a = found.xs("a", level="column")
    own_share = shares[own, range(6)]
    np.testing.assert_allclose(of_a["log_p"], np.log(own_share), atol=1e-9)
    tail = (shares * (shares <= own_share + 1e-12)).sum(axis=0)
    np.testing.assert_allclose(of_a["tail_probability"], tail, atol=1e-9)
    assert list(of_a["expected"]) == ["uvw"[k] for k in shares.argmax(axis=0)]
    assert list(of_a["value"]) == list(rows["a"]) and of_a.index[0] == 50
    assert (found.xs("c", level="column")["log_p"] == 0).all()
    gap = model.explain(rows[:1].assign(a=None))
    assert gap.loc[(50, "a"), "sentence"] == "a: missing"


@pytest.fixture(scope="module")
def real():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 3))
    X[:100] += [3, 0, -2]
    return GaussianRBM(3, n_iter=20, random_state=0).fit(X), X


@pytest.mark.parametrize("gap", [False, True])
def test_real_entries_have_the_conditional_density(real, gap):
    model, X = real
    rows = X[::20].copy()
    rows[0, 0] += 10
    if gap:
        rows[:, 1] = np.nan
    without = rows.copy()
    without[:, 0] = np.nan
    expected = model.score_samples(rows) - model.score_samples(without)
    found = model.explain(rows)
    log_p = column_of(found, "log_p", 3)[:, 0]
    if not gap:
        np.testing.assert_allclose(log_p, expected, atol=2e-3)
    else:  # a mean over draws; few are near an unlikely entry
        np.testing.assert_allclose(log_p[1:], expected[1:], atol=0.3)
    tail = column_of(found, "tail_probability", 3)
    assert np.nanargmin(tail[0]) == 0
    tail = tail[:, 0]
    assert 0.3 < tail[1:].mean() < 0.7


def test_real_entries_are_told_by_the_integrals_of_the_conditional(real):
    model, X = real
    rows = X[[0, 150]]
    found = model.explain(rows, calibration=rows).xs(2, level="column")
    for row, told in zip(rows, found.itertuples(), strict=True):
        grid = np.linspace(X[:, 2].min() - 8, X[:, 2].max() + 8, 2000)
        points = np.tile(row, (len(grid), 1))
        points[:, 2] = grid
        scores = model.score_samples(points)
        share = np.exp(scores - np.logaddexp.reduce(scores))
        spread = X[:, 2].std()
        assert told.expected == pytest.approx(share @ grid, abs=1e-3 * spread)
        low, high = np.interp([0.05, 0.95], share.cumsum(), grid)
        assert told.lower == pytest.approx(low, abs=0.01 * spread)
        assert told.upper == pytest.approx(high, abs=0.01 * spread)
        tail = share[scores <= model.score_samples([row])].sum()
        assert told.tail_probability == pytest.approx(tail, abs=0.01)


def test_p_values_hold_for_new_rows_of_few_trained_on():
    """On average over 4 machines that learn 40 rows by heart."""
    found = []
    for seed in range(4):
        rng = np.random.RandomState(seed)
        X = (rng.uniform(size=(340, 12)) < 0.5).astype(float)
        X[:, 6:] = np.where(rng.uniform(size=(340, 6)) < 0.8, X[:, :6], X[:, 6:])
        options = {"n_iter": 60, "learning_rate": 0.5, "early_stopping": False}
        model = BernoulliRBM(8, **options, random_state=seed).fit(X[:40])
        assert model.n_calibration_ == 40
        found.append(model.p_values(X[40:]))
    for level in (0.05, 0.1, 0.3):
        assert np.mean(np.less_equal(found, level)) < 1.25 * level + 0.01


def test_p_values_are_those_of_given_rows(machine, bits, classifier):
    network = DeepBeliefNetwork((4, 3), n_iter=2, random_state=0).fit(bits)
    for model in (machine, classifier, network):
        scores = model.ood_scores(STATES)
        np.testing.assert_array_equal(scores, model.score_samples(STATES))
        others = np.sort(model.ood_scores(bits[:30]))
        expected = (1 + np.searchsorted(others, scores, side="right")) / 31
        found = model.p_values(STATES, calibration=bits[:30])
        np.testing.assert_allclose(found, expected)
        assert (model.p_values(STATES, bits[:30], delta=0.1) >= found).all()


def test_without_rows_that_were_left_out_p_values_need_some(bits, classifier):
    model = BernoulliRBM(2, random_state=0).partial_fit(bits)
    model.partial_fit(bits)
    for refused in (model, classifier):
        with pytest.raises(ValueError, match="calibration="):
            refused.p_values(bits)
        assert not hasattr(refused, "n_calibration_")
    again = pickle.loads(pickle.dumps(model))
    with pytest.raises(ValueError, match="saved by an earlier version: fit again"):
        again.p_values(bits)


def test_a_stored_machine_gives_the_same_p_values_and_explanations(machine, bits):
    expected = machine.p_values(STATES), machine.explain(STATES)
    for _ in range(2):
        again = pickle.loads(pickle.dumps(machine))
        np.testing.assert_array_equal(again.p_values(STATES), expected[0])
        pd.testing.assert_frame_equal(again.explain(STATES), expected[1])
        assert again.predict(STATES, alpha=0.2).shape == (16,)


def test_predict_says_if_no_row_can_be_called_out(bits):
    model = BernoulliRBM(2, n_iter=1, contamination=0.2, random_state=0).fit(bits)
    with pytest.warns(CalibrationWarning, match="by 9 calibration rows .* 0.1"):
        calls = model.predict(STATES, alpha=0.05, calibration=bits[:9])
    assert (calls == 1).all()
    assert set(model.predict(STATES, alpha=0.9, calibration=bits)) <= {-1, 1}
