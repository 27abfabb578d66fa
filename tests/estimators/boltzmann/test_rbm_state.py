"""RBM estimators between fits: failures, pickles, what is there before `fit`."""

import pickle

import joblib
import numpy as np
import pytest

from skebm import (
    BernoulliRBM,
    DeepBeliefNetwork,
    GaussianRBM,
    RBMClassifier,
    SoftmaxRBM,
)
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
    from sklearn.base import clone

    model = clone(MODELS[name]) if model is None else model
    return getattr(model, method)(X, Y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", ALONE)
def test_an_error_in_training_leaves_the_model_whole(name, method, monkeypatch):
    model, twin = fit(name), fit(name)
    before, columns = model.score_samples(X), model.n_features_in_
    epoch = AscentRun.epoch

    def broken(*args):
        epoch(*args)
        raise RuntimeError("the lights went out")

    with monkeypatch.context() as patch:
        patch.setattr(AscentRun, "epoch", broken)
        with pytest.raises(RuntimeError, match="lights"):
            getattr(model, method)(X, Y)
        if method == "fit":
            with pytest.raises(RuntimeError, match="lights"):
                model.fit(X[:, :3], Y)
    assert model.n_features_in_ == columns
    np.testing.assert_array_equal(model.score_samples(X), before)
    if method == "fit":
        np.testing.assert_array_equal(fit(name, model=model).score_samples(X), before)
        np.testing.assert_array_equal(twin.score_samples(X), before)


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


@pytest.mark.parametrize("name", [name for name in MODELS if name != "softmax"])
def test_skops(name):
    """All but categories, which pandas keeps and skops does not know."""
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    model = fit(name)
    stored = skops.dumps(model)
    untrusted = skops.get_untrusted_types(data=stored)
    loaded = skops.loads(stored, trusted=untrusted)
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))


@pytest.mark.parametrize("name", ALONE)
def test_what_is_learnt_is_not_there_before_fit(name):
    for attribute in ("components_", "intercept_hidden_", "h_samples_", "offset_"):
        assert not hasattr(MODELS[name], attribute)
    with pytest.raises(ValueError, match=r"0\.1\.0 or earlier"):
        type(MODELS[name])().__setstate__({"n_components": 4})


def test_contamination_may_be_changed_after_fit():
    model = fit("bernoulli")
    scores = model.score_samples(X)
    for contamination in (0.05, 0.3):
        offset = model.set_params(contamination=contamination).offset_
        assert offset == pytest.approx(np.quantile(scores, contamination))
