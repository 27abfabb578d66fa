"""A second fit: refused it leaves the first one whole; what may change and what not."""

import copy
import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.networks import MLP
from skebm.objectives import VERA
from skebm.training import GradientRun

FACES = {"density": EBMDensityEstimator, "classifier": JEMClassifier}


@pytest.fixture(params=FACES)
def face(request):
    return request.param


def make(face, **options):
    defaults = {
        "ood_score": "log_density",  # the others are learnt, for a second each
        "network": partial(MLP, hidden_features=(8,)),
        "reference": "gaussian",
        "normalizer": "importance",
        "max_iter": 3,
        "random_state": 0,
    }
    return FACES[face](**(defaults | options))


def answers(model, X):
    return np.column_stack([model.score_samples(X), model.predict(X)])


# ------------------------------------------------------------------ all or nothing


def broken(model, X, y):
    """Calls that are refused at ever later stages."""
    names = np.where(y == 0, 5, 7)
    yield lambda: model.fit(np.full_like(X[:, :1], np.nan), names)
    yield lambda: model.fit(X[:, :1], names, sample_weight=np.eye(len(X))[0])
    yield lambda: model.set_params(network="mpl").fit(X[:, :1], names)
    yield lambda: model.set_params(network=lambda n, k: 3).fit(X[:, :1], names)


def test_a_refused_fit_leaves_the_model_whole(face, blobs):
    X, y = blobs
    for number in range(4):
        model = make(face).fit(X, y)
        before = answers(model, X)
        call = list(broken(model, X, y))[number]
        with pytest.raises(ValueError):
            call()
        np.testing.assert_array_equal(answers(model, X), before)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("weight_averaging", [0.0, 0.9])
def test_an_error_in_training_leaves_the_model_whole(
    face, method, weight_averaging, blobs, monkeypatch
):
    X, y = blobs
    model = make(face, warm_start=True, weight_averaging=weight_averaging).fit(X, y)
    before = answers(model, X)
    run_epoch = GradientRun.epoch

    def broken(*args):
        run_epoch(*args)
        raise RuntimeError("the lights went out")

    with monkeypatch.context() as patch:
        patch.setattr(GradientRun, "epoch", broken)
        with pytest.raises(RuntimeError, match="lights"):
            getattr(model, method)(X, y)
    np.testing.assert_array_equal(answers(model, X), before)
    assert not model.network_.training
    twin = make(face, warm_start=True, weight_averaging=weight_averaging).fit(X, y)
    getattr(model, method)(X, y)
    getattr(twin, method)(X, y)
    np.testing.assert_array_equal(answers(model, X), answers(twin, X))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fit_needs_no_gradients_from_outside(face, mode, blobs):
    X, y = blobs
    with mode():
        model = make(face).fit(X, y).partial_fit(X, y)
        inside = answers(model, X)
        model.sample(2)
    np.testing.assert_array_equal(answers(model, X), inside)
    expected = make(face).fit(X, y).partial_fit(X, y)
    np.testing.assert_array_equal(answers(expected, X), inside)


@pytest.mark.parametrize("normalizer", ["ais", "importance"])
def test_the_first_question_may_come_in_inference_mode(face, normalizer, blobs):
    """Chains of log Z need gradients, which that mode forbids."""
    X, y = blobs
    model, twin = (make(face, normalizer=normalizer).fit(X, y) for _ in range(2))
    with torch.inference_mode():
        scores = model.score_samples(X)
    np.testing.assert_array_equal(scores, twin.score_samples(X))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_copy_keeps_the_model_that_it_shared(face, method, blobs):
    X, y = blobs
    model = make(face, warm_start=True, early_stopping=False).fit(X, y)
    earlier, before = copy.copy(model), answers(model, X)
    getattr(model, method)(X, y)
    np.testing.assert_array_equal(answers(earlier, X), before)
    assert np.abs(answers(model, X) - before).max() > 1e-6


# ------------------------------------------------------------------ going on


CHANGES = {
    "network": "mlp",
    "reference": "gmm",
    "objective": "nce",
    "objective__entropy_weight": 0.5,
}


@pytest.mark.parametrize("option", CHANGES)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_the_parts_of_a_model_that_goes_on_may_not_change(face, method, option, blobs):
    X, y = blobs
    model = make(face, objective=VERA(), warm_start=True).fit(X, y)
    model = pickle.loads(pickle.dumps(model))
    getattr(model, method)(X, y)
    model.set_params(**{option: CHANGES[option]})
    name = option.partition("__")[0]
    with pytest.raises(ValueError, match=f"'{name}' parameter was changed, from"):
        getattr(model, method)(X, y)
    model.set_params(warm_start=False).fit(X, y)


def test_rows_outside_the_box_are_refused_by_column(face, blobs):
    X, y = blobs
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = make(face, reference=None, warm_start=True).fit(frame, y)
    far = frame.assign(b=frame["b"] * 9)
    for method in (model.partial_fit, model.fit):
        with pytest.raises(ValueError, match=r"outside the box .* column 'b', .*zero"):
            method(far, y)
    assert np.isfinite(model.partial_fit(frame, y).score_samples(frame)).all()
    assert np.isfinite(model.offset_)


def test_one_row_at_a_time(face, blobs):
    """Scaling, ties and radius are those of the first rows."""
    X, y = blobs
    model = make(face, batch_size=32).partial_fit(X, y)
    for i in range(5):
        model.partial_fit(X[i : i + 1], y[i : i + 1], sample_weight=[2.0])
    assert not model._fitted.assembly.tie_scale.any()
    assert np.isfinite(model.score_samples(X)).all()
    with pytest.raises(ValueError, match=r"1 sample\(s\).*minimum of 2 is required"):
        make(face).partial_fit(X[:1], y[:1])


def test_later_classes_are_those_of_the_first_call(blobs):
    X, y = blobs
    model = make("classifier").partial_fit(X, y, classes=[0, 1, 2])
    radius = model.vat_radius_
    model.partial_fit(X[:9], y[:9], classes=[2, 1, 0])
    assert model.vat_radius_ == radius
    with pytest.raises(ValueError, match=r"'classes'.*\[0, 1, 2\]. Got \[0, 1\]"):
        model.partial_fit(X, y, classes=[0, 1])
    assert model.classes_.tolist() == [0, 1, 2]


def test_samples_of_a_model_with_names_do_not_warn(blobs):
    X, y = blobs
    model = make("classifier").fit(pd.DataFrame(X, columns=["a", "b"]), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn, names = model.sample(5, random_state=0)
    assert drawn.shape == (5, 2) and set(names) <= {0, 1, 2}
