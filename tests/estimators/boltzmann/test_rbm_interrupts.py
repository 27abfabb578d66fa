"""RBM estimators are whole: after errors, and after Ctrl-C at any moment."""

import copy
import os
import signal
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import skebm
from skebm import (
    BernoulliRBM,
    DeepBeliefNetwork,
    GaussianRBM,
    RBMClassifier,
    SoftmaxRBM,
)
from skebm.exceptions import DivergenceError, TrainingWarning
from skebm.training import AscentRun

#: Short fits may be no better than independent columns, of which they warn.
pytestmark = pytest.mark.filterwarnings("ignore::skebm.exceptions.TrainingWarning")

RNG = np.random.RandomState(0)
X = (RNG.uniform(size=(40, 5)) < 0.4).astype(float)
Y = np.arange(40) % 3 - 1
OTHER = pd.DataFrame((RNG.uniform(size=(30, 3)) < 0.5).astype(float), columns=[*"abc"])
OTHER_Y = np.where(np.arange(30) % 2, "u", "v")
MODELS = {
    "bernoulli": BernoulliRBM(3, n_iter=2, random_state=0),
    "gaussian": GaussianRBM(3, n_iter=2, random_state=0),
    "softmax": SoftmaxRBM(3, n_iter=2, random_state=0),
    "classifier": RBMClassifier(3, n_iter=2, random_state=0),
    "deep belief": DeepBeliefNetwork((3, 2), n_iter=2, random_state=0),
}
ALONE = [name for name in MODELS if name != "deep belief"]
SOURCES = os.path.dirname(skebm.__file__)


def fit(name):
    return clone(MODELS[name]).fit(X, Y)


def columns_of(model):
    names = getattr(model, "feature_names_in_", None)
    return model.n_features_in_, None if names is None else list(names)


def run_out_of_memory(*args):
    raise MemoryError


def diverging(name):
    rate = "fine_tuning_rate" if name == "deep belief" else "learning_rate"
    more = {"n_fine_tuning_iter": 1} if name == "deep belief" else {}
    return {rate: 1e30, **more}


def failures():
    """Yield a name, options that are set before, X and y of a fit that must fail."""
    for name in MODELS:
        yield name, "diverges", DivergenceError, diverging(name), OTHER, OTHER_Y
        yield name, "no value", ValueError, {}, OTHER * [1, np.nan, 1], OTHER_Y
        yield name, "memory", MemoryError, {}, OTHER, OTHER_Y
    yield "classifier", "one class", ValueError, {}, OTHER, np.zeros(30)
    yield "classifier", "length", ValueError, {}, OTHER, OTHER_Y[:7]
    yield (
        "classifier",
        "weight",
        ValueError,
        {"class_weight": {"u": -1}},
        OTHER,
        OTHER_Y,
    )
    yield "softmax", "categories", ValueError, {"categories": [[0]]}, OTHER, OTHER_Y
    for name in ("bernoulli", "classifier"):
        yield name, "range", ValueError, {"check_range": "raise"}, 3 * OTHER, OTHER_Y


@pytest.mark.parametrize(
    "name, what, error, options, table, y",
    [pytest.param(*case, id=f"{case[0]}-{case[1]}") for case in failures()],
)
def test_a_failed_fit_leaves_the_earlier_model(
    name, what, error, options, table, y, monkeypatch
):
    model = fit(name)
    scores, columns = model.score_samples(X), columns_of(model)
    features = model._fitted.weight.copy() if name in ALONE else model.transform(X)
    if what == "memory":
        monkeypatch.setattr(AscentRun, "epoch", run_out_of_memory)
    model.set_params(**options)
    with pytest.raises(error):
        model.fit(table, y)
    np.testing.assert_array_equal(model.score_samples(X), scores)
    again = model._fitted.weight if name in ALONE else model.transform(X)
    np.testing.assert_array_equal(again, features)
    assert columns_of(model) == columns


@pytest.mark.parametrize("name", ALONE)
def test_divergence_is_told_in_partial_fit(name):
    model = fit(name).set_params(learning_rate=1e30)
    scores = model.score_samples(X)
    with pytest.raises(DivergenceError, match="learning_rate=1e\\+30"):
        model.partial_fit(X, Y)
    np.testing.assert_array_equal(model.score_samples(X), scores)
    fresh = clone(model)
    with pytest.raises(DivergenceError):
        fresh.partial_fit(X, Y)
    with pytest.raises(NotFittedError):
        fresh.score_samples(X)


