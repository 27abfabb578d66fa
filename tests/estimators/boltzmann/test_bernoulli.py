"""BernoulliRBM: likelihood, streams, missing entries, samples, bad input."""

import itertools
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import BernoulliRBM as TheirRBM
from sklearn.pipeline import make_pipeline

from skebm import BernoulliRBM, GaussianRBM
from skebm.evaluation import RBMAnnealing, enumerated_log_normalizer
from skebm.exceptions import (
    DivergenceError,
    NormalizerWarning,
    RangeWarning,
    TrainingWarning,
)
from skebm.networks import RBM

DIGITS = (load_digits().data > 7).astype(np.float64)
METHODS = ("pcd", "cd", "tempering")


def states(n):
    return np.array(list(itertools.product([0.0, 1.0], repeat=n)))


@pytest.fixture(scope="module")
def patterns():
    """500 rows of six binary columns: two noisy prototypes."""
    rng = np.random.RandomState(0)
    prototypes = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    rows = prototypes[rng.randint(2, size=500)]
    return np.where(rng.uniform(size=rows.shape) < 0.1, 1 - rows, rows).astype(float)


@pytest.fixture(scope="module")
def fitted(patterns):
    return BernoulliRBM(4, n_iter=40, random_state=0).fit(patterns)


def make(**options):
    return BernoulliRBM(4, **({"n_iter": 3, "random_state": 0} | options))


# ----------------------------------------------------------------------- likelihood


def exact_score(model, X):
    arrays = model.components_, model.intercept_hidden_, model.intercept_visible_
    rbm = RBM(*(torch.tensor(np.ascontiguousarray(a)) for a in arrays))
    log_z = enumerated_log_normalizer(rbm).log_normalizer
    return float(-rbm(torch.tensor(X)).mean()) - log_z


def test_scores_are_log_probabilities(fitted):
    log_p = fitted.score_samples(states(6))
    assert log_p.dtype == np.float64
    assert np.exp(log_p).sum() == pytest.approx(1)
    assert fitted.log_normalizer_se_ == 0
    np.testing.assert_array_equal(log_p, fitted.score_samples(states(6)))
    np.testing.assert_allclose(
        log_p, -fitted.free_energy(states(6)) - fitted.log_normalizer_
    )


@pytest.mark.parametrize("n_rows", [1790, 1791])
def test_digits_are_learned_better_than_by_scikit_learn(n_rows):
    X = DIGITS[:n_rows]
    options = {"learning_rate": 0.05, "n_iter": 10, "random_state": 0}
    ours = BernoulliRBM(10, **options).fit(X)
    assert ours.score(X) == pytest.approx(exact_score(ours, X), abs=1e-6)
    assert ours.score(X) > exact_score(TheirRBM(10, **options).fit(X), X) + 1


def test_features_are_sparse_and_classify_as_well_as_scikit_learns():
    X, y = load_digits(return_X_y=True)
    X, held_out = X / 16, np.arange(len(X)) % 3 == 0

    def features(make_model):
        options = {"learning_rate": 0.06, "n_iter": 10, "random_state": 0}
        return make_model(40, **options).fit(X[~held_out]).transform(X)

    def accuracy(H):
        model = LogisticRegression(C=100, max_iter=50).fit(H[~held_out], y[~held_out])
        return model.score(H[held_out], y[held_out])

    ours = features(BernoulliRBM)
    assert ours.mean() < 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lbfgs stops early
        assert accuracy(ours) >= accuracy(features(TheirRBM))


@pytest.mark.parametrize("chunk", [10, 1000])
def test_streams_learn_as_well_as_tables(chunk):
    """A chunk's number of rows never divides what the chains' should."""
    X = DIGITS[:1001]
    model = BernoulliRBM(10, learning_rate=0.05, random_state=0)
    for _ in range(5):
        for start in range(0, len(X), chunk):
            assert model.partial_fit(X[start : start + chunk]) is model
    whole = BernoulliRBM(10, n_iter=5, learning_rate=0.05, random_state=0).fit(X)
    assert model.score(X) > whole.score(X) - 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(method, patterns):
    model = BernoulliRBM(4, method=method, n_iter=10, n_gibbs_steps=2, random_state=0)
    independent = BernoulliRBM(4, n_iter=0, random_state=0).fit(patterns)
    better = model.fit(patterns).score(patterns) - independent.score(patterns)
    assert better > 1


