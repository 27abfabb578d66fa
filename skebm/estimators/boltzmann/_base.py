"""Base of the RBM estimators: training, log Z, what `fit` leaves behind."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import clone

from skebm.estimators._callbacks import FitProgress
from skebm.estimators._input import private_random_state
from skebm.estimators._stored import StoredEstimator
from skebm.exceptions import NormalizerWarning, TrainingWarning
from skebm.models.boltzmann._fit import RBMOptions, RBMTraining
from skebm.models.boltzmann._labeled import auto_epochs
from skebm.utils import warn_user
from skebm.utils._sklearn import HasMethods, Interval, StrOptions

#: R-hat of samples above this is a warning.
MAX_R_HAT = 1.2


@dataclass(frozen=True)
class Read:
    """A table as an estimator has read it.

    Attributes
    ----------
    codec : VisibleCodec
        Reads and writes tables like it.
    shell : estimator
        A copy of the estimator that knows the number and names of the columns.
    v : ndarray or CSR matrix
        The rows.
    """

    codec: Any
    shell: Any
    v: Any

    def columns(self):
        """Return the public attributes that tell the columns."""
        columns = {"n_features_in_": self.shell.n_features_in_}
        if hasattr(self.shell, "feature_names_in_"):
            columns["feature_names_in_"] = self.shell.feature_names_in_
        return columns


def of_fitted(doc, get):
    """Return a property of a fitted estimator, which others do not have."""

    def read(self):
        if self._fitted is None:
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        return get(self)

    return property(read, doc=doc)


class RBMEstimator(StoredEstimator):
    """Base of the RBM estimators; a kind of visible units is its `_codec_type`."""

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_iter": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "method": [StrOptions({"pcd", "cd", "tempering"})],
        "n_gibbs_steps": [Interval(Integral, 1, None, closed="left")],
        "n_chains": [Interval(Integral, 1, None, closed="left"), None],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "centered": ["boolean"],
        "learning_rate_schedule": [StrOptions({"constant", "linear"})],
        "weight_averaging": [Interval(Real, 0, 1, closed="left")],
        "normalizer": [
            StrOptions({"auto", "exact", "ais"}),
            HasMethods(["estimate"]),
            None,
        ],
        "device": [str, torch.device, None],
    }

    #: Class of the codec of the visible units.
    _codec_type: ClassVar[type]

    intercept_hidden_ = of_fitted(
        "Biases of the hidden units.", lambda self: self._fitted.hidden_bias
    )
    h_samples_ = of_fitted(
        "Hidden states of the persistent chains.", lambda self: self._fitted.chains
    )
    normalizer_result_ = of_fitted(
        "The whole estimate of log Z, made at the first question.",
        lambda self: self._calibrated().estimate,
    )
    log_normalizer_ = of_fitted(
        "log Z in nats, estimated at the first question.",
        lambda self: getattr(self._calibrated().estimate, "log_normalizer", None),
    )
    log_normalizer_se_ = of_fitted(
        "Standard error of log Z in nats.",
        lambda self: getattr(self._calibrated().estimate, "standard_error", None),
    )

    # ---------------------------------------------------------------- training

    def _read_new(self, X, *, allow_nan):
        """Return what was read of a table whose columns are to be learnt."""
        shell = copy.copy(self)
        codec, v = self._codec_type.learn(shell, X, allow_nan=allow_nan)
        return Read(codec, shell, v)

    def _read_more(self, X, *, allow_nan):
        """Return what was read of a further table to train on."""
        v = self._codec.read(self, X, allow_nan=allow_nan, fitting=True)
        return Read(self._codec, self, v)

    def _fit_task(self, task, read, X, y, **learnt):
        """Train from the beginning, then take over, all at once, what was learnt."""
        rng, options = private_random_state(self.random_state), RBMOptions.of(self)
        training = RBMTraining(task, task.begin(options, rng), options, rng)
        n_iter = self.n_iter
        if n_iter == "auto":
            n_iter = auto_epochs(training.steps_per_epoch)
        attributes = {**read.columns(), **learnt, "_codec": read.codec}
        progress = FitProgress(self, read, n_iter, X, y, attributes)
        report = progress.on_epoch

        def on_epoch(epoch, entry):
            self._report(training, epoch, entry)
            return report is not None and report(training.preview)

        loop = training.train(n_iter, on_epoch)
        progress.end()
        history, fitted = training.history(loop), training.fitted()
        if hasattr(self, "random_state_"):
            del self.random_state_  # of `gibbs` and of an earlier `partial_fit`
        self._publish(fitted, read, history_=history, n_iter_=loop.n_epochs, **learnt)
        if loop.interrupted:
            warn_of_interrupt(f"training after {loop.n_epochs} epochs")
        return self

    def _go_on(self, task, rng, n_epochs_before=None):
        """Return a training of one epoch at a constant rate, and its loop."""
        options = RBMOptions.of(self)
        fitted = self._fitted
        if fitted is None:
            fitted = task.begin(options, rng)
        training = RBMTraining(task, fitted, options, rng, "constant")

        def on_epoch(epoch, entry):
            if n_epochs_before is not None:
                self._report(training, epoch + n_epochs_before, entry)
            return False

        loop = training.train(1, on_epoch)
        if loop.interrupted:
            raise KeyboardInterrupt
        return training, loop

    def _own_random_state(self):
        """Return the random numbers that calls after `fit` go on with."""
        if not hasattr(self, "random_state_"):
            self.random_state_ = private_random_state(self.random_state)
        return self.random_state_

    def _report(self, training, epoch, entry):
        """Print a line about an epoch, as scikit-learn does."""
        if self.verbose:
            metric = training.run.metric
            print(
                f"[{type(self).__name__}] Iteration {epoch}, "
                f"{metric.shown.format(entry[metric.name])}, "
                f"time = {entry['seconds']:.2f}s"
            )

    def _publish(self, fitted, read, **learnt):
        """Take over what a fit found."""
        for name, value in {**read.columns(), **learnt}.items():
            setattr(self, name, value)
        if "feature_names_in_" not in read.columns() and hasattr(
            self, "feature_names_in_"
        ):
            del self.feature_names_in_
        self._fitted, self._codec = fitted, read.codec

    # ---------------------------------------------------------------- questions

    def _calibrated(self):
        """Return the fitted RBM with log Z known; warn where it can't be trusted."""
        self._fitted.calibrate()
        warn_untrusted(self._fitted.calibration.take_new_estimate())
        return self._fitted


