"""A report on a density that was learnt from a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skebm.evaluation import LogNormalizer, probability_mass
from skebm.evaluation.fidelity._copies import copying
from skebm.evaluation.fidelity._table import ShownTable, draw_table, estimator_name
from skebm.evaluation.fidelity._two_sample import auc_of_tables
from skebm.evaluation.fidelity._utility import global_utility
from skebm.inspection._history import TrainingRecord
from skebm.inspection.reports._columns import column_findings
from skebm.inspection.reports._findings import findings
from skebm.inspection.reports._fit_of_draws import marginal_distances, pair_distances
from skebm.inspection.reports._page import html_of
from skebm.inspection.reports._peers import peer_log_likelihoods
from skebm.utils import InvalidParameterError, is_count

#: Most draws, rows that are scored, and draws of the integral.
MAX_DRAWS, MAX_SCORED, MASS_DRAWS = 2000, 10_000, 20_000
#: Columns of no more values than this have probabilities rather than a density.
FEW_VALUES = 10


class Report:
    """What `report` has found.

    Parameters
    ----------
    values : dict
        The figures, by section; see `report`.
    material : dict
        What the pictures show.

    Attributes
    ----------
    values, material
        The same.
    findings : list of str
        Sentences on what a reader should know first; none where nothing is amiss.
    """

    def __init__(self, values: dict[str, Any], material: Mapping[str, Any]) -> None:
        self.values = values
        self.material = material
        self.findings = findings(values)

    def __str__(self) -> str:
        shown = {
            "held-out log-likelihood": self.values["log_likelihood"]["model"],
            "two-sample AUC": self.values["two_sample_auc"],
            "nearer than new rows": self.values["copying"]["nearer"],
            "global utility": self.values["global_utility"]["mean"],
        }
        parts = (f"{k} {v:.3f}" for k, v in shown.items() if v is not None)
        return "\n".join([", ".join(parts), *self.findings])

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one file of HTML, with its pictures inside.

        Parameters
        ----------
        path : str or Path
            Where to write.

        Returns
        -------
        path : Path

        Raises
        ------
        ImportError
            Where matplotlib is not installed.
        """
        path = Path(path)
        text = html_of(self.values, self.findings, self.material)
        path.write_text(text, encoding="utf-8")
        return path


def report(
    estimator: Any,
    X_train: Any,
    X_test: Any,
    *,
    n_samples: int | None = None,
    random_state: int = 0,
) -> Report:
    """Report how good a fitted density is, and what is particular about its table.

    Parameters
    ----------
    estimator : estimator
        Fitted to ``X_train``, with ``score_samples`` and ``sample``:
        `skebm.EBMDensityEstimator`, an RBM, or another density.
    X_train, X_test : array-like of shape (n, n_features) and (m, n_features)
        The rows of `fit`, and other ones; at least five each. Of very many, 10 000
        are scored.
    n_samples : int, default=None
        Number of draws. None takes as many as training rows, at most 2000.
    random_state : int, default=0
        Seed.

    Returns
    -------
    report : Report
        ``values`` has these sections, ``to_html(path)`` writes them as a page:

        - "model": name, numbers of rows and columns, epochs, the one that was kept,
          returns of the guard.
        - "columns": by column, whether it is constant, tied, missing, has atoms or
          sentinels, or depends on others.
        - "log_likelihood": mean log density of training and of held-out rows, in
          nats; and of the latter by one Gaussian, a Gaussian mixture and kernels,
          where all columns are numbers without gaps, of more than ten values.
        - "log_normalizer": the estimate of log Z both ways, and whether to trust it.
        - "mass": the integral of the density, by other means than log Z.
        - "marginals", "pairs": distances of draws to held-out rows, beside those of
          training rows.
        - "two_sample_auc": see `two_sample_auc`.
        - "copying": distances of draws and of held-out rows to training rows.
        - "global_utility": each column predicted from the others by forests trained
          on draws, over forests trained on rows.
        - "outliers": the threshold, and the shares of rows below it.

        A figure is None where it does not apply, for example kernels of categories.

    Raises
    ------
    ValueError
        Where there are too few rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KernelDensity
    >>> from skebm.inspection import report
    >>> X = np.random.RandomState(0).normal(size=(90, 1))
    >>> model = KernelDensity(bandwidth=0.3).fit(X[:60])
    >>> found = report(model, X[:60], X[60:])
    >>> found.values["columns"]["column 0"]["kind"]
    'number'
    """
    train, test = ShownTable.of(X_train, estimator), ShownTable.of(X_test, estimator)
    if min(len(train), len(test)) < 5:
        raise ValueError(
            "A report needs at least five rows in X_train and X_test. Got "
            f"{len(train)} and {len(test)}."
        )
    if n_samples is not None and not is_count(n_samples, 5):
        raise InvalidParameterError(
            "The 'n_samples' parameter must be an integer, at least 5, or None. Got "
            f"{n_samples!r}."
        )
    n = min(len(train), MAX_DRAWS) if n_samples is None else n_samples
    draws = draw_table(estimator, train, n, random_state)
    rng = np.random.RandomState(random_state)
    some, held_out = train.some(MAX_SCORED, rng), test.some(MAX_SCORED, rng)
    scored = {"train": some.values(), "test": held_out.values()}
    outliers, scores = outlier_figures(estimator, scored)
    values = {
        "model": model_figures(estimator, train, test, n),
        "columns": column_findings(train),
        "log_likelihood": log_likelihoods(
            estimator, scored, some, held_out, random_state
        ),
        "log_normalizer": normalizer_figures(estimator),
        "mass": mass_figures(estimator, train, random_state),
        "marginals": marginal_distances(test, draws, train),
        "pairs": pair_distances(test, draws, train),
        "two_sample_auc": auc_of_tables(test, draws, random_state),
        "copying": copying(train, test, draws, random_state),
        "global_utility": global_utility(train, test, draws, random_state),
        "outliers": outliers,
    }
    material = {
        "estimator": estimator,
        "test": test,
        "draws": draws,
        "scores": scores,
        "random_state": random_state,
    }
    return Report(values, material)


