"""The base of estimators by nets: options, questions to the model, publication."""

from __future__ import annotations

import functools
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from skebm.estimators._callbacks import FitProgress
from skebm.estimators._compared import scores_of
from skebm.estimators._explained import entry_p_values, explained_frame
from skebm.estimators._given import (
    check_gaps,
    of_parameter,
    warn_of_impossible,
    whole_rows,
)
from skebm.estimators._input import TableReader, private_random_state
from skebm.estimators._large_numbers import keep_large
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
from skebm.evaluation import OOD_SCORES
from skebm.exceptions import NormalizerWarning, TrainingWarning
from skebm.models import MAX_R_HAT, FittedModel
from skebm.objectives import Objective
from skebm.references import Reference
from skebm.tables._seen import see
from skebm.utils import (
    check_choice,
    draw_seed,
    make_generator,
    reporting,
    warn_user,
)
from skebm.utils._sklearn import HasMethods, Interval, StrOptions

STRATEGIES = ("mean", "median", "draw")


def with_gradients(method):
    """Decorate a method that trains: gradients are on in every mode of the caller."""

    @functools.wraps(method)
    def trained(self, *args, **kwargs):
        with torch.inference_mode(False), torch.enable_grad(), reporting(self.verbose):
            return method(self, *args, **kwargs)

    return trained


