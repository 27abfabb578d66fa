"""Small fits of every estimator, whose numbers are compared to the bit.

A change of the inner structure must not change a number. Write the numbers before it,
and compare after it, on one machine::

    python benchmarks/golden_fits.py --write before.json
    python benchmarks/golden_fits.py --compare before.json

Without options the fits are run and timed. Only public names are used, so that the
script runs on other revisions as well. `tests/golden` runs the same fits and compares
summaries within a tolerance.
"""

import argparse
import json
import math
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from skebm import (
    BernoulliRBM,
    DeepBeliefNetwork,
    EBMDensityEstimator,
    GaussianRBM,
    JEMClassifier,
    RBMClassifier,
    SoftmaxRBM,
)

#: The fits by name: functions without arguments that return arrays by name.
FITS = {}


def golden(function):
    """Register a function of `FITS` by its name."""
    FITS[function.__name__] = function
    return function


# ------------------------------------------------------------------------------ tables


def make_table(n_rows=120, n_columns=2, seed=0):
    """Return rows about a parabola, further columns correlated with the first."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_columns))
    X[:, 1] = X[:, 0] ** 2 + 0.5 * X[:, 1]
    X[:, 2:] += X[:, :1]
    return X


def with_gaps(X, share=0.2, seed=1):
    """Return a copy that misses entries, the first column excepted."""
    mask = np.random.default_rng(seed).uniform(size=X.shape) < share
    mask[:, 0] = False
    return np.where(mask, np.nan, X)


def make_frame(n_rows=120, gaps=False, seed=0):
    """Return two columns of numbers and two of categories, as a data frame."""
    rng = np.random.default_rng(seed)
    X = make_table(n_rows, 2, seed)
    color = np.array(["blue", "green", "red"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    frame = pd.DataFrame(
        {
            "x": X[:, 0],
            "color": pd.Categorical(color),
            "y": X[:, 1],
            "large": rng.uniform(size=n_rows) < 1 / (1 + np.exp(-X[:, 1])),
        }
    )
    if gaps:
        frame.loc[rng.uniform(size=n_rows) < 0.2, "y"] = np.nan
        frame.loc[rng.uniform(size=n_rows) < 0.2, "color"] = np.nan
    return frame


def make_classes(n_rows=90, n_labels=12, seed=0):
    """Return rows of three classes, labels (-1 where unknown) and weights."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_rows) % 3
    X = np.array([[0.0, 0.0], [2.5, 0.0], [0.0, 2.5]])[y] + rng.normal(size=(n_rows, 2))
    return X, np.where(np.arange(n_rows) < n_labels, y, -1), rng.uniform(size=n_rows)


def make_bits(n_rows=100, n_columns=6, seed=0):
    """Return binary rows in which columns follow two hidden bits."""
    rng = np.random.default_rng(seed)
    hidden = rng.integers(0, 2, size=(n_rows, 2))
    clean = hidden[:, np.arange(n_columns) % 2]
    return np.where(rng.uniform(size=clean.shape) < 0.15, 1 - clean, clean).astype(
        float
    )


# ----------------------------------------------------------------------------- records


def record_density(model, X, given=None):
    """Return what a density estimator says of rows, as arrays by name."""
    record = {
        "score_samples": model.score_samples(X),
        "ood_scores": model.ood_scores(X),
        "offset_": model.offset_,
        "sample": model.sample(3, random_state=0),
    }
    if model.log_normalizer_ is not None:
        record["log_normalizer_"] = model.log_normalizer_
    if given is not None:
        record["impute"] = model.impute(given, random_state=0)
        record["marginal"] = model.score_samples(given)
        record["sample_given"] = model.sample(2, random_state=0, given=given)
    return record


def record_jem(model, X):
    """Return what a `JEMClassifier` says of rows, as arrays by name."""
    rows, classes = model.sample(3, random_state=0)
    given = with_gaps(X)[:8]
    return {
        "score_samples": model.score_samples(X),
        "marginal": model.score_samples(given),
        "impute": model.impute(given, random_state=0),
        "ood_scores": model.ood_scores(X),
        "predict_proba": model.predict_proba(X),
        "log_normalizer_": model.log_normalizer_,
        "sample": np.column_stack([rows, classes]),
    }


def record_machine(model, X):
    """Return what a Boltzmann machine says of rows, as arrays by name."""
    return {
        "score_samples": model.score_samples(X),
        "transform": model.transform(X),
        "log_normalizer_": model.log_normalizer_,
        "sample": model.sample(3, random_state=0),
    }


# ------------------------------------------------------------------- density estimator


