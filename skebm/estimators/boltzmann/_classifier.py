"""The classification RBM: a class is one more visible unit."""

from __future__ import annotations

import copy
from numbers import Integral, Real
from typing import ClassVar

from sklearn.utils.validation import check_is_fitted

from skebm.estimators._class_labels import (
    ClassLabelsMixin,
    check_labels,
    class_weights,
    known_indices,
    learn_classes,
    requested_indices,
)
from skebm.estimators._input import (
    agreed_random_state,
    check_n_samples,
    check_n_steps,
    private_random_state,
)
from skebm.estimators._published import of_fitted
from skebm.estimators.boltzmann._base import RBMEstimator, warn_unmixed
from skebm.estimators.boltzmann._bernoulli import BernoulliRBM
from skebm.estimators.boltzmann._visible import BinaryCodec
from skebm.models.boltzmann._labeled import FittedLabeledRBM, LabeledTask
from skebm.utils import draw_seed
from skebm.utils._documented import documented_like
from skebm.utils._sklearn import Interval, StrOptions, with_callbacks


@documented_like(BernoulliRBM)
class RBMClassifier(ClassLabelsMixin, RBMEstimator):
    r"""Classification restricted Boltzmann machine: classes and a density.

    .. math:: p(v, y) = \frac1Z \sum_{h \in \{0, 1\}^m}
        e^{b \cdot v + d_y + c \cdot h + h^T W v + h \cdot U_y}, \qquad
        p(y \mid v) \propto e^{d_y} \prod_j (1 + e^{c_j + (W v)_j + U_{jy}})

    The class is one more visible unit, so that p(y | v) is exact. Rows with ``y = -1``
    are unlabelled: the class is summed out, and the density learns from them. Training
    ascends

    .. math:: \delta \, \langle \log p(y \mid v) \rangle_{\mathrm{labelled}}
        + \alpha \, \langle \log p(v, y) \text{ or } \log p(v) \rangle_{\mathrm{all}}

    where the second mean is over all rows, of log p(v) for an unlabelled one.

    Parameters
    ----------
    n_components : int, default=256
        Number of hidden units, m.
    objective : {"hybrid", "generative", "discriminative"}, default="hybrid"
        "hybrid" has delta = 1, "generative" delta = 0 and alpha = 1, "discriminative"
        alpha = 0: its gradient is exact and unlabelled rows teach it nothing.
    alpha : float, default=0.1
        Weight of the generative term of "hybrid".
    unlabeled_weight : float, default=1.0
        Weight of an unlabelled row in the generative term, if a labelled one has weight
        1; with 0 they are left out.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the discriminative term.
    unlabeled : object, default=-1
        The marker of unlabelled rows; None, NaN and pd.NA mark them too. If -1 is a
        class in y, choose another marker: ``unlabeled=None`` says that every row has a
        label.
    learning_rate : float, default=0.5
        Largest learning rate; see `learning_rate_schedule`.
    batch_size : int, default=50
        Rows a step, as many of the labelled and as many of the unlabelled ones.
    n_iter : int or "auto", default="auto"
        Epochs of `fit`: passes over the more numerous kind of rows, labelled or not.
        "auto" takes as many as make 2000 steps, from 5 to 400.
    method : {"pcd", "cd"}, default="pcd"
        Whether chains of the generative term persist or start at data in each step.
    n_gibbs_steps : int, default=1
        Steps of the chains at each step of training.
    n_chains : int, default=None
        Number of persistent chains; None takes `batch_size`.
    momentum : float, default=0.7
        Decay of the running sum of gradients that is followed.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes; never the marker.
    components_ : ndarray of shape (n_components, n_features)
        W.
    class_components_ : ndarray of shape (n_components, n_classes)
        U.
    intercept_hidden_, intercept_visible_, intercept_class_ : ndarray
        c, b and d.
    h_samples_ : ndarray of shape (n_chains, n_components)
        Hidden states of the persistent chains.
    log_normalizer_, log_normalizer_se_ : float or None
        log Z of p(v, y) and its standard error, in nats, estimated at the first
        question.
    normalizer_result_ : skebm.evaluation.LogNormalizer or None
        The whole result, with the reverse estimate of annealing.
    history_ : dict of str to list
        "label_log_prob", mean log p(y | v) of an epoch's labelled rows in the course of
        training, "learning_rate", and "n_rollbacks" so far.
    n_iter_ : int
        Epochs of the last fit.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X had string names.

    See Also
    --------
    BernoulliRBM : The RBM without classes.
    JEMClassifier : Classes and a density of real columns.

    References
    ----------
    H. Larochelle and Y. Bengio, "Classification using discriminative restricted
    Boltzmann machines", ICML 2008. H. Larochelle, M. Mandel, R. Pascanu and Y. Bengio,
    "Learning algorithms for the classification restricted Boltzmann machine", JMLR 13
    (2012).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skebm import RBMClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X > 7
    >>> y_few = np.where(np.arange(len(y)) % 10 == 0, y, -1)
    >>> model = RBMClassifier(16, n_iter=5, random_state=0).fit(X, y_few)
    >>> model.predict_proba(X).shape
    (1797, 10)
    >>> X_new, y_new = model.sample(2, y=3, random_state=0)
    >>> X_new.shape, y_new
    ((2, 64), array([3, 3]))
    """

    _parameter_constraints: ClassVar[dict] = {
        **RBMEstimator._parameter_constraints,
        "objective": [StrOptions({"hybrid", "generative", "discriminative"})],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "unlabeled_weight": [Interval(Real, 0, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "unlabeled": "no_validation",
        "n_iter": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "method": [StrOptions({"pcd", "cd"})],
        "check_range": [StrOptions({"warn", "raise"})],
    }

    _codec_type = BinaryCodec
    _stored_types: ClassVar[dict] = {"_fitted": FittedLabeledRBM, "_codec": BinaryCodec}

    components_ = of_fitted(
        "components_", lambda fitted: fitted.split(fitted.weight)[0]
    )
    class_components_ = of_fitted(
        "class_components_", lambda fitted: fitted.split(fitted.weight)[1]
    )
    intercept_visible_ = of_fitted(
        "intercept_visible_", lambda fitted: fitted.split(fitted.visible_bias)[0]
    )
    intercept_class_ = of_fitted(
        "intercept_class_", lambda fitted: fitted.split(fitted.visible_bias)[1]
    )

    def __init__(
        self,
        n_components=256,
        *,
        objective="hybrid",
        alpha=0.1,
        unlabeled_weight=1.0,
        class_weight=None,
        unlabeled=-1,
        learning_rate=0.5,
        batch_size=50,
        n_iter="auto",
        method="pcd",
        n_gibbs_steps=1,
        n_chains=None,
        momentum=0.7,
        weight_decay=0.0,
        centered=True,
        learning_rate_schedule="linear",
        weight_averaging=0.99,
        normalizer="auto",
        check_range="warn",
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.n_components = n_components
        self.objective = objective
        self.alpha = alpha
        self.unlabeled_weight = unlabeled_weight
        self.class_weight = class_weight
        self.unlabeled = unlabeled
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.method = method
        self.n_gibbs_steps = n_gibbs_steps
        self.n_chains = n_chains
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.centered = centered
        self.learning_rate_schedule = learning_rate_schedule
        self.weight_averaging = weight_averaging
        self.normalizer = normalizer
        self.check_range = check_range
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    # ----------------------------------------------------------------- training

    @with_callbacks
    def fit(self, X, y):
        """Fit classes and density.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of values in [0, 1].
        y : array-like of shape (n_samples,)
            Labels: numbers or strings; the marker, None, NaN or pd.NA where unlabelled.

        Returns
        -------
        self : RBMClassifier

        Raises
        ------
        ValueError
            Where fewer than two classes have a label.
        """
        self._check_options()
        read, task, classes = self._read_labeled(X, y, None, going_on=False)
        self._warn_if_interrupted(self._fit_task(task, read, X, y, classes_=classes))
        return self

    def partial_fit(self, X, y, classes=None):
        """Make one pass over the rows of X, at a constant learning rate.

        Chains go on from call to call. Every call needs a label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns of `fit`.
        y : array-like of shape (n_samples,)
            Classes, with the marker where unknown.
        classes : array-like, default=None
            All classes, where the first call doesn't hold each.

        Returns
        -------
        self : RBMClassifier
        """
        self._check_options()
        going_on = self._fitted is not None
        read, task, classes = self._read_labeled(X, y, classes, going_on)
        n_before = self.n_iter_ if going_on else 0
        own = agreed_random_state(self._own_random_state(), read.table)
        rng = copy.deepcopy(own)
        training = self._go_on(task, rng, n_before)
        history = training.history()
        if going_on:
            history = {k: v + history[k] for k, v in self.history_.items()}
        learnt = {"history_": history, "n_iter_": n_before + 1, "classes_": classes}
        self._publish(training.fitted(), read, **learnt)
        self._keep_random_state(own, rng)
        return self

    def _read_labeled(self, X, y, classes, going_on):
        """Return what was read of X, what to train on, and the classes."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        read = (self._read_more if going_on else self._read_new)(X, allow_nan=False)
        check_labels(y, read.table)
        known = self.classes_ if going_on else None
        classes = learn_classes(y, self.unlabeled, classes, known)
        indices = known_indices(y, self.unlabeled, classes)
        generative = {"hybrid": self.alpha, "generative": 1.0, "discriminative": 0.0}
        task = LabeledTask(
            read.table,
            indices,
            len(classes),
            discriminative_weight=float(self.objective != "generative"),
            generative_weight=generative[self.objective],
            unlabeled_weight=self.unlabeled_weight,
            class_weights=class_weights(self.class_weight, indices, classes),
        )
        return read, task, classes

    # ---------------------------------------------------------------- likelihood

    def free_energy(self, X):
        r"""Free energy of each row, in nats, classes and hidden units summed out.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        free_energy : ndarray of shape (n_samples,)
            F(v) = -log sum_y exp(-F(v, y)), float64.
        """
        check_is_fitted(self)
        return self._fitted.marginal_free_energy(self._codec.read(self, X))

    def score_samples(self, X):
        r"""Log probability of each row, in nats.

        .. math:: \log p(v) = \log \sum_y e^{-F(v, y)} - \log Z

        With ``normalizer=None`` log Z is left out.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            float64; deterministic.
        """
        check_is_fitted(self)
        v = self._codec.read(self, X)
        return self._calibrated().marginal_log_prob(v)

    def sample(self, n_samples=1, random_state=None, *, y=None, n_steps=1000):
        """Draw rows and their classes: from p(v, y), or from p(v | y) where y is given.

        Many chains, a sample each, as in `BernoulliRBM.sample`. A warning says where
        they did not mix.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState or None, default=None
            None is seeded by the system, so that two calls differ.
        y : label, array-like of shape (n_samples,), or None, default=None
            Class of all rows, or of each.
        n_steps : int, default=1000
            Steps of each chain.

        Returns
        -------
        X : array or data frame of shape (n_samples, n_features)
            A data frame where the X of `fit` was one.
        y : ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        check_n_samples(n_samples)
        check_n_steps(n_steps)
        seed = draw_seed(private_random_state(random_state))
        classes = None
        if y is not None:
            classes = requested_indices(y, n_samples, self.classes_)
        X, classes, r_hat = self._fitted.sample_labeled(
            n_samples, n_steps, seed, classes
        )
        warn_unmixed(r_hat, n_steps)
        return self._codec.write(X), self.classes_[classes]

    # ------------------------------------------------------------------- inside

    _no_left_out = "RBMClassifier leaves no rows out."

    def _logits(self, X):
        check_is_fitted(self)
        return self._fitted.logits(self._codec.read(self, X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
