"""Options of objectives, references, networks and normalisers: named, or they work."""

from functools import partial
from inspect import isclass, signature

import numpy as np
import pandas as pd
import pytest

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.evaluation import NORMALIZERS, ImportanceSampling
from skebm.evaluation.normalizers._resolve import resolve_normalizer
from skebm.exceptions import DivergenceError
from skebm.networks import NETWORKS, GeneratorMLP, PeriodicEmbedding, WaveEmbedding
from skebm.objectives import NCE, OBJECTIVES, Objective
from skebm.objectives._resolve import resolve_objective
from skebm.references import REFERENCES
from skebm.references._resolve import resolve_reference

#: Values of every type; for most options none of them makes sense.
VALUES = [
    *("x", "", b"auto", None, True, -1, 0, 1.5, np.nan, np.inf, -np.inf, 1 + 2j),
    *(10**12, 10**30, -(10**12), [], [1], (), ("a",), (2.5,), {}, {"a": 1}, set()),
    *(np.array([]), np.array([1, 2]), pd.NA, object(), int, range(3), slice(None)),
]
BUILT = {"n_features", "n_outputs", "latent_dim"}


def class_of(maker):
    """Return the class that a registry's entry makes an instance of."""
    maker = maker.func if isinstance(maker, partial) else maker
    return maker if isclass(maker) else maker.__self__


def classes_of(registry):
    return sorted({class_of(maker) for maker in registry.values()}, key=repr)


def options_of(kind):
    return [name for name in signature(kind).parameters if name not in BUILT]


RESOLVED = [
    *[(resolve_objective, kind) for kind in classes_of(OBJECTIVES)],
    *[(resolve_reference, kind) for kind in classes_of(REFERENCES)],
    *[(resolve_normalizer, kind) for kind in classes_of(NORMALIZERS)],
]


@pytest.mark.parametrize(("resolve", "kind"), RESOLVED)
def test_options_that_are_resolved_before_a_fit(resolve, kind):
    for name in options_of(kind):
        for value in VALUES:
            try:
                resolve(kind(**{name: value}))
            except ValueError as error:
                assert f"'{name}' parameter of" in str(error), (name, value)


NETS = [*classes_of(NETWORKS), PeriodicEmbedding, WaveEmbedding, GeneratorMLP]


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("kind", NETS)
def test_options_of_nets_are_checked_when_they_are_built(kind):
    required = [4, 1] if kind in classes_of(NETWORKS) else [4, 2]
    required = required[: 1 if "Embedding" in kind.__name__ else 2]
    for name in options_of(kind):
        for value in VALUES:
            try:
                kind(*required, **{name: value})
            except ValueError as error:
                assert f"'{name}' parameter" in str(error), (name, value)


@pytest.mark.parametrize("n_members", [1, 2])
def test_options_of_nets_are_checked_before_any_is_trained(n_members, monkeypatch):
    """Those of an ensemble too, whose roles are found by training others."""

    def fit(*_):
        pytest.fail("something was trained before the option was refused")

    monkeypatch.setattr("skebm.training.Loop.fit", fit)
    network = partial(NETWORKS["ensemble_mlp"], n_members=n_members, activation=[])
    X = np.random.default_rng(0).normal(size=(30, 2))
    y = np.where(np.arange(30) < 20, np.arange(30) % 2, -1)
    with pytest.raises(ValueError, match="'activation' parameter must be one of"):
        JEMClassifier(network=network).fit(X, y)


# ------------------------------------------------------------------ numbers of NumPy


def test_scalars_of_numpy_are_numbers():
    """As any grid of ``np.arange`` and ``np.linspace`` holds them."""
    X = np.random.default_rng(0).normal(size=(40, 2))

    def scores(whole, real):
        model = EBMDensityEstimator(
            NCE(whole(2)),
            "mlp",
            "gaussian",
            ImportanceSampling(whole(300)),
            max_iter=whole(2),
            batch_size=whole(20),
            n_iter_no_change=whole(5),
            learning_rate=real(0.01),
            weight_averaging=real(0.5),
            validation_fraction=real(0.2),
            batch_growth=real(1.0),
            gradient_clip=real(3.0),
            tol=real(0.0),
            contamination=real(0.1),
            verbose=whole(0),
            random_state=whole(0),
        ).fit(X)
        return np.r_[model.score_samples(X), model.offset_]

    np.testing.assert_array_equal(scores(np.int64, np.float64), scores(int, float))


