"""Fits and questions on the stand-in device, each with its error and its waits.

python cases.py GROUP, where GROUP is a function below, prints a JSON object: of each
case "error" and the counts of waits ("_local_scalar_dense", "nonzero").
"""

import json
import sys
import traceback
import warnings
from functools import partial

import numpy as np
import stand_in
import torch

FAST = {"device": stand_in.NAME, "random_state": 0, "max_iter": 2}
SMALL = FAST | {"reference": "gaussian", "normalizer": None, "batch_size": 50}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 3))
GAPS = np.where(RNG.uniform(size=X.shape) < 0.1, np.nan, X)
LABELS = np.where(np.arange(100) < 20, (X[:, 0] > 0).astype(int), -1)
BITS = (RNG.uniform(size=(100, 8)) < 0.3).astype(float)
BITS_WITH_GAPS = np.where(RNG.uniform(size=BITS.shape) < 0.1, np.nan, BITS)


def use_the_device():
    """Let skebm run on the stand-in, which its users can't ask for."""
    import skebm

    place = torch.device(f"{stand_in.NAME}:0")
    for name, module in list(sys.modules.items()):
        if name.startswith("skebm") and hasattr(module, "resolve_device"):
            module.resolve_device = lambda device: (
                place if device == stand_in.NAME else torch.device("cpu")
            )
    return skebm


def attempt(results, name, function):
    """Run a case, note what went wrong and how often the CPU waited."""
    stand_in.counts.clear()
    error, value = None, None
    try:
        value = function()
    except Exception:
        error = traceback.format_exc(limit=-4)
    waits = {k: stand_in.counts[k] for k in ("_local_scalar_dense", "nonzero")}
    results[name] = {"error": error} | waits | {"operations": stand_in.counts.total()}
    return value


def ask(results, name, model, questions):
    """Put the questions to a fitted model."""
    for question, function in questions.items():
        attempt(results, f"{name}, {question}", partial(function, model))


def density(skebm):
    """Return a density of rows with gaps, by default settings, and its answers."""
    results = {}
    model = skebm.EBMDensityEstimator(**FAST | {"normalizer": "importance"})
    attempt(results, "fit", partial(model.fit, GAPS))
    questions = {
        "score_samples": lambda m: m.score_samples(GAPS[:9]),
        "predict": lambda m: m.predict(GAPS[:9]),
        "p_values": lambda m: m.p_values(GAPS[:9]),
        "explain": lambda m: m.explain(GAPS[:9]),
        "impute": lambda m: m.impute(GAPS[:9]),
        "sample": lambda m: m.sample(4),
        "sample given": lambda m: m.sample(given=GAPS[:9]),
        "partial_fit": lambda m: m.partial_fit(X[:50]),
    }
    ask(results, "gaps", model, questions)
    whole = skebm.EBMDensityEstimator(**FAST | {"reference": None})
    attempt(results, "no reference", partial(whole.fit, X))
    return results


def classifier(skebm):
    """Return classifiers and a regressor, and their answers."""
    results = {}
    for objective in ("nce", "hdge", "jem", None):
        options = SMALL | {"objective": objective, "stacking": objective == "nce"}
        model = skebm.JEMClassifier(**options)
        attempt(results, f"fit by {objective}", partial(model.fit, X, LABELS))
    model = skebm.JEMClassifier(**SMALL | {"stacking": False})
    attempt(results, "fit with gaps", partial(model.fit, GAPS, LABELS))
    questions = {
        "predict_proba": lambda m: m.predict_proba(GAPS[:9]),
        "score_samples": lambda m: m.score_samples(GAPS[:9]),
        "explain": lambda m: m.explain(GAPS[:5]),
        "sample": lambda m: m.sample(4),
    }
    ask(results, "classifier", model, questions)
    y = np.where(LABELS < 0, np.nan, X[:, 1])
    regressor = skebm.JEMRegressor(**SMALL | {"experts": ["linear"]})
    attempt(results, "fit of a regressor", partial(regressor.fit, X, y))
    attempt(results, "regressor, predict", lambda: regressor.predict(X[:5]))
    return results


def machines(skebm):
    """Return restricted Boltzmann machines and their answers."""
    results = {}
    fast = {"n_iter": 2, "device": stand_in.NAME, "random_state": 0}
    questions = {
        "score_samples": lambda m: m.score_samples(m.table),
        "impute": lambda m: m.impute(m.table),
        "sample": lambda m: m.sample(3, 0, n_steps=20),
        "transform": lambda m: m.transform(m.table),
        "p_values": lambda m: m.p_values(m.table),
    }
    for method in ("cd", "pcd", "tempering"):
        model = skebm.BernoulliRBM(4, method=method, **fast)
        model.table = BITS_WITH_GAPS
        attempt(results, f"fit by {method}", partial(model.fit, BITS_WITH_GAPS))
        ask(results, method, model, questions)
    model = skebm.GaussianRBM(4, **fast)
    model.table = X
    attempt(results, "Gaussian fit", partial(model.fit, X))
    ask(results, "Gaussian", model, questions)
    labels = np.where(np.arange(100) < 50, BITS[:, 0].astype(int), -1)
    model = skebm.RBMClassifier(4, **fast)
    attempt(results, "classifier fit", partial(model.fit, BITS, labels))
    attempt(results, "classifier predict", lambda: model.predict_proba(BITS))
    return results


def steps(skebm):
    """Return each objective's fit in two and in six steps: waits of a step differ."""
    from skebm.objectives import OBJECTIVES

    results = {}
    for name in OBJECTIVES:
        if name == "hdge":  # needs labels; a case of the classifier
            continue
        for size in (100, 25):
            model = skebm.EBMDensityEstimator(
                objective=name, **SMALL | {"batch_size": size}
            )
            attempt(results, f"{name}, {size}", partial(model.fit, X))
    for size in (100, 25):
        options = SMALL | {"stacking": False, "batch_size": size}
        model = skebm.JEMClassifier(**options)
        attempt(results, f"classifier, {size}", partial(model.fit, X, LABELS))
    return results


def misplaced(skebm):
    """Return what the stand-in says of tensors on two devices."""
    del skebm
    results = {}
    here, away = torch.ones(3), torch.ones(3, device=stand_in.NAME)
    places = torch.tensor([0, 2])
    attempt(results, "sum", lambda: here + away)
    attempt(results, "generator", lambda: torch.randn(3) * away)
    attempt(results, "numpy", away.numpy)
    attempt(results, "index", lambda: away[places])
    attempt(results, "number", lambda: float(away.sum()))
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)
    stand_in.install()
    warnings.simplefilter("ignore")
    found = {group: globals()[group](use_the_device()) for group in sys.argv[1:]}
    print(json.dumps(found))
