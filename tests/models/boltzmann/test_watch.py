"""The likelihood watched along the training of an RBM: what is held out, and kept."""

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.stats import multivariate_normal

from skebm import BernoulliRBM, GaussianRBM, SoftmaxRBM
from skebm.evaluation.normalizers._rbm import anneal_briefly
from skebm.exceptions import DivergenceError, TrainingWarning
from skebm.models.boltzmann._begin import RBMOptions
from skebm.models.boltzmann._fit import DensityTask, RBMTraining
from skebm.models.boltzmann._kinds import BinaryKind, RealKind
from skebm.models.boltzmann._left_out import left_out_gain
from skebm.models.boltzmann._watch import BETAS, LikelihoodWatch, Look, choose_watched
from skebm.networks.boltzmann._rbm import binary_digits


def votes(n_rows, n_columns, seed=0):
    """Two camps on three axes, and columns that are nearly determined by them."""
    rng = np.random.default_rng(seed)
    camps = rng.normal(size=(n_rows, 3))
    camps[:, 0] = np.sign(camps[:, 0]) * (1.5 + 0.3 * camps[:, 0])
    odds = camps @ (5 * rng.normal(size=(3, n_columns))) + 1.5 * rng.normal(
        size=n_columns
    )
    return (rng.uniform(size=odds.shape) < 1 / (1 + np.exp(-odds))).astype(float)


TABLE = votes(500, 150)
TRAIN, TEST = TABLE[:300], TABLE[300:]


def independent_score(train, test):
    p = (train.sum(axis=0) + 1) / (len(train) + 2)
    return float((test * np.log(p) + (1 - test) * np.log(1 - p)).sum(axis=1).mean())


@pytest.mark.parametrize("learning_rate", [1.0, 100.0])
def test_never_below_independent_columns(learning_rate):
    options = {"learning_rate": learning_rate, "n_iter": 8, "batch_size": 50}
    level = independent_score(TRAIN, TEST)
    last = BernoulliRBM(8, early_stopping=False, random_state=0, **options).fit(TRAIN)
    assert last.score(TEST) < level - 10
    with pytest.warns(TrainingWarning, match="held-out rows is.* therefore shrunk"):
        kept = BernoulliRBM(8, random_state=0, **options).fit(TRAIN)
    assert kept.score(TEST) > level - 1
    assert np.isfinite(kept.partial_fit(TRAIN).score(TEST))


def test_rows_of_coins_teach_an_rbm_nothing(monkeypatch):
    monkeypatch.setattr("skebm.models.boltzmann._watch.ROWS_BETWEEN", 1)
    coins = np.random.default_rng(0).integers(0, 2, size=(500, 40)).astype(float)
    options = {"learning_rate": 0.3, "n_iter": 20, "random_state": 0}
    with pytest.warns(TrainingWarning, match=r"which is kept|therefore shrunk"):
        kept = BernoulliRBM(8, **options).fit(coins[:120])
    last = BernoulliRBM(8, early_stopping=False, **options).fit(coins[:120])
    level = independent_score(coins[:120], coins[120:])
    assert last.score(coins[120:]) < level - 0.8
    assert kept.score(coins[120:]) > level - 0.2


def test_a_run_that_goes_well_is_as_without_looks():
    X = TRAIN[:, :6]
    fits = [
        BernoulliRBM(4, n_iter=5, early_stopping=watched, random_state=0).fit(X)
        for watched in (False, "auto")
    ]
    np.testing.assert_array_equal(fits[0].components_, fits[1].components_)
    np.testing.assert_array_equal(fits[0].h_samples_, fits[1].h_samples_)


@pytest.mark.parametrize("kind", ["gaps", "sparse", "categories", "grey", "beyond"])
def test_tables_of_every_kind_are_watched(kind):
    X, model = TRAIN[:, :10], BernoulliRBM(3, n_iter=2, random_state=0)
    if kind == "gaps":
        X = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.3, np.nan, X)
    elif kind == "sparse":
        X = sparse.csr_matrix(X)
    elif kind == "categories":
        X, model = X.astype(int), SoftmaxRBM(3, n_iter=2, random_state=0)
    elif kind == "grey":
        X = 0.2 + 0.6 * X
    else:
        X = 2 * X
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="X has values outside|.*of \\[0, 1\\]"
        )
        fits = [model.set_params(early_stopping=on).fit(X) for on in (False, True)]
    assert np.isfinite(fits[1].components_).all()


def test_what_is_held_out():
    wide, tall = np.zeros((120, 100)), np.zeros((1000, 100))
    kept, watched = choose_watched(wide, BinaryKind(), "auto", 0.1)
    assert (len(kept), len(watched.rows), watched.held_out) == (108, 12, True)
    kept, watched = choose_watched(tall, BinaryKind(), "auto", 0.1)
    assert (len(kept), len(watched.rows), watched.held_out) == (1000, 500, False)
    kept, watched = choose_watched(tall, BinaryKind(), True, 0.2)
    assert (len(kept), len(watched.rows), watched.held_out) == (800, 200, True)
    assert choose_watched(wide, BinaryKind(), False, 0.1)[1] is None
    gaps = np.where(np.eye(120, 100) > 0, np.nan, wide)
    for early_stopping in ("auto", True):
        kept, watched = choose_watched(gaps, BinaryKind(), early_stopping, 0.1)
        assert len(kept) == len(watched.incomplete) == 120 and not watched.held_out