def make_density(objective="stratified_nce", **options):
    """Return a density estimator that learns much in few epochs, and keeps it."""
    defaults = {
        "reference": "gaussian",
        "max_iter": 8,
        "batch_size": 20,
        "learning_rate": 1e-2,
        "early_stopping": False,
        "ood_score": "log_density",
    }
    return EBMDensityEstimator(objective, random_state=0, **(defaults | options))


@golden
def density_defaults():
    """Fit by the defaults, but for the number of epochs."""
    X = make_table(100, 3)
    model = EBMDensityEstimator(max_iter=80, random_state=0).fit(X)
    return record_density(model, X, given=with_gaps(X)[:8])


def _fit_by(objective, **options):
    X = make_table()
    return record_density(make_density(objective, **options).fit(X), X)


for _name, _options in {
    "vera": {},
    "pcd": {"max_iter": 4},
    "cd": {"max_iter": 4},
    "improved_cd": {"max_iter": 2},
    "score_matching": {"network": "mlp"},
    "denoising_score_matching": {},
    "stein": {"max_iter": 4},
    "nce": {},
    "conditional_nce": {"network": "mlp"},
    "telescoping": {"max_iter": 4},
    "mle": {"network": "mixture", "max_iter": 20},
    "wake_sleep": {"max_iter": 4},
}.items():
    FITS[f"density_{_name}"] = partial(_fit_by, _name, **_options)


@golden
def density_held_out_rows():
    """Fit with early stopping, which keeps the state of the best epoch."""
    X = make_table(200)
    model = make_density(network="mlp", early_stopping=True, max_iter=15).fit(X)
    return record_density(model, X) | {"best_epoch_": model.best_epoch_}


@golden
def density_categories():
    """Fit to columns of categories and of numbers."""
    frame, given = make_frame(60), make_frame(60, gaps=True)[:8]
    return record_density(make_density(reference="auto").fit(frame), frame, given=given)


@golden
def density_atoms():
    """Fit to a zero-inflated column."""
    X = make_table()
    X[::3, 0] = 0.0
    model = make_density(atoms="auto").fit(X)
    return record_density(model, X)


@golden
def density_gaps():
    """Fit to rows that miss entries, with the reference of the defaults."""
    X = with_gaps(make_table(60))
    model = make_density(reference="auto").fit(X)
    return record_density(model, X[:40], given=X[:8])


@golden
def density_gaps_held_out_rows():
    """Fit to rows that miss entries, with early stopping."""
    X = with_gaps(make_table(120))
    model = make_density(early_stopping=True).fit(X)
    return record_density(model, X[:20]) | {"best_epoch_": model.best_epoch_}


@golden
def density_gaps_and_categories():
    """Fit to numbers and categories that miss entries."""
    frame = make_frame(80, gaps=True)
    model = make_density(max_iter=4).fit(frame)
    given = frame[frame.isna().any(axis=1)][:8]
    return record_density(model, frame[:20], given=given)


@golden
def density_box():
    """Fit without a reference: the density lives in a box."""
    return _fit_by("vera", reference=None, max_iter=6)


@golden
def density_warm_start():
    """Fit twice, the second fit going on from the first."""
    X = make_table()
    model = make_density(warm_start=True, max_iter=4).fit(X)
    first = model.score_samples(X)
    return record_density(model.fit(X[::-1]), X) | {"first": first}


@golden
def density_partial_fit():
    """Make two passes over weighted rows."""
    X = make_table()
    weight = make_classes(len(X))[2]
    model = make_density().partial_fit(X, sample_weight=weight)
    return record_density(model.partial_fit(X[:60], sample_weight=weight[:60]), X)


@golden
def density_weights():
    """Fit to weighted rows, a score of outliers learnt."""
    X = make_table()
    weight = make_classes(len(X))[2]
    model = make_density(ood_score="blurred_density")
    return record_density(model.fit(X, sample_weight=weight), X)


# -------------------------------------------------------------------------- classifier


@golden
def jem_defaults():
    """Fit with unlabelled rows by the defaults, but for the number of epochs."""
    X, y, _ = make_classes()
    return record_jem(JEMClassifier(max_iter=3, random_state=0).fit(X, y), X)


@golden
def jem_partial_fit():
    """Make two passes, the second without one of the classes."""
    X, y, weight = make_classes(n_labels=60)
    model = JEMClassifier(random_state=0, ood_score="log_density", stacking=False)
    model.partial_fit(X, y, classes=[0, 1, 2], sample_weight=weight)
    some = y != 2
    return record_jem(model.partial_fit(X[some], y[some]), X)


@golden
def jem_warm_start():
    """Fit all labels twice, the second fit going on from the first."""
    X, y, _ = make_classes(n_labels=90)
    options = {"ood_score": "log_density", "warm_start": True, "max_iter": 2}
    model = JEMClassifier("pcd", random_state=0, **options).fit(X, y)
    return record_jem(model.fit(X, y), X)


