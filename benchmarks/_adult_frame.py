"""Adult as it came: categories as words, numbers as they are, and gaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from digits_few_labels import hide_labels

#: Shares of missing entries: those of the original table, and some numbers.
GAPS = {
    "workclass": 0.06,
    "occupation": 0.06,
    "native-country": 0.02,
    "age": 0.03,
    "hours-per-week": 0.03,
}
N_TEST = 5000


@dataclass(frozen=True)
class Frames:
    """Rows for training, with y = -1 where unlabelled, and rows for testing."""

    X: pd.DataFrame
    y: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray


def load_frame(folder: Path):
    """Return the data frame, its one-hot columns joined into categories, and y."""
    with np.load(folder / "adult.npz") as arrays:
        names = [str(name) for name in arrays["feature_names"]]
        table = pd.DataFrame(arrays["X"], columns=names)
        y = arrays["y"]
    one_hot = [name for name in names if "_" in name]
    words = pd.from_dummies(table[one_hot].astype(bool), sep="_")
    numbers = table.drop(columns=one_hot).astype(int)
    return pd.concat([numbers, words], axis=1), y


def punch(X, rng):
    """Return a copy with gaps."""
    X = X.copy()
    for name, share in GAPS.items():
        gap = rng.uniform(size=len(X)) < share
        X[name] = X[name].astype(float if X[name].dtype.kind == "i" else object)
        X.loc[gap, name] = np.nan if X[name].dtype.kind == "f" else None
    return X


def adult_task(folder: Path, n_labels, seed, n_rows):
    """Return one draw: `n_rows` rows with so many labels a class, and test rows."""
    X, y = load_frame(folder)
    rng = np.random.RandomState(seed)
    order = rng.permutation(len(X))[: n_rows + N_TEST]
    X, y = punch(X.iloc[order].reset_index(drop=True), rng), y[order]
    few = hide_labels(y[:n_rows], n_labels, rng)
    test = X[n_rows:].reset_index(drop=True)
    return Frames(X[:n_rows], few, test, y[n_rows:])