@pytest.mark.parametrize("options", [{"early_stopping": "no"}, {"early_stopping": 2}])
def test_a_bad_option_is_named(options):
    with pytest.raises(ValueError, match="early_stopping"):
        BernoulliRBM(3, **options).fit(TRAIN[:, :5])
    with pytest.raises(ValueError, match="validation_fraction"):
        BernoulliRBM(3, validation_fraction=1.0).fit(TRAIN[:, :5])


def test_a_brief_annealing_agrees_with_enumeration():
    model = BernoulliRBM(6, n_iter=20, random_state=0).fit(TRAIN[:, :20])
    rbm, base = model._fitted.rbm(), torch.from_numpy(model._fitted.base_bias)
    generator = torch.Generator().manual_seed(0)
    annealed = anneal_briefly(rbm, base, BETAS, 200, generator)
    log_z = annealed.log_normalizers
    assert float(log_z[-1]) == pytest.approx(model.log_normalizer_, abs=0.3)
    level = torch.nn.functional.softplus(base.double()).sum() + 6 * np.log(2)
    assert float(log_z[0]) == pytest.approx(float(level))
    weights = annealed.log_weights.softmax(0)
    mean = (weights[:, None] * annealed.v).sum(0).numpy()
    h = binary_digits(torch.arange(64), 6).float()
    share = rbm.hidden_log_prob_unnormalized(h).softmax(0)
    exact = share @ rbm.visible_field(h).sigmoid()
    np.testing.assert_allclose(mean, exact.numpy(), atol=0.15)


# ------------------------------------------------------------- beside one Gaussian


def rows_of_one_gaussian(n, seed=0, d=3):
    mixing = np.random.RandomState(7).normal(size=(d, d))
    return np.random.RandomState(seed).normal(size=(n, d)) @ mixing


def gaussian_score(train, test):
    covariance = np.cov(train.T, ddof=0) + 1e-3 * np.diag(train.var(axis=0))
    return multivariate_normal(train.mean(axis=0), covariance).logpdf(test).mean()


@pytest.mark.parametrize(
    "options, match",
    [
        ({"n_iter": 100}, "rows that are left out"),
        ({"n_iter": 100, "learning_rate": 1.0}, "One Gaussian has"),
        ({"n_iter": 100, "learning_rate": 1.0, "n_components": 24}, "no epoch was"),
        ({"n_iter": 100, "early_stopping": True}, "held-out rows.*One Gaussian has"),
        ({"n_iter": 2}, None),  # too short to tell of
    ],
)
def test_never_below_the_gaussian_of_the_rows(options, match):
    train, test = rows_of_one_gaussian(40, 0, 5), rows_of_one_gaussian(2000, 1, 5)
    model = GaussianRBM(10, random_state=0).set_params(**options)
    told = warnings.catch_warnings()
    if match is not None:
        told = pytest.warns(TrainingWarning, match=match)
    with told:
        model.fit(train)
    assert model.score(test) > gaussian_score(train, test) - 0.03
    assert model.transform(test).std(axis=0).min() > 0.02
    assert model.partial_fit(train).score(test) > gaussian_score(train, test) - 0.1


@pytest.mark.parametrize("n_components", [2, 3, 8])
@pytest.mark.parametrize("options", [{}, {"whiten": False}, {"variance": "fixed"}])
def test_hidden_units_beside_a_gaussian_hardly_change_it(n_components, options):
    X = np.array([5.0, 0.0, -3.0]) + rows_of_one_gaussian(50)
    model = GaussianRBM(n_components, n_iter=1, random_state=0, **options).fit(X)
    covariance = np.cov(X.T, ddof=0) + 1e-3 * np.diag(X.var(axis=0))
    if "whiten" in options:
        covariance = np.diag(np.diag(covariance))
    exact = multivariate_normal(X.mean(axis=0), covariance).logpdf(X)
    assert model.score(X) == pytest.approx(exact.mean(), abs=1e-3)


def test_clusters_are_no_gaussian_even_where_rows_are_few():
    rng = np.random.RandomState(0)
    X = np.where(rng.rand(60, 1) < 0.5, -2, 2) + 0.5 * rng.normal(size=(60, 2))
    model = GaussianRBM(8, n_iter=60, random_state=0).fit(X)
    assert model.score(X) > gaussian_score(X, X) + 0.5


