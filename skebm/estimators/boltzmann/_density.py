"""RBM estimators of a density: scores, outliers, features and samples."""

from __future__ import annotations

import copy
from numbers import Real
from typing import ClassVar

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skebm.estimators._density_methods import DensityMethods
from skebm.estimators._given import (
    of_parameter,
    warn_of_impossible,
    whole_rows,
)
from skebm.estimators._input import (
    agreed_random_state,
    check_n_samples,
    check_n_steps,
    private_random_state,
)
from skebm.estimators._large_numbers import keep_large
from skebm.estimators._published import check_changed, of_fitted
from skebm.estimators._tables import numbers_of
from skebm.estimators.boltzmann._base import RBMEstimator, warn_unmixed
from skebm.estimators.boltzmann._options import tree_reference
from skebm.models.boltzmann._fit import DensityTask
from skebm.models.boltzmann._tree_kind import TreeKind
from skebm.objectives import DISCRETE_LOSSES
from skebm.references import ChowLiuReference
from skebm.utils import draw_seed
from skebm.utils._sklearn import Interval, StrOptions, with_callbacks

#: Of the estimators whose likelihood is watched in training.
WATCH_CONSTRAINTS = {
    "early_stopping": ["boolean", StrOptions({"auto"})],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
}

#: Of the estimators whose visible units have finitely many values.
OPTIONS_OF_FINITE_VALUES = {
    "method": [StrOptions({"pcd", "cd", "tempering", *DISCRETE_LOSSES})],
    "reference": [StrOptions({"chow_liu"}), ChowLiuReference, None],
}