# ------------------------------------------------------------------- interrupts


def press_at(call, function):
    """Call a function; press Ctrl-C at a call of one of the package's functions.

    Returns the number of calls, and whether a KeyboardInterrupt came out.
    """
    n_calls = 0

    def watch(frame, event, _):
        nonlocal n_calls
        if event != "call" or not frame.f_code.co_filename.startswith(SOURCES):
            return
        n_calls += 1
        if n_calls == call:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    sys.setprofile(watch)
    try:
        function()
    except KeyboardInterrupt:
        return n_calls, True
    finally:
        sys.setprofile(None)
    return n_calls, False


def moments(n_calls):
    """Return calls at which to press: some of a run, and all of its end."""
    some = np.geomspace(1, n_calls, 7).astype(int)
    return sorted({*some.tolist(), *range(n_calls - 6, n_calls + 1)})


def is_like_one_of(model, outcomes):
    """Tell whether scores and columns are those of one of some models."""
    table = OTHER if model.n_features_in_ == 3 else X
    scores = model.score_samples(table)
    return any(
        columns_of(model) == columns and np.array_equal(scores, expected)
        for columns, expected in outcomes
    )


@pytest.mark.parametrize("name", MODELS)
def test_ctrl_c_leaves_a_fitted_model_as_before_or_as_after(name):
    before, after = fit(name), fit(name)
    n_calls, _ = press_at(0, lambda: after.fit(OTHER, OTHER_Y))
    known = [
        (columns_of(m), m.score_samples(t)) for m, t in ((before, X), (after, OTHER))
    ]
    for call in moments(n_calls):
        model = copy.copy(before)
        _, raised = press_at(call, lambda model=model: model.fit(OTHER, OTHER_Y))
        if raised:
            assert is_like_one_of(model, known), call
        else:  # training ended early, with a warning
            assert columns_of(model) == columns_of(after), call
            assert np.isfinite(model.score_samples(OTHER)).all(), call
    np.testing.assert_array_equal(before.score_samples(X), known[0][1])
    again = model.fit(OTHER, OTHER_Y)
    np.testing.assert_array_equal(again.score_samples(OTHER), known[1][1])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", MODELS)
def test_ctrl_c_leaves_a_fresh_model_unfitted_or_usable(name, method):
    if name == "deep belief" and method == "partial_fit":
        return
    n_calls, _ = press_at(0, lambda: getattr(clone(MODELS[name]), method)(X, Y))
    for call in moments(n_calls):
        model = clone(MODELS[name])
        press_at(call, lambda model=model: getattr(model, method)(X, Y))
        try:
            scores = model.score_samples(X)
        except NotFittedError:
            assert not hasattr(model, "n_features_in_"), call
            assert not hasattr(model, "classes_"), call
        else:
            assert np.isfinite(scores).all(), call


def test_an_interrupt_is_left_alone_in_other_threads():
    before = signal.getsignal(signal.SIGINT)
    fitted = []
    thread = threading.Thread(target=lambda: fitted.append(fit("bernoulli")))
    thread.start()
    thread.join()
    assert len(fitted) == 1
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("at, said", [(2, "layer 1 of 3: those"), (8, "layer 3 of 3.")])
def test_ctrl_c_ends_the_training_of_a_whole_stack(at, said, monkeypatch):
    epoch, calls = AscentRun.epoch, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return epoch(*args)

    monkeypatch.setattr(AscentRun, "epoch", interrupted)
    model = DeepBeliefNetwork((4, 3, 2), n_iter=3, n_fine_tuning_iter=2, random_state=0)
    with pytest.warns(TrainingWarning, match=said):
        model.fit(X)
    assert len(calls) == at
    assert [rbm.n_iter_ for rbm in model.rbms_] == ([1, 0, 0] if at == 2 else [3, 3, 1])
    assert [rbm.n_iter for rbm in model.rbms_] == [3, 3, 3]
    assert np.isfinite(model.score_samples(X)).all()
