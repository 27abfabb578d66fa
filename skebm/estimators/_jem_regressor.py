"""The semi-supervised regressor."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from skebm.estimators._base import BaseEBM, with_gradients
from skebm.estimators._density import EBMDensityEstimator
from skebm.estimators._input import (
    TableReader,
    agreed_random_state,
    check_n_samples,
    private_random_state,
)
from skebm.estimators._joint_plan import keep_labeled
from skebm.estimators._number_labels import (
    check_experts,
    of_table,
    pick_by_scores,
    read_numbers_of_y,
    split_rows,
    warn_of_level,
    warn_of_marker,
    warn_of_repeats,
)
from skebm.estimators._published import FITTED, check_changed
from skebm.estimators._regression_plan import plan_regression
from skebm.estimators._weights import check_weights
from skebm.models import FittedModel, LabelDensity, fit
from skebm.semi_supervised import LEARNERS
from skebm.utils import InvalidParameterError, is_number
from skebm.utils._documented import documented_like
from skebm.utils._sklearn import Interval, StrOptions, with_callbacks

#: Rows drawn for each one that is asked for with a given y, and at least so many.
DRAWS_A_ROW, MIN_DRAWS = 20, 2000
#: Draws of given rows that are held at once.
MAX_DRAWS = 2**16


@documented_like(EBMDensityEstimator, attributes=FITTED)
class JEMRegressor(RegressorMixin, BaseEBM):
    r"""Joint density of rows and a number: regression with few labels.

    .. math:: p(x, y) = p(x) \, p(y | x), \qquad p(x) = q_0(x) e^{-E(x)} / Z, \qquad
              p(y | x) = \sum_k w_k \, p_k(y | x)

    Labels are numbers, NaN where unknown. All rows train the density of x. Its scaling
    and ranks of the columns, and its conditionals where entries are missing, serve
    p(y|x), a mixture of densities about the predictions of simple learners: a linear
    model, two Gaussian processes, a forest, extra trees and boosted trees. Labels that
    were left out give the widths of the densities and the weights of the mixture.

    Columns may be categories, and entries may be missing (NaN), in `fit` and
    afterwards. Where x misses the entries M,

    .. math:: p(y | x_O) = E_{p(x_M | x_O)}[p(y | x_O, x_M)]

    by 64 weighted draws of what they may be.

    Parameters
    ----------
    objective : str or Objective, default="nce"
        Objective of the density of x: a name of `skebm.objectives.OBJECTIVES` or an
        instance.
    reference : str, Reference, estimator or None, default="gmm"
        :math:`q_0`: "gmm", stacked Gaussian mixtures; "copula", these with one of
        columns made normal; "gaussian"; "kde"; "flow" (needs zuko); None, a uniform
        box; or a `GaussianMixture` or `KernelDensity` of scikit-learn.
    experts : "all" or list of str, default="all"
        The learners: "linear", "Gaussian process", "Gaussian process of ranks",
        "forest", "extra trees", "boosted trees". Fewer are faster.
    point : {"mean", "median", "mode"}, default="mean"
        What `predict` returns of p(y|x): the mean has the least squared error, the
        median the least absolute error. May be changed after `fit`.
    max_iter : int or "auto", default="auto"
        Epochs of the density; "auto" takes as many as make 1500 steps.
    ood_score : str, default="log_density"
        Kind of `ood_scores`: a name of `skebm.evaluation.OOD_SCORES`. "auto" and others
        by distances keep up to 5000 rows in the fitted estimator.

    Attributes
    ----------
    expert_weights_ : dict of str to float
        Weights of the learners in the mixture, of sum one.
    n_labels_ : int
        Labels that p(y|x) was learnt from.
    transduction_ : ndarray of shape (n_samples,)
        Labels of the rows of `fit`, predicted where they were unknown.
    is_categorical_ : ndarray of bool of shape (n_features_in_,), or None
        Which columns are categories; None where none is.

    See Also
    --------
    JEMClassifier : Classes with few labels.
    EBMDensityEstimator : A density alone.

    Notes
    -----
    y has a density: draws of whole numbers are not whole.

    References
    ----------
    Yao, Vehtari, Simpson, Gelman. Using stacking to average Bayesian predictive
    distributions. Bayesian Analysis 2018. Barber, Candes, Ramdas, Tibshirani.
    Predictive inference with the jackknife+. Annals of Statistics 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from skebm import JEMRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> y_few = np.where(np.arange(442) % 10 == 0, y, np.nan)
    >>> model = JEMRegressor(max_iter=2, random_state=0).fit(X, y_few)
    >>> bool(model.score(X, y) > 0.3)
    True
    >>> lower, upper = model.predict_interval(X[:3], level=0.8).T
    >>> bool((lower < upper).all())
    True
    >>> X_new, y_new = model.sample(4, random_state=0)
    >>> X_new.shape, y_new.shape
    ((4, 10), (4,))
    """

    _stored_types: ClassVar[dict] = {
        "_fitted": FittedModel,
        "_reader": TableReader,
        "_labels": LabelDensity,
    }
    _parameter_constraints: ClassVar[dict] = {
        **BaseEBM._parameter_constraints,
        "experts": ["array-like", StrOptions({"all"})],
        "point": [StrOptions({"mean", "median", "mode"})],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "sentinels": [StrOptions({"warn", "atom", "missing"})],
        "learning_rate": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
        ],
        "n_iter_no_change": [
            *BaseEBM._parameter_constraints["n_iter_no_change"],
            StrOptions({"auto"}),
        ],
    }

    def __init__(
        self,
        objective="nce",
        network="auto",
        reference="gmm",
        normalizer="auto",
        *,
        experts="all",
        point="mean",
        categorical_features="from_dtype",
        sentinels="warn",
        max_iter="auto",
        batch_size=100,
        learning_rate="auto",
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change="auto",
        contamination=0.05,
        ood_score="log_density",
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.objective = objective
        self.network = network
        self.reference = reference
        self.normalizer = normalizer
        self.experts = experts
        self.point = point
        self.categorical_features = categorical_features
        self.sentinels = sentinels
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.contamination = contamination
        self.ood_score = ood_score
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @with_gradients
    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit the density of x, and p(y|x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing. Rows of NaN alone are left out.
        y : array-like of shape (n_samples,)
            Numbers; NaN, None, pd.NA or masked where unknown.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : JEMRegressor

        Raises
        ------
        ValueError
            Where fewer than two labels are known, or one is infinite, or y has several
            columns.
        """
        self._validate_params()
        check_experts(self.experts, LEARNERS)
        labeled, all_y = self._read_labeled(X, y, sample_weight)
        rng = agreed_random_state(self.random_state, labeled.read.table)
        task, encoder, y_kept = plan_regression(self, labeled, rng)
        weight = None if task.rows.weight is None else task.rows.weight.double().numpy()
        seed = rng.randint(2**31 - 1)

        def learnt(model):
            return self._learn_labels(model, task.rows.z.numpy(), y_kept, weight, seed)

        columns = {"is_categorical_": labeled.read.reader.is_categorical}
        progress = self._progress(X, y, task, labeled.read, **columns)
        on_epoch = progress.on_epoch and (
            lambda model: progress.on_epoch(model, lambda: learnt(model()))
        )
        fitted = fit(task, encoder, rng, on_epoch)
        progress.end()
        learnt_labels = learnt(fitted)
        predicted = of_table(
            learnt_labels["_labels"],
            fitted,
            labeled.all_rows,
            lambda density, rows: density.point(self.point),
        )
        transduced = np.where(np.isnan(all_y), predicted, all_y)
        return self._publish(
            fitted, labeled.read, **columns, **learnt_labels, transduction_=transduced
        )

    def predict(self, X, return_std=False):
        """Predict the mean, median or mode of p(y|x), as ``point`` says.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing. Unknown categories are missing entries.
        return_std : bool, default=False
            Whether to return the standard deviation of p(y|x) as well.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        std : ndarray of shape (n_samples,)
            Only with ``return_std``.
        """
        check_is_fitted(self, "network_")
        check_changed(self, "point")

        def function(density, rows):
            del rows
            center = density.point(self.point)
            return np.stack([center, density.std()], 1) if return_std else center

        found = self._ask(X, function)
        return tuple(found.T) if return_std else found

    def predict_interval(self, X, level=0.9):
        r"""Predict intervals that hold a share of new labels.

        They are central intervals of p(y|x), of such a level that the share of labels
        that were left out in `fit` and lie in theirs is `level`, with the correction of
        conformal prediction for their number n: the rank :math:`\lceil (n + 1)
        \mathrm{level} \rceil`. Labels of complete rows are left out for complete rows,
        and those of rows with gaps are for others with gaps, where at least thirty
        complete rows, and ten with gaps, have one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.
        level : float, default=0.9
            Between 0 and 1. Labels can't show levels above n / (n + 1), for which
            intervals are those of p(y|x).

        Returns
        -------
        interval : ndarray of shape (n_samples, 2)
            Lower and upper ends.

        Warns
        -----
        skebm.exceptions.TrainingWarning
            Where the left-out labels are too few for the level.
        """
        check_is_fitted(self, "network_")
        if not is_number(level, 0, 1) or level in (0, 1):
            raise InvalidParameterError(
                f"The 'level' parameter must be between 0 and 1. Got {level!r}."
            )
        table = self._read(X, allow_nan=True, handle_unknown="missing")
        warn_of_level(level, self._labels.n_calibration(table))
        half = self._labels.interval_levels(level, table) / 2

        def function(density, rows):
            ends = 0.5 - half[rows], 0.5 + half[rows]
            return np.stack([density.quantile(end) for end in ends], axis=1)

        return self._of_table(table, function)

    def predict_log_density(self, X, y):
        """Return log p(y|x), in nats and the units of y; NaN where y is.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.
        y : array-like of shape (n_samples,)
            A number for each row.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            With `score_samples` it sums to log p(x, y).
        """
        check_is_fitted(self, "network_")
        labels = read_numbers_of_y(y, X)
        return self._ask(X, lambda density, rows: density.log_prob(labels[rows]))

    def sample_y(self, X, n_samples=1, random_state=None):
        """Draw labels of rows from p(y|x).

        Parameters
        ----------
        X : array-like of shape (n_samples_X, n_features)
            Rows; NaN where an entry is missing.
        n_samples : int, default=1
            Draws of each.
        random_state : int, RandomState or None, default=None
            None is seeded by the system, so that two calls differ.

        Returns
        -------
        y : ndarray of shape (n_samples_X, n_samples)
        """
        check_is_fitted(self, "network_")
        check_n_samples(n_samples)
        rng = private_random_state(random_state)
        return self._ask(X, lambda density, rows: density.sample(n_samples, rng))

    def sample(self, n_samples=1, random_state=None, *, y=None, given=None):
        """Draw rows and their labels.

        Without y, x follows p(x), or p(x | given), as `EBMDensityEstimator.sample` has
        it, and y follows p(y|x). With y, x follows p(x | y): rows are picked by p(y|x)
        among twenty times as many draws.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows; with `given`, for each of its rows.
        random_state : int, RandomState or None, default=None
            None is seeded by the system, so that two calls differ.
        y : float or None, default=None
            Label of all rows.
        given : array-like of shape (n_given, n_features) or dict, default=None
            Rows whose columns are held; NaN where a column is to be drawn. A data frame
            may have some of the columns; a dict of columns to values is one row.

        Returns
        -------
        X : array or data frame of shape (n_samples, n_features) or (n_given * \
                n_samples, n_features)
            In the units of the X of `fit`; those of the first given row come first.
        y : ndarray of shape (n_samples,) or (n_given * n_samples,)

        Warns
        -----
        skebm.exceptions.TrainingWarning
            Where so few draws go with y that rows repeat.
        """
        check_is_fitted(self, "network_")
        check_n_samples(n_samples)
        rng = private_random_state(random_state)
        like, given = self._read_given(given)
        if y is None:
            table = self._draw(n_samples, rng, given)
            draws = self._of_table(
                table, lambda density, rows: density.sample(1, rng)[:, 0]
            )
            return self._reader.write(table, like), draws
        if not is_number(y, -np.inf, np.inf) or not np.isfinite(y):
            raise InvalidParameterError(
                f"The 'y' parameter must be a finite number or None. Got {y!r}."
            )
        table = self._draw_with(float(y), n_samples, rng, given)
        return self._reader.write(table, like), np.full(len(table), float(y))

    def score(self, X, y, sample_weight=None):
        """Return R2 over the labelled rows; NaN where fewer than two are.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels; rows with NaN don't count.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        r2 : float
        """
        labels = read_numbers_of_y(y, X)
        weight = check_weights(sample_weight, X)
        known = np.flatnonzero(~np.isnan(labels))
        if len(known) < 2:
            return float("nan")
        predicted = self.predict(X)[known]
        weight = None if weight is None else weight[known]
        return float(r2_score(labels[known], predicted, sample_weight=weight))

    # ------------------------------------------------------------------ asking

    def _ask(self, X, function):
        """Return a function of the p(y|x) of rows and of their indices."""
        table = self._read(X, allow_nan=True, handle_unknown="missing")
        return self._of_table(table, function)

    def _of_table(self, table, function):
        return of_table(self._labels, self._fitted, table, function)

    def _draw_with(self, y, n_samples, rng, given):
        """Draw rows that go with y, for some given rows at a time."""
        n_draws, tables, effective = max(MIN_DRAWS, DRAWS_A_ROW * n_samples), [], []
        for part in split_rows(given, max(1, MAX_DRAWS // n_draws)):
            table = self._draw(n_draws, rng, part)
            label = np.full(len(table), y)
            scores = self._of_table(
                table,
                lambda density, rows, label=label: density.log_prob(label[rows]),
            )
            scores = scores.reshape(-1, n_draws)
            kept, worth = pick_by_scores(scores, n_samples, rng)
            tables.append(table[kept])
            effective.append(worth.min())
        warn_of_repeats(min(effective), n_samples)
        return np.concatenate(tables)

    # ---------------------------------------------------------------- training

    def _read_labeled(self, X, y, sample_weight):
        """Return the rows that count, with labels and weights, and all labels."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        read = self._learn_columns(
            X,
            categorical_features=self.categorical_features,
            sentinels=self.sentinels,
            min_rows=2,
            allow_nan=True,
        )
        labels = read_numbers_of_y(y, read.table)
        warn_of_marker(labels)
        return keep_labeled(read, labels, sample_weight, min_rows=2), labels

    def _learn_labels(self, fitted, z, y, weight, seed):
        """Return what labels teach, by the names of the attributes."""
        rng = np.random.RandomState(seed)
        names = check_experts(self.experts, LEARNERS)
        density = LabelDensity.learn(fitted, z, y, weight, rng, names)
        return {
            "_labels": density,
            "expert_weights_": density.regression.named_weights,
            "n_labels_": int((~np.isnan(y)).sum()),
        }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
