"""The semi-supervised classifier."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from scipy.special import softmax
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from skebm.estimators._base import (
    MAX_HELD_OUT,
    BaseEBM,
    check_n_samples,
    private_random_state,
    trains,
)
from skebm.evaluation import AutoNormalizer
from skebm.models._conditioning import ConditionalsMixin
from skebm.models._specification import build_network
from skebm.networks import EnsembleMLP
from skebm.objectives import ROLES, Joint, share_out
from skebm.semi_supervised._graph import build_graph
from skebm.semi_supervised._stacking import prior_stack, stack_roles
from skebm.tables._labels import ClassLabelsMixin, encode_known, encode_labels
from skebm.tables._standardizer import check_table, keep_weighted
from skebm.training import LabelMonitor, Schedule
from skebm.utils import isolated_rng, resolve_device
from skebm.utils._sklearn import Interval, StrOptions, with_callbacks

MIN_HELD_OUT_LABELS = 20
N_LABELED_PER_STEP = 64
LABELED_PASSES = 20
#: Beyond, annealing would take longer than all the rest of the fit.
MAX_ANNEALED_COLUMNS = 128


class JEMClassifier(ClassLabelsMixin, ConditionalsMixin, BaseEBM):
    r"""Joint energy-based model: classes and a density from one net.

    .. math:: p(x) = q_0(x) e^{-E(x)} / Z, \qquad E = -\frac{1}{\lambda}
              \log \sum_y e^{g_y(x)}, \qquad p(y|x) = \mathrm{softmax}_y \, g_y(x)

    Rows with ``y = -1`` are unlabelled: the density, a graph of nearest neighbours and
    the classifier's own consistency learn from them; see `skebm.objectives.Joint`.

    Parameters
    ----------
    objective : str, Objective or None, default="nce"
        Objective of the density: a name of `skebm.objectives.OBJECTIVES` or an instance
        ("vera", or "jem", the published one, `PCD.jem`); None trains p(y|x) alone.
    network : str, class or builder, default="ensemble_mlp"
        "ensemble_mlp", "mlp", "resmlp", "wave_mlp", "periodic_mlp", "fourier_mlp", or
        ``(n_features, n_outputs) -> nn.Module``; here n_outputs is the number of
        classes. See `skebm.networks`.
    reference, normalizer
        As in `EBMDensityEstimator`; but beyond 128 columns "auto" is importance
        sampling alone, since annealing would take most of the time.
    classification_weight : float, default=10.0
        :math:`\alpha`, weight of the cross-entropy on labelled rows beside -log p(x).
    graph_weight : float or "auto", default="auto"
        Weight of the cross-entropy with the soft labels of the graph; "auto" takes
        the classification weight.
    prediction_entropy_weight : float, default=3.0
        :math:`\beta`, weight of the entropy of p(y|x).
    vat_weight : float, default=10.0
        Weight of the virtual adversarial term.
    vat_radius : float or "auto", default="auto"
        Length of its perturbation, in standardised units; "auto" takes 1.2 times the
        median, over rows, of the difference between the distances to the tenth and to
        the first neighbour.
    balance_weight : float, default=10.0
        Weight of the divergence of the predicted class shares from `class_shares_`
        where these differ from the labelled rows', else from the supervised start's.
    stacking : bool, default=True
        Whether members that hear graph, the terms of consistency (entropy, virtual
        adversarial, balance), both, or neither, are weighed by labelled rows that are
        left out in turn; see `role_weights_`. Without, each member hears all.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the cross-entropy.
    unlabeled : object, default=-1
        The marker of unlabelled rows; None, NaN and pd.NA mark them too.
        ``unlabeled=None`` says that every row has a label.
    max_iter : int or "auto", default="auto"
        Epochs; "auto" takes as many as make about 1200 steps.
    batch_size : int, default=384
        Rows a step, dealt out to the members of an ensemble.
    batch_growth, gradient_clip
        As in `EBMDensityEstimator`.
    learning_rate : float, default=2e-3
        As in `EBMDensityEstimator`.
    weight_averaging : float, default=0.98
        As in `EBMDensityEstimator`.
    early_stopping : bool, default=False
        Hold out rows and keep the best state: labelled ones, and by their accuracy,
        where they are at least 20 a class; else any, and by the density's metric.
        Without either (``objective=None``) none is held out.
    ood_score : str, default="log_density"
        As in `EBMDensityEstimator`.
    validation_fraction, n_iter_no_change, tol, contamination, warm_start
        As in `EBMDensityEstimator`.
    device, random_state, verbose
        As in `EBMDensityEstimator`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes; never the marker.
    transduction_ : ndarray of shape (n_samples,)
        Classes of the rows of `fit`: the label where there is one, else the prediction.
    role_weights_ : dict of str to float
        Weights of "consistency", "graph and consistency", "graph" and "supervised" in
        the mean of p(y|x), found by the first fit; of sum one.
    temperature_ : float
        By which the logits are divided in p(y|x), and there alone: as the left-out rows
        want it, 1.65 where none can be left out, 1 without stacking.
    class_shares_ : ndarray of shape (n_classes,)
        Estimated shares of the classes among the unlabelled rows of the first fit;
        those of the labelled rows where these say nothing else, or no row lacks one.
    vat_radius_ : float
        Radius used.
    network_, reference_, objective_, log_normalizer_, log_normalizer_se_
        As in `EBMDensityEstimator`.
    normalizer_result_, offset_, history_, n_iter_, n_features_in_, feature_names_in_
        As in `EBMDensityEstimator`.

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
    >>> model = JEMClassifier(max_iter=20, random_state=0).fit(X, y_few)
    >>> model.predict_proba(X).shape
    (150, 3)
    >>> X_new, y_new = model.sample(4, y=2, random_state=0)
    >>> X_new.shape, y_new
    ((4, 4), array([2, 2, 2, 2]))
    """

    _n_auto_steps = 1200
    _range_share = 0.5

    _parameter_constraints: ClassVar[dict] = {
        **BaseEBM._parameter_constraints,
        "classification_weight": [Interval(Real, 0, None, closed="neither")],
        "graph_weight": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "prediction_entropy_weight": [Interval(Real, 0, None, closed="left")],
        "vat_weight": [Interval(Real, 0, None, closed="left")],
        "vat_radius": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "balance_weight": [Interval(Real, 0, None, closed="left")],
        "stacking": ["boolean"],
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
    ):
        self.objective = objective
        self.network = network
        self.reference = reference
        self.normalizer = normalizer
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

    @trains
    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit classes and density.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; finite numbers.
        y : array-like of shape (n_samples,)
            Labels: numbers or strings; the marker, None, NaN or pd.NA where unlabelled.
            Arrays of strings hold the marker as a string ("-1").
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
        going_on = self.warm_start and self._is_trained
        raw = X, y
        X, y, weight = self._check_fit(X, y, sample_weight, reset=not going_on)
        if going_on:
            codes = self._codes_of_known_classes(y)
        else:
            codes, self.classes_ = encode_labels(y, self.unlabeled)
        self._class_weights = self._resolve_class_weights(codes)
        self._fit(X, codes, weight, n_outputs=len(self.classes_), raw=raw)
        given = encode_known(raw[1], self.unlabeled, self.classes_)
        try:
            predicted = self._logits(raw[0]).argmax(axis=1)
        except KeyboardInterrupt:
            self._warn_of_interrupt("the labelling of the rows; transduction_ is None")
            self.transduction_ = None
            return self
        self.transduction_ = self.classes_[np.where(given < 0, predicted, given)]
        return self

    @trains
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Make one pass over the rows of X, at a constant learning rate.

        The first call also fits scaling and reference, so its rows must be typical; it
        needs ``classes`` where it doesn't hold each class. Every call needs a label;
        `role_weights_` and `temperature_` stay those of the first.
        Until the next scoring, which computes log Z and the threshold anew, the
        estimator, and a pickle of it, holds rows for that, at most 10 000.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
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
        first = not self._is_trained
        X, y, weight = self._check_fit(
            X, y, sample_weight, reset=first, min_rows=2 if first else 1
        )
        self._learn_classes(y, classes, first)
        codes = self._codes_of_known_classes(y)
        self._class_weights = self._resolve_class_weights(codes)
        return self._partial_fit(X, codes, weight, n_outputs=len(self.classes_))

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
        given : array-like of shape (n_given, n_features), default=None
            Rows whose columns are held; NaN where a column is to be drawn.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features) or (n_given * n_samples, ...)
            In the units of the X of `fit`; those of the first given row come first.
        y : ndarray of shape (n_samples,) or (n_given * n_samples,)
        """
        check_is_fitted(self, "network_")
        check_n_samples(n_samples)
        rng = private_random_state(random_state)
        if given is not None:
            given = self._check_given(given)
            if np.ndim(y):
                raise ValueError(
                    "With 'given', the 'y' parameter must be one class, of all rows. "
                    f"Got {len(y)} of them."
                )
        if y is None:
            X = self._draw(n_samples, rng, given)
            logits = self._on_rows(self._make_model().logits, X)
            probability = softmax(logits / self.temperature_, axis=1)
            cumulated = probability.cumsum(axis=1)
            codes = (cumulated < rng.uniform(size=(len(X), 1))).sum(axis=1)
            return X, self.classes_[np.minimum(codes, len(self.classes_) - 1)]
        n_rows = n_samples * (1 if given is None else len(given))
        codes = self._requested_codes(y, n_rows)
        X = np.empty((n_rows, self.n_features_in_))
        for k in np.unique(codes):
            rows = codes == k
            n = rows.sum() if given is None else n_samples
            X[rows] = self._draw(n, rng, given, self._class_tilt(k))
        return X, self.classes_[codes]

    def _class_tilt(self, k):
        """Return log p(k|x), as a function of standardised rows."""
        model = self._make_model()
        temperature = self.temperature_
        return lambda Z: torch.log_softmax(model.logits(Z) / temperature, dim=1)[:, k]

    def _logits(self, X):
        X = self._check_scored(X)
        return self._on_rows(self._make_model().logits, X)

    def _tempered_logits(self, X):
        return self._logits(X) / self.temperature_

    # ------------------------------------------------------------------ training

    def _check_fit(self, X, y, sample_weight, reset, min_rows=2):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        X = check_table(self, X, reset=reset, min_rows=min_rows)
        check_consistent_length(X, y)
        return keep_weighted(X, y, sample_weight, min_rows)

    def _resolve_parts(self, n_outputs):
        parts = super()._resolve_parts(n_outputs)
        # Other nets are trained before it is built, by the number of its members.
        with isolated_rng(0, torch.device("cpu")):
            network = build_network(parts["builder"], self.n_features_in_, n_outputs)
        is_ensemble = isinstance(network, EnsembleMLP)
        self._n_members = network.n_members if is_ensemble else 1
        return parts

    def _prepare(self, Z, codes, weight, train, rng, keep):
        options = super()._prepare(Z, codes, weight, train, rng, keep)
        options["n_labeled"] = self._labeled_per_step(codes, train)
        if self.vat_radius != "auto":
            self.vat_radius_ = self.vat_radius
        if keep and ((codes >= 0).all() or not self._roles.n_on_graph):
            return options
        n_classes = len(self.classes_)
        graph = build_graph(Z.numpy(), codes, train.numpy(), n_classes, rng)
        if not keep:
            self._learn_shares(graph)
            if self.vat_radius == "auto":
                self.vat_radius_ = graph.radius
            self._vat_shape = graph.shape
            n_steps = self._n_steps(len(train))
            stack = self._weigh_roles(Z, weight, graph, n_steps, rng)
            self.role_weights_, self.temperature_ = stack.weights, stack.temperature
        if self._roles.n_on_graph:
            options["graph"] = graph.of_table(len(Z))
        return options

    def _labeled_per_step(self, codes, train):
        """Return how many labelled rows a step takes: each comes twenty times."""
        n_labels = int((codes[train.numpy()] >= 0).sum())
        wanted = -(-LABELED_PASSES * n_labels // self._n_steps(len(train)))
        return max(N_LABELED_PER_STEP, min(wanted, self.batch_size))

    def _n_steps(self, n_rows):
        return self._resolve_max_iter(n_rows) * max(1, n_rows // self.batch_size)

    def _learn_shares(self, graph):
        self.class_shares_ = graph.shares
        labels = graph.codes[graph.codes >= 0]
        counts = np.bincount(labels, minlength=len(self.classes_))
        # A class without a label may be there all the same.
        told = counts.all() and not np.allclose(graph.shares, counts / counts.sum())
        self._believed_shares = tuple(graph.shares.tolist()) if told else None

    def _weigh_roles(self, Z, weight, graph, n_steps, rng):
        """Return the weights of the roles that the options and rows allow."""
        has_graph = graph.weights is not None and self.graph_weight != 0
        terms = self.prediction_entropy_weight, self.vat_weight, self.balance_weight
        lacking = [
            name
            for name, there in (("graph", has_graph), ("consistency", any(terms)))
            if not there
        ]
        active = [role for role in ROLES if not any(name in role for name in lacking)]
        if not self.stacking:
            fullest = ROLES[1] if ROLES[1] in active else active[0]
            return prior_stack([fullest])
        return stack_roles(
            Z,
            weight,
            graph,
            self._class_objective(),
            active,
            Schedule(self.learning_rate),
            n_steps,
            self._n_members,
            resolve_device(self.device),
            rng,
        )

    def _class_objective(self, density=None, roles=None):
        graph_weight, shape = self.graph_weight, self._vat_shape
        if graph_weight == "auto":
            graph_weight = self.classification_weight
        return Joint(
            density,
            classification_weight=self.classification_weight,
            graph_weight=graph_weight,
            prediction_entropy_weight=self.prediction_entropy_weight,
            vat_weight=self.vat_weight,
            vat_radius=self.vat_radius_,
            vat_shape=None if shape is None else torch.from_numpy(shape),
            balance_weight=self.balance_weight,
            class_shares=self._believed_shares,
            class_weights=self._class_weights,
            roles=roles,
        )

    def _resolve_normalizer(self):
        if isinstance(self.normalizer, str) and self.normalizer == "auto":
            return AutoNormalizer(max_features=MAX_ANNEALED_COLUMNS)
        return super()._resolve_normalizer()

    def _training_objective(self):
        return self._class_objective(self.objective_, self._roles)

    @property
    def _roles(self):
        return share_out(list(self.role_weights_.values()), self._n_members)[0]

    def _start_run(self, network):
        if isinstance(network, EnsembleMLP):
            shares = list(self.role_weights_.values())
            network.weigh(share_out(shares, self._n_members)[1])
        return super()._start_run(network)

    def _split_rows(self, codes, n_rows, rng):
        everything = torch.arange(n_rows)
        if not self.early_stopping:
            return everything, None
        fraction = self.validation_fraction
        held_out = np.zeros(n_rows, dtype=bool)
        if self._judges_by_labels(codes):
            for k in range(len(self.classes_)):
                rows = rng.permutation(np.flatnonzero(codes == k))
                share = min(max(1, round(fraction * len(rows))), MAX_HELD_OUT)
                held_out[rows[:share]] = True
        elif self.objective is not None:
            order = rng.permutation(n_rows)
            first_of_class = np.unique(codes[order], return_index=True)[1]
            # Each stays in training; from the other end the shares of classes hold.
            order = np.delete(order, first_of_class)[::-1]
            held_out[order[: min(round(fraction * n_rows), MAX_HELD_OUT)]] = True
        if not held_out.any():
            return everything, None
        return everything[~held_out], everything[held_out]

    def _judges_by_labels(self, codes):
        """Tell whether each class leaves enough held-out labels to judge by."""
        counts = np.bincount(codes[codes >= 0], minlength=len(self.classes_))
        return (self.validation_fraction * counts).min() >= MIN_HELD_OUT_LABELS

    def _make_monitor(self, Z, codes, weight, held_out, noise_scale, seed):
        if not self._judges_by_labels(codes):
            return self._density_monitor(Z, weight, held_out, noise_scale, seed)
        labels = torch.from_numpy(codes)[held_out].to(self._device)
        weight = None if weight is None else weight[held_out].to(self._device)
        return LabelMonitor(Z[held_out].to(self._device), labels, weight)
