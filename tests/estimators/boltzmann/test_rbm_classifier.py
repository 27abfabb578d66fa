"""The classification machine against brute force over classes and hidden units."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skebm import RBMClassifier
from skebm.exceptions import DivergenceError, RangeWarning
from skebm.networks import RBM, LabeledRBM, LabeledUnits
from skebm.objectives import LabeledGradient, LabeledRows
from skebm.training import LabeledBatches

D, M, K = 4, 3, 3
STATES = np.array(list(itertools.product((0.0, 1.0), repeat=D)))
HIDDEN = np.array(list(itertools.product((0.0, 1.0), repeat=M)))


def random_joint(seed=0):
    rng = np.random.RandomState(seed)
    shapes = (M, D + K), (M,), (D + K,)
    return RBM(*(torch.from_numpy(rng.normal(size=s)) for s in shapes), LabeledUnits(K))


def brute_log_joint(rbm, V):
    """Return log sum_h exp(-E(v, y, h)) by a loop over y and h, shape (n, K)."""
    W, c, b = rbm.weight.numpy(), rbm.hidden_bias.numpy(), rbm.visible_bias.numpy()
    result = np.empty((len(V), K))
    for k in range(K):
        s = np.concatenate([V, np.tile(np.eye(K)[k], (len(V), 1))], axis=1)
        result[:, k] = logsumexp([s @ b + h @ c + s @ W.T @ h for h in HIDDEN], axis=0)
    return result


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.RandomState(0)
    y = np.arange(120) % K  # the class's column is 1 more often than the others
    X = (
        rng.uniform(size=(120, D)) < 0.2 + 0.6 * (np.arange(D) % K == y[:, None])
    ) * 1.0
    y_few = np.where(rng.uniform(size=120) < 0.5, y, -1)
    return RBMClassifier(
        M, n_iter=40, batch_size=20, learning_rate=0.2, random_state=0
    ).fit(X, y_few)


def test_classes_hidden_units_and_z_by_brute_force(fitted):
    joint = brute_log_joint(fitted._fitted.rbm(np.float64), STATES)
    log_prob = joint - logsumexp(joint)
    np.testing.assert_allclose(
        fitted.predict_proba(STATES),
        np.exp(joint - logsumexp(joint, axis=1, keepdims=True)),
        rtol=1e-10,
    )
    np.testing.assert_allclose(
        fitted.score_samples(STATES), logsumexp(log_prob, axis=1), rtol=1e-10
    )
    np.testing.assert_allclose(
        fitted.free_energy(STATES), -logsumexp(joint, axis=1), rtol=1e-10
    )
    assert fitted.log_normalizer_ == pytest.approx(logsumexp(joint))
    assert np.ptp(fitted.predict_proba(STATES), axis=0).min() > 0.2  # it learnt


def test_z_over_the_states_of_visible_units():
    """With fewer columns than hidden units the sum goes over (v, y)."""
    rng = np.random.RandomState(1)
    X, y = rng.randint(2, size=(40, 3)) * 1.0, np.arange(40) % 2
    model = RBMClassifier(30, n_iter=5, random_state=0).fit(X, y)
    states = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
    assert np.exp(model.score_samples(states)).sum() == pytest.approx(1)


def test_annealing_agrees_with_enumeration():
    X, y = load_digits(return_X_y=True)
    X = (X > 7) * 1.0
    exact = RBMClassifier(16, n_iter=3, random_state=0).fit(X, y)
    annealed = clone(exact).set_params(normalizer="ais").fit(X, y)
    assert exact.score_samples(X[:50]).mean() == pytest.approx(
        annealed.score_samples(X[:50]).mean(), abs=0.1
    )
    assert annealed.log_normalizer_se_ > 0


def test_draws_of_units_follow_their_parameters():
    units, n = LabeledUnits(3), 40_000
    theta = torch.tensor([0.5, -1.0, 1.0, 0.0, -0.5]).double()
    mean = units.mean_(theta.clone())
    assert mean[2:].sum() == pytest.approx(1)
    rows = theta.expand(n, -1).clone()
    drawn = units.draw_(rows, rows.clone(), torch.Generator().manual_seed(0))
    assert (drawn[:, 2:].sum(1) == 1).all()
    assert ((drawn.mean(0) - mean).abs() < 4 * (0.25 / n) ** 0.5).all()


# --------------------------------------------------------------------- gradients


def gradient_of(rbm, rows, **options):
    options = {
        "discriminative_weight": 1.0,
        "generative_weight": 0.0,
        "method": "pcd",
        "n_gibbs_steps": 1,
        "centered": False,
        "class_weights": None,
    } | options
    chains = options.pop("chains", torch.zeros(8, M, dtype=torch.float64))
    offsets = torch.zeros(D + K).double(), torch.full((M,), 0.5).double()
    generator = torch.Generator().manual_seed(0)
    gradient = LabeledGradient(chains, offsets, generator=generator, **options)
    left, right = gradient(rbm, rows)
    return gradient, left.mT @ right, gradient.hidden_bias, gradient.visible_bias


def exact_gradient(rbm, objective):
    """Return autograd's gradient of objective(log p(v, y) up to log Z, log Z)."""
    parameters = [p.clone().requires_grad_() for p in rbm.parameters().values()]
    machine = RBM(*parameters, rbm.visible)
    everything = LabeledRBM(machine).log_joint(torch.from_numpy(STATES))
    value = objective(LabeledRBM(machine), everything.logsumexp((0, 1)))
    return torch.autograd.grad(value, parameters)


