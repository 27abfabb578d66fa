"""The semi-supervised classifier."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from os import PathLike
from typing import ClassVar

import numpy as np
from scipy.special import softmax
from sklearn.utils.validation import check_is_fitted

from skebm.estimators._base import BaseEBM, with_gradients
from skebm.estimators._checkpoint import start_of
from skebm.estimators._class_labels import (
    ClassLabelsMixin,
    check_labels,
    check_movable,
    known_indices,
    learn_classes,
    requested_indices,
    transduced,
)
from skebm.estimators._density import EBMDensityEstimator
from skebm.estimators._input import (
    TableReader,
    check_n_samples,
    private_random_state,
)
from skebm.estimators._joint_plan import held_out_split, keep_labeled, plan_training
from skebm.estimators._published import FITTED
from skebm.models import (
    FittedModel,
    fit,
    fit_pass,
    go_on,
    go_on_pass,
    has_held_out_labels,
    keep_all,
)
from skebm.semi_supervised import SemiSupervision
from skebm.utils import InvalidParameterError
from skebm.utils._documented import documented_like
from skebm.utils._sklearn import Interval, StrOptions, with_callbacks


@documented_like(EBMDensityEstimator, attributes=FITTED)
class JEMClassifier(ClassLabelsMixin, BaseEBM):
    r"""Joint energy-based model: classes and a density from one net.

    .. math:: p(x) = q_0(x) e^{-E(x)} / Z, \qquad E = -\frac{1}{\lambda}
              \log \sum_y e^{g_y(x)}, \qquad p(y|x) = \mathrm{softmax}_y \, g_y(x)

    Rows with ``y = -1`` are unlabelled: the density, a graph of nearest neighbours and
    the classifier's own consistency learn from them; see `skebm.objectives.Joint`.

    Columns may be categories, and entries may be missing (NaN), in `fit` and
    afterwards. Where x misses the entries M,

    .. math:: p(y | x_O) = E_{p(x_M | x_O)}[p(y | x_O, x_M)]

    by 64 weighted draws of what they may be.

    Parameters
    ----------
    objective : str, Objective or None, default="nce"
        Objective of the density: a name of `skebm.objectives.OBJECTIVES` or an instance
        ("vera", or "jem", the published one, `PCD.jem`); None trains p(y|x) alone.
    network : str, class or builder, default="ensemble_mlp"
        "ensemble_mlp", "mlp", "resmlp", "wave_mlp", "periodic_mlp", "fourier_mlp";
        "conv", "resnet", "multi_scale", "ensemble_conv", for images; or ``(n_features,
        n_outputs) -> nn.Module``; here n_outputs is the number of classes, and a column
        of categories counts as one feature a category. See `skebm.networks`.
    reference : str, Reference, estimator or None, default="gmm"
        :math:`q_0`: "gmm", stacked Gaussian mixtures; "copula", these with one of
        columns made normal; "gaussian"; "kde"; "flow" (needs zuko); None, a uniform
        box; or a `GaussianMixture` or `KernelDensity` of scikit-learn.
    normalizer : {"auto", "importance", "ais", None} or instance, default="auto"
        Estimator of log Z; None leaves scores unnormalised. Beyond 128 columns "auto"
        is importance sampling alone, since annealing would take most of the time.
    categorical_features : "from_dtype", None, array-like or dict, default="from_dtype"
        Columns of categories: those of a data frame that are categories, booleans or
        words; none; or a mask, numbers or names, or a dict of these to "nominal",
        "ordinal" or "cyclic". A category that `fit` did not see counts as missing in
        questions about p(y|x), and is a `ValueError` in others.
    sentinels : {"warn", "atom", "missing"}, default="warn"
        A value such as -9999 that repeats far from the others of its column: "warn"
        names it and takes it as a number, "atom" gives it a probability, "missing"
        takes it as a missing entry.
    classification_weight : float, default=10.0
        :math:`\alpha`, weight of the cross-entropy on labelled rows beside -log p(x).
    graph_weight : float or "auto", default="auto"
        Weight of the cross-entropy with the graph's soft labels; "auto": the above.
    prediction_entropy_weight : float, default=3.0
        :math:`\beta`, weight of the entropy of p(y|x).
    vat_weight : float, default=10.0
        Weight of the virtual adversarial term.
    vat_radius : float or "auto", default="auto"
        Length of its perturbation, in standardised units; "auto": 1.2 times the median
        over rows of the distance to the tenth neighbour less that to the first.
    balance_weight : float, default=10.0
        Weight of the divergence of the predicted class shares from `class_shares_`
        where these differ from the labelled rows', else from the supervised start's.
    stacking : bool, default=True
        Whether members of the ensemble have different losses ("graph", "consistency":
        entropy, virtual adversarial and balance, "graph and consistency", or
        "supervised": neither) and are weighed by cross-validation on the labelled rows;
        see `role_weights_`. If False, each member is trained with all losses.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the cross-entropy.
    unlabeled : object, default=-1
        The marker of unlabelled rows; None, NaN and pd.NA mark them too. If -1 is a
        class in y, choose another marker: ``unlabeled=None`` says that every row has a
        label.
    max_iter : int or "auto", default="auto"
        Epochs; "auto" takes as many as make about 1200 steps, and visits a part of a
        table that is larger than that.
    batch_size : int, default=384
        Rows a step, dealt out to the members of an ensemble.
    learning_rate : float, default=2e-3
        Adam's rate after warm-up; it decays along a cosine.
    weight_averaging : float, default=0.98
        Decay of the exponential average of the weights that is used in the end.
    early_stopping : bool, default=False
        Hold out rows and keep the best state: labelled ones, and by their accuracy,
        where they are at least 20 a class; else any, and by the density's metric.
        Without either (``objective=None``) none is held out.
    n_iter_no_change : int, default=50
        Epochs without improvement after which training stops, with early stopping.
    ood_score : str, default="log_density"
        Kind of `ood_scores`, a name of `skebm.evaluation.OOD_SCORES`; those by
        distances ("auto" too) keep up to 5000 rows in the fitted estimator.
    checkpoint : str, path or None, default=None
        A folder where `fit` keeps the state of its training, from which the same `fit`
        goes on if it was killed; see `EBMDensityEstimator`. What comes before, such as
        the graph and the weights of the roles, is computed anew.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes; never the marker.
    transduction_ : ndarray of shape (n_samples,)
        Classes of the rows of `fit`: the label where there is one, else the prediction.
    role_weights_ : dict of str to float
        Weights of the members' losses in the mean of p(y|x), by the first fit; of sum
        one.
    temperature_ : float
        p(y|x) is the softmax of the logits divided by it. It maximises the likelihood
        of left-out labels; it is 1.65 if none can be left out, and 1 without stacking.
    class_shares_ : ndarray of shape (n_classes,)
        Estimated shares of the classes among the unlabelled rows of the first fit; the
        labelled rows' if no row is unlabelled, or no label can be left out. Without
        stacking they are shrunk towards the labelled rows'.
    class_shares_interval_ : ndarray of shape (n_classes, 2)
        Ends of a 90 % interval of each share, by resampling of left-out labels; 0 and 1
        if none can be left out, or without stacking.
    vat_radius_ : float
        Radius used.
    is_categorical_ : ndarray of bool of shape (n_features_in_,), or None
        Which columns are categories; None where none is.

    See Also
    --------
    EBMDensityEstimator : A density without classes.
    skebm.model_selection.SemiSupervisedSplit : Folds that respect the marker.

    References
    ----------
    Grathwohl et al. Your classifier is secretly an energy based model and you should
    treat it like one. ICLR 2020. Grathwohl et al. No MCMC for me. ICLR 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skebm import JEMClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> y_few = np.where(np.arange(150) % 10 == 0, y, -1)
    >>> model = JEMClassifier(max_iter=5, random_state=0).fit(X, y_few)
    >>> model.predict_proba(X).shape
    (150, 3)
    >>> X_new, y_new = model.sample(4, y=2, random_state=0)
    >>> X_new.shape, y_new
    ((4, 4), array([2, 2, 2, 2]))
    """

    _stored_types: ClassVar[dict] = {
        "_fitted": FittedModel,
        "_reader": TableReader,
        "_semi_supervision": SemiSupervision,
    }
    _earlier_options: ClassVar[dict] = {"categorical_features": None}
    _parameter_constraints: ClassVar[dict] = {
        **BaseEBM._parameter_constraints,
        "classification_weight": [Interval(Real, 0, None, closed="neither")],
        "graph_weight": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "prediction_entropy_weight": [Interval(Real, 0, None, closed="left")],
        "vat_weight": [Interval(Real, 0, None, closed="left")],
        "vat_radius": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "balance_weight": [Interval(Real, 0, None, closed="left")],
        "image_shape": ["array-like", None],
        "stacking": ["boolean"],
        "checkpoint": [str, PathLike, None],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "sentinels": [StrOptions({"warn", "atom", "missing"})],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "unlabeled": "no_validation",
    }

    def __init__(
        self,
        objective="nce",
        network="ensemble_mlp",
        reference="gmm",
        normalizer="auto",
        *,
        image_shape=None,
        categorical_features="from_dtype",
        sentinels="warn",
        classification_weight=10.0,
        graph_weight="auto",
        prediction_entropy_weight=3.0,
        vat_weight=10.0,
        vat_radius="auto",
        balance_weight=10.0,
        stacking=True,
        class_weight=None,
        unlabeled=-1,
        max_iter="auto",
        batch_size=384,
        batch_growth=1.0,
        learning_rate=2e-3,
        gradient_clip=None,
        weight_averaging=0.98,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=50,
        tol=0.0,
        contamination=0.05,
        ood_score="log_density",
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
        checkpoint=None,
    ):
        self.objective = objective
        self.network = network
        self.reference = reference
        self.normalizer = normalizer
        self.image_shape = image_shape
        self.categorical_features = categorical_features
        self.sentinels = sentinels
        self.classification_weight = classification_weight
        self.graph_weight = graph_weight
        self.prediction_entropy_weight = prediction_entropy_weight
        self.vat_weight = vat_weight
        self.vat_radius = vat_radius
        self.balance_weight = balance_weight
        self.stacking = stacking
        self.class_weight = class_weight
        self.unlabeled = unlabeled
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.batch_growth = batch_growth
        self.learning_rate = learning_rate
        self.gradient_clip = gradient_clip
        self.weight_averaging = weight_averaging
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.contamination = contamination
        self.ood_score = ood_score
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint = checkpoint

    @with_gradients
    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit classes and density.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing. Rows of NaN alone are left out.
        y : array-like of shape (n_samples,)
            Labels: numbers or strings; the marker, None, NaN, pd.NA or masked where
            unlabelled. Arrays of strings hold the marker as a string ("-1").
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : JEMClassifier

        Raises
        ------
        ValueError
            Where fewer than two classes have a label.
        """
        self._validate_params()
        before = self._fitted if self.warm_start else None
        labeled = self._read_labeled(X, y, sample_weight, before, min_rows=2)
        before = before and before.seeing(labeled.read.table)
        known = None if before is None else self.classes_
        classes = learn_classes(labeled.y, self.unlabeled, None, known)
        indices = known_indices(labeled.y, self.unlabeled, classes)
        fraction = self.validation_fraction
        by_labels = has_held_out_labels(indices, len(classes), fraction)
        split_of = held_out_split(self, by_labels)
        known = None if before is None else self._semi_supervision
        start = start_of(self, labeled.read, indices) if before is None else None
        plan = plan_training(
            self, labeled.read, indices, classes, before, known, split_of, start
        )
        task = replace(plan.task, by_labels=by_labels)
        learnt = plan.learnt(classes, labeled.read)
        progress = self._progress(X, y, task, labeled.read, **learnt)
        if before is None:
            fitted = fit(task, plan.encoder, plan.rng, progress.on_epoch)
        else:
            fitted = go_on(before, task, plan.rng, progress.on_epoch)
        progress.end()
        learnt["transduction_"] = transduced(
            labeled, fitted, classes, self.unlabeled, learnt["temperature_"]
        )
        return self._publish(fitted, labeled.read, **learnt)

    @with_gradients
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Make one pass over the rows of X, at a constant learning rate.

        The first call also fits scaling and reference, so its rows must be typical; it
        needs ``classes`` where it doesn't hold each class. Every call needs a label;
        `role_weights_` and `temperature_` stay those of the first.
        log Z and the threshold are computed anew at the next question that needs them.

        Parameters
        ----------
        X : {array-like, dataframe} of shape (n_samples, n_features)
            Rows, with the columns of `fit`; NaN where an entry is missing.
        y : array-like of shape (n_samples,)
            Classes, with the marker where unknown.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        classes : array-like, default=None
            All classes; those of the first call.

        Returns
        -------
        self : JEMClassifier

        Raises
        ------
        ValueError
            Where later ``classes`` are not those of the first call.
        """
        self._validate_params()
        before = self._fitted
        min_rows = 2 if before is None else 1
        labeled = self._read_labeled(X, y, sample_weight, before, min_rows)
        before = before and before.seeing(labeled.read.table)
        known = None if before is None else self.classes_
        classes = learn_classes(labeled.y, self.unlabeled, classes, known)
        indices = known_indices(labeled.y, self.unlabeled, classes)
        known = None if before is None else self._semi_supervision
        plan = plan_training(
            self, labeled.read, indices, classes, before, known, lambda _: keep_all
        )
        if before is None:
            fitted = fit_pass(plan.task, plan.encoder, plan.rng)
        else:
            fitted = go_on_pass(before, plan.task, plan.rng)
        learnt = plan.learnt(classes, labeled.read)
        return self._publish(fitted, labeled.read, **learnt)

    def sample(self, n_samples=1, random_state=None, *, y=None, given=None):
        """Draw rows and their classes.

        x follows the model's p(x), or p(x) p(y|x) up to scale where y is given, by
        sequential Monte Carlo (`skebm.evaluation.annealed_samples`); y follows p(y|x).

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows; with `given`, for each of its rows.
        random_state : int, RandomState or None, default=None
            None is seeded by the system, so that two calls differ.
        y : label, array-like of shape (n_samples,), or None, default=None
            Class of all rows, or of each; with `given`, of all.
        given : array-like of shape (n_given, n_features) or dict, default=None
            Rows whose columns are held; NaN where a column is to be drawn. A data frame
            may have some of the columns; a dict of columns to values is one row.

        Returns
        -------
        X : array or data frame of shape (n_samples, n_features) or (n_given * \
                n_samples, n_features)
            In the units of the X of `fit`, as `EBMDensityEstimator.sample` has them;
            those of the first given row come first.
        y : ndarray of shape (n_samples,) or (n_given * n_samples,)
        """
        check_is_fitted(self, "network_")
        check_n_samples(n_samples)
        rng = private_random_state(random_state)
        like, given = self._read_given(given)
        if given is not None and np.ndim(y):
            raise InvalidParameterError(
                "With 'given', the 'y' parameter must be one class, of all rows. "
                f"Got {len(y)} of them."
            )
        if y is None:
            X = self._draw(n_samples, rng, given)
            z = self._fitted.encoder.encode(X)
            logits = self._fitted.class_logits(z, self.temperature_)
            probability = softmax(logits / self.temperature_, axis=1)
            cumulated = probability.cumsum(axis=1)
            indices = (cumulated < rng.uniform(size=(len(X), 1))).sum(axis=1)
            indices = np.minimum(indices, len(self.classes_) - 1)
            return self._reader.write(X, like), self.classes_[indices]
        n_rows = n_samples * (1 if given is None else len(given))
        indices = requested_indices(y, n_rows, self.classes_)
        X = np.empty((n_rows, self.n_features_in_))
        for k in np.unique(indices):
            rows = indices == k
            n = rows.sum() if given is None else n_samples
            X[rows] = self._draw(n, rng, given, self._class_tilt(k))
        return self._reader.write(X, like), self.classes_[indices]

    def torch_logits(self, X):
        """Return logits of p(y|x) of rows, as torch can differentiate them in X.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Complete rows of numbers, in the units of the X of `fit`.

        Returns
        -------
        logits : Tensor of shape (n_samples, n_classes)
            float32; p(y|x) is their softmax.

        Raises
        ------
        ValueError
            Where X holds NaN or infinity, or `fit` saw categories.
        """
        check_is_fitted(self, "network_")
        check_movable(self, X)
        return self._fitted.tensor_logits(X) / self.temperature_

    @property
    def class_shares_interval_(self):
        """Ends of a 90 % interval of each class share, shape (n_classes, 2)."""
        return self._semi_supervision.class_priors_interval

    def _class_tilt(self, k):
        """Return log p(k|x), as a function of standardised rows."""
        logits_of, temperature = (
            self._fitted.energy_model.class_logits,
            self.temperature_,
        )
        return lambda z: (logits_of(z) / temperature).log_softmax(dim=1)[:, k]

    def _logits(self, X):
        """Return the logits of the classes; unknown categories count as missing."""
        table = self._read(X, allow_nan=True, handle_unknown="missing")
        z = self._fitted.encoder.encode(table)
        return self._fitted.class_logits(z, self.temperature_)

    # ------------------------------------------------------------------ training

    def _read_labeled(self, X, y, sample_weight, before, min_rows):
        """Return the rows that count, with their labels and weights, and all rows."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        read = (self._learn_columns if before is None else self._known_columns)(
            X,
            categorical_features=self.categorical_features,
            sentinels=self.sentinels,
            min_rows=min_rows,
            allow_nan=True,
        )
        check_labels(y, read.table)
        return keep_labeled(read, y, sample_weight, min_rows)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