# -------------------------------------------------- for stacks of RBM estimators


def fitted_of(rbm):
    """Return the fitted RBM that an estimator holds."""
    return rbm._fitted


def codec_of(rbm):
    """Return the codec of a fitted estimator."""
    return rbm._codec


def holding(rbm, fitted, **params):
    """Return a copy of a fitted estimator that holds another fitted RBM."""
    other = clone(rbm).set_params(**params)
    read = Read(rbm._codec, rbm, None)
    other._publish(fitted, read, history_=rbm.history_, n_iter_=rbm.n_iter_)
    return other


# ------------------------------------------------------------------------ warnings


def warn_untrusted(estimate):
    """Warn of an estimate of log Z, just made, that can't be trusted."""
    if estimate is None or estimate.trusted:
        return
    warn_user(
        "The estimate of the log normaliser, "
        f"{estimate.log_normalizer:.3f} nats with a standard error of "
        f"{estimate.standard_error:.3f}, can't be trusted: {estimate.reason}. Scores "
        "keep their order; their level may be off. RBMAnnealing with more temperatures "
        "may help.",
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
    """Warn that the user has interrupted something."""
    warn_user(f"A KeyboardInterrupt ended {what}.", TrainingWarning)


def warn_unmixed(r_hat, n_steps, remedy=""):
    """Warn of chains of `sample` that differ from each other."""
    if r_hat > MAX_R_HAT:
        warn_user(
            f"The chains of sample() did not mix: R-hat is {r_hat:.2f} after "
            f"n_steps={n_steps}. Use more steps{remedy}.",
            TrainingWarning,
        )