def labeled_rows(n_labeled=3, share=1.0):
    v = torch.from_numpy(STATES[[1, 6, 11, 14, 5]])
    return LabeledRows(v, torch.tensor([0, 2, 1, 1, 0])[:n_labeled], share)


def assert_close(found, expected, rtol=1e-10):
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= rtol * b.norm().clamp(min=1.0)


@pytest.mark.parametrize("class_weights", [None, (2.0, 0.5, 1.0)])
def test_discriminative_gradient(class_weights):
    rbm, rows = random_joint(), labeled_rows(3)
    weights = None if class_weights is None else torch.tensor(class_weights).double()

    def objective(machine, log_z):
        log_prob = machine.log_joint(rows.v[:3]).log_softmax(1)
        factor = 1.0 if weights is None else weights[rows.codes]
        return (factor * log_prob[torch.arange(3), rows.codes]).mean()

    _, *found = gradient_of(rbm, rows, class_weights=weights)
    expected = exact_gradient(rbm, objective)
    assert expected[0].norm() > 0.1
    assert_close(found, expected)


def data_objective(rows, delta, alpha, n_labeled):
    def objective(machine, log_z):
        joint = machine.log_joint(rows.v)
        seen = joint[torch.arange(n_labeled), rows.codes]
        log_prob = seen - joint[:n_labeled].logsumexp(1)
        rest = joint[n_labeled:].logsumexp(1)
        generative = rows.labeled_share * seen.mean()
        if len(rest):
            generative = generative + (1 - rows.labeled_share) * rest.mean()
        return delta * log_prob.mean() + alpha * (generative - log_z)

    return objective


@pytest.mark.parametrize(
    ("n_labeled", "share", "delta", "alpha"),
    [(5, 1.0, 0.0, 1.0), (2, 0.3, 0.0, 1.0), (2, 0.3, 1.0, 0.5), (4, 0.8, 1.0, 2.0)],
)
def test_gradient_of_density_by_enumeration(n_labeled, share, delta, alpha):
    """Chains at the model's own distribution: the mean gradient is the exact one."""
    rbm, rows = random_joint(), labeled_rows(n_labeled, share)
    log_p_h = rbm.hidden_log_prob_unnormalized(torch.from_numpy(HIDDEN))
    n = 40_000
    drawn = torch.multinomial(
        log_p_h.softmax(0), n, True, generator=torch.Generator().manual_seed(1)
    )
    _, *found = gradient_of(
        rbm,
        rows,
        discriminative_weight=delta,
        generative_weight=alpha,
        chains=torch.from_numpy(HIDDEN)[drawn],
    )
    expected = exact_gradient(rbm, data_objective(rows, delta, alpha, n_labeled))
    for a, b in zip(found, expected, strict=True):
        assert ((a - b).abs() < 4 * alpha * 0.5 / n**0.5).all()
        assert b.abs().max() > 8 * alpha * 0.5 / n**0.5


@pytest.mark.parametrize("method", ["pcd", "cd"])
def test_model_phase_weighs_as_much_as_data(method):
    """Without weights, at the model's own means, the generative gradient vanishes."""
    rbm = RBM(
        torch.zeros(M, D + K).double(),
        torch.zeros(M).double(),
        torch.zeros(D + K).double(),
        LabeledUnits(K),
    )
    v = torch.from_numpy(np.repeat(STATES, 200, axis=0))
    rows = LabeledRows(v, torch.arange(900) % K, 0.25)
    chains = torch.zeros(4000, M).double()
    options = {"discriminative_weight": 0.0, "generative_weight": 1.0}
    _, *found = gradient_of(rbm, rows, method=method, chains=chains, **options)
    for part in found:
        assert part.abs().max() < 0.05


