"""The classification machine: a class is one more visible unit."""

from __future__ import annotations

import time
import warnings
from functools import partial
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from skebm.estimators._callbacks import FitProgress
from skebm.estimators._class_labels import ClassLabelsMixin
from skebm.estimators._input import check_n_samples, private_random_state
from skebm.estimators.boltzmann._base import BaseRBM
from skebm.estimators.boltzmann._density import (
    MIN_CHAINS,
    annealed_chains,
    check_n_steps,
    warn_unmixed,
)
from skebm.estimators.boltzmann._normalizer import NormalizerMixin
from skebm.estimators.boltzmann._visible import BinaryRowsMixin
from skebm.exceptions import TrainingWarning
from skebm.models.boltzmann._fit import (
    TrainingState,
    check_converging,
    initial_parameters,
    learning_rates,
    moved,
)
from skebm.models.boltzmann._rows import (
    MAX_KEPT_ROWS,
    chunks,
    column_means,
    dense,
    on_chunk,
    some_rows,
    to_tensor,
    total_deviation,
)
from skebm.networks import RBM, LabeledRBM, LabeledUnits
from skebm.objectives import LabeledGradient
from skebm.tables import UNLABELED
from skebm.training import LabeledBatches, MachineTraining
from skebm.utils import (
    draw_seed,
    make_generator,
    resolve_device,
    to_numpy_tree,
    to_tensor_tree,
)
from skebm.utils._sklearn import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    with_callbacks,
)

#: What `n_iter="auto"` aims at, and the epochs it is held between.
AUTO_STEPS, AUTO_EPOCHS = 2000, (5, 400)


