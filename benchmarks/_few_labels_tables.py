"""The tables of ``semi_supervised.py``: rows with few labels, and rows for testing."""

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
#: Tables with twelve official splits. The number of labels is the total over all rows;
#: the error is that of the other rows.
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
#: Folders of outlier tables whose test halves, with both classes, are tasks of ordinary
#: columns: the error is that of the unlabelled ones of at most a thousand rows.
OUTLIERS, MAX_OUTLIER_ROWS = ("oddbench", "ovrbench"), 1000
#: Pixels have one common scale, so that a pixel at the edge is not magnified.
PIXELS = ("mnist", "usps", "sklearn/digits")


@dataclass(frozen=True)
class Task:
    """Rows for training, with y = -1 where unlabelled, and rows for testing.

    ``hidden`` has the indices of the test rows among the training rows, if the test
    rows are the unlabelled training rows.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    hidden: np.ndarray | None = None


def load(folder: Path, table):
    """Return X and y of the training and test part, or of the table if not split."""
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
    """Return one draw of a task, or None if there are too few rows for the labels.

    ``n_labels`` labels per class are drawn from at most ``max_rows`` training rows; all
    other labels are hidden. On the transductive tables, ``n_labels`` is the total
    number of labels of the official split.
    """
    if table in TRANSDUCTIVE:
        return _official_split(folder, table, n_labels, seed)
    if table.startswith(OUTLIERS):
        return _test_half(folder, table, n_labels, seed)
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
    # At least a quarter as many unlabelled rows in each class.
    if np.bincount(y).min() < 1.25 * n_labels:
        return None
    few = hide_labels(y, n_labels, np.random.RandomState(seed))
    return Task(X, few, X_test, y_test)


def outlier_tables(folder: Path):
    """Return the names of the outlier tables in a folder."""
    found = [
        path for name in OUTLIERS for path in sorted((folder / name).glob("*.npz"))
    ]
    return [f"{path.parent.name}/{path.stem}" for path in found]


def _test_half(folder, table, n_labels, seed):
    with np.load(folder / f"{table}.npz") as arrays:
        X, y = arrays["test"].astype(np.float64), arrays["y"].astype(int)
    if np.bincount(y, minlength=2).min() < n_labels + 10:
        return None
    order = np.random.RandomState(seed).permutation(len(X))
    labeled = np.concatenate([order[y[order] == k][:n_labels] for k in (0, 1)])
    others = order[~np.isin(order, labeled)][: MAX_OUTLIER_ROWS - len(labeled)]
    rows = np.concatenate([labeled, others])
    few = np.where(np.arange(len(rows)) < len(labeled), y[rows], -1)
    hidden = np.arange(len(labeled), len(rows))
    return Task(X[rows], few, X[rows[hidden]], y[rows[hidden]], hidden)


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
