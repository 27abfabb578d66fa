"""Watches a stream of batches for drift, with a p-value that holds at any time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skebm.evaluation.drift._permutation import ROUNDING, Permuted
from skebm.evaluation.drift._pool import Array, Pool, like, read
from skebm.evaluation.drift._report import check_options, columns_frame, drift_test
from skebm.utils._documented import documented_like
from skebm.utils._random import private_random_state

#: Powers of the bets; 1 is no bet.
POWERS = np.array([0.1, 0.3, 0.5, 0.7, 1.0])
#: Share of the capital that changes to other bets after each batch.
JUMPING = 0.01


@documented_like(drift_test)
class DriftMonitor:
    r"""Watch batches of rows for drift, with a p-value that holds at any time.

    Each batch is compared with rows before it, by the statistic of `drift_test`; of
    more than ``max_rows`` a random part is kept. Its permutation p-value :math:`p_t`,
    with ties broken at random, is uniform and independent of the earlier ones as long
    as all rows are exchangeable. Bets against that multiply a capital of 1 by

    .. math:: \kappa p_t^{\kappa - 1}

    for some powers :math:`\kappa`; after each batch, 1 % changes from each power to the
    others. The capital is a martingale: the chance that it ever reaches c is at most
    1 / c (Ville). So one may look after each batch, and stop at any time.

    Rows that have drifted are among the earlier ones of the next batches: a change is
    told, not for how long it lasts.

    Parameters
    ----------
    X_old : array-like of shape (n_old, n_features)
        Rows from before the stream; NaN where an entry is missing.

    Attributes
    ----------
    capital : float
        The present capital, an e-value.
    p_value : float
        One over the largest capital so far, at most 1.
    batch_p_values : list of float
        Of each batch by itself.
    columns : DataFrame
        Columns of the last batch, as in `DriftReport`; None before the first one.

    See Also
    --------
    drift_test : Two tables.

    References
    ----------
    Vovk, Nouretdinov, Gammerman. Testing exchangeability on-line. ICML 2003.
    Vovk et al. Retrain or not retrain: conformal test martingales for change-point
    detection. COPA 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skebm.evaluation import DriftMonitor
    >>> rng = np.random.RandomState(0)
    >>> monitor = DriftMonitor(rng.normal(size=(200, 2)), random_state=0)
    >>> for _ in range(3):
    ...     p_value = monitor.update(rng.normal(size=(40, 2)))
    >>> p_value > 0.05
    True
    >>> for _ in range(3):
    ...     p_value = monitor.update(rng.normal(1, size=(40, 2)))
    >>> p_value < 0.01
    True
    """

    def __init__(
        self,
        X_old: Any,
        *,
        categorical_features: Any = "from_dtype",
        n_permutations: int = 999,
        max_rows: int = 10_000,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        check_options(n_permutations, 0, max_rows)
        self.categorical_features = categorical_features
        self.n_permutations = n_permutations
        self.max_rows = max_rows
        self.batch_p_values: list[float] = []
        self.columns: pd.DataFrame | None = None
        self._rng = private_random_state(random_state)
        self._rows = read("X_old", X_old).copy()
        Pool.of(self._rows, self._rows, categorical_features)  # raises before a batch
        self._capitals = np.full(len(POWERS), 1 / len(POWERS))
        self._largest = 1.0

    @property
    def capital(self) -> float:
        """The present capital."""
        return float(self._capitals.sum())

    @property
    def p_value(self) -> float:
        """One over the largest capital so far."""
        return 1 / self._largest

    def update(self, X: Any) -> float:
        """Compare a batch with rows before it, and return the p-value so far.

        Parameters
        ----------
        X : array-like of shape (n_new, n_features)
            The rows of the batch.

        Returns
        -------
        p_value : float
        """
        new = like(self._rows, read("X", X))
        pool = Pool.of(self._rows, new, self.categorical_features)
        drawn = pool.take(pool.draw(self.max_rows, self._rng))
        permuted = Permuted.of(drawn, self.n_permutations, self._rng)
        p = smoothed_p_value(permuted.combined, self._rng)
        self.columns = columns_frame(pool, drawn, permuted)
        self.batch_p_values.append(p)
        if np.ptp(permuted.combined) > 0:  # else rows are alike, and p is luck
            self._capitals = bet(self._capitals, p)
        self._largest = max(self._largest, self.capital)
        self._rows = self._keep(joined(self._rows, new))
        return self.p_value

    def _keep(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return at most ``max_rows`` of the rows, drawn whatever batch they are of.

        So they stay exchangeable, and memory is bounded.
        """
        if len(rows) <= self.max_rows:
            return rows
        kept = self._rng.permutation(len(rows))[: self.max_rows]
        return rows.iloc[np.sort(kept)].reset_index(drop=True)


def joined(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of two frames; columns of two types become objects first."""
    if not (old.dtypes == new.dtypes).all():
        both = [old.astype(object), new.astype(object)]
        return pd.concat(both, ignore_index=True).infer_objects()
    return pd.concat([old, new], ignore_index=True)


def smoothed_p_value(statistics: Array, rng: np.random.RandomState) -> float:
    """Return the p-value of the first statistic, uniform where all are exchangeable."""
    tolerance = ROUNDING * abs(statistics[0])
    above = np.sum(statistics > statistics[0] + tolerance)
    equal = np.sum(np.abs(statistics - statistics[0]) <= tolerance)
    return float((above + rng.uniform() * equal) / len(statistics))


def bet(capitals: Array, p: float) -> Array:
    """Return the capitals on each power after a p-value."""
    moved = (1 - JUMPING) * capitals + JUMPING * capitals.sum() / len(capitals)
    return np.asarray(moved * POWERS * max(p, 1e-12) ** (POWERS - 1))
