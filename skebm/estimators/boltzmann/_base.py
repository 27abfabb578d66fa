"""What restricted Boltzmann machines share: train, transform, score, sample."""

from __future__ import annotations

import time
import warnings
from abc import abstractmethod
from functools import partial
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from skebm.estimators._callbacks import FitProgress
from skebm.estimators._input import private_random_state
from skebm.estimators.boltzmann._density import RBMDensityMixin
from skebm.evaluation import (
    conditional_means,
)
from skebm.exceptions import TrainingWarning
from skebm.models.boltzmann._fit import (
    INITIAL_SPREAD,
    TrainingState,
    check_converging,
    initial_parameters,
    learning_rates,
)
from skebm.models.boltzmann._rows import (
    chunks,
    column_means,
    on_chunk,
    some_rows,
    to_tensor,
    total_deviation,
)
from skebm.networks import RBM
from skebm.training import MachineBatches, MachineTraining
from skebm.utils import (
    draw_seed,
    make_generator,
    resolve_device,
    to_numpy_tree,
)
from skebm.utils._sklearn import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    with_callbacks,
)


class BaseRBM(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    RBMDensityMixin,
    BaseEstimator,
):
    """Training, features, likelihood and samples of a machine with binary hidden units.

    A kind of machine provides `_units`, `_check_rows` and, where a column of X is not
    one visible unit, `_encode` and `_decode`.
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_iter": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "method": [StrOptions({"pcd", "cd", "tempering"})],
        "n_gibbs_steps": [Interval(Integral, 1, None, closed="left")],
        "n_chains": [Interval(Integral, 1, None, closed="left"), None],
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
        "contamination": [Interval(Real, 0, 0.5, closed="right"), StrOptions({"auto"})],
        "device": [str, torch.device, None],
    }

    #: What `history_` calls the figure of an epoch.
    _figure_name = "negative_free_energy"
    #: Standard deviation over rows of the log odds of untrained hidden units.
    _initial_spread = INITIAL_SPREAD

    # ------------------------------------------------------------- a kind's own

    @abstractmethod
    def _units(self):
        """Return the visible units of a machine that was fitted or is being so."""

    def _decay(self, n_rows):
        """Return the weight decay of training on n more rows."""
        self._n_rows += n_rows
        return 2 / self._n_rows if self.weight_decay is None else self.weight_decay

    def _trainer(self):
        """Return the class that makes the steps of training."""
        return MachineTraining

    @abstractmethod
    def _check_rows(self, X, *, reset, allow_nan=False, fitting=False):
        """Return validated X: a float array, or a CSR matrix where that is allowed."""

    def _encode(self, X):
        """Return rows of visible units, a dense or CSR float array, for validated X."""
        return X

    def _decode(self, v):
        """Return rows as X has them for an array of visible units."""
        return v

    # ----------------------------------------------------------------- training

    @with_callbacks
    def fit(self, X, y=None):
        """Fit the machine to the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN where an entry is missing: it is then redrawn from the machine,
            given the rest of its row, whenever the row is seen.
        y : None
            Ignored.

        Returns
        -------
        self : object
        """
        self._validate_params()
        v = self._encode(self._check_rows(X, reset=True, allow_nan=True, fitting=True))
        rng = private_random_state(self.random_state)
        self._forget()
        self._begin(v, rng)
        progress = FitProgress(
            self, self.n_iter, X, y, partial(self._fitted_attributes, v)
        )
        self.history_ = {self._figure_name: [], "learning_rate": []}
        state, batches = self._resume(v, rng)
        self.n_iter_ = 0
        try:
            for epoch in range(self.n_iter):
                started = time.perf_counter()
                rates = learning_rates(
                    self.learning_rate,
                    self.learning_rate_schedule,
                    epoch,
                    self.n_iter,
                    batches.n_steps(self.batch_size),
                )
                last = state.run_epoch(batches, self.batch_size, rates)
                self._after_epoch(state, last, rates[-1], started)
                if progress.on_epoch(epoch, None):
                    break
        except KeyboardInterrupt:
            warnings.warn(
                f"A KeyboardInterrupt ended training after {self.n_iter_} epochs.",
                TrainingWarning,
                stacklevel=2,
            )
        progress.end()
        self._expose(state)
        self._mark_stale(v, rng)
        self._refresh()
        return self

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
        self._validate_params()
        going_on = hasattr(self, "_state")
        X = self._check_rows(X, reset=not going_on, allow_nan=True, fitting=True)
        v = self._encode(X)
        if not hasattr(self, "random_state_"):
            self.random_state_ = private_random_state(self.random_state)
        if not going_on:
            self._begin(v, self.random_state_)
            self.history_ = {self._figure_name: [], "learning_rate": []}
            self.n_iter_ = 0
        state, batches = self._resume(v, self.random_state_)
        rates = np.full(batches.n_steps(self.batch_size), float(self.learning_rate))
        state.run_epoch(batches, self.batch_size, rates)
        self._expose(state)
        self._mark_stale(v, self.random_state_)
        return self

    def _forget(self):
        """Leave the state and the random numbers of an earlier training."""
        for name in ("_state", "random_state_"):
            self.__dict__.pop(name, None)

    def _begin(self, v, rng):
        """Set up parameters for rows v: the columns' means, random weights."""
        m, dtype = self.n_components, v.dtype
        self._n_rows = 0
        mean, n_rows = column_means(v)
        bias = self._units().bias(torch.from_numpy(mean), torch.from_numpy(n_rows))
        weight, hidden_bias, visible_bias = initial_parameters(
            bias.numpy(), mean, total_deviation(v), m, rng, self._initial_spread
        )
        self._n_features_out = m
        self._kept_rows = []
        self._base_bias = bias.numpy().astype(np.float32)
        self.components_ = weight.astype(dtype)
        self.intercept_hidden_ = hidden_bias.astype(dtype)
        self.intercept_visible_ = visible_bias.astype(dtype)
        n_chains = self.batch_size if self.n_chains is None else self.n_chains
        self._check_normalizer()
        chains = rng.randint(2, size=(n_chains, m))
        self.h_samples_ = chains.astype(dtype)
        self._state = TrainingState.initial(
            self._machine(), mean, self.h_samples_, self.method
        )

    def _resume(self, v, rng):
        """Return the training where it stands and the batches of rows v."""
        device = resolve_device(self.device)
        generator = make_generator(draw_seed(rng), device)
        state = TrainingState(
            self._units(),
            self._state,
            self._base_bias,
            generator,
            method=self.method,
            n_gibbs_steps=self.n_gibbs_steps,
            centered=self.centered,
            momentum=self.momentum,
            weight_decay=self._decay(v.shape[0]),
            averaging=self.weight_averaging,
            trainer=self._trainer(),
        )
        if not sparse.issparse(v):
            if np.isnan(v.min()):  # the batches fill the gaps in place
                v = v.astype(np.float32)
            v = to_tensor(v, np.float32)
        return state, MachineBatches(v, device)

    def _after_epoch(self, state, last, rate, started):
        self.n_iter_ += 1
        figure = state.figure(last)
        name = self._figure_name.replace("_", "-")
        check_converging(self, name, figure, state.training.rbm)
        self.history_[self._figure_name].append(figure)
        self.history_["learning_rate"].append(float(rate))
        if self.verbose:
            print(
                f"[{type(self).__name__}] Iteration {self.n_iter_}, "
                f"{name} = {figure:.2f}, "
                f"time = {time.perf_counter() - started:.2f}s"
            )
        self._running = state

    def _expose(self, state):
        """Publish the trained parameters as arrays of X's dtype."""
        self.__dict__.pop("_running", None)
        dtype = self.components_.dtype
        self.__dict__.update(self._published(state, dtype))
        self._state = state.arrays()

    def _published(self, state, dtype):
        served = to_numpy_tree(state.training.average.parameters())
        return {
            "components_": served["weight"].astype(dtype),
            "intercept_hidden_": served["hidden_bias"].astype(dtype),
            "intercept_visible_": served["visible_bias"].astype(dtype),
            "h_samples_": state.coldest_chains().astype(dtype),
        }

    def _fitted_attributes(self, v):
        """Return what makes a copy of this estimator usable in mid-fit."""
        published = self._published(self._running, self.components_.dtype)
        rng = np.random.RandomState(0)  # the fit's own goes on as without callbacks
        return published | self._stale_attributes([some_rows(v, rng)], seed=0)

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
        return self._mean_hiddens(
            self._encode(self._check_rows(X, reset=False, allow_nan=True))
        )

    def _mean_hiddens(self, v):
        v = v if sparse.issparse(v) else np.asarray(v)
        if v.ndim == 1:
            return self._mean_hiddens(v[None])[0]
        dtype = np.result_type(v.dtype, self.components_.dtype)
        rbm = self._machine(np.float64)

        def mean(x):
            return rbm.hidden_field(x).sigmoid_()

        def complete(x):
            return conditional_means(rbm, x, make_generator(0, x.device))[1]

        return self._on_rows(mean, v, np.float64, complete).astype(dtype, copy=False)

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
        check_is_fitted(self)
        v = self._encode(self._check_rows(v, reset=False))
        if not hasattr(self, "random_state_"):
            self.random_state_ = private_random_state(self.random_state)
        device = resolve_device(self.device)
        generator = make_generator(draw_seed(self.random_state_), device)
        rbm = self._machine(np.float64)
        parts = [
            rbm.sample_blocks(x, generator).cpu().numpy()
            for x in (to_tensor(rows, np.float64, device) for rows in chunks(v))
        ]
        return self._decode(np.concatenate(parts))

    # ------------------------------------------------------------------- inside

    def _machine(self, dtype=np.float32):
        """Return the fitted machine, on the device."""
        device = resolve_device(self.device)
        arrays = (self.components_, self.intercept_hidden_, self.intercept_visible_)
        tensors = [
            torch.as_tensor(np.ascontiguousarray(a, dtype=dtype)) for a in arrays
        ]
        return RBM(*tensors, self._units()).to(tensors[0].dtype).to(device)

    def _base(self, rbm):
        return torch.from_numpy(self._base_bias).to(rbm.weight)

    def _on_rows(self, function, v, dtype=np.float64, complete=None):
        """Apply a function of tensors to rows; rows with NaN go to `complete`."""
        device = resolve_device(self.device)
        parts = [
            on_chunk(function, rows, dtype, device, complete) for rows in chunks(v)
        ]
        return np.concatenate(parts)