def test_options_of_training_are_heard(patterns):
    default = make().fit(patterns).components_
    for option in (
        {"momentum": 0.0},
        {"weight_decay": 0.1},
        {"centered": False},
        {"learning_rate_schedule": "constant"},
        {"weight_averaging": 0.0},
        {"n_gibbs_steps": 2},
        {"n_chains": 7},
        {"method": "cd"},
    ):
        assert not np.array_equal(default, make(**option).fit(patterns).components_)
    assert make(n_chains=7).fit(patterns).h_samples_.shape == (7, 4)


def test_annealing_agrees_with_enumeration():
    X = DIGITS[:500]
    exact = BernoulliRBM(14, n_iter=20, random_state=0).fit(X)
    annealed = clone(exact).set_params(normalizer="ais").fit(X)
    assert annealed.log_normalizer_ == pytest.approx(exact.log_normalizer_, abs=0.1)
    assert 0 < annealed.log_normalizer_se_ < 0.1
    assert annealed.normalizer_result_.reverse_log_normalizer == pytest.approx(
        exact.log_normalizer_, abs=0.3
    )


def test_an_instance_normalizes(patterns):
    model = make(normalizer=RBMAnnealing(n_particles=300, n_temperatures=30))
    model.fit(patterns)
    assert model.normalizer_result_.n_samples == 300


def test_exact_normalizer_is_refused_before_training(monkeypatch):
    monkeypatch.setattr("skebm.models.boltzmann._fit.EvenBatches", None)
    with pytest.raises(ValueError, match=r"at most 20 units.*n_components=30 and 64"):
        BernoulliRBM(30, normalizer="exact").fit(DIGITS)


def test_without_normalizer_scores_are_unnormalized(patterns, fitted):
    model = BernoulliRBM(4, n_iter=40, random_state=0, normalizer=None).fit(patterns)
    assert model.log_normalizer_ is None
    difference = model.score_samples(patterns) - fitted.score_samples(patterns)
    np.testing.assert_allclose(difference, fitted.log_normalizer_)
    with pytest.warns(NormalizerWarning, match="leaves out log Z"):
        model.score(patterns)


def test_grey_rows_score_by_their_free_energy(fitted):
    grey = np.full((1, 6), 0.3)
    expected = -fitted.free_energy(grey) - fitted.log_normalizer_
    np.testing.assert_allclose(fitted.score_samples(grey), expected)


def test_pseudo_likelihood_by_its_definition(fitted):
    log_p = fitted.score_samples(states(6))
    flips = [np.arange(64) ^ (1 << j) for j in range(6)]
    expected = sum(log_p - np.logaddexp(log_p, log_p[flip]) for flip in flips)
    np.testing.assert_allclose(fitted.pseudo_likelihood(states(6)), expected)


def test_outliers_fall_below_the_threshold(fitted, patterns):
    share = (fitted.predict(patterns) == -1).mean()
    assert share <= 0.06
    assert fitted.predict([[1, 0, 1, 0, 1, 0]]) == -1
    np.testing.assert_allclose(
        fitted.decision_function(patterns),
        fitted.score_samples(patterns) - fitted.offset_,
    )


# -------------------------------------------------------------------------- streams


def test_log_z_is_computed_anew_after_partial_fit(patterns):
    model = make().fit(patterns)
    before = model.log_normalizer_, model.offset_
    model.partial_fit(patterns[:10])
    assert np.exp(model.score_samples(states(6))).sum() == pytest.approx(1)
    assert model.log_normalizer_ != before[0]
    assert np.isfinite(model.offset_) and model.offset_ != before[1]


def test_chains_survive_chunks_of_any_size(patterns):
    model = make(n_chains=6)
    seen = []
    for n in (3, 100, 1, 20):
        model.partial_fit(patterns[:n])
        assert model.h_samples_.shape == (6, 4)
        seen.append(model.h_samples_.copy())
    assert not np.array_equal(seen[0], seen[-1])
    for method in ("tempering", "cd", "pcd"):
        model.set_params(method=method).partial_fit(patterns[:50])
        assert model.h_samples_.shape == (6, 4)


