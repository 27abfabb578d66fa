"""The density estimator: what its numbers mean, and how it is trained."""

import copy
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from skebm import EBMDensityEstimator
from skebm.evaluation import ImportanceSampling
from skebm.exceptions import DivergenceError, NormalizerWarning, TrainingWarning
from skebm.models import FittedModel, Specification
from skebm.networks import MLP
from skebm.training._guard import Problem

TINY = partial(MLP, hidden_features=(16,))


def make(**options):
    defaults = {
        "network": TINY,
        "reference": "gaussian",
        "normalizer": "importance",
        "max_iter": 5,
        "random_state": 0,
    }
    return EBMDensityEstimator(**(defaults | options))


def crescent(n_rows, random_state=0):
    """Rows that no Gaussian fits: x1 is the square of x0, and noise."""
    rng = np.random.RandomState(random_state)
    x0 = rng.normal(size=n_rows)
    x1 = x0**2 + 0.5 * rng.normal(size=n_rows)
    return np.stack([x0, x1], axis=1)


@pytest.fixture(scope="module")
def rows():
    return crescent(600)


@pytest.fixture(scope="module")
def trained(rows):
    return make(
        network="mlp",
        normalizer=ImportanceSampling(200_000),
        max_iter=100,
        learning_rate=2e-3,
        reference="gmm",
    ).fit(rows)