def test_centred_gradient_is_that_of_centred_parameters():
    """Exact, of p(y | v): the same ascent in W, b' = b + W^T lambda, c' = c + W mu."""
    rbm, rows = random_joint(), labeled_rows(3)
    gradient, *found = gradient_of(rbm, rows, centered=True)
    mu, lam = gradient.visible_offset, gradient.hidden_offset
    parameters = [p.clone().requires_grad_() for p in rbm.parameters().values()]
    weight, c, b = parameters
    machine = LabeledRBM(RBM(weight, c - weight @ mu, b - lam @ weight, rbm.visible))
    with torch.no_grad():
        c += weight @ mu
        b += lam @ weight
    log_prob = machine.log_joint(rows.v[:3]).log_softmax(1)
    centred = torch.autograd.grad(
        LabeledRBM(RBM(weight, c - weight @ mu, b - lam @ weight, rbm.visible))
        .log_joint(rows.v[:3])
        .log_softmax(1)[torch.arange(3), rows.codes]
        .mean(),
        parameters,
    )
    assert log_prob.shape == (3, K)
    dw, dc, db = centred
    assert_close(found, (dw, dc - dw @ mu, db - lam @ dw))


# ------------------------------------------------------------------------ batches


@pytest.mark.parametrize("n_labeled", [3, 30, 57, 60])
def test_every_row_is_dealt_and_labels_lead(n_labeled):
    x = torch.arange(60.0)[:, None]
    codes = torch.full((60,), -1)
    codes[
        torch.randperm(60, generator=torch.Generator().manual_seed(0))[:n_labeled]
    ] = 1
    batches = LabeledBatches(x, codes, 0.5, torch.device("cpu"))
    share = n_labeled / (n_labeled + 0.5 * (60 - n_labeled))
    seen = []
    for rows in batches.epoch(7, torch.Generator().manual_seed(1)):
        assert rows.labeled_share == pytest.approx(share)
        numbers = rows.v[:, 0].long()
        assert (codes[numbers[: len(rows.codes)]] == rows.codes).all()
        assert (codes[numbers[len(rows.codes) :]] == -1).all()
        assert len(rows.codes) > 0
        seen.extend(numbers.tolist())
    most = n_labeled > 30
    counts = np.bincount(seen, minlength=60)
    assert (counts[(codes >= 0).numpy() == most] == 1).all()
    assert counts.min() >= 1


# --------------------------------------------------------------------- estimator


def digits(n_labels, seed=0):
    X, y = load_digits(return_X_y=True)
    X, rng = (X > 7) * 1.0, np.random.RandomState(seed)
    order = rng.permutation(len(y))
    X, y = X[order], y[order]
    y_few = np.full(1200, -1)
    for k in range(10):
        chosen = np.flatnonzero(y[:1200] == k)[:n_labels]
        y_few[chosen] = k
    return X[:1200], y_few, X[1200:], y[1200:]


def test_unlabelled_rows_teach():
    """Density and classes: both better than without these rows."""
    X, y, X_test, y_test = digits(5)
    seen = y >= 0
    model = RBMClassifier(16, random_state=0)
    with_them, without = clone(model).fit(X, y), clone(model).fit(X[seen], y[seen])
    gain = with_them.score_samples(X_test) - without.score_samples(X_test)
    assert gain.mean() > 1.5
    assert with_them.score(X_test, y_test) > without.score(X_test, y_test)


def test_unlabelled_rows_of_no_weight_change_nothing():
    X, y, X_test, _ = digits(5)
    seen = y >= 0
    model = RBMClassifier(8, n_iter=5, unlabeled_weight=0.0, random_state=0)
    with_them, without = clone(model).fit(X, y), clone(model).fit(X[seen], y[seen])
    # Visible biases start at the columns' means over all rows; classes don't see them.
    discriminative = model.set_params(objective="discriminative", unlabeled_weight=1.0)
    a = clone(discriminative).fit(X, y).predict_proba(X_test)
    order = np.argsort(~seen, kind="stable")
    b = clone(discriminative).fit(X[order], y[order]).predict_proba(X_test)
    assert with_them.n_iter_ == without.n_iter_
    np.testing.assert_allclose(a, b, atol=0.1)


