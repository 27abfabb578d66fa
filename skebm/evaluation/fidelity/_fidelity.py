"""Figures on draws of a density: how useful they are, and whether they are copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skebm.evaluation.fidelity._copies import copying
from skebm.evaluation.fidelity._table import ShownTable
from skebm.evaluation.fidelity._two_sample import auc_of_tables
from skebm.evaluation.fidelity._utility import global_utility

#: Least rows of each table.
MIN_ROWS = 5


@dataclass(frozen=True)
class Fidelity:
    """What `fidelity` has found.

    Attributes
    ----------
    global_utility : float or None
        Mean over columns of ``column_utilities``: 1 where draws teach as much as rows.
    local_utility : float or None
        Of the target column alone; None without one.
    column_utilities : dict of str to float or None
        By column, how well it is predicted from the others by a forest that learnt
        from draws, relative to one that learnt from as many rows: the ratio of
        balanced accuracies of categories, of errors (the other way round) of numbers.
        None of columns that do not vary.
    two_sample_auc : float
        Area under the ROC curve by which a forest tells draws from held-out rows: 0.5
        where it can't.
    nearest_of_draws, nearest_of_rows : float
        Median distances of draws and of held-out rows to their nearest training row.
    nearer : float
        Chance that a draw is nearer to a training row than a held-out row is: 0.5
        where draws are as new rows are, near 1 where they are copies.
    share_of_copies, share_of_equal_rows : float
        Shares of draws and of held-out rows that a training row equals.
    """

    global_utility: float | None
    local_utility: float | None
    column_utilities: dict[str, float | None]
    two_sample_auc: float
    nearest_of_draws: float
    nearest_of_rows: float
    nearer: float
    share_of_copies: float
    share_of_equal_rows: float

    def __str__(self) -> str:
        parts = [
            f"two-sample AUC {self.two_sample_auc:.3f}",
            f"nearer than new rows {self.nearer:.3f}",
        ]
        for name in ("local_utility", "global_utility"):
            value = getattr(self, name)
            if value is not None:
                parts.insert(0, f"{name.replace('_', ' ')} {value:.3f}")
        return ", ".join(parts)


def fidelity(
    X_train: Any, X_test: Any, draws: Any, *, target: Any = None, random_state: int = 0
) -> Fidelity:
    """Return how well draws of any model stand in for rows.

    Parameters
    ----------
    X_train : array-like of shape (n, n_features)
        Rows that the model was fitted to; the target is one of the columns.
    X_test : array-like of shape (m, n_features)
        Rows of the same table that it has not seen.
    draws : array-like of shape (k, n_features)
        Its draws; at best as many as training rows.
    target : str, int or None, default=None
        Column that predictions matter for.
    random_state : int, default=0
        Seed of the forests and of the rows that are chosen: at most 2000 for
        predictions and 5000 for distances.

    Returns
    -------
    found : Fidelity

    References
    ----------
    Jiang, Simidjievski, Jamnik. TabStruct: measuring structural fidelity of tabular
    data. 2025. Lopez-Paz, Oquab. Revisiting classifier two-sample tests. ICLR 2017.
    Meehan, Chaudhuri, Dasgupta. A non-parametric test to detect data-copying in
    generative models. AISTATS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skebm.evaluation import fidelity
    >>> X = np.random.RandomState(0).normal(size=(90, 2))
    >>> found = fidelity(X[:60], X[60:], X[:60])
    >>> found.share_of_copies, found.share_of_equal_rows, found.global_utility
    (1.0, 0.0, 1.0)
    """
    train = ShownTable.of(X_train)
    test, drawn = train.like(X_test), train.like(draws)
    sizes = {"X_train": len(train), "X_test": len(test), "draws": len(drawn)}
    for name, size in sizes.items():
        if size < MIN_ROWS:
            raise ValueError(
                f"{name} must have at least {MIN_ROWS} rows to be compared. Got {size}."
            )
    place = None if target is None else train.index(target)
    utility = global_utility(train, test, drawn, random_state)
    copies = copying(train, test, drawn, random_state)
    columns = utility["columns"]
    return Fidelity(
        global_utility=utility["mean"],
        local_utility=None if place is None else columns[train.names[place]],
        column_utilities=columns,
        two_sample_auc=auc_of_tables(test, drawn, random_state),
        nearest_of_draws=copies["draws"],
        nearest_of_rows=copies["rows"],
        nearer=copies["nearer"],
        share_of_copies=copies["exact_draws"],
        share_of_equal_rows=copies["exact_rows"],
    )
