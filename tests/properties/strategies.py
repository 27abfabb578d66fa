"""What properties are asked of: tables, labels, weights, estimators of tiny fits."""

from functools import partial

import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st

from skebm import (
    BernoulliRBM,
    EBMDensityEstimator,
    GaussianRBM,
    JEMClassifier,
    RBMClassifier,
    SoftmaxRBM,
)
from skebm.evaluation import ImportanceSampling
from skebm.networks import MLP

TINY = {
    "network": partial(MLP, hidden_features=(4,)),
    "reference": "gaussian",
    "normalizer": ImportanceSampling(200),
    "max_iter": 1,
    "ood_score": "log_density",
    "random_state": 0,
}
RBM = {"n_components": 2, "n_iter": 1, "random_state": 0}
#: Estimators whose fit takes some hundredths of a second, by name.
ESTIMATORS = {
    "density": partial(EBMDensityEstimator, **TINY),
    "classifier": partial(JEMClassifier, stacking=False, graph_weight=0, **TINY),
    "binary": partial(BernoulliRBM, **RBM),
    "real": partial(GaussianRBM, **RBM),
    "softmax": partial(SoftmaxRBM, **RBM),
    "labelled": partial(RBMClassifier, **RBM),
}
CLASSIFIERS = ("classifier", "labelled")

seeds = st.integers(0, 2**32 - 1)
n_rows = st.integers(12, 40)


def draw_rows(name, seed, n, d):
    """Return rows that an estimator of that name takes."""
    rng = np.random.default_rng(seed)
    if name in ("binary", "labelled"):
        return rng.integers(0, 2, (n, d)).astype(float)
    if name == "softmax":
        return rng.integers(0, 3, (n, d)).astype(float)
    return rng.normal(size=(n, d)) * rng.choice([1e-3, 1.0, 1e3]) + rng.normal()


def draw_labels(seed, n, n_classes=2):
    """Return labels 0, 1, ... with each class at least twice, and -1 at some rows."""
    rng = np.random.default_rng([seed, 1])
    y = rng.integers(0, n_classes, n)
    y[: 2 * n_classes] = np.arange(2 * n_classes) % n_classes
    unlabeled = np.arange(n) >= 2 * n_classes
    return np.where(unlabeled & (rng.random(n) < 0.5), -1, y)


def fit(name, model, X, y=None, **options):
    """Fit an estimator, with labels where it is a classifier."""
    if name in CLASSIFIERS:
        return model.fit(X, draw_labels(0, len(X)) if y is None else y, **options)
    return model.fit(X, **options)


words = st.text("abcxyz -1?", min_size=1, max_size=4).filter(lambda w: w != "-1")


@st.composite
def labels(draw, max_classes=4):
    """Return distinct classes of one kind, indices of rows, and which rows have none.

    Each class has a row at least, and the marker is no class.
    """
    kind = draw(st.sampled_from([st.integers(0, 2**40), st.integers(-99, -2), words]))
    classes = draw(st.lists(kind, min_size=2, max_size=max_classes, unique=True))
    extra = draw(st.lists(st.integers(0, len(classes) - 1), max_size=20))
    indices = [*range(len(classes)), *extra]
    order = draw(st.permutations(range(len(indices))))
    hidden = draw(st.lists(st.booleans(), min_size=len(extra), max_size=len(extra)))
    hidden = np.array([False] * len(classes) + hidden)[order]
    return sorted(classes), np.array(indices)[order], hidden


def as_labels(kind, classes, indices, hidden):
    """Return y of one of the kinds that users have."""
    values = np.array(sorted(classes))[indices]
    is_text = values.dtype.kind == "U"
    objects = values.astype(object)
    match kind:
        case "array":
            return np.where(hidden, "-1" if is_text else -1, values)
        case "list":
            marker = "-1" if is_text else -1
            return [
                marker if h else v for h, v in zip(hidden, values.tolist(), strict=True)
            ]
        case "None":
            return np.where(hidden, None, objects)
        case "NaN":
            return np.where(hidden, np.nan, objects)
        case "nullable":
            series = pd.Series(values, dtype="string" if is_text else "Int64")
            return series.mask(hidden)
        case "tensor":
            return torch.tensor(np.where(hidden, -1, values))
        case "category":
            return pd.Series(np.where(hidden, None, objects), dtype="category")
    raise ValueError(kind)


#: All kinds but tensors, which hold no words.
LABEL_KINDS = ("array", "list", "None", "NaN", "nullable", "category")

#: Values of every type, few of which an option takes.
odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**31), 10**31),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=4),
    st.binary(max_size=3),
    st.lists(st.integers(-2, 2), max_size=2),
    st.tuples(st.integers(0, 2)),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
    st.sampled_from([object(), int, len, pd.NA, slice(None), range(3), set()]),
    st.builds(lambda v: np.array(v), st.lists(st.integers(-1, 2), max_size=2)),
)