def test_partial_fit_goes_on_after_a_pickle(patterns):
    model = make(method="tempering").partial_fit(patterns[:100])
    loaded = pickle.loads(pickle.dumps(model))
    for each in (model, loaded):
        each.partial_fit(patterns[100:])
    np.testing.assert_array_equal(model.components_, loaded.components_)
    np.testing.assert_array_equal(
        model.score_samples(patterns), loaded.score_samples(patterns)
    )


def test_the_threshold_is_of_recent_rows(patterns):
    model = make()
    for start in range(0, 500, 50):
        model.partial_fit(patterns[start : start + 50])
    model.score(patterns)
    scores = model.score_samples(patterns)
    assert model.offset_ == pytest.approx(np.quantile(scores, 0.05, method="weibull"))


# --------------------------------------------------------------- missing and sparse


def test_missing_entries_cost_little_in_training(patterns):
    rng = np.random.RandomState(0)
    gaps = np.where(rng.uniform(size=patterns.shape) < 0.3, np.nan, patterns)
    kept = gaps.copy()
    model = BernoulliRBM(4, n_iter=40, random_state=0).fit(gaps)
    np.testing.assert_array_equal(gaps, kept)
    whole = BernoulliRBM(4, n_iter=40, random_state=0).fit(patterns)
    assert model.score(patterns) > whole.score(patterns) - 0.2
    filled = np.where(np.isnan(gaps), np.nanmean(gaps, axis=0), gaps)
    with_means = BernoulliRBM(4, n_iter=40, random_state=0).fit(filled)
    assert model.score(patterns) > with_means.score(patterns) + 0.1


def test_missing_entries_are_marginalized(fitted):
    row = np.array([[1.0, np.nan, 0.0, np.nan, 0.0, 1.0]])
    v = states(6)
    v = v[(v == row)[:, ~np.isnan(row[0])].all(axis=1)]
    p = np.exp(fitted.score_samples(v))
    np.testing.assert_allclose(fitted.score_samples(row), np.log(p.sum()))
    p /= p.sum()
    np.testing.assert_allclose(fitted.transform(row)[0], p @ fitted.transform(v))
    np.testing.assert_allclose(fitted.impute(row)[0], p @ v)
    draws = fitted.sample(4000, 0, given=row, n_steps=100)
    np.testing.assert_array_equal(draws[:, [0, 2]], np.tile([1.0, 0.0], (4000, 1)))
    np.testing.assert_allclose(draws.mean(axis=0), p @ v, atol=0.04)


