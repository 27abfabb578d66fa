"""RBM estimators between fits: failures, pickles, what is there before `fit`."""

import math
import pickle
from dataclasses import replace

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from skebm import (
    BernoulliRBM,
    DeepBeliefNetwork,
    GaussianRBM,
    RBMClassifier,
    SoftmaxRBM,
)
from skebm.exceptions import CalibrationWarning
from skebm.models.boltzmann._metrics import PseudoLikelihood
from skebm.training import AscentRun, Loop

X = (np.random.RandomState(0).uniform(size=(60, 5)) < 0.4).astype(float)
Y = np.arange(60) % 3 - 1
MODELS = {
    "bernoulli": BernoulliRBM(4, n_iter=3, random_state=0),
    "gaussian": GaussianRBM(4, n_iter=3, random_state=0),
    "softmax": SoftmaxRBM(4, n_iter=3, random_state=0),
    "classifier": RBMClassifier(4, n_iter=3, random_state=0),
    "deep belief": DeepBeliefNetwork((4, 3), n_iter=2, random_state=0),
}
ALONE = [name for name in MODELS if name != "deep belief"]


def fit(name, method="fit", model=None):
    model = clone(MODELS[name]) if model is None else model
    return getattr(model, method)(X, Y)


@pytest.fixture
def fail(monkeypatch):
    """Return a function that calls a method whose training fails after an epoch."""
    epoch = AscentRun.epoch

    def broken(*args):
        epoch(*args)
        raise RuntimeError("the lights went out")

    def run(method, *args):
        with monkeypatch.context() as patch:
            patch.setattr(AscentRun, "epoch", broken)
            with pytest.raises(RuntimeError, match="lights"):
                method(*args)

    return run


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", ALONE)
def test_an_error_in_training_leaves_the_model_whole(name, method, fail):
    model, twin = (fit(name).partial_fit(X, Y) for _ in range(2))
    before, columns = model.score_samples(X), model.n_features_in_
    fail(getattr(model, method), X, Y)
    fail(model.fit, X[:, :3], Y)
    assert model.n_features_in_ == columns
    np.testing.assert_array_equal(model.score_samples(X), before)
    for _ in range(2):
        again = [getattr(m, method)(X, Y).score_samples(X) for m in (model, twin)]
        np.testing.assert_array_equal(*again)


@pytest.mark.parametrize("name", ALONE)
def test_a_failed_first_pass_leaves_nothing(name, fail):
    rng = np.random.RandomState(5)
    model = clone(MODELS[name]).set_params(random_state=rng)
    attributes, stream = set(vars(model)), rng.get_state()[1].copy()
    fail(model.partial_fit, X, Y)
    assert set(vars(model)) == attributes
    np.testing.assert_array_equal(model.random_state.get_state()[1], stream)
    twin = clone(MODELS[name]).set_params(random_state=np.random.RandomState(5))
    scores = [fit(name, "partial_fit", m).score_samples(X) for m in (model, twin)]
    np.testing.assert_array_equal(*scores)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
@pytest.mark.parametrize("device", ["cuda", torch.device("cuda:3")])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_fitted_on_a_gpu_loads_on_a_cpu(name, device):
    model = fit(name)
    scores, features = model.score_samples(X), model.n_features_in_
    getattr(model, "offset_", None)  # a threshold that is not known asks for training
    for part in (model, *getattr(model, "rbms_", ())):
        part._fitted = replace(part._fitted, device=device)
    if name == "deep belief":
        rbms = tuple(replace(rbm, device=device) for rbm in model._fitted.rbms)
        model._fitted = replace(model._fitted, rbms=rbms)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.score_samples(X), scores)
    draws = loaded.sample(3, random_state=0, n_steps=5)
    assert (draws[0] if name == "classifier" else draws).shape == (3, features)
    if name in ALONE:
        assert np.isfinite(loaded.partial_fit(X, Y).score_samples(X)).all()


def test_rollbacks_are_in_the_history(monkeypatch):
    metric, calls = PseudoLikelihood.of_epoch, []

    def broken(self, *args):
        calls.append(1)
        return math.nan if len(calls) == 2 else metric(self, *args)

    monkeypatch.setattr(PseudoLikelihood, "of_epoch", broken)
    model = fit("bernoulli", model=BernoulliRBM(4, n_iter=4, random_state=0))
    assert model.history_["n_rollbacks"] == [0, 1, 1, 1]
    assert {len(entries) for entries in model.history_.values()} == {4}


def test_a_failed_refit_with_other_classes_keeps_the_old_ones(monkeypatch):
    model = fit("classifier")
    monkeypatch.setattr(Loop, "fit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.fit(X, np.array(["a", "b"])[Y % 2])
    assert model.classes_.tolist() == [0, 1]
    assert set(model.predict(X)) <= {0, 1}


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_copies_answer_alike(name, calibrated, tmp_path):
    model = fit(name)
    if calibrated:
        model.score_samples(X)
    joblib.dump(model, tmp_path / "model")
    copies = [pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model")]
    for copied in copies:
        np.testing.assert_array_equal(copied.score_samples(X), model.score_samples(X))
    if name in ALONE:
        copies = [c.partial_fit(X, Y).score_samples(X) for c in (*copies, model)]
        np.testing.assert_array_equal(copies[0], copies[2])
        np.testing.assert_array_equal(copies[1], copies[2])


@pytest.mark.parametrize("name", MODELS)
def test_skops(name):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    model = fit(name)
    stored = skops.dumps(model)
    untrusted = skops.get_untrusted_types(data=stored)
    loaded = skops.loads(stored, trusted=untrusted)
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))


LEARNT = {
    "components_",
    "intercept_hidden_",
    "h_samples_",
    "offset_",
    "covariance_",
    "categories_",
    "log_normalizer_",
    "rbms_",
    "generative_components_",
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_learnt_is_not_there_before_fit(name):
    for attribute in LEARNT:
        assert not hasattr(MODELS[name], attribute)
    with pytest.raises(ValueError, match=r"0\.1\.0 or earlier"):
        type(MODELS[name])().__setstate__({"n_components": 4})


def test_contamination_may_be_changed_after_fit():
    model = fit("bernoulli")
    scores = model.score_samples(X)
    offsets = []
    for contamination in (0.05, 0.3):
        offsets.append(model.set_params(contamination=contamination).offset_)
        # Rows are scored as if left out, so that fewer of them are called out.
        assert (scores < offsets[-1]).mean() <= contamination + 0.05
    assert offsets[0] < offsets[1]
    for wrong in (0.7, 0, np.nan, "some"):
        with pytest.raises(ValueError, match="'contamination' parameter of Bernoulli"):
            model.set_params(contamination=wrong).predict(X)
    with pytest.warns(CalibrationWarning, match="contamination=0.0001 is too small"):
        model.set_params(contamination=0.0001).predict(X)