def grid(low=(-6, -6), high=(6, 16), n=240):
    """Return the centres of a grid's cells and a cell's area."""
    axes = [
        np.linspace(a, b, n, endpoint=False) for a, b in zip(low, high, strict=True)
    ]
    step = [axis[1] - axis[0] for axis in axes]
    axes = [axis + s / 2 for axis, s in zip(axes, step, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return points, step[0] * step[1]


# ------------------------------------------------------------------ what scores mean


def test_the_density_integrates_to_one(trained):
    points, area = grid()
    mass = np.exp(trained.score_samples(points)).sum() * area
    error = 4 * trained.log_normalizer_se_
    assert mass == pytest.approx(1, abs=0.005 + error)
    assert error < 0.02


def test_training_beats_the_reference_and_nears_the_truth(rows, trained):
    fresh = crescent(4000, random_state=1)
    truth = -0.5 * fresh[:, 0] ** 2 - 2 * (fresh[:, 1] - fresh[:, 0] ** 2) ** 2
    truth = (truth - np.log(2 * np.pi * 0.5)).mean()
    covariance = np.cov(rows.T)
    centred = fresh - rows.mean(axis=0)
    squares = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    gaussian = -0.5 * squares - 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    assert truth - gaussian.mean() > 0.5
    for reference in ("gmm", "gaussian"):
        model = trained
        if reference == "gaussian":
            model = make(network="mlp", max_iter=100, normalizer="auto").fit(rows)
        assert truth - 0.5 < model.score(fresh) < truth + 0.02
        assert model.score(fresh) > gaussian.mean() + 0.1


@pytest.mark.parametrize("scale", [1e-3, 40.0])
def test_scores_are_in_the_units_of_x(rows, scale):
    factors = scale * np.array([1.0, 7.0])
    shift = np.array([-3.0, 500.0]) * scale
    expected = make().fit(rows).score_samples(rows) - np.log(factors).sum()
    moved = rows * factors + shift
    scores = make().fit(moved).score_samples(moved)
    np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_score_energy_and_reference_add_up(trained, rows):
    """log p(x) = log q0(z) - E(z) - log Z - sum log s."""
    scores = trained.score_samples(rows)
    assert scores.dtype == np.float64
    assert trained.score(rows) == scores.mean()
    scale = trained._fitted.encoder.scale
    z = (rows - rows.mean(axis=0)) / scale
    np.testing.assert_allclose(scale[0], rows[:, 0].std())
    log_reference = trained.reference_.log_prob(torch.from_numpy(z).float()).numpy()
    expected = log_reference - trained.energy(rows) - trained.log_normalizer_
    np.testing.assert_allclose(scores, expected - np.log(scale).sum(), atol=1e-4)


def test_scores_do_not_depend_on_the_company(trained):
    X = crescent(2500, random_state=2)
    together = trained.score_samples(X)
    np.testing.assert_array_equal(trained.score_samples(X), together)
    np.testing.assert_array_equal(trained.score_samples(X[::-1]), together[::-1])
    np.testing.assert_array_equal(trained.score_samples(X[7:8]), together[7:8])


def test_without_a_normalizer_scores_are_unnormalised(rows):
    known, unknown = make().fit(rows), make(normalizer=None).fit(rows)
    assert unknown.log_normalizer_ is None
    assert unknown.log_normalizer_se_ is None
    assert unknown.normalizer_result_ is None
    difference = unknown.score_samples(rows) - known.score_samples(rows)
    np.testing.assert_allclose(difference, known.log_normalizer_, atol=1e-6)
    with pytest.warns(NormalizerWarning, match="normalizer=None.*log Z"):
        score = unknown.score(rows)
    assert score == unknown.score_samples(rows).mean()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known.score(rows)


def test_an_estimate_that_cannot_be_trusted_is_told(rows):
    """Ten draws from the reference are too few for any log Z."""
    model = make(normalizer=ImportanceSampling(10)).fit(rows)
    with pytest.warns(NormalizerWarning, match=r"nats with a standard error of"):
        model.score_samples(rows)
    assert not model.normalizer_result_.trusted


# ------------------------------------------------------------------ samples


def test_samples_follow_the_density(trained):
    """Moments of 4000 draws against those of the density on a grid."""
    points, area = grid()
    mass = np.exp(trained.score_samples(points)) * area
    drawn = trained.sample(4000, random_state=0)
    functions = [
        lambda x: x[:, 0],
        lambda x: x[:, 1],
        lambda x: x[:, 0] ** 2,
        lambda x: x[:, 1] ** 2,
        lambda x: x[:, 0] ** 2 * x[:, 1],
        lambda x: (x[:, 1] > x[:, 0] ** 2).astype(float),
        lambda x: (x[:, 1] < -0.5).astype(float),
        lambda x: np.cos(2 * x[:, 0] + x[:, 1]),
    ]
    for number, function in enumerate(functions):
        expected = mass @ function(points) / mass.sum()
        error = function(drawn).std() / np.sqrt(len(drawn))
        z = (function(drawn).mean() - expected) / error
        # Draws of sequential Monte Carlo hang together a little.
        assert abs(z) < 6, f"moment {number}: {z:.1f} standard errors"


def test_samples_follow_their_seed(trained):
    one, same = (trained.sample(5, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert one.shape == (5, 2)
    assert trained.sample().shape == (1, 2)
    assert not np.array_equal(one, trained.sample(5, random_state=4))
    assert not np.array_equal(trained.sample(5), trained.sample(5))


# ------------------------------------------------------------------ outliers


def test_far_rows_are_outliers(trained):
    assert trained.predict([[0.0, 12.0], [5.0, -5.0], [0.0, 0.2]]).tolist() == [
        -1,
        -1,
        1,
    ]


# ------------------------------------------------------------------ training


@pytest.mark.parametrize("seed", [0, np.random.RandomState])
def test_one_random_state_gives_one_result(rows, seed):
    def fit(value):
        state = seed(value) if callable(seed) else value
        return make(random_state=state).fit(rows).score_samples(rows)

    np.testing.assert_array_equal(fit(5), fit(5))
    assert not np.array_equal(fit(5), fit(6))


def test_history_is_one_entry_an_epoch(rows):
    model = make(max_iter=7).fit(rows)
    lengths = {name: len(column) for name, column in model.history_.items()}
    assert set(lengths.values()) == {7}
    assert model.n_iter_ == 7
    assert {"energy_loss", "validation_log_likelihood"} <= set(lengths)
    assert set(model.history_["metric"]) == {"log_likelihood"}
    without = make(max_iter=3, early_stopping=False).fit(rows).history_
    assert "validation_log_likelihood" not in without
    assert {len(column) for column in without.values()} == {3}


def test_early_stopping_ends_training_and_keeps_the_best_state(rows):
    """A tolerance that nothing meets: the bare reference is the best state."""
    model = make(max_iter=50, tol=10.0, n_iter_no_change=4).fit(rows)
    assert (model.n_iter_, model.best_epoch_) == (4, 0)
    np.testing.assert_array_equal(model.energy(rows), np.zeros(len(rows)))
    assert model.log_normalizer_ == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("verbose", "n_lines"), [(0, 0), (1, 9), (3, 5), (True, 9)])
def test_verbose_prints_a_line_every_so_many_epochs(rows, verbose, n_lines, capsys):
    make(max_iter=6, verbose=verbose).fit(rows).score(rows)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == n_lines
    if printed:
        first, *epochs, kept, last = printed
        assert first.startswith("reference: ") and last.startswith("log Z ")
        assert kept.startswith("kept: ")
        assert all("epoch " in line and "energy_loss" in line for line in epochs)


def test_max_iter_auto_fixes_the_number_of_steps(rows):
    model = make(max_iter="auto", batch_size=100, tol=10, n_iter_no_change=1)
    assert model.fit(rows).n_iter_ == 1
    n_epochs = Specification.of(model, 2).n_epochs
    assert n_epochs(1000) == 300
    assert n_epochs(20_000) == 15
    assert n_epochs(50) == 400
    assert n_epochs(10**7) == 1


def test_warm_start_goes_on(rows):
    options = {"early_stopping": False, "max_iter": 20, "learning_rate": 1e-2}
    model = make(warm_start=True, **options).fit(rows)
    first, earlier = model.score(rows), copy.copy(model)
    reference = model.reference_
    model.fit(rows)
    assert model.reference_ is reference
    assert earlier.score(rows) == first  # a copy that shared the model keeps its own
    assert model.score(rows) > first + 0.02
    cold = make(**options).fit(rows)
    assert cold.score(rows) == first
    assert cold.fit(rows).score(rows) == first  # without warm_start it begins anew
    with pytest.raises(ValueError, match=r"1 features.*expecting 2"):
        model.fit(rows[:, :1])


def test_log_z_is_estimated_at_the_first_question(rows, monkeypatch):
    """Whatever is asked first; after `partial_fit` it is estimated anew."""
    model, twin = (make(ood_score="log_density") for _ in range(2))
    calls = []
    estimate = FittedModel.estimate_log_normalizer

    def counted(self, *args):
        calls.append(self)
        return estimate(self, *args)

    monkeypatch.setattr(FittedModel, "estimate_log_normalizer", counted)
    make(early_stopping=True).fit(rows)
    assert not calls
    for each in (model, twin):
        for start in (0, 300):
            each.partial_fit(rows[start : start + 300])
    model.energy(rows)
    assert not calls
    scores = model.score_samples(rows)
    assert np.isfinite([model.log_normalizer_, model.offset_]).all()
    assert len(calls) == 1
    decision = twin.decision_function(rows)  # another method first: the same log Z
    assert twin.log_normalizer_ == model.log_normalizer_
    assert len(calls) == 2
    np.testing.assert_array_equal(decision, scores - model.offset_)
    np.testing.assert_array_equal(model.score_samples(rows), scores)
    model.partial_fit(rows)
    mean = logsumexp(-energy_of_reference_draws(model)) - np.log(50_000)
    assert model.log_normalizer_ == pytest.approx(mean, abs=0.02)
    assert len(calls) == 3


def test_outliers_by_the_default_score_ask_for_no_log_z(rows, monkeypatch):
    """The other scores come later, and are the same whatever was asked first."""
    first, second = (make(ood_score="auto").fit(rows) for _ in range(2))
    decision = second.set_params(ood_score="log_density").decision_function(rows)

    def refused(self, *args):
        raise AssertionError("log Z is estimated")

    with monkeypatch.context() as patch:
        patch.setattr(FittedModel, "estimate_log_normalizer", refused)
        is_inlier = first.predict(rows)
        p_values = first.p_values(rows, calibration=rows[:50])
        assert first.ood_report_
    assert 0.9 < (is_inlier == 1).mean() < 1
    first.set_params(ood_score="log_density")
    np.testing.assert_array_equal(first.decision_function(rows), decision)
    for each in (first, second):
        each.set_params(ood_score="auto")
        np.testing.assert_array_equal(
            each.p_values(rows, calibration=rows[:50]), p_values
        )


def energy_of_reference_draws(model):
    draws = model.reference_.sample(50_000, torch.Generator().manual_seed(9))
    return model.energy(model._fitted.encoder.decode(draws.numpy()))


def test_partial_fit_learns(rows):
    model = make(learning_rate=1e-2)
    scores = [model.partial_fit(rows).score(rows) for _ in range(40)]
    assert scores[-1] > scores[0] + 0.1


def test_rows_of_weight_zero_count_nowhere(rows):
    far = np.vstack([rows, rows * 50 + 1000])
    weight = np.r_[np.ones(len(rows)), np.zeros(len(rows))]
    weighted = make().fit(far, sample_weight=weight)
    alone = make().fit(rows, sample_weight=np.ones(len(rows)))
    scale = weighted._fitted.encoder.scale
    np.testing.assert_allclose(scale, rows.std(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(
        weighted.score_samples(rows), alone.score_samples(rows)
    )


def test_weights_count_only_against_each_other(rows):
    scores = [
        make().fit(rows, sample_weight=np.full(len(rows), w)).score_samples(rows)
        for w in (1.0, 64.0)
    ]
    np.testing.assert_array_equal(*scores)
    np.testing.assert_allclose(
        make().fit(rows).score_samples(rows), scores[0], atol=1e-3
    )


def test_weights_are_statistically_like_repeated_rows():
    """Half of the rows, on the right, count thrice: by weights or by copies."""
    X = crescent(800)
    right = X[:, 0] > 0
    options = {
        "network": "mlp",
        "max_iter": 80,
        "early_stopping": False,
        "normalizer": "auto",
    }
    weighted = make(**options).fit(X, sample_weight=np.where(right, 3.0, 1.0))
    repeated = make(**options | {"max_iter": 40}).fit(
        np.vstack([X, X[right], X[right]])
    )
    plain = make(**options).fit(X)
    points, area = grid()
    masses = [np.exp(m.score_samples(points)) for m in (weighted, repeated, plain)]
    shares = [(m * area)[points[:, 0] > 0].sum() for m in masses]
    target = 3 * right.sum() / (3 * right.sum() + (~right).sum())
    assert shares[0] == pytest.approx(target, abs=0.1)
    assert shares[1] == pytest.approx(target, abs=0.1)
    assert abs(shares[2] - target) > 0.15
    distance = 0.5 * area * np.abs(masses[0] - masses[1]).sum()  # total variation
    assert distance < 0.12
    assert 0.5 * area * np.abs(masses[0] - masses[2]).sum() > 0.18


class Interrupting(MLP):
    """A net at which somebody presses Ctrl-C after some calls with gradients."""

    n_calls = 0
    at_call = 0

    def __init__(self, n_features, n_outputs):
        super().__init__(n_features, n_outputs, hidden_features=(16,))

    def forward(self, x):
        Interrupting.n_calls += self.training and torch.is_grad_enabled()
        if Interrupting.n_calls == self.at_call:
            Interrupting.n_calls += 1
            raise KeyboardInterrupt
        return super().forward(x)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("at_call", [1, 60])
def test_an_interrupt_leaves_a_usable_estimator(
    rows, at_call, early_stopping, monkeypatch
):
    monkeypatch.setattr(Interrupting, "n_calls", 0)
    monkeypatch.setattr(Interrupting, "at_call", at_call)
    model = make(network=Interrupting, max_iter=1000, early_stopping=early_stopping)
    with pytest.warns(TrainingWarning, match=r"KeyboardInterrupt ended training after"):
        model.fit(rows)
    assert 1 <= model.n_iter_ < 20
    assert np.isfinite(model.score_samples(rows)).all()
    assert np.isfinite([model.log_normalizer_, model.offset_]).all()
    assert np.isfinite(model.sample(3, random_state=0)).all()
    if at_call == 1:  # nothing was learnt yet: the bare reference
        assert model.energy(rows).std() == 0
    with pytest.warns(TrainingWarning):
        monkeypatch.setattr(Interrupting, "at_call", Interrupting.n_calls + 1)
        model.partial_fit(rows)
    assert np.isfinite(model.score(rows))


def test_an_interrupt_while_log_z_is_estimated_leaves_it_to_the_next_scoring(
    rows, monkeypatch
):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ImportanceSampling, "estimate", interrupted)
        with pytest.warns(TrainingWarning, match="estimation of log Z"):
            model = make().fit(rows)
    np.testing.assert_array_equal(
        model.score_samples(rows), make().fit(rows).score_samples(rows)
    )


def test_a_divergence_leaves_a_warm_started_estimator_where_it_was(rows, monkeypatch):
    model = make(warm_start=True, early_stopping=False).fit(rows)
    scores = model.score_samples(rows)
    problem = Problem("the loss is 1e9")
    monkeypatch.setattr("skebm.training._run.find_problem", lambda *_: problem)
    with pytest.raises(
        DivergenceError, match=r"epoch 6: the loss is 1e9.*learning_rate"
    ):
        model.set_params(max_iter=20).fit(rows)
    np.testing.assert_array_equal(model.score_samples(rows), scores)


@pytest.mark.parametrize("options", [{}, {"early_stopping": False}])
@pytest.mark.parametrize("learning_rate", [1e-1, 1.0])
def test_a_bad_learning_rate_ends_in_a_usable_model_or_a_clear_error(
    rows, learning_rate, options
):
    """Usable: not much worse than the bare reference on fresh rows."""
    fresh = crescent(2000, random_state=1)
    bare = make(tol=10.0, n_iter_no_change=1).fit(rows).score(fresh)
    model = make(network="mlp", learning_rate=learning_rate, max_iter=20, **options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NormalizerWarning)
            score = model.fit(rows).score(fresh)
    except DivergenceError as error:
        assert "epoch" in str(error) and "learning_rate" in str(error)
        return
    assert score > bare - (0.1 if options == {} else 1.2)