def test_given_rows_are_drawn_in_order(fitted):
    given = np.full((2, 6), np.nan)
    given[:, 0] = 0, 1
    draws = fitted.sample(3, 0, given=given, n_steps=5)
    np.testing.assert_array_equal(draws[:, 0], [0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("format", ["csr", "csc", "lil", "coo"])
def test_sparse_rows_give_what_dense_rows_give(format, patterns):
    table = sparse.csr_array(patterns).asformat(format)
    dense, thin = make().fit(patterns), make().fit(table)
    np.testing.assert_allclose(thin.components_, dense.components_, atol=1e-6)
    for method in ("transform", "score_samples", "predict", "pseudo_likelihood"):
        expected = getattr(dense, method)(patterns)
        np.testing.assert_allclose(getattr(thin, method)(table), expected, atol=1e-5)
    np.testing.assert_allclose(
        make().partial_fit(table).components_,
        make().partial_fit(patterns).components_,
        atol=1e-6,
    )


def test_a_sparse_table_is_never_made_dense_whole(monkeypatch):
    largest = []
    table = sparse.random_array((5000, 300), density=0.01, rng=0, format="csr")
    table.data[:] = 1
    to_array = sparse.csr_array.toarray

    def watched(self, *args, **kwargs):
        largest.append(self.shape[0])
        return to_array(self, *args, **kwargs)

    monkeypatch.setattr(sparse.csr_array, "toarray", watched)
    model = BernoulliRBM(4, batch_size=100, n_iter=1).fit(table)
    model.transform(table)
    model.score_samples(table)
    assert max(largest) <= 1024


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attributes_have_the_dtype_of_x(dtype, patterns):
    model = make().fit(patterns.astype(dtype))
    assert model.components_.dtype == model.h_samples_.dtype == dtype
    assert model.transform(patterns.astype(dtype)).dtype == dtype


# -------------------------------------------------------------------------- samples


@pytest.mark.parametrize(("method", "n_steps"), [("gibbs", 800), ("tempering", 60)])
def test_samples_follow_the_model(method, n_steps, fitted):
    draws, diagnostics = fitted.sample(
        4000, 0, method=method, n_steps=n_steps, return_diagnostics=True
    )
    p = np.exp(fitted.score_samples(states(6)))
    counts = np.bincount((draws @ 2 ** np.arange(5, -1, -1)).astype(int), minlength=64)
    assert (np.abs(counts - 4000 * p) < 5 * np.sqrt(4000 * p) + 2).all()
    assert diagnostics["r_hat"] < 1.2


def test_one_seed_one_sample(fitted):
    first, second = (fitted.sample(5, 1) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (5, 6)
    assert not np.array_equal(first, fitted.sample(5, 2))


def test_chains_that_do_not_mix_are_reported(patterns):
    model = make().fit(patterns)
    model.components_[:] = [[30.0] * 6, [0.0] * 6, [0.0] * 6, [0.0] * 6]
    model.intercept_hidden_[:] = [-90.0, 0, 0, 0]
    model.intercept_visible_[:] = -15.0
    with pytest.warns(TrainingWarning, match="did not mix"):
        model.sample(2, 0, n_steps=20)


def test_gibbs_follows_the_conditionals(fitted):
    v = np.tile([[1.0, 1, 1, 0, 0, 0]], (20_000, 1))
    h = fitted.transform(v[:1])[0]
    weights = np.prod(np.where(states(4) == 1, h, 1 - h), axis=1)
    field = states(4) @ fitted.components_ + fitted.intercept_visible_
    expected = weights @ (1 / (1 + np.exp(-field)))
    drawn = fitted.gibbs(v)
    assert drawn.dtype == bool
    np.testing.assert_allclose(drawn.mean(axis=0), expected, atol=0.02)


# ------------------------------------------------------------------------ bad input


def test_values_out_of_range_are_counted_by_column(patterns):
    X = pd.DataFrame(patterns, columns=list("abcdef"))
    X.loc[:2, "b"] = 7.0
    X.loc[0, "e"] = -0.5
    message = r"4 values outside of \[0, 1\], by column: 'b' \(3\) and 'e' \(1\)"
    with pytest.warns(RangeWarning, match=message):
        model = make().fit(X)
    with pytest.warns(RangeWarning, match=message):
        computed = model.transform(X)[0]
    pull = X.iloc[0].to_numpy() @ model.components_.T + model.intercept_hidden_
    np.testing.assert_allclose(computed, 1 / (1 + np.exp(-pull)))
    with pytest.raises(ValueError, match=message):
        make(check_range="raise").fit(X)
    with pytest.raises(ValueError, match=r"by column: 1 \(1\)"):
        make(check_range="raise").fit(sparse.csr_array([[0.0, 2.0], [1.0, 0.0]]))


def test_rows_in_range_raise_no_warning(patterns):
    gaps = patterns.copy()
    gaps[0, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for X in (patterns, patterns * 0.5, gaps, patterns.astype(bool)):
            make().fit(X).transform(X)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"n_components": 0}, "n_components"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"method": "newton"}, "method"),
        ({"n_gibbs_steps": 0}, "n_gibbs_steps"),
        ({"n_chains": 0}, "n_chains"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"learning_rate_schedule": "cosine"}, "learning_rate_schedule"),
        ({"weight_averaging": 1.0}, "weight_averaging"),
        ({"normalizer": "magic"}, "normalizer"),
        ({"check_range": "ignore"}, "check_range"),
        ({"contamination": 0.7}, "contamination"),
        ({"device": "gpu"}, "device"),
    ],
)
@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_a_bad_option_is_named(options, name, fit, patterns):
    with pytest.raises(ValueError, match=name):
        getattr(BernoulliRBM(**options), fit)(patterns)


