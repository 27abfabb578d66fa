"""Estimators whose network sees rows as images."""

import pickle
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from torch import nn

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.exceptions import DataWarning
from skebm.networks import ConvNet, ImageEnsemble, ImageNetwork
from skebm.objectives import ImprovedCD
from skebm.persistence import load, save
from skebm.samplers import MALA, AugmentedLangevin

OPTIONS = {"reference": "gaussian", "normalizer": "importance", "max_iter": 1}
OPTIONS |= {"random_state": 0, "ood_score": "log_density"}
SMALL = partial(ConvNet, hidden_channels=(4, 4), hidden_features=8)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300]


class CircularGaussian(ImageNetwork):
    """-|k * u|^2 / 2 with a filter k that wraps around the edge."""

    def __init__(self, n_features, n_outputs, image_shape=None):
        super().__init__(n_features, image_shape)
        self.filter = nn.Parameter(torch.tensor([[0.0, 0.1], [-0.2, 0.3]])[None, None])

    def of_images(self, images):
        wrapped = nn.functional.pad(images, (0, 1, 0, 1), mode="circular")
        filtered = nn.functional.conv2d(wrapped, self.filter)
        return -0.5 * filtered.flatten(1).square().sum(dim=1, keepdim=True)


def test_a_filter_tilts_a_normal_to_a_normal():
    """Scores are those of the closed form: units of pixels, log Z and the Jacobian."""
    rng = np.random.default_rng(0)
    X = rng.normal(2.0, 3.0, size=(400, 9)) @ rng.normal(size=(9, 9))
    model = EBMDensityEstimator(
        "nce",
        CircularGaussian,
        image_shape=(1, 3, 3),
        learning_rate=1e-12,
        early_stopping=False,
        **OPTIONS,
    ).fit(X)
    location, scale = X.mean(0), X.std(0)
    spread = np.sqrt((scale**2 + (location - location.mean()) ** 2).mean())
    circulant = np.zeros((3, 3, 3, 3))
    for i in range(3):
        for j in range(3):
            for (a, b), k in np.ndenumerate([[0.0, 0.1], [-0.2, 0.3]]):
                circulant[i, j, (i + a) % 3, (j + b) % 3] = k
    A = circulant.reshape(9, 9) / spread
    offset = A @ np.full(9, location.mean())
    q0 = model.reference_
    L = scale[:, None] * q0.cholesky[0].double().numpy()
    mean = location + scale * q0.means[0].double().numpy()
    prior = np.linalg.inv(L @ L.T)
    precision = prior + A.T @ A
    centre = np.linalg.solve(precision, prior @ mean + A.T @ offset)
    difference = X - centre
    expected = 0.5 * np.linalg.slogdet(precision)[1] - 4.5 * np.log(2 * np.pi)
    expected = expected - 0.5 * ((difference @ precision) * difference).sum(axis=1)
    assert model.energy(X).std() > 0.3
    np.testing.assert_allclose(
        model.score_samples(X), expected, atol=4 * model.log_normalizer_se_ + 1e-3
    )


@pytest.mark.parametrize("network", ["conv", "resnet", "multi_scale"])
def test_a_density_of_images(digits, network):
    X = digits[0][:100]
    model = EBMDensityEstimator(
        network=network,
        image_shape=(1, 8, 8),
        batch_size=90,
        **{**OPTIONS, "normalizer": None},
    )
    model = clone(model).fit(X)
    assert model.network_.image_shape == (1, 8, 8)
    shown = model.network_.images(torch.from_numpy(model._fitted.encoder.encode(X)))
    np.testing.assert_allclose(
        shown.reshape(100, 64), (X - X.mean()) / X.std(), atol=1e-4
    )
    scores = model.score_samples(X[:50])
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).score_samples(X[:50]), scores
    )


def test_a_net_of_images_is_stored(digits, tmp_path):
    X, _ = digits
    model = EBMDensityEstimator(network=SMALL, image_shape=(1, 8, 8), **OPTIONS).fit(X)
    assert model.sample(2, random_state=0).shape == (2, 64)
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))


@pytest.mark.parametrize("n_members", [1, 2])
def test_a_classifier_of_images(digits, n_members):
    """All terms of the joint objective: graph, consistency, the density's."""
    X, y = digits
    network = SMALL if n_members == 1 else partial(ImageEnsemble, network=SMALL)
    if n_members == 2:
        network = partial(network, n_members=2)
    model = JEMClassifier(
        network=network,
        image_shape=(1, 8, 8),
        stacking=False,
        **{**OPTIONS, "max_iter": 3},
    )
    few = np.where(np.arange(300) < 150, y, -1)
    model.fit(X, few)
    assert model.network_.image_shape == (1, 8, 8)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    assert model.sample(3, y=4, random_state=0)[0].shape == (3, 64)


def test_stacking_weighs_members_that_see_images(digits):
    X, y = digits
    keep = np.isin(y, [0, 1])
    few = np.where(np.arange(keep.sum()) < 30, y[keep], -1)
    network = partial(ImageEnsemble, network=SMALL, n_members=3)
    model = JEMClassifier(
        None, network, image_shape=(1, 8, 8), random_state=0
    ).set_params(max_iter=1)
    model.fit(X[keep], few)
    assert sum(model.role_weights_.values()) == pytest.approx(1.0)
    weights = model.network_.log_weights.exp()
    assert weights.sum() == pytest.approx(1.0, abs=1e-5)