@pytest.mark.parametrize("kind", classes_of(NORMALIZERS))
def test_sizes_of_numpy_make_the_same_normalizer(kind):
    sizes = {
        name: np.int64(parameter.default)
        for name, parameter in signature(kind).parameters.items()
        if isinstance(parameter.default, int)
    }
    resolved = resolve_normalizer(kind(**sizes))
    assert repr(resolved) == repr(kind())
    assert not any(isinstance(v, np.generic) for v in resolved.get_params().values())


# -------------------------------------------------------------------- options by name


@pytest.mark.parametrize("face", [EBMDensityEstimator, JEMClassifier])
def test_parameters_of_a_name_are_refused_with_advice(face):
    """But of an objective, of which one gets the instance."""
    model = face("vera", normalizer="ais")
    with pytest.raises(ValueError, match=r"'normalizer__n_particles' param.* can't"):
        model.set_params(normalizer__n_particles=10)
    model.set_params(objective__entropy_weight=0.1)
    assert model.objective.entropy_weight == 0.1
    model.set_params(objective=NCE(), objective__noise_ratio=3)
    assert model.objective.noise_ratio == 3
    with pytest.raises(ValueError, match="Invalid parameter 'objectiv'"):
        model.set_params(objectiv__noise_ratio=3)


def test_errors_list_every_choice():
    X = np.zeros((5, 2))
    expected = {"network": "'auto'", "reference": "'auto'.*None", "normalizer": "None"}
    for name, choices in expected.items():
        with pytest.raises(ValueError, match=rf"'{name}' parameter .*{choices}.*'zz'"):
            EBMDensityEstimator(**{name: "zz"}).fit(X)
    for name in ("network", "reference"):
        with pytest.raises(ValueError, match=f"'{name}' parameter is 'auto'.*Name one"):
            JEMClassifier(None, **{name: "auto"}).fit(X, [0, 1, 0, 1, 0])


# -------------------------------------------------------- objectives of a user's own


class Returning(NCE):
    """An objective whose step returns what its docstring tells it to yield."""

    def step(self, model, batch, state, generator):
        return next(super().step(model, batch, state, generator)).value


class Yielding(NCE):
    """An objective that yields tensors."""

    def step(self, model, batch, state, generator):
        yield next(super().step(model, batch, state, generator)).value


class Misnaming(NCE):
    """An objective that names a group which it does not have."""

    def step(self, model, batch, state, generator):
        (loss,) = super().step(model, batch, state, generator)
        yield type(loss)("critic", loss.value)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (Returning(), "Returning.step must yield losses.*It returned a Tensor"),
        (Yielding(), "Yielding.step must yield losses.*It yielded a Tensor"),
        (Misnaming(), r"Misnaming.step yielded.*'critic'; its .* are \['energy'\]"),
    ],
)
def test_a_step_that_is_no_generator_of_losses(objective: Objective, message):
    X = np.random.default_rng(0).normal(size=(30, 2))
    model = EBMDensityEstimator(objective, "mlp", "gaussian", None, max_iter=1)
    with pytest.raises(TypeError, match=message):
        model.fit(X)


# ----------------------------------------------------------------- learning rates


@pytest.mark.parametrize("rate", [1e30, 100.0])
@pytest.mark.parametrize("objective", ["nce", None])
@pytest.mark.parametrize("face", [EBMDensityEstimator, JEMClassifier])
def test_a_learning_rate_far_too_high_is_named(face, objective, rate):
    if objective is None and (face is EBMDensityEstimator or rate == 100.0):
        return  # no density; classes may be right
    X = np.random.default_rng(0).normal(size=(60, 3))
    options = {"early_stopping": False, "learning_rate": rate, "random_state": 0}
    if face is JEMClassifier:
        options["stacking"] = False
    model = face(objective, "mlp", "gaussian", "importance", max_iter=3, **options)
    with pytest.raises(DivergenceError, match=r"learning_rate"):
        model.fit(X, (X[:, 0] > 0).astype(int))
