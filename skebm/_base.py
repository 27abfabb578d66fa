"""What the faces share: validate, assemble, train, expose."""

from __future__ import annotations

import copy
import math
import warnings
from abc import abstractmethod
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from skebm._callbacks import FitProgress
from skebm._persistence import PortableStateMixin
from skebm._resolve import (
    build_network,
    check_options,
    resolve_normalizer,
    resolve_objective,
    resolve_reference,
)
from skebm._table import Standardizer, check_table
from skebm.evaluation import ImportanceSampling, annealed_samples
from skebm.exceptions import NormalizerWarning, TrainingWarning
from skebm.networks import EnergyModel
from skebm.objectives import Objective
from skebm.references import Reference
from skebm.training import Schedule, TableBatches, Trainer, TrainingRun
from skebm.utils import (
    dequantization_scale,
    draw_seed,
    in_padded_batches,
    isolated_rng,
    make_generator,
    resolve_device,
)
from skebm.utils._sklearn import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
)

MAX_HELD_OUT = 10_000
MAX_AUTO_EPOCHS = 400
#: Rows that a reference is fitted to: its figures are steady long before a copy of a
#: large table would be a burden.
MAX_REFERENCE_ROWS = 100_000


class BaseEBM(CallbackSupportMixin, PortableStateMixin, BaseEstimator):
    """Fitting, scoring and sampling of p(x) = q0(x) exp(-E(x)) / Z."""

    _parameter_constraints: ClassVar[dict] = {
        "objective": [str, Objective, None],
        "network": [str, callable],
        "reference": [str, Reference, None],
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
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "ood_score": [StrOptions({"log_density", "negative_energy"})],
        "warm_start": ["boolean"],
        "device": [str, torch.device, None],
        "random_state": ["random_state"],
        "verbose": [Interval(Integral, 0, None, closed="left"), "boolean"],
    }

    # ------------------------------------------------------------------ training

    def _fit(self, X, codes, sample_weight, n_outputs, raw):
        """Train on validated X and class numbers (or None); ``raw`` is (X, y)."""
        rng = private_random_state(self.random_state)
        normalizer = resolve_normalizer(self.normalizer)
        going_on = self.warm_start and hasattr(self, "_run")
        if going_on and n_outputs != self._n_outputs:
            raise ValueError(
                f"warm_start=True, but this fit has {n_outputs} outputs where the "
                f"first had {self._n_outputs}."
            )
        Z, weight = self._standardize(X, sample_weight, keep=going_on)
        train, held_out = self._split_rows(codes, len(Z), rng)
        self._prepare(Z, codes, train, rng)
        with isolated_rng(draw_seed(rng), resolve_device(self.device)):
            if not going_on:
                self._assemble(Z, train, weight, n_outputs, rng)
            trainer = self._train(Z, codes, weight, train, held_out, rng, raw)
        self._expose(trainer)
        judged = train if held_out is None else held_out
        self._calibrate(normalizer, Z[judged[:MAX_HELD_OUT]], draw_seed(rng))
        return self

    def _partial_fit(self, X, codes, sample_weight, n_outputs):
        """Make one pass over validated rows; the first call also sets up the model."""
        rng = private_random_state(self.random_state)
        going_on = hasattr(self, "_run")
        Z, weight = self._standardize(X, sample_weight, keep=going_on)
        rows = torch.arange(len(Z))
        self._prepare(Z, codes, rows, rng)
        with isolated_rng(draw_seed(rng), resolve_device(self.device)):
            if not going_on:
                self._assemble(Z, rows, weight, n_outputs, rng)
            trainer = self._make_trainer(None, None, warmup=0.0, final_rate=1.0)
            trainer.fit(self._run, self._batches(Z, codes, weight, rows), 1)
        self._expose(trainer)
        self._stale = (Z[:MAX_HELD_OUT], draw_seed(rng))
        self.log_normalizer_ = self.log_normalizer_se_ = self.offset_ = math.nan
        return self

    def _standardize(self, X, sample_weight, keep):
        """Return standardised rows and weights of mean one, as tensors on the CPU."""
        if not keep:
            standardizer = Standardizer(self._range_share)
            self._standardizer = standardizer.fit(X, sample_weight)
        Z = torch.from_numpy(self._standardizer.transform(X))
        if sample_weight is None:
            return Z, None
        unit = sample_weight / sample_weight.mean()
        return Z, torch.as_tensor(unit, dtype=torch.float32)

    def _assemble(self, Z, train, weight, n_outputs, rng):
        """Resolve the options; fit the reference; build the net and its run."""
        objective = resolve_objective(self.objective)
        check_options(type(self).__name__, objective, n_outputs)
        recipe = resolve_reference(self.reference)
        device = resolve_device(self.device)
        network = build_network(self.network, Z.shape[1], n_outputs).to(device)
        self.objective_, self._network_builder = objective, self.network
        self._n_outputs, self._device = n_outputs, str(device)
        rows = train
        if len(train) > MAX_REFERENCE_ROWS:
            chosen = rng.choice(len(train), MAX_REFERENCE_ROWS, replace=False)
            rows = train[torch.from_numpy(chosen)]
        self.reference_ = recipe.fit(
            Z[rows],
            weight=None if weight is None else weight[rows],
            generator=make_generator(draw_seed(rng)),
        ).to(device)
        self._run = TrainingRun(
            self._make_model(network),
            self._training_objective(),
            make_generator(draw_seed(rng), device),
            self.weight_averaging,
        )

    def _train(self, Z, codes, weight, train, held_out, rng, raw):
        max_iter = self._resolve_max_iter(len(train))
        monitor = None
        if held_out is not None:
            monitor = self._make_monitor(Z, codes, weight, held_out, draw_seed(rng))
        progress = FitProgress(self, max_iter, *raw, self._fitted_attributes)
        trainer = self._make_trainer(monitor, progress.on_epoch)
        trainer.fit(self._run, self._batches(Z, codes, weight, train), max_iter)
        progress.end()
        if trainer.interrupted:
            warnings.warn(
                f"Training was interrupted after {trainer.n_epochs} epochs; the "
                "estimator is in its best state so far.",
                TrainingWarning,
                stacklevel=4,
            )
        return trainer

    def _make_trainer(self, monitor, on_epoch, **schedule):
        return Trainer(
            self._training_objective(),
            Schedule(
                self.learning_rate,
                batch_size=self.batch_size,
                batch_growth=self.batch_growth,
                **schedule,
            ),
            monitor=monitor,
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
            gradient_clip=self.gradient_clip,
            on_epoch=on_epoch,
            verbose=int(self.verbose),
        )

    def _batches(self, Z, codes, weight, rows):
        y = None if codes is None else torch.from_numpy(codes)
        return TableBatches(
            Z,
            y,
            weight,
            rows,
            device=torch.device(self._device),
            noise_scale=self._noise_scale,
            **self._batch_options(),
        )

    #: Least scale of a column inside, as a share of its range.
    _range_share = 0.0

    def _batch_options(self):
        """Return further options of the mini-batches."""
        return {}

    def _prepare(self, Z, codes, train, rng):
        """Learn from the standardised rows what the training needs beforehand."""
        rows = train[rng.permutation(len(train))[:MAX_HELD_OUT]]
        scale = dequantization_scale(Z[rows].double().numpy())
        self._noise_scale = torch.from_numpy(scale).float() if scale.any() else None

    def _dequantized(self, Z, seed):
        """Return held-out rows with the noise that the training rows get."""
        if self._noise_scale is None:
            return Z
        noise = torch.randn(Z.shape, generator=make_generator(seed))
        return Z + self._noise_scale * noise

    def _resolve_max_iter(self, n_rows):
        """Return the number of epochs; "auto" fixes the number of steps instead."""
        if self.max_iter != "auto":
            return self.max_iter
        steps_per_epoch = max(1, n_rows // self.batch_size)
        return min(MAX_AUTO_EPOCHS, math.ceil(self._n_auto_steps / steps_per_epoch))

    @abstractmethod
    def _split_rows(self, codes, n_rows, rng):
        """Return the numbers of training rows and of held-out rows (or None)."""

    @abstractmethod
    def _make_monitor(self, Z, codes, weight, held_out, seed):
        """Return what early stopping watches on the held-out rows."""

    @abstractmethod
    def _training_objective(self):
        """Return the objective that the loop trains by."""

    # ------------------------------------------------------------------ exposing

    def _make_model(self, network=None):
        scale = 1.0 if self.objective_ is None else self.objective_.critic_scale
        network = self.network_ if network is None else network
        return EnergyModel(network, self.reference_, scale)

    def _expose(self, trainer):
        self.network_ = self._run.served.network.eval()
        self.history_ = trainer.history
        self.n_iter_ = max(1, trainer.n_epochs)

    def _fitted_attributes(self):
        """Return what makes a copy of this estimator usable in mid-fit."""
        network = copy.deepcopy(self._run.served.network).eval()
        generator = make_generator(0, self._device)
        estimate = ImportanceSampling(4096).estimate(
            self._make_model(network).energy, self.reference_, generator=generator
        )
        return {
            "network_": network,
            "log_normalizer_": estimate.log_normalizer,
            "log_normalizer_se_": estimate.standard_error,
            "offset_": math.nan,
        }

    def _calibrate(self, normalizer, Z, seed):
        """Estimate log Z, and the offset from standardised rows Z."""
        self._stale = None
        self.log_normalizer_ = self.log_normalizer_se_ = None
        if normalizer is not None:
            generator = make_generator(seed, self._device)
            estimate = normalizer.estimate(
                self._make_model().energy, self.reference_, generator=generator
            )
            self.log_normalizer_ = estimate.log_normalizer
            self.log_normalizer_se_ = estimate.standard_error
            self.normalizer_result_ = estimate
            if not estimate.trusted:
                warnings.warn(
                    "The estimate of the log normaliser, "
                    f"{estimate.log_normalizer:.3f} nats with a standard error of "
                    f"{estimate.standard_error:.3f}, can't be trusted: "
                    f"{estimate.reason}. Scores keep their order; their level may be "
                    "off. A stronger reference or normalizer may help.",
                    NormalizerWarning,
                    stacklevel=4,
                )
        scores = self._ood_scores_standardized(Z)
        self.offset_ = float(np.quantile(scores, self.contamination))

    def _refresh(self):
        """Bring log Z and the offset up to date after `partial_fit`."""
        check_is_fitted(self, "network_")
        if self._stale is not None:
            self._calibrate(resolve_normalizer(self.normalizer), *self._stale)

    # ------------------------------------------------------------------ scoring

    def _check_scored(self, X):
        check_is_fitted(self, "network_")
        return check_table(self, X, reset=False)

    def _on_rows(self, function, X):
        """Apply a function of standardised tensors to rows of X; float64 comes back."""

        def prepare(rows):
            return torch.from_numpy(self._standardizer.transform(rows)).to(self._device)

        with torch.no_grad():
            return in_padded_batches(function, X, prepare)

    def _log_density_standardized(self, Z):
        level = self.log_normalizer_ or 0.0
        return self._make_model().log_prob_unnormalized(Z).double() - level

    def _ood_scores_standardized(self, Z):
        function = self._ood_function()
        with torch.no_grad():
            return in_padded_batches(function, Z, lambda rows: rows.to(self._device))

    def _ood_function(self):
        if self.ood_score == "negative_energy":
            return lambda Z: -self._make_model().energy(Z).double()
        jacobian = self._standardizer.log_jacobian
        return lambda Z: self._log_density_standardized(Z) + jacobian

    def energy(self, X):
        """Energy of each row, in nats; low is likely.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        energy : ndarray of shape (n_samples,)
            E(x), float64, without the reference density and log Z.
        """
        X = self._check_scored(X)
        return self._on_rows(self._make_model().energy, X)

    def score_samples(self, X):
        r"""Log density of each row, in nats, in the units of X.

        .. math:: \log p(x) = \log q_0(z) - E(z) - \log Z - \sum_j \log s_j,
                  \qquad z_j = (x_j - m_j) / s_j

        A log density, not a log probability: it may be positive, and it depends on the
        units of the columns. With ``normalizer=None`` log Z is left out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            float64; deterministic.
        """
        X = self._check_scored(X)
        self._refresh()
        standardized = self._on_rows(self._log_density_standardized, X)
        return standardized + self._standardizer.log_jacobian

    def ood_scores(self, X):
        """Score of each row by ``ood_score``; higher is more normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            float64. Less ``offset_``, the `contamination` quantile of held-out (else
            training) scores, it is negative for rows out of distribution.
        """
        X = self._check_scored(X)
        self._refresh()
        return self._on_rows(self._ood_function(), X)

    def _sample_standardized(self, energy, n_samples, rng):
        generator = make_generator(draw_seed(rng), self._device)
        draws = annealed_samples(
            energy, self.reference_, n_samples, generator=generator
        )
        return self._standardizer.inverse_transform(draws.cpu().numpy())


def private_random_state(random_state):
    """Return a NumPy random state that is not the global one.

    None is seeded by the operating system, as the global generator may not change.
    """
    if random_state is None:
        return np.random.RandomState()
    return check_random_state(random_state)


def check_n_samples(n_samples):
    """Raise ValueError where n_samples is not a positive integer."""
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(
            f"The 'n_samples' parameter must be an int of at least 1. Got {n_samples!r}"
            " instead."
        )


def check_weights(sample_weight, X):
    """Return sample_weight as float64 of shape (n,), or None."""
    if sample_weight is None:
        return None
    return _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
