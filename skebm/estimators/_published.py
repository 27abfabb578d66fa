"""Reading for a fit, publication of its results, warnings of all estimators."""

from __future__ import annotations

import copy
import signal
import threading
from dataclasses import dataclass, field
from typing import Any

from skebm.exceptions import NormalizerWarning, TrainingWarning
from skebm.utils import warn_user
from skebm.utils._sklearn import validate_parameter_constraints

#: Attributes that fitted estimators with a network share, for their docstrings.
FITTED = (
    "network_",
    "reference_",
    "objective_",
    "log_normalizer_",
    "log_normalizer_se_",
    "normalizer_result_",
    "offset_",
    "history_",
    "n_iter_",
    "n_features_in_",
    "feature_names_in_",
)


@dataclass(frozen=True, eq=False)
class Read:
    """A table as an estimator has read it.

    Attributes
    ----------
    reader : object
        Reads and writes tables of the same columns.
    shell : estimator
        A copy of the estimator that has the number and names of the columns.
    table : ndarray or CSR matrix of shape (n, n_features)
        The rows that count.
    weight : ndarray of shape (n,) or None, default=None
        Their weights.
    trimmed : ndarray of shape (n_trimmed, n_features) or None, default=None
        Rows that were left out as outliers.
    is_trimmed : ndarray of bool of shape (n_samples,) or None, default=None
        Which rows of X they are.
    """

    reader: Any
    shell: Any
    table: Any
    weight: Any = field(default=None)
    trimmed: Any = field(default=None)
    is_trimmed: Any = field(default=None)

    @property
    def names(self):
        """The names of the columns, or None."""
        return getattr(self.shell, "feature_names_in_", None)

    def columns(self):
        """Return the public attributes that describe the columns, by name."""
        columns = {"n_features_in_": self.shell.n_features_in_}
        if self.names is not None:
            columns["feature_names_in_"] = self.names
        return columns


def shell_of(estimator):
    """Return a copy of an estimator that validation may write the columns on."""
    return copy.copy(estimator)


def of_fitted(name, read):
    """Return a property that is read from the fitted model, once there is one."""

    def get(self):
        if self._fitted is None:
            raise AttributeError(f"{type(self).__name__} has no {name} before fit.")
        return read(self._fitted)

    return property(get)


def publish(estimator, read, forget=(), **learnt):
    """Assign the columns of a table, and what was learnt, to an estimator, as a whole.

    Attributes of names in ``forget`` are deleted, as names of columns that the table
    lacks.
    """
    values = {**read.columns(), **learnt}
    obsolete = {"feature_names_in_", *forget} & vars(estimator).keys() - values.keys()
    with InterruptsHeld():
        for name, value in values.items():
            setattr(estimator, name, value)
        for name in obsolete:
            delattr(estimator, name)


class InterruptsHeld:
    """Context that holds SIGINT back until its end; of the main thread only."""

    def __enter__(self):
        self._arrived, self._before = [], None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
        if self._before is not None:  # None: a handler that Python did not set
            signal.signal(signal.SIGINT, lambda *event: self._arrived.append(event))

    def __exit__(self, *error):
        if self._before is None:
            return
        signal.signal(signal.SIGINT, self._before)
        if self._arrived and callable(self._before):
            self._before(*self._arrived[0])


def warn_untrusted(estimate, remedy):
    """Warn of a new estimate of log Z that can't be trusted; None is no estimate."""
    if estimate is None or estimate.trusted:
        return
    warn_user(
        "The estimate of the log normaliser, "
        f"{estimate.log_normalizer:.3f} nats with a standard error of "
        f"{estimate.standard_error:.3f}, can't be trusted: {estimate.reason}. "
        f"Scores keep their order; their level may be off. {remedy}",
        NormalizerWarning,
    )


def warn_unnormalized():
    """Warn that a score has no log Z."""
    warn_user(
        "normalizer=None: the score leaves out log Z and does not compare with that of "
        "another model.",
        NormalizerWarning,
    )


def warn_of_interrupt(what):
    """Warn that a KeyboardInterrupt ended something."""
    warn_user(f"A KeyboardInterrupt ended {what}.", TrainingWarning)


def check_changed(estimator, *names):
    """Check options that may be changed after `fit`, when they are used."""
    constraints = {name: estimator._parameter_constraints[name] for name in names}
    values = {name: getattr(estimator, name) for name in names}
    validate_parameter_constraints(
        constraints, values, caller_name=type(estimator).__name__
    )