def test_the_gain_of_rows_left_out_is_that_of_a_fit_to_all():
    def gains(kept, left_out):  # an excess of 10 nats over the number of rows
        return 1 + 10 / len(kept), np.full(len(left_out), 1 - 10 / len(kept))

    gain, error = left_out_gain(np.zeros((100, 2)), gains)
    assert gain == pytest.approx(1 - 10 / 75 + 0.25 * 20 / 75)
    assert error == pytest.approx(0, abs=1e-12)

    def diverges(kept, left_out):
        raise DivergenceError("")

    assert left_out_gain(np.zeros((100, 2)), diverges)[0] == -np.inf

    def overflows(kept, left_out):
        return -np.inf, np.full(len(left_out), np.nan)

    assert left_out_gain(np.zeros((100, 2)), overflows)[0] == -np.inf
    assert left_out_gain(np.full((9, 2), np.nan), gains)[0] == np.inf


@pytest.mark.parametrize("kind", [RealKind(True, True, 2), RealKind(False, False, 5)])
@pytest.mark.parametrize("gaps", [False, True])
def test_a_gaussian_has_the_mean_of_its_rows(kind, gaps):
    X = 3 + rows_of_one_gaussian(60)
    if gaps:
        X[::3, 1] = np.nan
    mean = np.nanmean(X, axis=0)
    base, q = kind.base(X), np.array([mean, mean + 1])
    covariance = base.visible.covariance().numpy()
    exact = multivariate_normal(mean, covariance).logpdf(q)
    level = base.visible_bias.square().sum() / 2
    log_p = -base.to(torch.float64)(torch.from_numpy(q)) - level
    np.testing.assert_allclose(log_p, exact, rtol=1e-4)

    options = RBMOptions.of(GaussianRBM(kind.n_hidden))
    fitted = DensityTask(X, kind).begin(options, np.random.RandomState(0))
    rbm = fitted.rbm(np.float64)
    h = binary_digits(torch.arange(2**kind.n_hidden), kind.n_hidden).double()
    share = rbm.hidden_log_prob_unnormalized(h).softmax(0)
    found = share @ rbm.visible.mean_(rbm.visible_field(h))
    np.testing.assert_allclose(found, mean, rtol=1e-4)


def test_a_single_row_left_out_is_not_clear():
    X = np.full((40, 2), np.nan)
    order = np.random.RandomState(0).permutation(40)  # that of the folds
    X[order[[0, *range(10, 40)]]] = 0.0
    values = np.random.RandomState(1).normal(size=31)
    values[0] = -5.0

    given = iter(np.split(values, [1, 11, 21]))

    def gains(kept, left_out):
        new = next(given)
        assert len(new) == len(left_out)
        return new.mean(), new

    gain, error = left_out_gain(X, gains)
    assert gain == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / 31**0.5)

    def alike(kept, left_out):
        return -5.0, np.full(len(left_out), -5.0)

    X[order[3:]] = np.nan
    assert left_out_gain(X, alike) == (np.inf, 0)  # a row alone tells nothing


class Scripted:
    """A training of a GaussianRBM with given gains after each epoch."""

    def __init__(self, monkeypatch, gains, slack=0.0):
        def measure(watch, rbm, epoch):
            return Look(epoch, gains[epoch], 0.0, slack)

        monkeypatch.setattr(LikelihoodWatch, "_measure", measure)
        monkeypatch.setattr("skebm.models.boltzmann._watch.ROWS_BETWEEN", 1)
        kind, rng = RealKind(True, True, 4), np.random.RandomState(0)
        options = RBMOptions.of(GaussianRBM(4, early_stopping="auto"))
        self.rows = rows_of_one_gaussian(60)
        task = DensityTask(self.rows, kind)
        self.training = RBMTraining(
            task, task.begin(options, rng), options, rng, has_folds=False
        )
        self.training.train(len(gains) - 1)

    @property
    def n_epochs_kept(self):
        return self.training.run.ascent.n_steps / self.training.steps_per_epoch


def test_folds_that_diverge_are_told_in_words(monkeypatch):
    watch = Scripted(monkeypatch, [0.0, 0.1]).training._watch
    told = str(watch.by_folds(-np.inf, 0.0))
    assert "A fit to a part of the rows diverged" in told
    assert "inf" not in told and "Gaussian is therefore kept" in told


def test_an_epoch_better_than_the_gaussian_is_kept_before_it(monkeypatch):
    scripted = Scripted(monkeypatch, [0.0, 0.02, -0.005])  # within the tolerance
    verdict = scripted.training.verdict
    assert (verdict.kept.epoch, verdict.keeps_base) == (1, False)
    assert scripted.n_epochs_kept == 1
    assert Scripted(monkeypatch, [0.0, -0.01, -0.005]).training.verdict.keeps_base
    assert Scripted(monkeypatch, [0.0, 0.02, 0.01]).training.verdict is None


@pytest.mark.parametrize(
    "gains, kept", [([0.0, 0.5, 0.49], 2), ([0.0, 0.5, 0.1], 1), ([0.0, 0.2, 0.5], 2)]
)
@pytest.mark.parametrize("slack", [0.0, 0.001])
def test_the_gain_is_that_of_the_epoch_that_is_kept(monkeypatch, gains, kept, slack):
    scripted = Scripted(monkeypatch, gains, slack)
    assert scripted.n_epochs_kept == kept
    level, _ = scripted.training.gains(scripted.rows)
    assert level == pytest.approx(gains[kept] - slack)