@pytest.mark.parametrize("objective", ["hybrid", "generative", "discriminative"])
def test_objectives_learn_digits(objective):
    X, y, X_test, y_test = digits(100)
    model = RBMClassifier(32, objective=objective, n_iter=50, random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.85
    assert len(model.history_["label_log_prob"]) == model.n_iter_
    if objective != "generative":
        assert model.history_["label_log_prob"][-1] > -0.2


def test_samples_follow_the_model(fitted):
    joint = np.exp(brute_log_joint(fitted._fitted.rbm(np.float64), STATES))
    joint /= joint.sum()
    n = 10_000
    X, y = fitted.sample(n, random_state=0, n_steps=300)
    numbers = (X @ 2 ** np.arange(D)[::-1]).astype(int)
    found = np.zeros((len(STATES), K))
    np.add.at(found, (numbers, y), 1 / n)
    assert np.abs(found - joint).max() < 4 * (0.25 / n) ** 0.5
    X, y = fitted.sample(n, random_state=1, y=2, n_steps=300)
    assert (y == 2).all()
    found = np.bincount((X @ 2 ** np.arange(D)[::-1]).astype(int), minlength=16) / n
    assert np.abs(found - joint[:, 2] / joint[:, 2].sum()).max() < 4 * (0.25 / n) ** 0.5


def test_samples_of_asked_classes(fitted):
    labels = np.array([2, 0, 0, 1])
    X, y = fitted.sample(4, y=labels, random_state=0)
    assert X.shape == (4, D)
    assert (y == labels).all()
    with pytest.raises(ValueError, match="must hold classes"):
        fitted.sample(2, y=7)
    with pytest.raises(ValueError, match="hold n_samples=3"):
        fitted.sample(3, y=labels)


def test_partial_fit_goes_on():
    X, y, X_test, y_test = digits(60)
    model = RBMClassifier(32, random_state=0)
    model.partial_fit(X[:100], y[:100], classes=np.arange(10))
    before = model.score(X_test, y_test)
    mixed = np.random.RandomState(0).permutation(1200)
    for _ in range(15):
        for part in np.array_split(mixed, 4):
            model.partial_fit(X[part], y[part])
    assert model.n_iter_ == 61
    assert model.score(X_test, y_test) > max(before, 0.8)
    assert np.isfinite(model.score_samples(X_test)).all()
    with pytest.raises(ValueError, match="did not see"):
        model.partial_fit(X[:50], np.full(50, 11))
    with pytest.raises(ValueError, match="unlabelled"):
        model.partial_fit(X[:50], np.full(50, -1))
    with pytest.raises(ValueError, match="first call"):
        model.partial_fit(X[:50], y[:50], classes=[0, 1])


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["-1", "a", "b"]),
        np.array([np.nan, 0, 1]),
        pd.Series([None, "no", "yes"], dtype="category"),
        np.array([None, True, False], dtype=object),
    ],
    ids=["strings", "nan", "category", "objects"],
)
def test_markers_of_unlabelled_rows(labels):
    rng = np.random.RandomState(0)
    X = rng.randint(2, size=(60, 3)) * 1.0
    y = pd.Series(labels)[np.arange(60) % 3].reset_index(drop=True)
    if isinstance(labels, np.ndarray):
        y = y.to_numpy()
    model = RBMClassifier(4, n_iter=2, random_state=0).fit(X, y)
    assert len(model.classes_) == 2
    assert set(model.predict(X)) <= set(model.classes_)


def test_labels_of_minus_one_and_one():
    X, y = np.eye(10), np.where(np.arange(10) < 5, -1, 1)
    with pytest.raises(ValueError, match="recode y or set unlabeled=None"):
        RBMClassifier(4).fit(X, y)
    model = RBMClassifier(4, unlabeled=None, n_iter=1, random_state=0).fit(X, y)
    assert model.classes_.tolist() == [-1, 1]
    assert model.decision_function(X).shape == (10,)


def test_sparse_rows_are_as_dense_ones(fitted):
    X, y, X_test, _ = digits(20)
    model = RBMClassifier(8, n_iter=3, random_state=0)
    dense = clone(model).fit(X, y)
    rare = clone(model).fit(sparse.csr_matrix(X), y)
    np.testing.assert_allclose(
        dense.predict_proba(X_test),
        rare.predict_proba(sparse.csr_matrix(X_test)),
        rtol=1e-4,
        atol=1e-6,
    )