class RBMClassifier(
    ClassLabelsMixin,
    BinaryRowsMixin,
    NormalizerMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
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
        What an unlabelled row counts beside a labelled one in the generative term; with
        0 they are left out.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the discriminative term.
    unlabeled : object, default=-1
        The marker of unlabelled rows; None, NaN and pd.NA mark them too.
        ``unlabeled=None`` says that every row has a label.
    learning_rate : float, default=0.5
        Of the first step; see `learning_rate_schedule`.
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
    momentum, weight_decay, centered, learning_rate_schedule, weight_averaging
        As in `BernoulliRBM`; the defaults are its own.
    normalizer, check_range, device
        As in `BernoulliRBM`. log Z is had at the first `score_samples`.
    verbose, random_state
        As in `BernoulliRBM`.

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
    log_normalizer_, log_normalizer_se_, normalizer_result_
        As in `BernoulliRBM`, of p(v, y); NaN until the first scoring.
    history_ : dict of str to list
        "label_log_prob", mean log p(y | v) of an epoch's labelled rows in the course of
        training, and "learning_rate".
    n_iter_ : int
        Epochs of the last fit.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X had string names.

    See Also
    --------
    BernoulliRBM : The machine without classes.
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
        **{
            name: constraint
            for name, constraint in BaseRBM._parameter_constraints.items()
            if name != "contamination"
        },
        "objective": [StrOptions({"hybrid", "generative", "discriminative"})],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "unlabeled_weight": [Interval(Real, 0, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "unlabeled": "no_validation",
        "n_iter": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "method": [StrOptions({"pcd", "cd"})],
        "check_range": [StrOptions({"warn", "raise"})],
    }

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
        self._validate_params()
        v, y = self._check_fit(X, y, reset=True)
        self._learn_classes(y, None, first=True)
        codes = self._codes_of_known_classes(y)
        rng = private_random_state(self.random_state)
        self.__dict__.pop("random_state_", None)
        self._begin(v, codes, rng)
        training, batches, generator = self._resume(v, codes, rng)
        n_steps = batches.n_steps(self.batch_size)
        n_iter = self.n_iter
        if n_iter == "auto":
            n_iter = int(np.clip(-(-AUTO_STEPS // n_steps), *AUTO_EPOCHS))
        progress = FitProgress(
            self, n_iter, X, y, partial(self._fitted_attributes, v, codes)
        )
        try:
            for epoch in range(n_iter):
                rates = learning_rates(
                    self.learning_rate,
                    self.learning_rate_schedule,
                    epoch,
                    n_iter,
                    n_steps,
                )
                self._run_epoch(training, batches, rates, generator)
                if progress.on_epoch(epoch, None):
                    break
        except KeyboardInterrupt:
            warnings.warn(
                f"A KeyboardInterrupt ended training after {self.n_iter_} epochs.",
                TrainingWarning,
                stacklevel=2,
            )
        progress.end()
        self._expose(training)
        self._mark_stale(*self._machine_rows(v, codes, rng))
        return self

    def partial_fit(self, X, y, classes=None):
        """Make one pass over the rows of X, at a constant learning rate.

        Chains go on from call to call. Every call needs a label.

        Parameters
        ----------
        X, y
            As in `fit`.
        classes : array-like, default=None
            All classes, where the first call doesn't hold each.

        Returns
        -------
        self : RBMClassifier
        """
        self._validate_params()
        first = not hasattr(self, "_state")
        v, y = self._check_fit(X, y, reset=first)
        self._learn_classes(y, classes, first)
        codes = self._codes_of_known_classes(y)
        if not hasattr(self, "random_state_"):
            self.random_state_ = private_random_state(self.random_state)
        if first:
            self._begin(v, codes, self.random_state_)
        training, batches, generator = self._resume(v, codes, self.random_state_)
        rates = np.full(batches.n_steps(self.batch_size), float(self.learning_rate))
        self._run_epoch(training, batches, rates, generator)
        self._expose(training)
        self._mark_stale(*self._machine_rows(v, codes, self.random_state_))
        return self

    def _check_fit(self, X, y, reset):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        v = self._check_rows(X, reset=reset)
        check_consistent_length(X, y)
        return v, y

    def _begin(self, v, codes, rng):
        """Set up untrained parameters for rows v and class numbers."""
        n_classes, dtype = len(self.classes_), v.dtype
        counts = np.bincount(codes[codes >= 0], minlength=n_classes)
        mean, n_rows = column_means(v)
        mean = np.concatenate([mean, counts / counts.sum()])
        n_rows = np.concatenate([n_rows, np.full(n_classes, counts.sum())])
        units = LabeledUnits(n_classes)
        bias = units.bias(torch.from_numpy(mean), torch.from_numpy(n_rows))
        arrays = initial_parameters(
            bias.numpy(), mean, total_deviation(v), self.n_components, rng
        )
        rbm = RBM(*map(torch.from_numpy, arrays), units).to(torch.float32)
        n_chains = self.batch_size if self.n_chains is None else self.n_chains
        chains = rng.randint(2, size=(n_chains, self.n_components))
        self._state = TrainingState.initial(rbm, mean, chains, self.method)
        self._base_bias = bias.numpy().astype(np.float32)
        self._dtype = dtype
        self._kept_rows = []
        self.history_ = {"label_log_prob": [], "learning_rate": []}
        self.n_iter_ = 0
        self.__dict__.update(self._published(rbm, self._state["chains"]))
        self._check_normalizer()

    def _resume(self, v, codes, rng):
        """Return the training where it stands, batches of rows and a generator."""
        device = resolve_device(self.device)
        generator = make_generator(draw_seed(rng), device)
        state = moved(to_tensor_tree(self._state), device)
        weights = self._resolve_class_weights(codes)
        if weights is not None:
            weights = torch.tensor(weights, device=device)
        gradient = LabeledGradient(
            state["chains"],
            (state["visible_offset"], state["hidden_offset"]),
            discriminative_weight=float(self.objective != "generative"),
            generative_weight=self._generative_weight,
            method=self.method,
            n_gibbs_steps=self.n_gibbs_steps,
            centered=self.centered,
            class_weights=weights,
            generator=generator,
        )
        training = MachineTraining(
            RBM(**state["parameters"], visible=LabeledUnits(len(self.classes_))),
            gradient,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            averaging=self.weight_averaging,
        )
        training.load(state)
        x = v if sparse.issparse(v) else to_tensor(v, np.float32)
        unlabeled_weight = self.unlabeled_weight if self._generative_weight else 0.0
        codes = torch.from_numpy(codes)
        batches = LabeledBatches(x, codes, unlabeled_weight, device)
        return training, batches, generator

    @property
    def _generative_weight(self):
        return {"hybrid": self.alpha, "generative": 1.0, "discriminative": 0.0}[
            self.objective
        ]

    def _run_epoch(self, training, batches, rates, generator):
        started = time.perf_counter()
        epoch = batches.epoch(self.batch_size, generator)
        total = 0.0
        for rows, rate in zip(epoch, rates.tolist(), strict=True):
            training.step(rows, rate)
            total += training.gradient.label_log_prob
        self.n_iter_ += 1
        figure = total / len(rates)
        check_converging(self, "mean log p(y | v)", figure, training.rbm)
        self.history_["label_log_prob"].append(figure)
        self.history_["learning_rate"].append(float(rates[-1]))
        self._running = training
        if self.verbose:
            print(
                f"[{type(self).__name__}] Iteration {self.n_iter_}, log p(y | v) = "
                f"{figure:.3f}, time = {time.perf_counter() - started:.2f}s"
            )

    def _expose(self, training):
        """Publish the trained parameters as arrays of X's dtype."""
        self.__dict__.pop("_running", None)
        gradient = training.gradient
        self._state = to_numpy_tree(
            {
                "chains": gradient.chains,
                "visible_offset": gradient.visible_offset,
                "hidden_offset": gradient.hidden_offset,
                **training.state(),
            }
        )
        self.__dict__.update(self._published(training.average, gradient.chains))

    def _published(self, rbm, chains):
        weight, class_weight = rbm.visible.split(rbm.weight)
        visible_bias, class_bias = rbm.visible.split(rbm.visible_bias)
        published = {
            "components_": weight,
            "class_components_": class_weight,
            "intercept_hidden_": rbm.hidden_bias,
            "intercept_visible_": visible_bias,
            "intercept_class_": class_bias,
            "h_samples_": torch.as_tensor(chains),
        }
        return {
            name: value.cpu().numpy().astype(self._dtype)
            for name, value in published.items()
        }

    def _fitted_attributes(self, v, codes):
        """Return what makes a copy of this estimator usable in mid-fit."""
        running = self._running
        published = self._published(running.average, running.gradient.chains)
        # the fit's own random numbers go on as without callbacks
        rows, rng = self._machine_rows(v, codes, np.random.RandomState(0))
        return published | self._stale_attributes([some_rows(rows, rng)], seed=0)

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
        return self._on_rows(LabeledRBM.__call__, self._check_rows(X, reset=False))

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
        free_energy = self.free_energy(X)
        self._refresh()
        return -free_energy - (self.log_normalizer_ or 0.0)

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
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        check_n_samples(n_samples)
        check_n_steps(n_steps)
        device = resolve_device(self.device)
        seed = draw_seed(private_random_state(random_state))
        generator = make_generator(seed, device)
        rbm = self._machine(np.float32)
        base = torch.from_numpy(self._base_bias).to(rbm.weight)

        def draw(machine, base_bias, n):
            chains, diagnostics = annealed_chains(
                machine, base_bias, max(n, MIN_CHAINS), n_steps, generator
            )
            return chains[:n].cpu().numpy().astype(np.float64), diagnostics["r_hat"]

        if y is None:
            rows, r_hat = draw(rbm, base, n_samples)
            X, labels = rbm.visible.split(rows)
            codes = labels.argmax(axis=1)
        else:
            codes = self._requested_codes(y, n_samples)
            X, r_hat = np.empty((n_samples, self.n_features_in_)), 0.0
            for k in np.unique(codes).tolist():
                machine = LabeledRBM(rbm).given(k)
                rows = codes == k
                X[rows], spread = draw(machine, rbm.visible.split(base)[0], rows.sum())
                r_hat = max(r_hat, spread)
        warn_unmixed(r_hat, n_steps)
        return X, self.classes_[codes]

    # ------------------------------------------------------------------- inside

    def _machine(self, dtype=np.float32):
        """Return the fitted machine over (v, y), on the device."""
        arrays = (
            np.concatenate([self.components_, self.class_components_], axis=1),
            self.intercept_hidden_,
            np.concatenate([self.intercept_visible_, self.intercept_class_]),
        )
        device = resolve_device(self.device)
        tensors = (torch.from_numpy(a.astype(dtype)).to(device) for a in arrays)
        return RBM(*tensors, LabeledUnits(len(self.classes_)))

    def _machine_rows(self, v, codes, rng):
        """Return some rows (v, y), with the class predicted where unknown, and rng."""
        rows = rng.permutation(v.shape[0])[:MAX_KEPT_ROWS]
        v, codes = dense(v[rows]), codes[rows]
        predicted = self._class_logits(v).argmax(axis=1)
        codes = np.where(codes == UNLABELED, predicted, codes)
        return np.concatenate([v, np.eye(len(self.classes_))[codes]], axis=1), rng

    def _logits(self, X):
        check_is_fitted(self)
        return self._class_logits(self._check_rows(X, reset=False))

    def _class_logits(self, v):
        return self._on_rows(lambda machine, x: machine.logits(machine.pull(x)), v)

    def _on_rows(self, function, v):
        """Apply a function of the machine and rows, a chunk at a time."""
        device = resolve_device(self.device)
        machine = LabeledRBM(self._machine(np.float64))
        parts = [
            on_chunk(lambda x: function(machine, x), rows, np.float64, device)
            for rows in chunks(v)
        ]
        return np.concatenate(parts)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
