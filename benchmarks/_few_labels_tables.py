"""The tables of ``semi_supervised.py``: rows with few labels, rows to judge by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from digits_few_labels import hide_labels
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split

SHIPPED = {
    "sklearn/breast_cancer": load_breast_cancer,
    "sklearn/digits": load_digits,
    "sklearn/wine": load_wine,
}
#: Twelve official splits; labels are counted in all, of all rows, judged on the rest.
TRANSDUCTIVE = ("ssl_book/digit1", "ssl_book/usps", "ssl_book/g241c", "ssl_book/coil2")
INDUCTIVE = (
    "mnist",
    "uci/letter",
    "uci/satimage",
    "keel/segment",
    "keel/texture",
    "keel/magic",
    "adult",
    "higgs_lgbm",
)
#: Columns of one kind share a scale: a pixel at the rim isn't blown up.
PIXELS = ("mnist", "usps", "sklearn/digits")


@dataclass(frozen=True)
class Task:
    """Rows to fit on, y = -1 where unlabelled; rows to judge by.

    ``hidden`` numbers the latter among the former where they are its unlabelled rows.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    hidden: np.ndarray | None = None


def load(folder: Path, table):
    """Return training and test part, X and y of each; one part where no split is."""
    if table in SHIPPED:
        return (SHIPPED[table](return_X_y=True),)
    with np.load(folder / f"{table}.npz") as arrays:
        if "X" in arrays:
            return ((arrays["X"].astype(np.float64), arrays["y"]),)
        return tuple(
            (arrays[f"X_{part}"].astype(np.float64), arrays[f"y_{part}"])
            for part in ("train", "test")
        )


def make_task(folder: Path, table, n_labels, seed, max_rows):
    """Return one draw of a task, or None where there are too few rows for the labels.

    ``n_labels`` are drawn a class and stand for all labels of at most ``max_rows``
    training rows; on the transductive tables they are those of the official split, in
    all.
    """
    if table in TRANSDUCTIVE:
        return _official_split(folder, table, n_labels, seed)
    parts = load(folder, table)
    if len(parts) == 1:
        X, y = parts[0]
        X, X_test, y, y_test = train_test_split(
            X, y, test_size=0.3, stratify=y, random_state=seed
        )
    else:
        (X, y), (X_test, y_test) = parts
    if len(X) > max_rows:
        X, _, y, _ = train_test_split(
            X, y, train_size=max_rows, stratify=y, random_state=seed
        )
    # A quarter as many unlabelled rows of each class, at least.
    if np.bincount(y).min() < 1.25 * n_labels:
        return None
    few = hide_labels(y, n_labels, np.random.RandomState(seed))
    return Task(X, few, X_test, y_test)


def _official_split(folder, table, n_labels, seed):
    with np.load(folder / f"{table}.npz") as arrays:
        name = f"labeled_{n_labels}"
        if name not in arrays or seed >= len(arrays[name]):
            return None
        X, y = arrays["X"].astype(np.float64), arrays["y"]
        few = np.full_like(y, -1)
        few[arrays[name][seed]] = y[arrays[name][seed]]
    hidden = np.flatnonzero(few < 0)
    return Task(X, few, X[hidden], y[hidden], hidden)