def test_class_weight_moves_the_border():
    rng = np.random.RandomState(0)
    X, y = rng.randint(2, size=(200, 4)) * 1.0, (rng.uniform(size=200) < 0.2) * 1
    options = {"objective": "discriminative", "n_iter": 30, "random_state": 0}
    plain = RBMClassifier(4, **options).fit(X, y).predict_proba(X)[:, 1].mean()
    model = RBMClassifier(4, class_weight="balanced", **options).fit(X, y)
    assert plain == pytest.approx(0.2, abs=0.07)
    assert model.predict_proba(X)[:, 1].mean() == pytest.approx(0.5, abs=0.1)
    with pytest.raises(ValueError, match="class_weight"):
        RBMClassifier(4, class_weight={5: 1.0}).fit(X, y)


def test_bad_input():
    X, y = np.eye(6), np.arange(6) % 2
    with pytest.warns(RangeWarning, match="RBMClassifier is made for"):
        RBMClassifier(2, n_iter=1).fit(3 * X, y)
    with pytest.raises(ValueError, match=r"outside of \[0, 1\]"):
        RBMClassifier(2, check_range="raise").fit(3 * X, y)
    with pytest.raises(ValueError, match="NaN"):
        RBMClassifier(2).fit(np.where(X == 1, np.nan, X), y)
    with pytest.raises(ValueError, match="unlabelled"):
        RBMClassifier(2).fit(X, np.full(6, -1))
    with pytest.raises(ValueError, match="at most 20 units"):
        RBMClassifier(30, normalizer="exact").fit(np.eye(40), np.arange(40) % 2)
    with pytest.raises(ValueError, match="alpha"):
        RBMClassifier(alpha=0.0).fit(X, y)
    with pytest.raises(ValueError, match="values beyond 1e\\+15 in columns 0"):
        RBMClassifier(2).fit(1e20 * X, y)
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match="learning_r"):
        RBMClassifier(2, learning_rate=1e20).fit(X, y)


def test_reproducible_and_portable(fitted):
    X, y, X_test, _ = digits(10)
    model = RBMClassifier(8, n_iter=2, random_state=3)
    once, again = clone(model).fit(X, y), clone(model).fit(X, y)
    np.testing.assert_array_equal(once.components_, again.components_)
    copy = pickle.loads(pickle.dumps(once))
    np.testing.assert_array_equal(
        copy.predict_proba(X_test), once.predict_proba(X_test)
    )
    np.testing.assert_array_equal(
        copy.score_samples(X_test), once.score_samples(X_test)
    )


def test_in_a_pipeline_beside_logistic_regression():
    X, y, X_test, y_test = digits(60)
    seen = y >= 0
    model = make_pipeline(MinMaxScaler(), RBMClassifier(32, n_iter=50, random_state=0))
    logistic = LogisticRegression(max_iter=500).fit(X[seen], y[seen])
    accuracy = model.fit(X, y).score(X_test, y_test)
    assert accuracy > logistic.score(X_test, y_test)


FAILS = {
    "check_classifiers_classes": (
        "it fits labels {-1, 1}, where -1 marks unlabelled rows; scikit-learn exempts "
        "its own semi-supervised classifiers by name; unlabeled=None passes"
    )
}


@pytest.fixture
def numpy_state():
    """Put NumPy's global state back: some checks draw from it themselves."""
    state = np.random.get_state()
    yield
    np.random.set_state(state)


@pytest.mark.filterwarnings("ignore::skebm.exceptions.SkebmWarning")
@pytest.mark.usefixtures("numpy_state")
@parametrize_with_checks(
    [RBMClassifier(8, n_iter=30), RBMClassifier(8, n_iter=30, unlabeled=None)],
    expected_failed_checks=lambda e: {} if e.unlabeled is None else FAILS,
)
def test_estimator_check(estimator, check):
    check(estimator)


def test_more_columns_than_a_float_has_powers_of_two():
    rng = np.random.RandomState(0)
    X, y = rng.uniform(size=(30, 1100)) < 0.3, np.arange(30) % 2
    model = RBMClassifier(3, n_iter=1, random_state=0).fit(X, y)
    assert np.isfinite(model.score_samples(X)).all()


def test_sample_needs_a_step():
    X, y = np.eye(4), [0, 1, 0, 1]
    model = RBMClassifier(3, n_iter=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="n_steps must be an int of at least 1"):
        model.sample(2, n_steps=0)