def model_figures(
    estimator: Any, train: ShownTable, test: ShownTable, n_draws: int
) -> dict[str, Any]:
    """Return the size of the fit, and what training kept."""
    figures: dict[str, Any] = {
        "name": estimator_name(estimator),
        "n_train": len(train),
        "n_test": len(test),
        "n_features": train.n_features,
        "n_draws": n_draws,
        "sentinels": getattr(estimator, "sentinels", None),
        "atoms": getattr(estimator, "atoms", None),
        "n_epochs": None,
        "best_epoch": None,
        "n_rollbacks": None,
    }
    if getattr(estimator, "history_", None):
        record = TrainingRecord.of(estimator)
        figures["n_epochs"] = record.n_epochs
        figures["best_epoch"] = record.best_epoch
        figures["n_rollbacks"] = len(record.rollbacks)
    return figures


def log_likelihoods(
    estimator: Any,
    scored: Mapping[str, Any],
    train: ShownTable,
    test: ShownTable,
    seed: int,
) -> dict[str, float | None]:
    """Return mean log densities, of the model and of simple ones."""
    is_normalized = getattr(estimator, "log_normalizer_", 0.0) is not None
    of_model = {
        name: float(np.mean(estimator.score_samples(X))) if is_normalized else None
        for name, X in scored.items()
    }
    found = {"model": of_model["test"], "model_on_train": of_model["train"]}
    found |= {"gaussian": None, "gaussian_mixture": None, "kernel_density": None}
    if is_plain(train) and is_plain(test) and has_many_values(train):
        found |= peer_log_likelihoods(train.as_numbers(), test.as_numbers(), seed)
    return found


def is_plain(table: ShownTable) -> bool:
    """Whether all columns are numbers without gaps."""
    if table.is_categorical.any():
        return False
    return bool(np.isfinite(table.as_numbers()).all())


def has_many_values(table: ShownTable) -> bool:
    """Whether each column has so many values that densities mean something."""
    columns = table.as_numbers().T
    return all(len(np.unique(column)) > FEW_VALUES for column in columns)


def normalizer_figures(estimator: Any) -> dict[str, Any] | None:
    """Return the estimate of log Z; None where there is no single one."""
    result = getattr(estimator, "normalizer_result_", None)
    if not isinstance(result, LogNormalizer):
        return None
    has_reverse = not np.isnan(result.reverse_log_normalizer)
    return {
        "log_normalizer": result.log_normalizer,
        "standard_error": result.standard_error,
        "reverse": result.reverse_log_normalizer if has_reverse else None,
        "reverse_standard_error": (
            result.reverse_standard_error if has_reverse else None
        ),
        "effective_share": result.effective_sample_size,
        "method": result.method,
        "trusted": result.trusted,
        "reason": result.reason,
    }


def mass_figures(
    estimator: Any, train: ShownTable, seed: int
) -> dict[str, float] | None:
    """Return the integral of the density; None where it is no integral over numbers."""
    is_density = getattr(estimator, "log_normalizer_", None) is not None
    is_number_density = getattr(estimator, "reference_", None) is not None
    if not (is_density and is_number_density and is_plain(train)):
        return None
    rows = train.as_numbers()
    if (rows == rows[0]).all(axis=0).any():  # a constant has no density
        return None
    density = AsArrays(estimator, train)
    found = probability_mass(density, rows, n_samples=MASS_DRAWS, random_state=seed)
    return {
        "mass": found.mass,
        "standard_error": found.standard_error,
        "effective_share": found.effective_sample_size,
    }


class AsArrays:
    """A density of a data frame's rows, as one of arrays.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    table : ShownTable
        Its columns, all numbers.
    """

    def __init__(self, estimator: Any, table: ShownTable) -> None:
        self.estimator, self.table = estimator, table

    def score_samples(self, X: Any) -> Any:
        """Return log densities of rows."""
        rows = self.table.written(len(X), dict(enumerate(np.asarray(X).T)))
        return self.estimator.score_samples(rows)

    def sample(self, n_samples: int, random_state: Any) -> Any:
        """Return draws."""
        drawn = draw_table(self.estimator, self.table, n_samples, random_state)
        return drawn.as_numbers()


def outlier_figures(
    estimator: Any, scored: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the threshold and shares below it, and scores of held-out rows."""
    if not hasattr(estimator, "ood_scores"):
        return None, None
    threshold = getattr(estimator, "offset_", None)
    if threshold is None:
        return None, None
    scores = {name: estimator.ood_scores(X) for name, X in scored.items()}
    figures = {
        "score": getattr(estimator, "ood_score", None),
        "threshold": float(threshold),
        "contamination": getattr(estimator, "contamination", None),
        "below_test": float((scores["test"] < threshold).mean()),
        "below_train": float((scores["train"] < threshold).mean()),
        "n_calibration": getattr(estimator, "n_calibration_", None),
    }
    return figures, {"test": scores["test"], "threshold": float(threshold)}
