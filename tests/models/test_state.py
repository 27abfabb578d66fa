"""Fitted estimators that are stored, copied and taken up again."""

import copy
import io
import pickle
import subprocess
import sys
import warnings
from functools import partial
from importlib.metadata import version

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.estimators import _stored
from skebm.exceptions import NormalizerWarning
from skebm.networks import MLP, EnsembleMLP
from skebm.objectives import VERA

OPTIONS = {
    "ood_score": "log_density",  # the others are learnt, for a second each
    "reference": "gaussian",
    "normalizer": "importance",
    "max_iter": 4,
    "random_state": 0,
}

EXACT = VERA(entropy_weight=0.5)


def make(face, **options):
    network = EnsembleMLP if face == "classifier" else MLP
    options = {"network": partial(network, hidden_features=(8,))} | OPTIONS | options
    if face == "classifier":
        return JEMClassifier(**options)
    if face == "gmm":
        options["reference"] = "gmm"
    if face == "box":
        options["reference"] = None
    return EBMDensityEstimator(**options)


@pytest.fixture(params=["density", "gmm", "box", "classifier"])
def face(request):
    return request.param


@pytest.fixture
def rows(blobs):
    X, y = blobs
    return X, np.where(np.arange(len(y)) % 5 == 0, y, -1)


@pytest.fixture
def model(face, rows):
    return make(face).fit(*rows)


def outputs(model, X):
    parts = [
        model.score_samples(X),
        model.energy(X),
        model.predict(X),
        model.sample(3, random_state=0),
    ]
    if isinstance(model, JEMClassifier):
        parts[-1] = parts[-1][0]
        parts.append(model.predict_proba(X))
    return parts


def assert_same(one, other, X):
    for a, b in zip(outputs(one, X), outputs(other, X), strict=True):
        np.testing.assert_array_equal(a, b)


def by_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIERS = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "joblib": by_joblib,
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.mark.parametrize("copier", COPIERS)
def test_a_copy_gives_the_same_answers(copier, model, rows):
    copied = COPIERS[copier](model)
    assert_same(copied, model, rows[0])
    assert copied.get_params().keys() == model.get_params().keys()
    assert copied.n_iter_ == model.n_iter_
    shared = set(model.history_) - {"seconds"}
    assert {k: copied.history_[k] for k in shared} == {
        k: model.history_[k] for k in shared
    }


def test_a_copy_of_a_copy_is_the_same(model, rows):
    assert_same(pickle.loads(pickle.dumps(copy.deepcopy(model))), model, rows[0])


def test_clone_forgets_the_fit(model, rows):
    with pytest.raises(NotFittedError):
        clone(model).score_samples(rows[0])
    assert_same(clone(model).fit(*rows), model, rows[0])


def test_unfitted_and_half_fitted_estimators_pickle(face, rows):
    model = make(face)
    with pytest.raises(NotFittedError):
        pickle.loads(pickle.dumps(model)).score_samples(rows[0])
    broken = make(face, network=lambda n, k: 3)
    with pytest.raises(ValueError):
        broken.fit(*rows)
    with pytest.raises(NotFittedError):
        copy.deepcopy(broken).energy(rows[0])


def test_skops(model, rows):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    stored = skops.dumps(model)
    untrusted = skops.get_untrusted_types(data=stored)
    assert not [name for name in untrusted if name.startswith("torch")]
    loaded = skops.loads(stored, trusted=untrusted)
    assert_same(loaded, model, rows[0])


def test_equal_fits_hash_alike(face, model, rows):
    """As `Pipeline(memory=...)` and joblib's caches need."""
    assert joblib.hash(make(face).fit(*rows)) == joblib.hash(model)
    assert joblib.hash(copy.deepcopy(model)) == joblib.hash(model)
    other = make(face, random_state=1).fit(*rows).set_params(random_state=0)
    assert joblib.hash(other) != joblib.hash(model)


def test_warm_start_goes_on_alike_after_unpickling(face, rows):
    """Optimisers, generator net, chains and random streams travel along."""
    model = make(face, objective=EXACT, warm_start=True, early_stopping=False)
    model.fit(*rows)
    copied = pickle.loads(pickle.dumps(model))
    before = model.energy(rows[0])
    assert_same(copied.fit(*rows), model.fit(*rows), rows[0])
    assert np.abs(model.energy(rows[0]) - before).max() > 1e-4


