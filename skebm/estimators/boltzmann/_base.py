"""Base of the RBM estimators: training, log Z, published attributes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from skebm.distributed import current
from skebm.estimators._callbacks import FitProgress
from skebm.estimators._compared import scores_of
from skebm.estimators._explained import entry_p_values, explained_frame
from skebm.estimators._given import of_parameter
from skebm.estimators._input import agreed_random_state, private_random_state
from skebm.estimators._published import (
    Read,
    check_changed,
    of_fitted,
    publish,
    shell_of,
    warn_of_interrupt,
    warn_untrusted,
)
from skebm.estimators._stored import StoredEstimator
from skebm.estimators.boltzmann._options import (
    MAX_CHAINS,
    check_normalizer,
    check_shrinkage,
    tree_reference,
)
from skebm.exceptions import TrainingWarning
from skebm.models.boltzmann._begin import RBMOptions
from skebm.models.boltzmann._fit import RBMTraining
from skebm.models.boltzmann._fitted import FittedRBM
from skebm.models.boltzmann._labeled import auto_epochs
from skebm.utils import warn_user
from skebm.utils._sklearn import HasMethods, Interval, StrOptions

#: R-hat of samples above this is a warning.
MAX_R_HAT = 1.2


@dataclass(frozen=True, eq=False)
class RBMLayer:
    """A fitted RBM estimator as a layer of a stack.

    Attributes
    ----------
    fitted : FittedRBM
        The fitted RBM.
    codec : VisibleCodec
        Reads and writes tables of the estimator's columns.
    """

    fitted: Any
    codec: Any


class RBMEstimator(StoredEstimator):
    """Base of the RBM estimators; a subclass names its codec in `_codec_type`."""

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, MAX_CHAINS, closed="both")],
        "n_iter": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "method": [StrOptions({"pcd", "cd", "tempering"})],
        "n_gibbs_steps": [Interval(Integral, 1, None, closed="left")],
        "n_chains": [Interval(Integral, 1, MAX_CHAINS, closed="both"), None],
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
    _stored_types: ClassVar[dict] = {"_fitted": FittedRBM}

    intercept_hidden_ = of_fitted(
        "intercept_hidden_", lambda fitted: fitted.hidden_bias
    )
    h_samples_ = of_fitted("h_samples_", lambda fitted: fitted.chains)

    @property
    def normalizer_result_(self):
        """The whole estimate of log Z, made at the first question."""
        return self._calibrated().estimate

    @property
    def log_normalizer_(self):
        """The log of the normaliser, in nats, estimated at the first question."""
        return getattr(self.normalizer_result_, "log_normalizer", None)

    @property
    def log_normalizer_se_(self):
        """The standard error of `log_normalizer_`."""
        return getattr(self.normalizer_result_, "standard_error", None)

    # ---------------------------------------------------------------- training

    def _check_options(self):
        """Raise before anything is read where an option is not what it should be."""
        self._validate_params()
        check_normalizer(self.normalizer)
        check_shrinkage(self.learning_rate, self.weight_decay, self.momentum)
        tree_reference(self)

    def _read_new(self, X, *, allow_nan):
        """Read a table and learn its columns."""
        shell = shell_of(self)
        codec, v = self._codec_type.learn(shell, X, allow_nan=allow_nan)
        return Read(codec, shell, v)

    def _read_more(self, X, *, allow_nan):
        """Read a table with the columns of `fit`."""
        v = self._codec.read(self, X, allow_nan=allow_nan, fitting=True)
        return Read(self._codec.seeing(X), self, v)

    def _fit_task(self, task, read, X, y, **learnt):
        """Train from the beginning; publish the results; return the loop."""
        rng = agreed_random_state(self.random_state, read.table)
        options = RBMOptions.of(self)
        training = RBMTraining(task, task.begin(options, rng), options, rng)
        n_iter = self.n_iter
        if n_iter == "auto":
            n_iter = auto_epochs(training.steps_per_epoch)
        attributes = {**learnt, "_codec": read.reader}
        progress = FitProgress(self, read, n_iter, X, y, attributes)
        report = progress.on_epoch

        def on_epoch(epoch, entry):
            self._report(training, epoch, entry)
            return report is not None and report(
                training.preview,
                lambda: {"history_": training.history(), "n_iter_": epoch},
            )

        loop = training.train(n_iter, on_epoch)
        training.check()
        progress.end()
        learnt |= {"history_": training.history(), "n_iter_": loop.n_epochs}
        # The random state is that of `gibbs` and of an earlier `partial_fit`.
        self._publish(training.fitted(), read, forget=("random_state_",), **learnt)
        self._warn_of_verdict(training.verdict)
        return loop

    def _warn_of_verdict(self, verdict):
        """Warn where the likelihood fell, and an earlier epoch or the base is kept."""
        if verdict is not None and not verdict.is_short:
            warn_user(
                f"{verdict} Lower learning_rate={self.learning_rate} or n_iter, take "
                "more n_gibbs_steps, or train on more rows; early_stopping=False keeps "
                "the last epoch.",
                TrainingWarning,
            )

    def _warn_if_interrupted(self, loop):
        """Warn where a KeyboardInterrupt ended training."""
        if loop.interrupted:
            warn_of_interrupt(f"training after {loop.n_epochs} epochs")

    def _go_on(self, task, rng, n_epochs_before=None):
        """Return a training after one epoch at a constant rate."""
        options = RBMOptions.of(self)
        fitted = self._fitted
        if fitted is None:
            fitted = task.begin(options, rng)
        training = RBMTraining(task, fitted, options, rng, "constant")

        def on_epoch(epoch, entry):
            if n_epochs_before is not None:
                self._report(training, epoch + n_epochs_before, entry)
            return False

        if training.train(1, on_epoch).interrupted:
            raise KeyboardInterrupt
        training.check()
        return training

    def _own_random_state(self):
        """Return the random state of `gibbs` and `partial_fit`."""
        if hasattr(self, "random_state_"):
            return self.random_state_
        return private_random_state(self.random_state)

    def _keep_random_state(self, own, rng):
        """Move the random state on to where a copy, drawn from in its place, is now."""
        own.set_state(rng.get_state())
        self.random_state_ = own

    def _report(self, training, epoch, entry):
        """Print a line about an epoch, as scikit-learn does."""
        if self.verbose and current().speaks:
            metric = training.run.metric
            print(
                f"[{type(self).__name__}] Iteration {epoch}, "
                f"{metric.shown.format(entry[metric.name])}, "
                f"time = {entry['seconds']:.2f}s"
            )

    def _publish(self, fitted, read, **learnt):
        """Assign the results of a fit, all at once."""
        publish(self, read, _fitted=fitted, _codec=read.reader, **learnt)

    # ---------------------------------------------------------------- questions

    def _calibrated(self):
        """Return the fitted RBM with log Z known; warn where it can't be trusted."""
        self._require_fitted()
        self._fitted.calibrate()
        estimate = self._fitted.calibration.take_new_estimate()
        warn_untrusted(estimate, "RBMAnnealing with more temperatures may help.")
        return self._fitted

    def _require_fitted(self):
        """Raise the AttributeError of a property that is not there before `fit`."""
        if self._fitted is None:
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")

    # ---------------------------------------------------------------- outliers

    @property
    def n_calibration_(self):
        """Number of rows that `p_values` compares with, where none are given."""
        try:
            return len(self._scores_left_out().values)
        except ValueError as error:
            raise AttributeError(str(error)) from error

    def _scores_left_out(self):
        """Return the scores of rows that the RBM was not trained on."""
        scores = self._calibrated().calibration_scores
        if not scores.are_left_out:
            raise ValueError(
                "p_values needs rows that the model was not trained on. Pass "
                f"calibration=. {self._no_left_out}"
            )
        return scores

    #: Why no rows were left out.
    _no_left_out = (
        "No rows can be left out after partial_fit, nor of a state saved by an "
        "earlier version: fit again."
    )

    def ood_scores(self, X):
        """`score_samples`: the log probability of each row; higher is more normal.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            float64; deterministic.
        """
        return self.score_samples(X)

    def p_values(self, X, calibration=None, delta=None):
        r"""Conformal p-values: small for rows out of distribution.

        .. math:: p(x) = \frac{1 + \#\{i: s(x_i) \le s(x)\}}{1 + n}

        with the log probability s and n calibration rows :math:`x_i`. For a new row of
        their distribution, :math:`P(p \le \alpha) \le \alpha`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        calibration : array-like of shape (n, n_features), default=None
            Normal rows that `fit` has not seen; with them the statement is exact. None
            takes up to 1000 rows of `fit`, each scored as if it had been left out, by
            RBMs that are trained on folds of the rows; then it holds approximately.
        delta : float, default=None
            A number between 0 and 1 asks for larger p-values, which hold given the
            calibration rows, with a probability of 1 - delta over them. None: they hold
            in the mean over calibration rows.

        Returns
        -------
        p_values : ndarray of shape (n_samples,)
            float64, from 1 / (n + 1) to 1.

        Raises
        ------
        ValueError
            Where no rows are given and none can be left out: after `partial_fit`, of a
            state saved by an earlier version, and in `RBMClassifier`.
        """
        check_is_fitted(self)
        level = "auto"
        if hasattr(self, "contamination"):
            check_changed(self, "contamination")
            level = self.contamination
        scores = self.ood_scores(X)
        given = calibration is not None
        others = scores_of(self, calibration) if given else self._scores_left_out()
        return others.p_values(scores, level, delta)

    def explain(self, X, calibration=None):
        r"""Tell which entries of rows are strange, given the other ones of their row.

        .. math:: p(v_j | v_{-j}) \propto e^{-F(v)}

        Exact, by the free energies of all values of a column; of a real column by
        quadrature over its line. log Z cancels. Missing entries are summed out: exactly
        where they, or the hidden units, have at most 2^10 states, else by Gibbs chains,
        as always in `GaussianRBM`. A grey value between 0 and 1 of a binary column
        counts as the share of draws that are 1.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        calibration : array-like of shape (n, n_features), default=None
            Normal rows that ``p_value`` compares with. None takes 256 rows of `fit`.

        Returns
        -------
        explanation : pandas DataFrame
            A line for each row and column, as that of `EBMDensityEstimator.explain`.
            Binary columns are described as categories are.
        """
        table, found = self._explained(X)
        if calibration is None:
            others = self._fitted.sample_tails
        else:
            with of_parameter("calibration"):
                _, beside = self._explained(calibration)
            others = beside.tail
        names = getattr(self, "feature_names_in_", None)
        p_values = entry_p_values(found.tail, others)
        return explained_frame(X, table, found, p_values, self._codec.decode, names)

    def _explained(self, X):
        """Return rows as numbers and category indices, and what is expected."""
        check_is_fitted(self)
        v = self._codec.read(
            self, X, allow_nan=self.__sklearn_tags__().input_tags.allow_nan
        )
        return self._codec.entries(X, v), self._fitted.explain(v)

    # ------------------------------------------------------------------- stacks

    def as_layer(self):
        """Return the fitted RBM with its codec, for stacks of RBMs in this package."""
        check_is_fitted(self)
        # A stack asks layers for no threshold.
        return RBMLayer(replace(self._fitted, refit=None), self._codec)

    def holding(self, fitted, **params):
        """Return a copy with another fitted RBM, for stacks of RBMs in this package."""
        check_is_fitted(self)
        other = clone(self).set_params(**params)
        read = Read(self._codec, self, None)
        other._publish(fitted, read, history_=self.history_, n_iter_=self.n_iter_)
        return other


def warn_unmixed(r_hat, n_steps, remedy=""):
    """Warn of chains of `sample` that differ from each other."""
    if r_hat > MAX_R_HAT:
        warn_user(
            f"The chains of sample() did not mix: R-hat is {r_hat:.2f} after "
            f"n_steps={n_steps}. Use more steps{remedy}.",
            TrainingWarning,
        )
