"""A stack of RBMs, trained layer by layer, as one model."""

from __future__ import annotations

from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils.validation import check_is_fitted

from skebm.distributed import current
from skebm.estimators._compared import scores_of
from skebm.estimators._input import (
    agreed_random_state,
    check_n_samples,
    private_random_state,
    refuse_missing,
)
from skebm.estimators._published import (
    Read,
    check_changed,
    of_fitted,
    publish,
    shell_of,
    warn_of_interrupt,
    warn_unnormalized,
    warn_untrusted,
)
from skebm.estimators._stored import StoredEstimator
from skebm.estimators.boltzmann._bernoulli import BernoulliRBM
from skebm.estimators.boltzmann._density import BaseRBM
from skebm.estimators.boltzmann._options import MAX_CHAINS, check_normalizer
from skebm.models.boltzmann._deep_belief import FittedDeepBelief
from skebm.tables._seen import see
from skebm.utils import draw_seed
from skebm.utils._sklearn import HasMethods, Interval, StrOptions


class DeepBeliefNetwork(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, StoredEstimator
):
    r"""Deep belief network: RBMs stacked by greedy training, one density.

    .. math:: p(v) = \sum_{h_1, \dots, h_k} p(v \mid h_1) \, p(h_1 \mid h_2) \cdots
        p_{\mathrm{RBM}}(h_k)

    Each RBM is trained on draws of the hidden units below it. The last one stays
    undirected; of the others, the layers down to v generate, and those up recognise.
    Fine-tuning by the up-down algorithm then trains both directions with separate
    weights.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int or RBM, default=(256, 256)
        The hidden layers, the lowest first. An int n stands for a `BernoulliRBM` with n
        hidden units and the options below; an estimator, such as a `GaussianRBM` as the
        lowest, is cloned with its own.
    learning_rate : float, default=0.1
        The largest one, of each layer that is an int.
    batch_size : int, default=10
        Rows a step, of each layer that is an int.
    n_iter : int, default=10
        Epochs of each layer that is an int.
    n_fine_tuning_iter : int, default=0
        Epochs of the up-down algorithm.
    fine_tuning_rate : float, default=0.01
        Learning rate of the first fine-tuning step; it falls to 0 in the second half.
    n_draws : int, default=100
        Draws of hidden states behind each `score_samples`.
    normalizer : {"auto", "exact", "ais", None} or instance, default="auto"
        How log Z of the top RBM is estimated: "auto" sums over a layer of at most 20
        units exactly, else takes `skebm.evaluation.RBMAnnealing`. None leaves scores
        unnormalised and saves the time.
    device : str or torch.device, default="auto"
        "auto" takes CUDA where it is there.
    verbose : int, default=0
        Whether to print a line an epoch.
    random_state : int, RandomState or None, default=None
        One int gives one result on one device. None is seeded by the system.

    Attributes
    ----------
    rbms_ : list of estimators
        The RBMs; the last one is the top as fine-tuned.
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

    _stored_types: ClassVar[dict] = {"_fitted": FittedDeepBelief}
    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", list, tuple],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, MAX_CHAINS, closed="both")],
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

    generative_components_ = of_fitted(
        "generative_components_", lambda fitted: [layer[0] for layer in fitted.layers]
    )
    generative_intercepts_ = of_fitted(
        "generative_intercepts_", lambda fitted: [layer[1] for layer in fitted.layers]
    )
    recognition_components_ = of_fitted(
        "recognition_components_", lambda fitted: [layer[2] for layer in fitted.layers]
    )
    recognition_intercepts_ = of_fitted(
        "recognition_intercepts_", lambda fitted: [layer[3] for layer in fitted.layers]
    )
    _n_features_out = of_fitted("output", lambda fitted: len(fitted.top.weight))

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
        """Fit the RBMs one by one, then, where asked for, all together.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows as the lowest RBM takes them, without missing entries.
        y : None
            Ignored.

        Returns
        -------
        self : DeepBeliefNetwork
        """
        del y
        self._validate_params()
        check_normalizer(self.normalizer)
        self._refuse_missing(X)
        rng = agreed_random_state(self.random_state)
        rbms, rows, ended_in = self._stacked(X, rng)
        fitted = tuple(rbm.as_layer().fitted for rbm in rbms)
        stack = FittedDeepBelief.stacked(fitted, self.device)
        if self.n_fine_tuning_iter and ended_in is None:
            stack = self._fine_tuned(stack, _read(rbms[0], X), rng)
        stack = stack.calibrated_by(_read(rbms[-1], rows), rng, self.normalizer)
        rbms = [rbm.holding(layer) for rbm, layer in zip(rbms, fitted, strict=True)]
        rbms[-1] = rbms[-1].holding(stack.top, normalizer=self.normalizer)
        publish(self, Read(None, rbms[0], None), rbms_=rbms, _fitted=stack)
        if ended_in is not None:
            rest = "" if ended_in == len(rbms) else ": those above it are untrained"
            warn_of_interrupt(f"training in layer {ended_in} of {len(rbms)}{rest}")
        return self

    def _refuse_missing(self, X):
        """Raise ValueError where an entry is missing; sparse tables have none."""
        values = see(X).values
        if sparse.issparse(values):
            return
        shell = shell_of(self)
        shell.feature_names_in_ = getattr(values, "columns", None)
        refuse_missing(shell, np.where(pd.isna(values), np.nan, 0.0))

    def _stacked(self, X, rng):
        """Train the RBMs one by one.

        Returns them, the rows that the top one saw, and the number of the layer in
        which a KeyboardInterrupt ended training, or None. Layers above it begin with
        independent units, and stay so.
        """
        rbms, rows, ended_in = [], X, None
        for number, rbm in enumerate(self._untrained(rng), 1):
            if rbms:
                probability = np.asarray(rbms[-1].transform(rows))
                draws = rng.uniform(size=probability.shape) < probability
                rows = draws.astype(np.float32)
            n_iter = rbm.n_iter
            rbm.set_params(n_iter=n_iter if ended_in is None else 0)
            if rbm.fit_as_layer(rows):
                ended_in = number
            rbms.append(rbm.set_params(n_iter=n_iter))
        return rbms, rows, ended_in

    def _untrained(self, rng):
        """Return the RBM estimators to fit, without log Z."""
        sizes = list(self.hidden_layer_sizes)
        if not sizes:
            raise ValueError("hidden_layer_sizes must hold at least one layer. Got ().")
        rbms = []
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
            if rbms and not isinstance(rbm, BernoulliRBM):
                raise ValueError(
                    "Layers above the lowest see binary units: they must be ints or "
                    f"BernoulliRBM. Got {size!r}."
                )
            rbms.append(rbm.set_params(normalizer=None, random_state=draw_seed(rng)))
        return rbms

    def _fine_tuned(self, stack, v, rng):
        """Return the stack after training all layers together."""

        def report(epoch, entry):
            if self.verbose and current().speaks:
                print(f"[{type(self).__name__}] Fine-tuning {epoch}")
            return False

        stack, loop = stack.fine_tuned(
            v,
            rng,
            learning_rate=self.fine_tuning_rate,
            batch_size=self.batch_size,
            n_epochs=self.n_fine_tuning_iter,
            on_epoch=report,
        )
        if loop.interrupted:
            warn_of_interrupt(f"fine-tuning after {loop.n_epochs} epochs")
        return stack

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
        return self._fitted.features(_read(self.rbms_[0], X))

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
        check_changed(self, "n_draws")
        bound = self._fitted.log_bound(_read(self.rbms_[0], X), self.n_draws)
        estimate = self._fitted.top.calibration.take_new_estimate()
        warn_untrusted(estimate, "RBMAnnealing with more temperatures may help.")
        return bound

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
        if self._fitted.top.estimate is None:
            warn_unnormalized()
        return score

    def ood_scores(self, X):
        """`score_samples`: the bound of each row; higher is more normal.

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

    def p_values(self, X, calibration, delta=None):
        r"""Conformal p-values: small for rows out of distribution.

        .. math:: p(x) = \frac{1 + \#\{i: s(x_i) \le s(x)\}}{1 + n}

        with the bound s and n calibration rows :math:`x_i`. For a new row of their
        distribution, :math:`P(p \le \alpha) \le \alpha`, exactly. No layer is trained
        on a part of the rows, so that there is no threshold without other rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        calibration : array-like of shape (n, n_features)
            Normal rows that `fit` has not seen.
        delta : float, default=None
            A number between 0 and 1 asks for larger p-values, which hold given the
            calibration rows, with a probability of 1 - delta over them. None: they hold
            in the mean over calibration rows.

        Returns
        -------
        p_values : ndarray of shape (n_samples,)
            float64, from 1 / (n + 1) to 1.
        """
        scores = self.ood_scores(X)
        return scores_of(self, calibration).p_values(scores, delta=delta)

    def sample(self, n_samples=1, random_state=None, *, n_steps=1000):
        """Draw rows: Gibbs chains in the top RBM, then one pass down.

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
        v = self._fitted.sample_down(h, draw_seed(rng))
        return self.rbms_[0].as_layer().codec.write(v)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        lowest = next(iter(self.hidden_layer_sizes), None)
        tags.input_tags.sparse = not isinstance(lowest, BaseRBM) or (
            lowest.__sklearn_tags__().input_tags.sparse
        )
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _read(rbm, X):
    """Return a table as rows of visible units of a fitted RBM estimator."""
    return rbm.as_layer().codec.read(rbm, X)