def test_partial_fit_goes_on_alike_after_unpickling(face, rows):
    model = make(face, objective=EXACT)
    for _ in range(2):
        model.partial_fit(*rows)
    copied = pickle.loads(pickle.dumps(model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NormalizerWarning)
        assert_same(copied, model, rows[0])
        model.partial_fit(*rows)
        copied.partial_fit(*rows)
        assert_same(copied, model, rows[0])


def test_a_state_is_as_small_as_answers_allow(rows):
    """No optimisers and weights before averaging, unless training is to go on."""
    wide = {"network": partial(MLP, hidden_features=(100, 100)), "max_iter": 1}
    model = make("density", **wide).fit(rows[0])
    n_weights = sum(p.numel() for p in model.network_.parameters())
    assert 4 * n_weights < len(pickle.dumps(model)) < 4 * n_weights + 20_000
    kept = make("density", **wide, warm_start=True).fit(rows[0])
    assert len(pickle.dumps(kept)) > len(pickle.dumps(model)) + 4 * n_weights
    # Training goes on all the same: from the average.
    loaded = pickle.loads(pickle.dumps(model))
    before = loaded.energy(rows[0])
    loaded.partial_fit(rows[0])
    assert 0 < np.abs(loaded.energy(rows[0]) - before).max() < 1


def test_a_mixture_is_stored_without_the_zeros_of_its_factors():
    X = np.random.RandomState(0).normal(size=(200, 30))
    options = {"reference": "gmm", "max_iter": 1, "normalizer": None}
    model = make("density", **options).fit(X)
    arrays = model.__getstate__()["_fitted"]["assembly"]["reference"]["arrays"]
    (triangles,) = [a["triangles"] for a in arrays.values() if isinstance(a, dict)]
    assert triangles.shape[-1] == 30 * 31 / 2
    loaded = pickle.loads(pickle.dumps(model)).reference_.state_dict()
    for name, array in model.reference_.state_dict().items():
        assert torch.equal(loaded[name], array)


def test_state_holds_no_tensor_and_no_training_rows(model, rows):
    def leaves(tree):
        if isinstance(tree, dict):
            for value in tree.values():
                yield from leaves(value)
        elif isinstance(tree, (list, tuple)):
            for value in tree:
                yield from leaves(value)
        elif hasattr(tree, "__dict__") and not isinstance(tree, type):
            yield from leaves(vars(tree))
        else:
            yield tree

    state = list(leaves(model.__getstate__()))
    assert not [leaf for leaf in state if isinstance(leaf, torch.Tensor)]
    arrays = [leaf for leaf in state if isinstance(leaf, np.ndarray)]
    assert arrays
    of_rows = [a for a in arrays if a.ndim > 1 and len(a) == len(rows[0])]
    assert not [a.shape for a in of_rows]


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_model_fitted_on_a_gpu_loads_on_a_cpu(device, face, model, rows):
    """A CUDA generator's state is 16 bytes; it means nothing here."""
    state = model.__getstate__()
    arrays = state["_fitted"]
    arrays["assembly"]["device"] = device
    arrays["run"]["generator"] = np.zeros(16, dtype=np.uint8)
    loaded = type(model).__new__(type(model))
    loaded.__setstate__(pickle.loads(pickle.dumps(state)))
    assert loaded._fitted.device == torch.device("cpu")
    assert_same(loaded, model, rows[0])
    loaded.partial_fit(*rows)
    assert np.isfinite(loaded.energy(rows[0])).all()


@pytest.mark.gpu
def test_a_model_fitted_on_a_gpu_scores_alike_where_there_is_none(face, rows):
    model = make(face, device="cuda").fit(*rows)
    code = (
        "import pickle, sys, numpy; "
        "model, X, expected = pickle.load(sys.stdin.buffer); "
        "assert model._fitted.device.type == 'cpu'; "
        "numpy.testing.assert_allclose(model.score_samples(X), expected, atol=1e-3)"
    )
    payload = pickle.dumps((model, rows[0], model.score_samples(rows[0])))
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=payload,
        capture_output=True,
        env={"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr.decode()


def test_states_of_other_versions_are_told_apart(model, rows):
    """One of 0.1.0 has no format; one of a later format is not guessed at."""
    for stored, message in (
        ({"_skebm_format": None, "_skebm_version": None}, r"0\.1\.0 or earlier"),
        ({"_skebm_format": 99, "_skebm_version": "9.0"}, r"skebm 9\.0, in format 99"),
    ):
        state = model.__getstate__() | stored
        state = {name: value for name, value in state.items() if value is not None}
        with pytest.raises(ValueError, match=message) as error:
            type(model).__new__(type(model)).__setstate__(state)
        assert f"skebm {version('skebm')}" in str(error.value)


def test_skops_of_categories(rows):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    sky = pd.Series(["sun", "rain", "snow"] * 50, dtype="category")
    wet = pd.Series([True, False] * 75)
    X = pd.DataFrame({"sky": sky, "wet": wet, "warmth": rows[0][:, 0]})
    model = make("density", max_iter=1, normalizer=None).fit(X)
    stored = skops.dumps(model)
    untrusted = skops.get_untrusted_types(data=stored)
    assert not [name for name in untrusted if name.startswith(("torch", "pandas"))]
    loaded = skops.loads(stored, trusted=untrusted)
    drawn, expected = (m.sample(5, random_state=0) for m in (loaded, model))
    pd.testing.assert_frame_equal(drawn, expected)
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))


def test_older_formats_are_brought_up_to_date(model, rows, monkeypatch):
    state = model.__getstate__()
    state["old_name"] = state.pop("n_features_in_")
    present = _stored.FORMAT
    rename = {present: lambda old: {**old, "n_features_in_": old["old_name"]}}
    monkeypatch.setattr(_stored, "FORMAT", present + 1)
    monkeypatch.setattr(_stored, "UPGRADES", rename)
    loaded = type(model).__new__(type(model))
    loaded.__setstate__(state)
    assert_same(loaded, model, rows[0])


def test_a_user_made_network_travels(rows):
    model = make("density", network=Wide).fit(rows[0])
    assert_same(pickle.loads(pickle.dumps(model)), model, rows[0])


class Wide(MLP):
    """A net of a user's own, by a class at module level."""

    def __init__(self, n_features, n_outputs):
        super().__init__(n_features, n_outputs, hidden_features=(9,))