def test_nan_is_refused_where_it_has_no_meaning(fitted, patterns):
    gaps = patterns.copy()
    gaps[0, 0] = np.nan
    for method in ("gibbs", "free_energy", "pseudo_likelihood"):
        with pytest.raises(ValueError, match="contains NaN"):
            getattr(fitted, method)(gaps)
    with pytest.raises(ValueError, match="is sparse"):
        make().fit(sparse.csr_array(gaps))
    with pytest.raises(ValueError, match="infinity"):
        make().fit(np.where(np.isnan(gaps), np.inf, gaps))


def test_too_many_missing_entries_to_sum_out():
    model = BernoulliRBM(30, n_iter=0, normalizer=None).fit(DIGITS)
    row = np.where(np.arange(64) < 21, np.nan, DIGITS[:1])
    with pytest.raises(ValueError, match="has 21 missing entries"):
        model.score_samples(row)
    assert np.isfinite(model.transform(row)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "exact"}, "method must be"),
        ({"n_steps": 0}, "n_steps must be"),
        ({"n_samples": 0}, "n_samples"),
        ({"given": np.zeros((1, 5))}, "features"),
        ({"given": np.zeros((1, 6)), "method": "tempering"}, "don't go together"),
    ],
)
def test_bad_options_of_sample(options, message, fitted):
    with pytest.raises(ValueError, match=message):
        fitted.sample(**options)


def test_divergence_is_an_error(patterns):
    with pytest.raises(DivergenceError, match=r"each of its 3 epochs.*learning_rate"):
        with pytest.warns(RangeWarning):
            make(learning_rate=1e30).fit(patterns * 1e10)


def test_a_constant_and_a_single_row_are_enough():
    for X in (np.zeros((5, 3)), np.ones((1, 3)), np.zeros((4, 1))):
        assert np.isfinite(make().fit(X).score(X))


# ---------------------------------------------------------------------- citizenship


def test_in_a_pipeline_and_a_grid(patterns):
    y = (patterns[:, :3].sum(axis=1) > 1).astype(int)
    pipeline = make_pipeline(make(n_iter=20), LogisticRegression()).fit(patterns, y)
    assert pipeline.score(patterns, y) > 0.9
    grid = GridSearchCV(make(), {"n_components": [1, 4]}, cv=2).fit(patterns)
    assert np.isfinite(grid.best_score_)


def test_a_frame_gives_names(patterns):
    frame = pd.DataFrame(patterns, columns=list("abcdef"))
    model = make().fit(frame).set_output(transform="pandas")
    assert list(model.feature_names_in_) == list("abcdef")
    assert list(model.transform(frame).columns) == [
        f"bernoullirbm{i}" for i in range(4)
    ]


def test_a_few_steps_change_the_parameters(patterns):
    """The average of parameters holds the newest steps, too."""
    start = make(n_iter=0).fit(patterns[:30]).components_
    assert not np.array_equal(make(n_iter=1).fit(patterns[:30]).components_, start)


def test_history_and_epochs(patterns, capsys):
    model = make(verbose=1).fit(patterns)
    assert model.n_iter_ == 3
    assert {len(entries) for entries in model.history_.values()} == {3}
    assert capsys.readouterr().out.count("pseudo-likelihood = ") == 3


def test_an_interrupt_leaves_a_usable_model(patterns, monkeypatch):
    from skebm.training import AscentRun

    run_epoch, calls = AscentRun.epoch, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run_epoch(self, *args)

    monkeypatch.setattr(AscentRun, "epoch", interrupted)
    with pytest.warns(TrainingWarning, match="after 2 epochs"):
        model = make(n_iter=10).fit(patterns)
    assert model.n_iter_ == 2
    assert np.isfinite(model.score(patterns))


@pytest.mark.parametrize("n_components, d", [(3, 1100), (24, 1100), (1100, 24)])
def test_layers_whose_number_of_states_no_float_holds(n_components, d):
    """2^1100 overflows a float; without weights log Z has a closed form."""
    X = (np.random.RandomState(0).uniform(size=(30, d)) < 0.3).astype(float)
    normalizer = "exact" if n_components == 3 else RBMAnnealing(n_temperatures=5)
    model = BernoulliRBM(n_components, n_iter=0, normalizer=normalizer, random_state=0)
    model.partial_fit(X)
    model.components_[:] = model.intercept_hidden_[:] = 0.0
    model.intercept_visible_[:] = model._fitted.base_bias  # no annealing is left to do
    scores = model.score_samples(X)
    log_z = np.logaddexp(0, model.intercept_visible_).sum() + n_components * np.log(2)
    assert model.log_normalizer_ == pytest.approx(log_z, abs=1e-3)
    X[0, 5] = np.nan
    assert model.score_samples(X)[0] > scores[0]
    assert np.isfinite(model.transform(X)).all()


