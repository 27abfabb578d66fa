"""What the faces share: validate, assemble, train, expose."""

from __future__ import annotations

import copy
import functools
import math
import time
import warnings
from abc import abstractmethod
from contextlib import nullcontext
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skebm.estimators._callbacks import FitProgress
from skebm.evaluation import NORMALIZED, OOD_SCORES, ImportanceSampling
from skebm.evaluation.outliers._detector import OODScoresMixin
from skebm.exceptions import NormalizerWarning, TrainingWarning
from skebm.models._specification import (
    build_network,
    check_options,
    draws_globally,
    resolve_network,
    resolve_normalizer,
    resolve_objective,
    resolve_reference,
)
from skebm.models._state import PortableStateMixin
from skebm.networks import EnergyModel, is_normalized
from skebm.objectives import Objective
from skebm.references import Reference
from skebm.tables._standardizer import Standardizer, check_table, column_names
from skebm.training import (
    DensityMonitor,
    Schedule,
    TableBatches,
    Trainer,
    TrainingRun,
)
from skebm.utils import (
    dequantization_scale,
    draw_seed,
    in_padded_batches,
    isolated_rng,
    make_generator,
    normal_like,
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
#: Where later calls of `partial_fit` stand in a run: all terms count, none is fading.
LATER_PASSES = (0.5, 0.5)
#: Rows that a reference is fitted to: its figures are steady long before a copy of a
#: large table would be a burden.
MAX_REFERENCE_ROWS = 100_000


def trains(method):
    """Run a method that trains with gradients on, and wholly or not at all.

    Where it raises, the estimator is left as it was, an earlier model fit for use.
    """

    @functools.wraps(method)
    def trained(self, *args, **kwargs):
        before, run = self.__dict__.copy(), getattr(self, "_run", None)
        snapshot = None if run is None else run.snapshot()
        try:
            with torch.inference_mode(False), torch.enable_grad():
                return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__ = before
            if run is not None:
                run.restore(snapshot)
                self.network_.eval()
            raise

    return trained


class BaseEBM(OODScoresMixin, CallbackSupportMixin, PortableStateMixin, BaseEstimator):
    """Fitting, scoring and sampling of p(x) = q0(x) exp(-E(x)) / Z."""

    _parameter_constraints: ClassVar[dict] = {
        "objective": [str, Objective, None],
        "network": [str, callable],
        "reference": [str, Reference, HasMethods(["score_samples", "sample"]), None],
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
        "contamination": [Interval(Real, 0, 0.5, closed="right"), StrOptions({"auto"})],
        "ood_score": [StrOptions(set(OOD_SCORES))],
        "warm_start": ["boolean"],
        "device": [str, torch.device, None],
        "random_state": ["random_state"],
        "verbose": [Interval(Integral, 0, None, closed="left"), "boolean"],
    }

    # ------------------------------------------------------------------ training

    def _fit(self, X, codes, sample_weight, n_outputs, raw):
        """Train on validated X and class numbers (or None); ``raw`` is (X, y)."""
        rng = private_random_state(self.random_state)
        parts = self._resolve_parts(n_outputs)
        going_on = self.warm_start and self._is_trained
        Z, weight = self._standardize(X, sample_weight, parts, rng, keep=going_on)
        train, held_out = self._split_rows(codes, len(Z), rng)
        options = self._prepare(Z, codes, weight, train, rng, keep=going_on)
        kept = [_some_rows(Z, rows, rng) for rows in (train, held_out)]
        stale = (*kept, draw_seed(rng))
        if not going_on:
            self._assemble(parts, Z, train, weight, n_outputs, rng)
        with self._random_layers(draw_seed(rng)):
            trainer = self._train(Z, codes, weight, train, held_out, options, rng, raw)
        self._expose(trainer)
        self._mark_stale(*stale)
        try:
            self._refresh()
        except KeyboardInterrupt:
            self._warn_of_interrupt("the estimation of log Z; the next scoring does it")
        return self

    def _partial_fit(self, X, codes, sample_weight, n_outputs):
        """Make one pass over validated rows; the first call also sets up the model."""
        rng = private_random_state(self.random_state)
        parts = self._resolve_parts(n_outputs)
        going_on = self._is_trained
        Z, weight = self._standardize(X, sample_weight, parts, rng, keep=going_on)
        rows = torch.arange(len(Z))
        options = self._prepare(Z, codes, weight, rows, rng, keep=going_on)
        if not going_on:
            self._assemble(parts, Z, rows, weight, n_outputs, rng)
        trainer = self._make_trainer(None, None, warmup=0.0, final_rate=1.0)
        if going_on:
            trainer.progress = LATER_PASSES
        batches = self._batches(Z, codes, weight, rows, options)
        with self._random_layers(draw_seed(rng)):
            trainer.fit(self._run, batches, 1)
        self._expose(trainer)
        self._mark_stale(_some_rows(Z, rows, rng), None, draw_seed(rng))
        return self

    @property
    def _is_trained(self):
        return hasattr(self, "network_")

    def _resolve_parts(self, n_outputs):
        """Resolve every option before any work is done; return the parts by name."""
        objective = resolve_objective(self.objective)
        network = self._option("network", objective)
        builder = resolve_network(network)
        check_options(type(self).__name__, objective, builder, n_outputs)
        if objective is not None:
            objective.check_columns(self.n_features_in_)
        resolve_normalizer(self.normalizer)
        return {
            "objective": objective,
            "reference": resolve_reference(self._option("reference", objective)),
            "device": resolve_device(self.device),
            "network": network,
            "builder": builder,
        }

    def _option(self, name, objective):
        """Return the value of an option; "auto" is the objective's own."""
        value = getattr(self, name)
        if value != "auto" or objective is None:
            return value
        return getattr(objective.recipe, name)

    def _make_standardizer(self):
        return Standardizer(self._range_share)

    def _standardize(self, X, sample_weight, parts, rng, keep):
        """Return standardised rows and weights of mean one, as tensors on the CPU."""
        if not keep:
            names = getattr(self, "feature_names_in_", None)
            standardizer = self._make_standardizer()
            self._standardizer = standardizer.fit(X, sample_weight, names)
        Z = torch.from_numpy(self._standardizer.transform(X))
        if (cells := self._standardizer.cells) is not None:
            Z = cells.redraw(Z, make_generator(draw_seed(rng)))
        if keep:
            self._check_goes_on(parts, Z)
        if sample_weight is None:
            return Z, None
        unit = sample_weight / sample_weight.mean()
        return Z, torch.as_tensor(unit, dtype=torch.float32)

    def _check_goes_on(self, parts, Z):
        """Refuse other parts than the model has, and rows where its density is zero."""
        has = (self._network_builder, self.objective_, self._reference_recipe)
        wanted = (parts["network"], parts["objective"], parts["reference"])
        names = ("network", "objective", "reference")
        for name, old, new in zip(names, has, wanted, strict=True):
            if repr(old) != repr(new):
                raise ValueError(
                    f"The {name!r} parameter was changed, from {old!r} to {new!r}, "
                    "which no further training does. Set it back, or begin anew: fit "
                    "with warm_start=False."
                )
        outside = self.reference_.outside(Z).numpy()
        if outside.any():
            names = getattr(self, "feature_names_in_", None)
            raise ValueError(
                f"X holds rows outside the box of the first fit in column "
                f"{column_names(names, outside)}, and with reference=None the density "
                "there is zero. Clip or drop these rows, or begin anew with another "
                "reference, such as 'gaussian'."
            )

    def _assemble(self, parts, Z, train, weight, n_outputs, rng):
        """Build the net, fit the reference, start a run."""
        device = parts["device"]
        with isolated_rng(draw_seed(rng), device):
            network = build_network(parts["builder"], Z.shape[1], n_outputs)
            self._has_random_layers = draws_globally(network, Z.shape[1])
        network = network.to(device)
        self.objective_, self._network_builder = parts["objective"], parts["network"]
        self._n_outputs, self._device = n_outputs, str(device)
        self._reference_recipe = parts["reference"]
        scaler = self._standardizer
        reference = self._reference_recipe.in_units(scaler.mean_, scaler.scale_)
        if is_normalized(network):
            reference = reference.for_normalized()
        rows = train
        if reference.needs_all_rows:
            rows = slice(None)
        elif len(train) > MAX_REFERENCE_ROWS:
            chosen = rng.choice(len(train), MAX_REFERENCE_ROWS, replace=False)
            rows = train[torch.from_numpy(chosen)]
        start = time.perf_counter()
        some = None if weight is None else weight[rows]
        generator = make_generator(draw_seed(rng))
        density = self._fit_reference(reference, Z[rows], some, generator)
        if self.verbose:
            seconds = time.perf_counter() - start
            print(f"reference: {type(density).__name__}, {seconds:.1f} seconds")
        self.reference_ = density.to(device)
        self._run_seed = draw_seed(rng)
        self._averaging_decay = self.weight_averaging
        with isolated_rng(draw_seed(rng), device):
            self._run = self._start_run(network)

    def _fit_reference(self, recipe, x, weight, generator):
        return recipe.fit(x, weight=weight, generator=generator)

    def _random_layers(self, seed):
        """Return what feeds dropout and its like in a user's net, if it has any.

        Fits of other nets may then go on side by side in threads.
        """
        if self._has_random_layers:
            return isolated_rng(seed, torch.device(self._device))
        return nullcontext()

    def _start_run(self, network):
        """Return a run at its beginning; from one seed, it has the same first draws."""
        model, objective = self._make_model(network), self._training_objective()
        model.reference = self.reference_.for_training(self._run_seed)
        objective.check_model(model, self.n_features_in_)
        return TrainingRun(
            model,
            objective,
            make_generator(self._run_seed, self._device),
            self._averaging_decay,
        )

    def _train(self, Z, codes, weight, train, held_out, options, rng, raw):
        max_iter = self._resolve_max_iter(len(train))
        monitor = None
        if held_out is not None:
            monitor = self._make_monitor(
                Z, codes, weight, held_out, options["noise_scale"], draw_seed(rng)
            )
        progress = FitProgress(
            self, max_iter, *raw, lambda: self._fitted_attributes(trainer.history)
        )
        trainer = self._make_trainer(monitor, progress.on_epoch)
        batches = self._batches(Z, codes, weight, train, options)
        trainer.fit(self._run, batches, max_iter)
        progress.end()
        return trainer

    def _make_trainer(self, monitor, on_epoch, **schedule):
        return Trainer(
            self._training_objective(),
            Schedule(
                self._option("learning_rate", self.objective_),
                batch_size=self.batch_size,
                batch_growth=self.batch_growth,
                **schedule,
            ),
            monitor=monitor,
            n_iter_no_change=self._option("n_iter_no_change", self.objective_),
            tol=self.tol,
            gradient_clip=self.gradient_clip,
            on_epoch=on_epoch,
            verbose=int(self.verbose),
        )

    def _batches(self, Z, codes, weight, rows, options):
        y = None if codes is None else torch.from_numpy(codes)
        return TableBatches(
            Z,
            y,
            weight,
            rows,
            device=torch.device(self._device),
            reference=self.reference_,
            **options,
        )

    #: Least scale of a column inside, as a share of its range.
    _range_share = 0.0

    def _prepare(self, Z, codes, weight, train, rng, keep):
        """Learn from the rows what training needs; return options of `TableBatches`."""
        if not keep:
            rows = train[rng.permutation(len(train))[:MAX_HELD_OUT]]
            self._noise_scale = dequantization_scale(Z[rows].double().numpy())
        scale = torch.from_numpy(self._noise_scale).float()
        noise_scale = scale if scale.any() else None
        return {"noise_scale": noise_scale, "cells": self._standardizer.cells}

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
    def _make_monitor(self, Z, codes, weight, held_out, noise_scale, seed):
        """Return what early stopping watches on the held-out rows."""

    def _density_monitor(
        self, Z, weight, held_out, noise_scale, seed, monitor=DensityMonitor, **options
    ):
        """Return the density's; held-out rows get the noise that training rows get."""
        x = Z[held_out]
        if noise_scale is not None:
            x = x + noise_scale * normal_like(x, make_generator(seed))
        return monitor(
            self.reference_.reflect(x.to(self._device)),
            None if weight is None else weight[held_out],
            self.reference_,
            make_generator(seed, self._device),
            **options,
        )

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
        self.n_iter_, self.best_epoch_ = max(1, trainer.n_epochs), trainer.best_epoch
        if trainer.interrupted:
            self._warn_of_interrupt(
                f"training after {trainer.n_epochs} epochs; the estimator is in its "
                "best state so far"
            )

    def _warn_of_interrupt(self, what):
        warnings.warn(
            f"A KeyboardInterrupt ended {what}.", TrainingWarning, stacklevel=6
        )

    def _fitted_attributes(self, history):
        """Return what makes a copy of this estimator usable in mid-fit."""
        network = copy.deepcopy(self._run.served.network).eval()
        normalizer = None if self.normalizer is None else ImportanceSampling(4096)
        estimate = self._estimate_log_normalizer(network, normalizer, 0)
        return {
            "network_": network,
            "log_normalizer_": estimate and estimate.log_normalizer,
            "log_normalizer_se_": estimate and estimate.standard_error,
            "_ood_scores": {},
            "_calibration": {},
            "history_": copy.deepcopy(history),
            "_stale": None,
        }

    def _mark_stale(self, train, held_out, seed):
        """Leave log Z and the offset to the next `_refresh`, by standardised rows."""
        self._stale = (train, held_out, seed)
        unknown = None if self.normalizer is None else math.nan
        self.log_normalizer_ = self.log_normalizer_se_ = unknown
        self.normalizer_result_ = None
        self._ood_scores, self._calibration = {}, {}

    def _refresh(self):
        """Bring log Z and the offset up to date."""
        check_is_fitted(self, "network_")
        if self._stale is None:
            return
        train, held_out, seed = self._rows_to_judge_by()
        start = time.perf_counter()
        normalizer = self._resolve_normalizer()
        judged = train if held_out is None else held_out
        estimate = self._estimate_log_normalizer(
            self.network_, normalizer, seed, judged
        )
        if estimate is not None:
            self.log_normalizer_ = estimate.log_normalizer
            self.log_normalizer_se_ = estimate.standard_error
            self.normalizer_result_ = estimate
            if self.verbose:
                print(f"{estimate}, {time.perf_counter() - start:.1f} seconds")
            if not estimate.trusted:
                warnings.warn(
                    "The estimate of the log normaliser, "
                    f"{estimate.log_normalizer:.3f} nats with a standard error of "
                    f"{estimate.standard_error:.3f}, can't be trusted: "
                    f"{estimate.reason}. Scores keep their order; their level may be "
                    "off. A stronger reference or normalizer may help.",
                    NormalizerWarning,
                    stacklevel=5,
                )
        self._fit_ood_scores(train, held_out, seed)
        self._stale = None

    def _rows_to_judge_by(self):
        """Return the rows that `_mark_stale` kept, None or held-out ones, a seed."""
        return self._stale

    def _resolve_normalizer(self):
        return resolve_normalizer(self.normalizer)

    def _estimate_log_normalizer(self, network, normalizer, seed, Z=None):
        """Return log Z: known where the net is normalised, else by the normaliser.

        Standardised rows Z are where its reverse chains start.
        """
        model = self._make_model(network)
        if model.is_normalized:
            return NORMALIZED
        if Z is not None:
            Z = torch.from_numpy(Z).to(self._device)
        moved = model.in_coordinates()
        if Z is not None and moved is not model:
            Z = model.reference.coordinates(Z)
        return normalizer and normalizer.estimate(
            moved.energy,
            moved.reference,
            generator=make_generator(seed, self._device),
            rows=Z,
        )

    # ------------------------------------------------------------------ scoring

    def _read_table(self, X, *, reset, min_rows=1, allow_nan=False):
        return check_table(self, X, reset=reset, min_rows=min_rows, allow_nan=allow_nan)

    def _write_table(self, table):
        return table

    def _check_scored(self, X, allow_nan=False):
        check_is_fitted(self, "network_")
        return self._read_table(X, reset=False, allow_nan=allow_nan)

    def _on_rows(self, function, X):
        """Apply a function of standardised tensors to rows of X; float64 comes back."""
        return self._on_batches(function, X, self._standardizer.transform)

    def _on_standardized(self, function, Z):
        return self._on_batches(function, Z, lambda rows: rows)

    def _on_batches(self, function, rows, standardize):
        def prepare(batch):
            return torch.from_numpy(standardize(batch)).to(self._device)

        with torch.no_grad():
            return in_padded_batches(function, rows, prepare)

    def _log_density_standardized(self, Z):
        level = self.log_normalizer_ or 0.0
        return self._make_model().log_prob_unnormalized(Z).double() - level

    def _log_density(self):
        """Return log p in nats and the units of X, a function of standardised rows."""
        jacobian = self._standardizer.log_jacobian
        log_mass = self._standardizer.log_mass(self._log_density_standardized)
        return lambda Z: log_mass(Z) + jacobian

    def _energy_standardized(self, Z):
        """Return E; over a cell -log of the mean of exp(-E) under the reference."""
        model, standardizer = self._make_model(), self._standardizer
        if standardizer.cells is None:
            return model.energy(Z).double()
        log_mass = standardizer.log_mass(model.log_prob_unnormalized)
        return standardizer.log_mass(self.reference_.log_prob)(Z) - log_mass(Z)

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
        return self._on_rows(self._energy_standardized, X)


def private_random_state(random_state):
    """Return a NumPy random state that is not the global one.

    None is seeded by the operating system, as the global generator may not change.
    """
    if random_state is None:
        return np.random.RandomState()
    return check_random_state(random_state)


def _some_rows(Z, rows, rng):
    """Return at most `MAX_HELD_OUT` of the rows of Z, as an array; None stays None."""
    if rows is None:
        return None
    return Z[rows[torch.from_numpy(rng.permutation(len(rows)))[:MAX_HELD_OUT]]].numpy()


def check_n_samples(n_samples):
    """Raise ValueError where n_samples is not a positive integer."""
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(
            f"The 'n_samples' parameter must be an int of at least 1. Got {n_samples!r}"
            " instead."
        )
