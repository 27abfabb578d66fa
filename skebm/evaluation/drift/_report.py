"""Tells whether a table has drifted, what moved, and how to weigh the old rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skebm.evaluation.drift._features import ColumnFeatures
from skebm.evaluation.drift._permutation import Permuted, contrasts, p_value
from skebm.evaluation.drift._pool import Array, Indices, Pool
from skebm.evaluation.drift._ratio import log_ratios
from skebm.utils import InvalidParameterError, is_count
from skebm.utils._random import private_random_state

#: Adjusted p-values of columns that `repr` counts as moved.
LEVEL = 0.05
MAX_SHOWN = 5


@dataclass(frozen=True, eq=False, repr=False)
class DriftReport:
    """Whether a table has drifted, and what moved.

    Attributes
    ----------
    p_value : float
        Of the null hypothesis that the rows of both tables are draws of one
        distribution.
    statistic : float
        Minus the log of the least p-value of the parts, before permutation.
    parts : dict of str to float
        Permutation p-value of each part, not corrected for their number: "columns",
        each by itself; "means" and "pairs" of all columns; "distances" between rows;
        "regions" of all columns; "gaps", where entries are missing.
    columns : DataFrame
        A row for each column, those that moved most first: "p_value" of its own
        distribution, "adjusted_p_value" for the number of columns, and "what" differs
        most, "old" and "new".
    log_ratio_old, log_ratio_new : ndarray of shape (n_old,) and (n_new,)
        log p_new / p_old at each row, by classifiers that the row had no part in.
    weights : ndarray of shape (n_old,)
        Importance weights of the old rows for expectations under the new table, of mean
        1.
    learner_weights : dict of str to float
        Weights of the classifiers in the log ratio; "nothing" is that of no drift.
    """

    p_value: float
    statistic: float
    parts: dict[str, float]
    columns: pd.DataFrame
    log_ratio_old: Array
    log_ratio_new: Array
    weights: Array
    learner_weights: dict[str, float]

    @property
    def effective_sample_size(self) -> float:
        """How many unweighted rows the weighted old rows are worth."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())

    @property
    def rows_new(self) -> Indices:
        """Indices of the new rows, those most unlike the old table first."""
        return np.argsort(-self.log_ratio_new, kind="stable")

    @property
    def rows_old(self) -> Indices:
        """Indices of the old rows, those most unlike the new table first."""
        return np.argsort(self.log_ratio_old, kind="stable")

    def __repr__(self) -> str:
        moved = self.columns.index[self.columns["adjusted_p_value"] <= LEVEL].tolist()
        more = ", ..." if len(moved) > MAX_SHOWN else ""
        names = ", ".join(map(repr, moved[:MAX_SHOWN])) + more
        return (
            f"DriftReport(p_value={self.p_value:.3g}, moved=[{names}], "
            f"n_old={len(self.weights)}, n_new={len(self.log_ratio_new)}, "
            f"effective_sample_size={self.effective_sample_size:.0f})"
        )


