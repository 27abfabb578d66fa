"""A stack of machines, layer by layer, and as one model."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils.validation import check_is_fitted

from skebm.estimators._input import check_n_samples, private_random_state
from skebm.estimators.boltzmann._base import BaseRBM
from skebm.estimators.boltzmann._bernoulli import BernoulliRBM
from skebm.estimators.boltzmann._density import warn_unnormalized
from skebm.exceptions import DivergenceError, TrainingWarning
from skebm.models.boltzmann._fit import MAX_PARAMETER, largest_entry, learning_rates
from skebm.models.boltzmann._rows import chunks, on_chunk, to_tensor
from skebm.networks import DeepBeliefNet, DirectedLayer
from skebm.objectives import UpDown
from skebm.training import MachineBatches
from skebm.utils import draw_seed, make_generator, resolve_device, to_numpy_tree
from skebm.utils._sklearn import HasMethods, Interval, StrOptions

#: Steps of the top machine between waking and sleep.
N_SLEEP_STEPS = 3


class DeepBeliefNetwork(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator
):
    r"""Deep belief network: machines stacked by greedy training, one density.

    .. math:: p(v) = \sum_{h_1, \dots, h_k} p(v \mid h_1) \, p(h_1 \mid h_2) \cdots
        p_{\mathrm{RBM}}(h_k)

    Each machine is trained on draws of the hidden units below it. The last one stays
    undirected; of the others, the layers down to v generate, and those up recognise.
    Fine-tuning by the up-down algorithm then frees the two from each other.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int or RBM, default=(256, 256)
        The hidden layers, the lowest first. An int n stands for a `BernoulliRBM` with n
        hidden units and the options below; an estimator, such as a `GaussianRBM` as the
        lowest, is cloned with its own.
    learning_rate, batch_size, n_iter
        As in `BernoulliRBM`, of each layer.
    n_fine_tuning_iter : int, default=0
        Epochs of the up-down algorithm.
    fine_tuning_rate : float, default=0.01
        Learning rate of the first fine-tuning step; it falls to 0 in the second half.
    n_draws : int, default=100
        Draws of hidden states behind each `score_samples`.
    normalizer : {"auto", "exact", "ais", None} or instance, default="auto"
        How log Z of the top machine is had; see `BernoulliRBM`.
    device : str or torch.device, default="auto"
        "auto" takes CUDA where it is there.
    verbose : int, default=0
        Whether to print a line an epoch.
    random_state : int, RandomState or None, default=None
        One int gives one result on one device. None is seeded by the system.

    Attributes
    ----------
    rbms_ : list of estimators
        The machines; the last one is the top as fine-tuned.
    generative_components_, generative_intercepts_ : list of ndarray
        W and b of each directed layer, the lowest first.
    recognition_components_, recognition_intercepts_ : list of ndarray
        R and c of each directed layer.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X had string names.

    References
    ----------
    G. E. Hinton, S. Osindero and Y.-W. Teh, "A fast learning algorithm for deep belief
    nets", Neural Computation 18 (2006). R. Salakhutdinov and I. Murray, "On the
    quantitative analysis of deep belief networks", ICML 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from skebm import DeepBeliefNetwork
    >>> X = np.repeat([[0, 0, 0, 1], [1, 1, 1, 0]], 50, axis=0)
    >>> model = DeepBeliefNetwork((8, 4), batch_size=10, random_state=0).fit(X)
    >>> model.transform(X).shape
    (100, 4)
    >>> model.sample(3, random_state=0).shape
    (3, 4)
    """

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", list, tuple],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_iter": [Interval(Integral, 0, None, closed="left")],
        "n_fine_tuning_iter": [Interval(Integral, 0, None, closed="left")],
        "fine_tuning_rate": [Interval(Real, 0, None, closed="neither")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "normalizer": [
            StrOptions({"auto", "exact", "ais"}),
            HasMethods(["estimate"]),
            None,
        ],
        "device": [str, torch.device, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        learning_rate=0.1,
        batch_size=10,
        n_iter=10,
        n_fine_tuning_iter=0,
        fine_tuning_rate=0.01,
        n_draws=100,
        normalizer="auto",
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.n_fine_tuning_iter = n_fine_tuning_iter
        self.fine_tuning_rate = fine_tuning_rate
        self.n_draws = n_draws
        self.normalizer = normalizer
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    # ----------------------------------------------------------------- training

    def fit(self, X, y=None):
        """Fit the machines one by one, then, where asked for, all together.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows as the lowest machine takes them, without missing entries.
        y : None
            Ignored.

        Returns
        -------
        self : DeepBeliefNetwork
        """
        del y
        self._validate_params()
        _refuse_missing(self, X)
        rng = private_random_state(self.random_state)
        rbms, rows = [], X
        for rbm in self._machines(rng):
            if rbms:
                probability = rbms[-1].transform(rows)
                draws = rng.uniform(size=probability.shape) < probability
                rows = draws.astype(np.float32)
            rbms.append(rbm.fit(rows))
        self.rbms_ = rbms
        self.n_features_in_ = rbms[0].n_features_in_
        self.__dict__.pop("feature_names_in_", None)
        if hasattr(rbms[0], "feature_names_in_"):
            self.feature_names_in_ = rbms[0].feature_names_in_
        self._n_features_out = rbms[-1].n_components
        lower = rbms[:-1]
        self.generative_components_ = [rbm.components_ for rbm in lower]
        self.generative_intercepts_ = [rbm.intercept_visible_ for rbm in lower]
        self.recognition_components_ = [rbm.components_ for rbm in lower]
        self.recognition_intercepts_ = [rbm.intercept_hidden_ for rbm in lower]
        if self.n_fine_tuning_iter:
            self._fine_tune(self._rows(X), rng)
        rbms[-1].normalizer = self.normalizer
        rbms[-1]._kept_rows = []
        rbms[-1]._mark_stale(rbms[-1]._encode(rows), rng)
        return self

    def _machines(self, rng):
        """Return the machines to fit, without log Z."""
        sizes = list(self.hidden_layer_sizes)
        if not sizes:
            raise ValueError("hidden_layer_sizes must hold at least one layer. Got ().")
        machines = []
        for size in sizes:
            if isinstance(size, BaseRBM):
                rbm = clone(size)
            elif isinstance(size, Integral) and size >= 1:
                rbm = BernoulliRBM(
                    size,
                    learning_rate=self.learning_rate,
                    batch_size=self.batch_size,
                    n_iter=self.n_iter,
                    device=self.device,
                    verbose=self.verbose,
                )
            else:
                raise ValueError(
                    "hidden_layer_sizes must hold ints of at least 1 or RBM "
                    f"estimators. Got {size!r}."
                )
            if machines and not isinstance(rbm, BernoulliRBM):
                raise ValueError(
                    "Layers above the lowest see binary units: they must be ints or "
                    f"BernoulliRBM. Got {size!r}."
                )
            machines.append(
                rbm.set_params(normalizer=None, random_state=draw_seed(rng))
            )
        return machines

    def _fine_tune(self, v, rng):
        """Train all layers together by the up-down algorithm."""
        device = resolve_device(self.device)
        generator = make_generator(draw_seed(rng), device)
        net = self._net(np.float32)
        parameters = [*net.top.parameters().values()]
        for layer in net.layers:
            parameters += [layer.weight, layer.bias]
            parameters += [layer.recognition_weight, layer.recognition_bias]
        x = v if sparse.issparse(v) else to_tensor(v, np.float32)
        batches, objective = MachineBatches(x, device), UpDown(N_SLEEP_STEPS)
        n_iter = self.n_fine_tuning_iter
        n_steps = batches.n_steps(self.batch_size)
        try:
            for epoch in range(n_iter):
                rates = learning_rates(
                    self.fine_tuning_rate, "linear", epoch, n_iter, n_steps
                )
                rows = batches.epoch(self.batch_size, generator, net.top)
                for batch, rate in zip(rows, rates.tolist(), strict=True):
                    loss = _up_down_step(
                        net, objective, parameters, batch, rate, generator
                    )
                self._check_fine_tuning(epoch + 1, loss, largest_entry(parameters))
        except KeyboardInterrupt:
            warnings.warn(
                f"A KeyboardInterrupt ended fine-tuning after {epoch} epochs.",
                TrainingWarning,
                stacklevel=3,
            )
        self._publish(net)

    def _check_fine_tuning(self, n_epochs, loss, largest):
        """Raise DivergenceError where an epoch left the bounds, else report it."""
        if not (np.isfinite(loss) and largest < MAX_PARAMETER):
            raise DivergenceError(
                f"{type(self).__name__} diverged in epoch {n_epochs} of fine-tuning: "
                f"its loss is {loss:.4g}, its largest parameter {largest:.4g}. Lower "
                f"fine_tuning_rate={self.fine_tuning_rate}."
            )
        if self.verbose:
            print(f"[{type(self).__name__}] Fine-tuning {n_epochs}")

    def _publish(self, net):
        """Keep the parameters of a trained net as arrays."""
        arrays = [
            to_numpy_tree([p.weight, p.bias, p.recognition_weight, p.recognition_bias])
            for p in net.layers
        ]
        columns = [list(column) for column in zip(*arrays, strict=True)] or [[]] * 4
        self.generative_components_, self.generative_intercepts_ = columns[:2]
        self.recognition_components_, self.recognition_intercepts_ = columns[2:]
        top, parameters = self.rbms_[-1], to_numpy_tree(net.top.parameters())
        top.components_ = parameters["weight"]
        top.intercept_hidden_ = parameters["hidden_bias"]
        top.intercept_visible_ = parameters["visible_bias"]
        kept = {k: v for k, v in top._state.items() if k not in ("velocity", "average")}
        top._state = kept | {"parameters": parameters}

    # ------------------------------------------------------- features and scores

    def transform(self, X):
        """Probabilities of the top's hidden units, by a mean-field pass up.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        h : ndarray of shape (n_samples, size of the last layer)
        """
        check_is_fitted(self)
        v = self._rows(X)
        dtype = np.result_type(v.dtype, np.float32)
        return self._on_rows(self._net(dtype).features, v, dtype).astype(dtype)

    def score_samples(self, X):
        r"""Lower bound on the log density of each row, in nats.

        .. math:: \log \tfrac1S \sum_{s=1}^S \frac{p(v, h^{(s)})}{q(h^{(s)} \mid v)}
            - \log Z, \qquad h^{(s)} \sim q

        with S = `n_draws` draws of the layers below the top's hidden units. Its
        expectation lies below log p(v) and rises to it with S; where log Z is
        estimated, the bound is as good as that. With one layer there is nothing to
        draw, and it is log p(v) itself.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        bound : ndarray of shape (n_samples,)
            float64; deterministic. Unnormalised with ``normalizer=None``.
        """
        check_is_fitted(self)
        v, top = self._rows(X), self.rbms_[-1]
        top._refresh()
        net = self._net(np.float64)
        device = resolve_device(self.device)

        def bound(x):
            generator = make_generator(0, device)
            return net.log_bound_unnormalized(x, self.n_draws, generator)

        return self._on_rows(bound, v, np.float64) - (top.log_normalizer_ or 0.0)

    def score(self, X, y=None):
        """Mean of `score_samples`, in nats.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
        """
        del y
        score = float(self.score_samples(X).mean())
        if self.rbms_[-1].log_normalizer_ is None:
            warn_unnormalized()
        return score

    def sample(self, n_samples=1, random_state=None, *, n_steps=1000):
        """Draw rows: Gibbs chains in the top machine, then one pass down.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState or None, default=None
            None is seeded by the system, so that two calls differ.
        n_steps : int, default=1000
            Steps of each chain; see `BernoulliRBM.sample`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        check_n_samples(n_samples)
        rng = private_random_state(random_state)
        h = self.rbms_[-1].sample(n_samples, draw_seed(rng), n_steps=n_steps)
        if len(self.rbms_) == 1:
            return h
        device = resolve_device(self.device)
        generator = make_generator(draw_seed(rng), device)
        net = self._net(np.float32)
        v = net.sample_down(to_tensor(h, np.float32, device), generator)[0]
        return self.rbms_[0]._decode(v.cpu().numpy().astype(np.float64))

    # ------------------------------------------------------------------- inside

    def _rows(self, X):
        bottom = self.rbms_[0]
        return bottom._encode(bottom._check_rows(X, reset=False))

    def _net(self, dtype):
        """Return the fitted net, on the device."""
        device = resolve_device(self.device)
        layers = []
        arrays = (
            self.generative_components_,
            self.generative_intercepts_,
            self.recognition_components_,
            self.recognition_intercepts_,
        )
        for rbm, *parts in zip(self.rbms_[:-1], *arrays, strict=True):
            tensors = [torch.from_numpy(a.astype(dtype)).to(device) for a in parts]
            layers.append(DirectedLayer(*tensors, rbm._machine(dtype).visible))
        return DeepBeliefNet(tuple(layers), self.rbms_[-1]._machine(dtype))

    def _on_rows(self, function, v, dtype):
        device = resolve_device(self.device)
        return np.concatenate(
            [on_chunk(function, rows, dtype, device) for rows in chunks(v)]
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        lowest = next(iter(self.hidden_layer_sizes), None)
        tags.input_tags.sparse = not isinstance(lowest, BaseRBM) or (
            lowest.__sklearn_tags__().input_tags.sparse
        )
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _up_down_step(net, objective, parameters, rows, rate, generator):
    """Change the parameters, in place, by a step of the up-down algorithm."""
    draws = objective.draw(net, rows, generator)
    with torch.enable_grad():
        for parameter in parameters:
            parameter.requires_grad_()
        loss = objective.loss(net, *draws)
        gradients = torch.autograd.grad(loss, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(False).sub_(gradient, alpha=rate)
    return float(loss.detach())


def _refuse_missing(estimator, X):
    """Raise ValueError where a dense X has missing entries; the machines take them."""
    if not sparse.issparse(X) and np.any(pd.isna(np.asarray(X))):
        raise ValueError(
            f"Input X contains NaN, which {type(estimator).__name__} does not accept. "
            "Fill it in first, for example by BernoulliRBM.impute."
        )