class BaseEBM(StoredEstimator):
    """Answers of a fitted p(x) = q0(x) exp(-E(x)) / Z.

    Two private attributes hold everything that was learnt: `_fitted`, the model, and
    `_reader`, which reads tables of the columns of `fit`.
    """

    _parameter_constraints: ClassVar[dict] = {
        "objective": [str, Objective, None],
        "network": [str, callable],
        "reference": [str, Reference, HasMethods(["score_samples", "sample"]), None],
        "normalizer": [str, HasMethods(["estimate"]), None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "batch_growth": [Interval(Real, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "gradient_clip": [Interval(Real, 0, None, closed="neither"), None],
        "weight_averaging": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "contamination": [Interval(Real, 0, 0.5, closed="right"), StrOptions({"auto"})],
        "ood_score": [StrOptions(OOD_SCORES.keys())],  # a view: rows may be added
        "warm_start": ["boolean"],
        "device": [str, torch.device, None],
        "random_state": ["random_state"],
        "verbose": [Interval(Integral, 0, None, closed="left"), "boolean"],
    }

    # Defaults where the constructor of a subclass has no such parameter.
    objective = "stratified_nce"
    network = reference = normalizer = "auto"
    max_iter = learning_rate = n_iter_no_change = "auto"
    batch_size = 100
    batch_growth = 1.0
    gradient_clip = image_shape = None
    weight_averaging = 0.99
    early_stopping = True
    validation_fraction = 0.1
    tol = 0.0
    contamination = 0.05
    ood_score = "auto"
    warm_start = False
    device = "auto"
    random_state = None
    verbose = 0

    _stored_types: ClassVar[dict] = {"_fitted": FittedModel, "_reader": TableReader}

    network_ = of_fitted("network_", lambda fitted: fitted.network)
    reference_ = of_fitted("reference_", lambda fitted: fitted.reference)
    objective_ = of_fitted("objective_", lambda fitted: fitted.specification.objective)
    history_ = of_fitted("history_", lambda fitted: fitted.outcome.history)
    n_iter_ = of_fitted("n_iter_", lambda fitted: fitted.outcome.n_epochs)
    best_epoch_ = of_fitted("best_epoch_", lambda fitted: fitted.outcome.best_epoch)

    @property
    def normalizer_result_(self):
        """The whole estimate of log Z, made at the first question."""
        check_is_fitted(self, "network_")
        estimate = self._fitted.estimate
        self._warn_if_untrusted()
        return estimate

    @property
    def log_normalizer_(self):
        """The log of the normaliser, in nats, estimated at the first question."""
        return self._of_estimate("log_normalizer")

    @property
    def log_normalizer_se_(self):
        """The standard error of `log_normalizer_`."""
        return self._of_estimate("standard_error")

    @property
    def offset_(self):
        """The threshold of `ood_scores`, by ``contamination`` and ``ood_score``."""
        check_is_fitted(self, "network_")
        check_changed(self, "contamination", "ood_score")
        detector = self._fitted.detector_with(self.ood_score)
        threshold = detector.threshold(self.ood_score, self.contamination)
        self._warn_if_untrusted()
        return threshold

    @property
    def n_calibration_(self):
        """Number of rows that `p_values` compares with, where none are given."""
        check_is_fitted(self, "network_")
        try:
            return len(self._scores_left_out().values)
        except ValueError as error:
            raise AttributeError(str(error)) from error

    @property
    def ood_report_(self):
        """The parts of ``ood_score="auto"``: weights, and what each tells from rows."""
        check_is_fitted(self, "network_")
        return self._fitted.detector_with(self.ood_score).report(self.ood_score)

    def energy(self, X):
        r"""Energy of each row, in nats; low is likely.

        A row with missing entries has a marginal energy. It tilts the marginal density
        of the reference as E(x) tilts q0(x), and comes from draws as in
        `score_samples`:

        .. math:: E(x_O) = \log q_0(x_O) - \log p(x_O) - \log Z

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.

        Returns
        -------
        energy : ndarray of shape (n_samples,)
            E(x), float64, without the reference density and log Z.
        """
        table = self._read(X, allow_nan=True)
        return self._fitted.energy(self._fitted.encoder.encode(table))

    def score_samples(self, X):
        r"""Log density of each row, in nats, in the units of X.

        .. math:: \log p(x) = \log q_0(z) - E(z) - \log Z - \sum_j \log s_j,
                  \qquad z_j = (x_j - m_j) / s_j

        A log density, not a log probability: it may be positive, and it depends on the
        units of the columns. With ``normalizer=None`` log Z is left out.

        For a row with missing entries (NaN), it is the log of the marginal density of
        the observed ones, and 0 if all are missing:

        .. math:: \log p(x_O) = \log \int p(x_O, x_M) \, dx_M

        Importance sampling computes it, or annealing if that fails, to a standard error
        of about 0.05 nats. The seed depends on the row alone. Such a row costs as much
        as hundreds to thousands of complete rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            float64; deterministic, whatever the other rows are.

        Warns
        -----
        skebm.exceptions.NormalizerWarning
            If the marginal density of a row can't be trusted; names standard errors.
        """
        table = self._read(X, allow_nan=True)
        scores = self._fitted.log_prob(self._fitted.encoder.encode(table))
        self._warn_if_untrusted()
        if errors := scores.untrusted_errors:
            n_missing = int(np.isnan(table).any(axis=1).sum())
            warn_user(
                f"The marginal density of {len(errors)} of {n_missing} incomplete rows "
                f"can't be trusted: standard errors are up to {max(errors):.2g} nats.",
                NormalizerWarning,
            )
        return scores.log_prob + self._fitted.encoder.log_widths(table)

    def ood_scores(self, X):
        r"""Score of each row by ``ood_score``; higher is more normal.

        The score of a row with missing entries is the mean over 32 draws of what they
        may be,

        .. math:: s(x_O) = E_{p(x_M | x_O)}[s(x_O, x_M)]

        which is on the scale of complete rows: ``offset_`` holds for both.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            float64; deterministic. Less ``offset_`` it is negative for rows out of
            distribution.

        Raises
        ------
        ValueError
            Where ``ood_score`` was changed since `fit` to one that has to be learnt, or
            is unknown.
        """
        check_is_fitted(self, "network_")
        return self._outlier_scores(self._read(X, allow_nan=True))

    def p_values(self, X, calibration=None, delta=None):
        r"""Conformal p-values: small for rows out of distribution.

        .. math:: p(x) = \frac{1 + \#\{i: s(x_i) \le s(x)\}}{1 + n}

        with s the score named by ``ood_score`` and :math:`x_i` the n calibration rows.
        For a new row of their distribution, :math:`P(p \le \alpha) \le \alpha`. No
        p-value is below 1 / (n + 1).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        calibration : array-like of shape (n, n_features), default=None
            Normal rows that `fit` has not seen; with them the statement is exact. None
            takes the rows that `fit` held out and, if these are fewer than 300, the
            training rows too, each scored as if it had been left out. Then the
            statement holds approximately: the held-out rows also chose the epoch to
            stop at, and leaving a row out is an approximation.
        delta : float, default=None
            A number between 0 and 1 asks for larger p-values, which hold given the
            calibration rows, with a probability of 1 - delta over them. None: they hold
            in the mean over calibration rows. See
            `skebm.evaluation.conditional_p_values`.

        Returns
        -------
        p_values : ndarray of shape (n_samples,)
            float64, from 1 / (n + 1) to 1.

        Raises
        ------
        ValueError
            Where no rows were held out and none are given.

        Warns
        -----
        skebm.exceptions.CalibrationWarning
            Where ``contamination`` is below 1 / (n + 1), so that no p-value is as low.

        References
        ----------
        Bates et al. Testing for outliers with conformal p-values. Annals of Statistics
        51, 2023.
        """
        check_is_fitted(self, "network_")
        check_changed(self, "contamination")
        scores = self.ood_scores(X)
        given = calibration is not None
        others = scores_of(self, calibration) if given else self._scores_left_out()
        return others.p_values(scores, self.contamination, delta)

    def impute(self, X, strategy="mean", random_state=None):
        """Fill missing entries from their conditional distribution given the others.

        Importance sampling draws from the reference's conditional, until the draws are
        worth at least 400 independent ones. If that takes too many draws, sequential
        Monte Carlo runs two populations of particles, and R-hat compares them.

        Fills are values that the column can take, as the rows of `fit` show: whole
        numbers if all values were whole (so a mean is rounded), no number below zero if
        there was none, and one of the values seen if these were few.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN where missing.
        strategy : {"mean", "median", "draw"}, default="mean"
            "mean" is the conditional mean, which has the least squared error. "median"
            is the conditional median of each entry, which has the least absolute error.
            "draw" draws all missing entries of a row together, for multiple imputation.
            Mean and median fill a category with the most likely one.
        random_state : int, RandomState or None, default=None
            Seed of the strategy "draw". Mean and median are deterministic, and do not
            depend on the other rows.

        Returns
        -------
        X_filled : array or data frame of shape (n_samples, n_features)
            Observed entries as they are. A data frame comes back as one of its library,
            with its labels of rows, names, and dtypes where these hold the values.

        Warns
        -----
        skebm.exceptions.TrainingWarning
            If the draws for a row can't be trusted; names R-hat.
        """
        table = self._read(X, allow_nan=True)
        check_choice(self, "strategy", strategy, STRATEGIES)
        if strategy == "draw":
            generator = self._generator(private_random_state(random_state))
            filled = self._fitted.complete(table, 1, generator)
        else:
            filled = self._fitted.impute(table, strategy)
        self._warn_of_draws(filled)
        return keep_large(self._reader.write(filled.table, like=X), X)

    def explain(self, X, calibration=None):
        r"""Tell which entries of rows are strange, given the other ones of their row.

        .. math:: p(x_j | x_{-j}) = \frac{p(x_j, x_{-j})}{\int p(t, x_{-j}) \, dt}

        by quadrature over the line of a number and by enumeration of categories, for
        any energy; log Z cancels. Missing entries are averaged over, by completions of
        the row, which then costs as much as ten. A number beyond the model's draws by
        their range or more counts as missing where the other entries are explained.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.
        calibration : array-like of shape (n, n_features), default=None
            Normal rows that ``p_value`` compares with. None takes 256 rows of `fit`,
            held-out ones first, where the estimator keeps rows: with an ``ood_score``
            that is or has distances to neighbours, as "auto".

        Returns
        -------
        explanation : pandas DataFrame
            A line for each row and column, its index. Columns are "value"; "log_p",
            the conditional log density in the units of X or log probability;
            "tail_probability", the model's probability of a value that is no likelier;
            "p_value", the share of calibration rows (and this one) in which that is as
            small in this column, or "tail_probability" where there are none;
            "expected", the conditional mean or the likeliest category; "lower" and
            "upper", conditional quantiles of 5 and 95 % (NaN for categories); and
            "sentence". NaN where an entry is missing.
        """
        table = self._read(X, allow_nan=True)
        found = self._fitted.explain(table)
        if calibration is None:
            others = self._fitted.sample_tails()
        else:
            with of_parameter("calibration"):
                rows = self._read(calibration, allow_nan=True)
            others = self._fitted.explain(rows).tail
        names = getattr(self, "feature_names_in_", None)
        p_values = entry_p_values(found.tail, others)
        return explained_frame(X, table, found, p_values, self._reader.decode, names)

    # ------------------------------------------------------------------ asking

    def _read(self, X, **options):
        """Return rows as numbers and category indices."""
        check_is_fitted(self, "network_")
        return self._reader.read(self, X, **options)

    def _scores_left_out(self):
        """Return the scores of rows that the model was not trained on."""
        check_changed(self, "ood_score")
        return self._fitted.detector_with(self.ood_score).left_out(self.ood_score)

    def _outlier_scores(self, table, of_fit=False):
        check_changed(self, "ood_score")
        scores, filled = self._fitted.outlier_scores(
            table, self.ood_score, of_fit=of_fit
        )
        self._warn_if_untrusted()
        self._warn_of_draws(filled)
        return scores

    def _read_given(self, given):
        """Return given rows as a table of all columns, and as numbers; None of None."""
        if given is None:
            return None, None
        with of_parameter("given"):
            like = whole_rows(self, given, self._reader.written_like())
            table = self._read(like, allow_nan=True)
        check_gaps(self._fitted.encoder.without_codes(table))
        names = getattr(self, "feature_names_in_", None)
        warn_of_impossible(table, self._fitted.encoder, names)
        return like, table

    def _draw(self, n_samples, rng, given=None, log_tilt=None, chains=None):
        """Draw from p(x) exp(log_tilt(x)), up to scale; or complete given rows so."""
        generator = self._generator(rng)
        if given is None:
            return self._fitted.sample(n_samples, generator, log_tilt, chains)
        filled = self._fitted.complete(given, n_samples, generator, log_tilt)
        self._warn_of_draws(filled)
        return filled.table

    def _generator(self, rng):
        return make_generator(draw_seed(rng), self._fitted.device)

    def _of_estimate(self, name):
        estimate = self.normalizer_result_
        return None if estimate is None else getattr(estimate, name)

    # ----------------------------------------------------------------- writing

    def _learn_columns(self, X, **options):
        """Read a table and learn its columns."""
        shell = shell_of(self)
        reader, table = TableReader.learn(shell, X, **options)
        return Read(reader, shell, table)

    def _known_columns(
        self, X, *, categorical_features, sentinels, as_float64=False, **options
    ):
        """Read a table with the columns of `fit`, whose options must be the same."""
        X = see(X)
        self._reader.check_options(X, categorical_features, as_float64, sentinels)
        return Read(self._reader, self, self._reader.read(self, X, **options))

    def _progress(self, X, y, task, read, **learnt):
        """Return the reporter of epochs to scikit-learn's callbacks.

        ``learnt`` are the attributes that make a usable copy in mid-fit.
        """
        n_epochs = task.specification.n_epochs(len(task.rows.train))
        attributes = {**learnt, "_reader": read.reader}
        return FitProgress(self, read, n_epochs, X, y, attributes)

    def _publish(self, fitted, read, **learnt):
        """Assign the results of a fit, all at once; warn of interrupts and of log Z."""
        publish(self, read, _fitted=fitted, _reader=read.reader, **learnt)
        self._warn_if_untrusted()
        for what in fitted.outcome.interruptions:
            warn_of_interrupt(what)
        return self

    # ---------------------------------------------------------------- warnings

    def _warn_if_untrusted(self):
        """Warn of an estimate of log Z that was just made and can't be trusted."""
        estimate = self._fitted.calibration.take_new_estimate()
        warn_untrusted(estimate, "A stronger reference or normalizer may help.")

    def _warn_of_draws(self, filled):
        """Warn where two populations of draws for an incomplete row differ."""
        if not filled.n_untrusted:
            return
        warn_user(
            f"The draws for {filled.n_untrusted} of {len(filled.r_hats)} incomplete "
            "rows can't be trusted: two populations of particles differ, with an R-hat "
            f"of up to {max(filled.r_hats):.2f} (over {MAX_R_HAT}).",
            TrainingWarning,
        )