def drift_test(
    X_old: Any,
    X_new: Any,
    *,
    categorical_features: Any = "from_dtype",
    n_permutations: int = 999,
    n_splits: int = 5,
    max_rows: int = 10_000,
    random_state: int | np.random.RandomState | None = None,
) -> DriftReport:
    r"""Test whether a table has drifted, and tell which rows and columns moved.

    The p-value is that of a permutation test. Some statistics are computed for the two
    tables and for permutations of whose rows are whose:

    - "columns": the largest change of a column's own distribution, by chi-squared tests
      of ranks, categories and missing entries,
    - "means": the change of the means of all columns and their ranks together,
      Hotelling's, along principal components,
    - "pairs": the change of their covariances,
    - "distances": the maximum mean discrepancy of a Laplace kernel,
    - "regions": the same with damped eigenvalues, that is a classifier that is linear
      in the functions of the kernel,
    - "gaps": the largest change of a column's share of missing entries, if any are.

    The least of their p-values, from their moments under permutation, is the test's
    statistic T, so that one of them is enough; the p-value is

    .. math:: p = \frac{1 + \#\{b: T_b \ge T\}}{1 + B}

    Under the null hypothesis :math:`P(p \le \alpha) \le \alpha` holds exactly for each
    :math:`\alpha`, size and kind of table: features, kernel and scales are functions of
    the pooled rows that do not know their tables, so that T and the
    :math:`T_b` are one function of labels that are exchangeable. Nothing is fitted to
    the labels. Rows of a table must be exchangeable; those of a time series are not.

    The density ratio is learnt apart from the test: each row is told by classifiers
    that it had no part in.

    Parameters
    ----------
    X_old, X_new : array-like of shape (n_old, n_features) and (n_new, n_features)
        Two tables; NaN where an entry is missing. Columns of data frames go together by
        their names.
    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        Columns of categories: those of categories, booleans or words in one of the data
        frames, none, or a mask, numbers or names.
    n_permutations : int, default=999
        Number of permutations B; the least p-value is 1 / (B + 1).
    n_splits : int, default=5
        Folds of the classifiers; 0 trains none, and all log ratios are 0.
    max_rows : int, default=10000
        Most rows of each table that are compared, and that classifiers learn from; of
        larger tables they are drawn at random.
    random_state : int, RandomState or None, default=None
        Seed of permutations, folds and trees.

    Returns
    -------
    report : DriftReport

    Raises
    ------
    ValueError, TypeError
        Where a table can't be read, the columns differ, or an option is out of range.

    Notes
    -----
    ``adjusted_p_value`` is that of Westfall and Young: the share of permutations in
    which any column has as much evidence. If the tables are alike, the chance of a
    column below :math:`\alpha` is at most :math:`\alpha`.

    References
    ----------
    Hagrass, Sriperumbudur, Li. Spectral regularized kernel two-sample tests. Annals of
    Statistics 52, 2024.
    Westfall, Young. Resampling-based multiple testing. Wiley, 1993.
    Sugiyama, Suzuki, Kanamori. Density ratio estimation in machine learning. Cambridge
    University Press, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skebm.evaluation import drift_test
    >>> rng = np.random.RandomState(0)
    >>> old = pd.DataFrame({"age": rng.normal(40, 9, 300), "pay": rng.gamma(2, 1, 300)})
    >>> new = pd.DataFrame({"age": rng.normal(46, 9, 200), "pay": rng.gamma(2, 1, 200)})
    >>> report = drift_test(old, new, random_state=0)
    >>> report.p_value
    0.001
    >>> report.columns["adjusted_p_value"].round(2).to_dict()
    {'age': 0.0, 'pay': 0.66}
    """
    check_options(n_permutations, n_splits, max_rows)
    rng = private_random_state(random_state)
    pool = Pool.of(X_old, X_new, categorical_features)
    rows = pool.draw(max_rows, rng)
    drawn = pool.take(rows)
    permuted = Permuted.of(drawn, n_permutations, rng)
    seed = int(rng.randint(2**31 - 1))
    ratios, learner_weights = np.zeros(len(pool.values)), {"nothing": 1.0}
    if n_splits:
        ratios, learner_weights = log_ratios(pool, rows, n_splits, seed)
    weights = np.exp(ratios[: pool.n_old])
    return DriftReport(
        p_value=permuted.p_value,
        statistic=float(permuted.combined[0]),
        parts={name: p_value(part) for name, part in permuted.parts.items()},
        columns=columns_frame(pool, drawn, permuted),
        log_ratio_old=ratios[: pool.n_old],
        log_ratio_new=ratios[pool.n_old :],
        weights=weights / weights.mean(),
        learner_weights=learner_weights,
    )


def columns_frame(pool: Pool, drawn: Pool, permuted: Permuted) -> pd.DataFrame:
    """Return the frame of the columns, those that moved most first."""
    largest = permuted.columns.max(axis=0)
    rows = []
    for j, scores in enumerate(permuted.columns):
        what = _what(drawn, j)
        rows.append(
            {
                "p_value": p_value(scores),
                "adjusted_p_value": p_value(largest, float(scores[0])),
                "statistic": float(scores[0]),
                "what": what,
                "old": _summary(pool, j, what, pool.is_new < 1),
                "new": _summary(pool, j, what, pool.is_new),
            }
        )
    index = pd.Index(pool.names, name="column", tupleize_cols=False)
    frame = pd.DataFrame(rows, index=index)
    return frame.sort_values("statistic", ascending=False, kind="stable")


def _what(pool: Pool, j: int) -> str:
    """Return the meaning of the feature of a column that has moved most."""
    features = ColumnFeatures.of(pool, j)
    if not features.meanings:
        return "nothing"
    own = next(contrasts(pool.n_old, pool.n_new, 0, np.random.RandomState(0)))
    return features.meanings[int(np.argmax((features.single.T @ own)[:, 0] ** 2))]


def _summary(pool: Pool, j: int, what: str, rows: NDArray[np.bool_]) -> float:
    """Return a mean, standard deviation or share of some rows of a column."""
    x = pool.values[rows, j]
    known = x[~np.isnan(x)]
    if what == "share missing":
        return float(np.isnan(x).mean())
    if not len(known):
        return float("nan")
    if what.startswith("share of ") and j in pool.categories:
        names = [f"share of {value!r}" for value in pool.categories[j]]
        return float((x == names.index(what)).mean())
    if what == "median":
        return float(np.median(known))
    if what != "standard deviation":
        return float("nan")
    largest = np.abs(known).max() or 1.0  # whose square may be no float
    return float(largest * (known / largest).std())


def check_options(n_permutations: int, n_splits: int, max_rows: int) -> None:
    """Raise ValueError naming an option that is out of its range."""
    for name, value, least in (
        ("n_permutations", n_permutations, 1),
        ("max_rows", max_rows, 2),
    ):
        if not is_count(value, least):
            raise InvalidParameterError(
                f"The {name!r} parameter must be an integer, at least {least}. Got "
                f"{value!r} instead."
            )
    if not is_count(n_splits, 0) or n_splits == 1:
        raise InvalidParameterError(
            "The 'n_splits' parameter must be 0 or an integer, at least 2. Got "
            f"{n_splits!r} instead."
        )