def refuse_to_train(monkeypatch):
    def fit(*_):
        pytest.fail("something was trained before the option was refused")

    monkeypatch.setattr("skebm.training.Loop.fit", fit)


@pytest.mark.parametrize("face", [EBMDensityEstimator, JEMClassifier])
@pytest.mark.parametrize("network", ["conv", "mlp"])
@pytest.mark.parametrize("shape", [(1, 4, 4), (8, 8), (1, 8, 8.0), [64]])
def test_a_wrong_shape_is_refused_before_training(
    digits, face, network, shape, monkeypatch
):
    refuse_to_train(monkeypatch)
    X, y = digits
    with pytest.raises(ValueError, match="'image_shape' parameter must be") as caught:
        face(network=network, image_shape=shape).fit(X, y)
    assert "64" in str(caught.value) and repr(shape) in str(caught.value)


def test_columns_that_are_no_square_need_a_shape(digits, monkeypatch):
    refuse_to_train(monkeypatch)
    with pytest.raises(ValueError, match=r"'image_shape' .* Got None"):
        EBMDensityEstimator(network="conv").fit(digits[0][:, :63])


def test_a_guessed_shape_is_told(digits):
    X, _ = digits
    with pytest.warns(DataWarning, match=r"set image_shape=\(1, 8, 8\)"):
        model = EBMDensityEstimator("nce", SMALL, **OPTIONS).fit(X)
    assert model.network_.image_shape == (1, 8, 8)


def test_two_shapes_are_refused(digits):
    network = partial(SMALL, image_shape=(4, 4, 4))
    with pytest.raises(ValueError, match="Give it once"):
        EBMDensityEstimator(network=network, image_shape=(1, 8, 8)).fit(digits[0])
    assert EBMDensityEstimator("nce", network, **OPTIONS).fit(
        digits[0]
    ).network_.image_shape == (4, 4, 4)


def test_a_shape_says_nothing_to_other_nets(digits):
    """So that a grid may hold both."""
    X, _ = digits
    scores = [
        EBMDensityEstimator("nce", "mlp", image_shape=shape, **OPTIONS).fit(X).score(X)
        for shape in (None, (1, 8, 8))
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("face", [EBMDensityEstimator, JEMClassifier])
def test_columns_of_categories_are_refused(digits, face, monkeypatch):
    refuse_to_train(monkeypatch)
    X, y = digits
    X = np.where(np.arange(64) == 20, X > 0.5, X).astype(float)
    model = face(network="conv", image_shape=(1, 8, 8), categorical_features=[20])
    with pytest.raises(ValueError, match=r"categories or atoms \(number 20\)"):
        model.fit(X, y)


# ------------------------------------------------------------------ transitions


class Shown:
    """A transition that keeps what any of its copies is given."""

    rows: ClassVar[list] = []

    def __call__(self, x, generator):
        self.rows.append(x)
        return x


def test_transitions_of_training_and_of_sample_see_pixels(digits):
    """In the units of the net, whatever the columns' own."""
    X, _ = digits
    seen = Shown()
    seen.rows.clear()
    objective = ImprovedCD(n_steps=1, transitions=(seen,), kl_weight=0.0)
    model = EBMDensityEstimator(
        objective, SMALL, image_shape=(1, 8, 8), **{**OPTIONS, "normalizer": None}
    ).fit(X)
    outer = X.std(axis=0) < 0.05
    assert seen.rows[0][:, outer].std(dim=0).max() < 0.5
    assert seen.rows[0][:, ~outer].std() > 0.8
    sampler = AugmentedLangevin(0.05, transitions=[seen], interval=3)
    seen.rows.clear()
    drawn = model.sample(50, random_state=0, sampler=sampler, n_steps=6)
    assert len(seen.rows) == 2 and drawn.shape == (50, 64)
    assert seen.rows[0][:, outer].std(dim=0).max() < 0.5


def test_chains_of_a_sampler_follow_the_density():
    """Those of MALA, on a net that has learnt nothing: a normal."""
    X = np.random.default_rng(0).normal([3.0, -1.0], [2.0, 0.5], size=(500, 2))
    model = EBMDensityEstimator("nce", "mlp", **OPTIONS, learning_rate=1e-12).fit(X)
    drawn = model.sample(2000, random_state=0, sampler=MALA(0.8), n_steps=20)
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(drawn.std(axis=0), X.std(axis=0), rtol=0.08)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sampler": "mala"},
            "'sampler' parameter of sample must be None or a sampler",
        ),
        ({"sampler": MALA(), "n_steps": 0}, "'n_steps' parameter of sample .* Got 0"),
        ({"sampler": MALA(), "given": [[0.0, np.nan]]}, "don't go together"),
    ],
)
def test_options_of_chains_are_checked(options, message):
    X = np.random.default_rng(0).normal(size=(50, 2))
    model = EBMDensityEstimator("nce", "mlp", **OPTIONS).fit(X)
    with pytest.raises(ValueError, match=message):
        model.sample(2, **options)