def bistable():
    """Eight columns that follow one hidden unit for thousands of steps."""
    model = BernoulliRBM(1, n_iter=0, random_state=0).fit(np.eye(8))
    model.components_[:] = 12.0
    model.intercept_visible_[:] = -6.0
    model.intercept_hidden_[:] = -48.0
    return model


def test_chains_given_some_columns_are_judged_about_their_own_rows(fitted):
    """Rows that differ do not pass for chains that do not mix, nor the other way."""
    given = np.full((2, 6), np.nan)
    given[:, 0] = 0, 1
    _, diagnostics = fitted.sample(1, 0, given=given, return_diagnostics=True)
    assert diagnostics["r_hat"] < 1.1
    assert diagnostics["effective_sample_size"] > 1000
    held = np.full((1, 8), np.nan)
    held[0, 0] = 0.5  # a grey value, which leaves both modes open
    with pytest.warns(TrainingWarning, match=r"did not mix.*Use more steps\.$"):
        bistable().sample(1, 0, given=held, n_steps=200)


def test_a_method_of_whole_rows_names_the_column_that_has_gaps(fitted):
    X = np.zeros((2, 6))
    X[1, 4] = np.nan
    for method in (fitted.free_energy, fitted.gibbs, fitted.pseudo_likelihood):
        with pytest.raises(ValueError, match=r"NaN in column 4.*whole rows.*impute"):
            method(X)


@pytest.mark.parametrize("make_model", [BernoulliRBM, GaussianRBM])
def test_parameters_out_of_all_bounds_are_divergence(make_model, patterns):
    options = {"weight_averaging": 0, "random_state": 0}
    model = make_model(4, n_iter=3, learning_rate=1e9, **options)
    with pytest.raises(DivergenceError, match="largest parameter"):
        model.fit(patterns)


def test_a_refit_forgets_the_random_numbers_of_the_first(patterns):
    model = make().fit(patterns)
    first = model.gibbs(patterns)
    assert np.array_equal(model.fit(patterns).gibbs(patterns), first)


def test_a_callback_scores_by_a_log_z_of_its_own(patterns):
    """A copy in mid-fit has a log likelihood, and the fit goes on as without it."""
    callback = pytest.importorskip("sklearn.callback")
    scoring = {
        "own": lambda m, X, y: m.score(X),
        "epochs": lambda m, X, y: m.n_iter_,
        "entries": lambda m, X, y: len(m.history_["pseudo_likelihood"]),
        "last": lambda m, X, y: m.history_["pseudo_likelihood"][-1],
    }
    monitor = callback.ScoringMonitor(scoring=scoring)
    model = make(n_iter=7).fit(patterns)  # of an earlier fit, nothing is left
    model.set_params(n_iter=3).set_callbacks(monitor).fit(patterns)
    logs = [entry for entry in monitor.get_logs().data if "own" in entry]
    assert logs[-1]["own"] == pytest.approx(model.score(patterns), abs=1e-6)
    assert [entry["epochs"] for entry in logs[:3]] == [1, 2, 3]
    assert [entry["entries"] for entry in logs[:3]] == [1, 2, 3]
    losses = [entry["last"] for entry in logs[:3]]
    assert losses == model.history_["pseudo_likelihood"]
    np.testing.assert_array_equal(model.components_, make().fit(patterns).components_)


def test_a_gap_in_every_row():
    X = (np.random.default_rng(0).uniform(size=(60, 3)) < 0.5).astype(float)
    holes = X.copy()
    holes[np.arange(60), np.arange(60) % 3] = np.nan
    model = BernoulliRBM(3, n_iter=3, random_state=0).fit(holes)
    assert np.mean(model.predict(X) == -1) < 0.3