# ---------------------------------------------------------------------------- machines


@golden
def bernoulli_rbm():
    """Fit to binary rows."""
    X = make_bits()
    return record_machine(BernoulliRBM(8, n_iter=5, random_state=0).fit(X), X)


@golden
def bernoulli_rbm_sparse():
    """Fit to a sparse matrix by parallel tempering, then make a pass more."""
    X = sparse.csr_matrix(make_bits())
    model = BernoulliRBM(8, n_iter=5, method="tempering", random_state=0).fit(X)
    return record_machine(model.partial_fit(X), X)


@golden
def gaussian_rbm():
    """Fit to columns of numbers."""
    X = make_table(100, 3)
    model = GaussianRBM(6, n_iter=20, random_state=0).fit(X)
    given = with_gaps(X)[:8]
    more = {"predict": model.predict(X), "impute": model.impute(given)}
    return record_machine(model, X) | more


@golden
def softmax_rbm():
    """Fit to columns of categories."""
    X = make_table(100, 3)
    X = np.digitize(X, [-0.7, 0.7])
    model = SoftmaxRBM(6, n_iter=10, random_state=0).fit(X)
    return record_machine(model, X) | {"predict": model.predict(X)}


@golden
def rbm_classifier():
    """Fit to binary rows, a third of them without a label."""
    X = make_bits()
    y = np.where(np.arange(len(X)) % 3, X[:, :2].sum(axis=1).astype(int), -1)
    model = RBMClassifier(8, n_iter=5, random_state=0).fit(X, y)
    rows, classes = model.sample(3, random_state=0)
    return {
        "score_samples": model.score_samples(X),
        "predict_proba": model.predict_proba(X),
        "sample": np.column_stack([rows, classes]),
    }


@golden
def deep_belief_network():
    """Fit two layers, and tune them together."""
    X = make_bits()
    model = DeepBeliefNetwork(
        (8, 4), n_iter=3, n_fine_tuning_iter=3, n_draws=20, random_state=0
    ).fit(X)
    return {
        "score_samples": model.score_samples(X),
        "transform": model.transform(X),
        "sample": model.sample(3, random_state=0),
    }


# --------------------------------------------------------------------------- comparing


def run(name):
    """Run a fit of `FITS`, without its warnings; return arrays by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FITS[name]()


def _as_text(value):
    """Return the entries of an array or table as a list of strings, exactly."""
    if isinstance(value, pd.DataFrame):
        value = value.to_numpy(dtype=object)
    flat = np.asarray(value).ravel().tolist()
    return [v if isinstance(v, str) else float(v).hex() for v in flat]


def _difference(first, second):
    """Return the largest absolute difference of two lists of `_as_text`."""
    if len(first) != len(second):
        return math.inf
    largest = 0.0
    for a, b in zip(first, second, strict=True):
        if a == b:
            continue
        try:
            gap = abs(float.fromhex(a) - float.fromhex(b))
        except ValueError:
            gap = math.inf
        largest = max(largest, math.inf if math.isnan(gap) else gap)
    return largest


def measure(names):
    """Run fits; return of each its seconds and its numbers as text."""
    results = {}
    for name in names:
        start = time.perf_counter()
        record = run(name)
        results[name] = {
            "seconds": time.perf_counter() - start,
            "values": {key: _as_text(value) for key, value in record.items()},
        }
        print(f"{name:32} {results[name]['seconds']:6.2f} s", flush=True)
    print(f"{'all':32} {sum(r['seconds'] for r in results.values()):6.2f} s")
    return results


def compare(before, after):
    """Print how fits differ from earlier ones; return whether all are equal."""
    all_equal = True
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            print(f"{name:32} only {'after' if name in after else 'before'}")
            all_equal = False
            continue
        old, new = before[name]["values"], after[name]["values"]
        apart = {
            key: _difference(old.get(key, []), new.get(key, []))
            for key in old.keys() | new.keys()
            if old.get(key) != new.get(key)
        }
        verdict = ", ".join(f"{key} by {apart[key]:.3g}" for key in sorted(apart))
        ratio = after[name]["seconds"] / before[name]["seconds"]
        print(f"{name:32} {ratio:5.2f} x  {verdict or 'equal'}")
        all_equal &= not apart
    return all_equal


def main():
    """Run the fits; return the exit status: 1 where a number differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", type=Path, metavar="FILE", help="save the numbers")
    action.add_argument("--compare", type=Path, metavar="FILE", help="saved numbers")
    parser.add_argument("--only", nargs="+", choices=FITS, default=FITS, metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = measure(arguments.only)
    if arguments.write:
        arguments.write.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.compare:
        before = json.loads(arguments.compare.read_text())
        before = {name: before[name] for name in before if name in arguments.only}
        return 0 if compare(before, results) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