class BaseRBM(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMethods, RBMEstimator
):
    """Base of RBM estimators without classes: a density and features."""

    _parameter_constraints: ClassVar[dict] = {
        **RBMEstimator._parameter_constraints,
        "contamination": [Interval(Real, 0, 0.5, closed="right"), StrOptions({"auto"})],
    }

    _earlier_options: ClassVar[dict] = {"early_stopping": False, "reference": None}

    components_ = of_fitted("components_", lambda fitted: fitted.weight)
    intercept_visible_ = of_fitted(
        "intercept_visible_", lambda fitted: fitted.visible_bias
    )
    _n_features_out = of_fitted("output", lambda fitted: len(fitted.weight))

    @property
    def offset_(self):
        """The threshold of `predict` on `score_samples`, by ``contamination``."""
        calibrated = self._calibrated()
        check_changed(self, "contamination")
        return calibrated.calibration_scores.threshold(self.contamination)

    # ----------------------------------------------------------------- training

    @with_callbacks
    def fit(self, X, y=None):
        """Fit the RBM to the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN where an entry is missing: it is then redrawn from the RBM,
            given the rest of its row, whenever the row is seen.
        y : None
            Ignored.

        Returns
        -------
        self : object
        """
        self._warn_if_interrupted(self._fit_rows(X, y))
        return self

    @with_callbacks
    def fit_as_layer(self, X):
        """Fit, for stacks of RBMs in this package.

        Returns whether a KeyboardInterrupt ended training; there is no warning.
        """
        return self._fit_rows(X, None).interrupted

    def _fit_rows(self, X, y):
        self._check_options()
        read = self._read_new(X, allow_nan=True)
        return self._fit_task(self._task(read), read, X, y)

    def partial_fit(self, X, y=None):
        """Make one pass over the rows of X, in batches, at a constant learning rate.

        Chains go on from call to call, whatever the number of rows. log Z and the
        threshold are computed anew at the next scoring.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, as in `fit`.
        y : None
            Ignored.

        Returns
        -------
        self : object
        """
        del y
        self._check_options()
        going_on = self._fitted is not None
        read = (self._read_more if going_on else self._read_new)(X, allow_nan=True)
        own = agreed_random_state(self._own_random_state(), read.table)
        rng = copy.deepcopy(own)
        training = self._go_on(self._task(read), rng)
        learnt = {}
        if not going_on:
            names = training.history()
            learnt = {"history_": {name: [] for name in names}, "n_iter_": 0}
        self._publish(training.fitted(), read, **learnt)
        self._keep_random_state(own, rng)
        return self

    def _task(self, read):
        """Return the rows as what an RBM is trained on."""
        kind = read.reader.kind(self)
        reference = tree_reference(self)
        if reference is not None:
            kind = TreeKind(kind, reference, read.table)
        return DensityTask(read.table, kind, read.reader.encoder)

    # ----------------------------------------------------------------- features

    def transform(self, X):
        """Probabilities of the hidden units, P(h = 1 | v = X).

        Missing entries (NaN) are marginalised: exactly where those of a row, or the
        hidden units, have at most 2^10 states, else by Gibbs chains of a fixed seed.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        h : ndarray of shape (n_samples, n_components)
            Of X's dtype.
        """
        check_is_fitted(self)
        v = self._codec.read(self, X, allow_nan=True)
        return self._fitted.mean_hidden(v)

    def gibbs(self, v):
        """Make one Gibbs step: hidden units given v, then visible ones given those.

        Parameters
        ----------
        v : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to start from.

        Returns
        -------
        v_new : ndarray of shape (n_samples, n_features)
            Draws; each call goes on with the random numbers.
        """
        drawn = self._gibbs(v)
        return self._codec.write(drawn, like=v, holds=False)

    def _gibbs(self, v):
        """Return rows of visible units after a Gibbs step."""
        check_is_fitted(self)
        rows = self._codec.read(self, v)
        self.random_state_ = self._own_random_state()
        return self._fitted.gibbs(rows, draw_seed(self.random_state_))

    # --------------------------------------------------------------- likelihood

    def free_energy(self, X):
        r"""Free energy of each row, in nats; low is likely.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        free_energy : ndarray of shape (n_samples,)
            F(v) = -log sum_h exp(-E(v, h)), float64.
        """
        check_is_fitted(self)
        return self._fitted.free_energy(self._codec.read(self, X))

    def score_samples(self, X):
        r"""Log probability of each row, in nats.

        .. math:: \log p(v) = -F(v) - \log Z

        With ``normalizer=None`` log Z is left out. Missing entries (NaN) are summed
        out, exactly, for at most 20 of them in a row, or 20 hidden units.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            float64; deterministic.

        Raises
        ------
        ValueError
            Where more are missing.
        """
        check_is_fitted(self)
        v = self._codec.read(self, X, allow_nan=True)
        return self._calibrated().log_prob(v)

    # ----------------------------------------------------------------- sampling

    def sample(
        self,
        n_samples=1,
        random_state=None,
        *,
        given=None,
        method="gibbs",
        n_steps=1000,
        return_diagnostics=False,
    ):
        """Draw rows from the RBM, or from its conditional given some columns.

        Many chains, a sample each: the first half of their steps leads from
        independent columns to the RBM (its weights grow to their full size), the
        second half runs at full size, and R-hat judges it. A warning says where the
        chains did not mix.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows; with `given`, for each of its rows.
        random_state : int, RandomState or None, default=None
            None is seeded by the system, so that two calls differ.
        given : array-like of shape (n_given, n_features) or dict, default=None
            Rows whose columns are held; NaN where a column is to be drawn. A data frame
            may have some of the columns; a dict of columns to values is one row.
        method : {"gibbs", "tempering"}, default="gibbs"
            "tempering" runs chains at ten temperatures that swap; it costs ten times as
            much, crosses between modes, and can't be combined with `given`.
        n_steps : int, default=1000
            Steps of each chain.
        return_diagnostics : bool, default=False
            Whether to return the diagnostics, too.

        Returns
        -------
        X : array or data frame of shape (n_samples, n_features) or (n_given * \
                n_samples, n_features)
            The rows; those of the first given row come first. A data frame where the
            given rows, or without any the X of `fit`, were one.
        diagnostics : dict
            "r_hat", "effective_sample_size", with `given` of all its rows together;
            "swap_acceptance" of tempering.
        """
        check_is_fitted(self)
        check_n_samples(n_samples)
        check_n_steps(n_steps)
        seed = draw_seed(private_random_state(random_state))
        if method not in ("gibbs", "tempering"):
            raise ValueError(
                f"method must be 'gibbs' or 'tempering'. Got {method!r} instead."
            )
        remedy, like = " or method='tempering'", None
        if given is not None:
            if method == "tempering":
                raise ValueError(
                    "given and method='tempering' don't go together: use "
                    "method='gibbs'."
                )
            remedy = ""
            with of_parameter("given"):
                like = whole_rows(self, given, self._codec.written_like())
                given = self._codec.read(self, like, allow_nan=True)
            if self._codec.encoder is not None:
                names = getattr(self, "feature_names_in_", None)
                warn_of_impossible(numbers_of(like), self._codec.encoder, names)
        v, diagnostics = self._fitted.sample(
            n_samples, n_steps, seed, tempered=method == "tempering", given=given
        )
        warn_unmixed(diagnostics["r_hat"], n_steps, remedy)
        X = self._codec.write(v, like)
        return (X, diagnostics) if return_diagnostics else X

    def impute(self, X):
        """Fill missing entries by their conditional means, E[v_missing | v_observed].

        `GaussianRBM` moves a mean to the nearest value that the column can take: a
        whole number if `fit` saw only whole numbers, none below zero if it saw none.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN where missing.

        Returns
        -------
        X_filled : array or data frame of shape (n_samples, n_features)
            Observed entries as they are; deterministic. A data frame where X is one.
        """
        check_is_fitted(self)
        v = self._codec.read(self, X, allow_nan=True)
        return keep_large(self._codec.write(self._fitted.impute(v), like=X), X)
