"""A fitted model: densities, draws and outlier scores of standardised rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skebm.evaluation import (
    NORMALIZED,
    LogNormalizer,
    ScoredModel,
)
from skebm.evaluation.outliers._detector import OutlierDetector, scores_to_fit
from skebm.models import _conditioning, _missing
from skebm.models._assembly import Assembly
from skebm.models._calibration import Calibration, CalibrationRows
from skebm.models._completions import mean_over_completions
from skebm.models._conditioning import Chains, Filled, LogTilt, Marginals
from skebm.models._energies import marginal_energies
from skebm.models._explanation import Explanation, explain
from skebm.models._outcome import Outcome
from skebm.models._specification import Specification
from skebm.models._state import from_arrays, to_arrays
from skebm.networks import EnergyModel
from skebm.networks._last_layer import hidden_features, last_layer
from skebm.objectives import Objective
from skebm.references import Density
from skebm.references._base import Folds
from skebm.tables import TableEncoder
from skebm.training import EnergyRun
from skebm.utils import in_padded_batches, make_generator, reporting

#: Completions over which the outlier score of an incomplete row is a mean.
N_SCORED = 32

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class FittedModel:
    """The density of standardised rows, its net and reference, and log Z.

    Attributes
    ----------
    specification : Specification
        The options of the last training.
    assembly : Assembly
        The parts that its first fit chose.
    objective : Objective
        The objective of its last training.
    run : EnergyRun
        Where its training stands.
    network : nn.Module
        The trained net, of averaged weights where an average is kept.
    outcome : Outcome
        How its last training ended.
    calibration : Calibration
        log Z and outlier scores.
    """

    specification: Specification
    assembly: Assembly
    objective: Objective
    run: EnergyRun
    network: nn.Module
    outcome: Outcome
    calibration: Calibration = field(repr=False)

    @property
    def encoder(self) -> TableEncoder:
        """Between tables and standardised rows."""
        return self.assembly.encoder

    def seeing(self, X: Array) -> Self:
        """Return the model whose draws may have the values of rows X, too."""
        assembly = replace(self.assembly, encoder=self.encoder.seeing(X))
        return replace(self, assembly=assembly)

    @property
    def reference(self) -> Density:
        """q0."""
        return self.assembly.reference

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self.assembly.device)

    @property
    def energy_model(self) -> EnergyModel:
        """The net beside the reference."""
        return self.assembly.model_of(self.network)

    @property
    def estimate(self) -> LogNormalizer | None:
        """The estimate of log Z, made at the first question; None without one."""
        return self.calibration.estimate(self)

    @property
    def log_normalizer(self) -> float | None:
        """Log Z in nats; None without a normaliser."""
        estimate = self.estimate
        return None if estimate is None else estimate.log_normalizer

    @property
    def detector(self) -> OutlierDetector:
        """The outlier scores, all fitted at the first question."""
        return self.calibration.detector(self)

    def detector_with(self, name: str) -> OutlierDetector:
        """Return outlier scores; the named one is fitted at its first question.

        An unknown name has them all fitted, and the detector tells of it.
        """
        return self.calibration.detector(self, name)

    # ------------------------------------------------------------------ rows

    def energy(self, z: Array) -> NDArray[np.float64]:
        """Return E of rows (n, n_features), in nats; NaN is marginalised."""
        missing = np.isnan(z).any(axis=1)
        if not missing.any():
            return self._by_batches(self._energy, z)
        energy = np.empty(len(z))
        if not missing.all():
            energy[~missing] = self._by_batches(self._energy, z[~missing])
        energy[missing] = marginal_energies(self, z[missing])
        return energy

    def net_energy(self, z: Array) -> NDArray[np.float64]:
        """Return E at the points z, without a mean over their cells."""
        return self._by_batches(lambda x: self.energy_model.energy(x).double(), z)

    def class_logits(self, z: Array, temperature: float) -> NDArray[np.float64]:
        r"""Return logits g of rows, (n, n_outputs), with p(y|x) = softmax(g / T).

        Of a row with missing entries they are T log p(y|x_O), with

        .. math:: p(y | x_O) = E_{p(x_M | x_O)}[p(y | x_O, x_M)]

        A constant that moves, of which the net has learnt nothing, changes no class.
        """
        z = self.encoder.hold_constants(z)
        logits_of, missing = self.energy_model.class_logits, np.isnan(z).any(axis=1)
        if not missing.any():
            return self._by_batches(logits_of, z)
        logits = np.empty((len(z), self.specification.n_outputs))
        if not missing.all():
            logits[~missing] = self._by_batches(logits_of, z[~missing])

        def probability(rows: Tensor) -> Tensor:
            return (logits_of(rows).double() / temperature).softmax(1)

        with torch.no_grad():
            mean = mean_over_completions(self, z[missing], probability, logits.shape[1])
        logits[missing] = temperature * np.log(mean)
        return logits

    def tensor_logits(self, X: Tensor) -> Tensor:
        """Return logits g of complete rows of a table, differentiable by torch."""
        z = self.encoder.encode_tensor(X.to(self.device))
        return self.energy_model.class_logits(self.encoder.hold_constants(z))

    def log_prob(self, z: Array) -> Marginals:
        """Return log p of rows, in nats and the units of X; NaN is marginalised."""
        missing = np.isnan(z).any(axis=1)
        if not missing.any():
            return Marginals(self._by_batches(self._log_density(), z))
        scores = np.empty(len(z))
        if not missing.all():
            scores[~missing] = self._by_batches(self._log_density(), z[~missing])
        marginals = _conditioning.log_marginals(self, z[missing])
        scores[missing] = marginals.log_prob
        return Marginals(scores, marginals.untrusted_errors)

    def outlier_scores(
        self, X: Array, name: str, *, of_fit: bool = False
    ) -> tuple[Array, Filled]:
        """Return the scores of rows of a table, and how missing entries were filled.

        With ``of_fit`` the rows are those of `fit`: none is compared with itself.
        """
        X = self.encoder.without_codes(X)
        score_of, scored = self.detector_with(name).score(name), self._scored_model()
        kind = score_of.of_fitted_rows if of_fit else score_of

        def score(table: Array) -> NDArray[np.float64]:
            z = self.encoder.encode(table)
            return self._by_batches(lambda rows: kind(scored, rows), z)

        return self._mean_over_completions(X, score)

    def explain(self, X: Array) -> Explanation:
        """Return how strange each entry of rows X is, given the others."""
        return explain(self, X)

    def sample_tails(self) -> NDArray[np.float64] | None:
        """Return how strange each entry of the rows kept is; None where none are."""

        def tails(z: Array) -> NDArray[np.float64]:
            X = np.where(np.isnan(z), np.nan, self.encoder.decode(z))
            return self.explain(X).tail

        return self.calibration.tails(tails)

    def hidden_features(self, X: Array) -> tuple[Array, Filled]:
        """Return what the last layer of the net is given, and how rows were filled."""
        network, to_latent = self.network, self.reference.to_latent

        def features(table: Array) -> NDArray[np.float64]:
            z = self.encoder.encode(table)
            return self._by_batches(lambda z: hidden_features(network, to_latent(z)), z)

        return self._mean_over_completions(self.encoder.without_codes(X), features)

    @property
    def n_hidden(self) -> int:
        """The number of those features; 0 where the net has no last linear layer."""
        layer = last_layer(self.network)
        return 0 if layer is None else layer.in_features

    # ----------------------------------------------------------------- draws

    def sample(
        self,
        n_samples: int,
        generator: torch.Generator,
        log_tilt: LogTilt | None = None,
        chains: Chains | None = None,
    ) -> Array:
        """Return draws from p(x) exp(log_tilt(x)), up to scale, in the units of X."""
        return _conditioning.draw(self, n_samples, generator, log_tilt, chains)

    def complete(
        self,
        X: Array,
        n_samples: int,
        generator: torch.Generator | None = None,
        log_tilt: LogTilt | None = None,
    ) -> Filled:
        """Return rows of X with draws of their missing entries, n_samples of each."""
        return _conditioning.complete(self, X, n_samples, generator, log_tilt)

    def impute(self, X: Array, strategy: str) -> Filled:
        """Return rows of X with their missing entries filled by a summary."""
        return _conditioning.impute(self, X, strategy)

    # ----------------------------------------------------------- calibration

    def complete_rows(self, z: Array, seed: int) -> Array:
        """Return standardised rows completed by draws from the model."""
        if not np.isnan(z).any():
            return z
        assembly = self.assembly
        return _missing.complete(
            z, assembly.proposal, self.energy_model, assembly.tie_scale, seed
        )

    def estimate_log_normalizer(self, z: Array, seed: int) -> LogNormalizer | None:
        """Return log Z: known where the net is normalised, else by the normaliser.

        Rows z are where its reverse chains start.
        """
        start = time.perf_counter()
        estimate = estimate_log_normalizer(
            self.energy_model, self.specification.normalizer, seed, z, self.device
        )
        if estimate is not None and self.specification.verbose:
            print(f"{estimate}, {time.perf_counter() - start:.1f} seconds")
        return estimate

    def fit_outlier_scores(
        self,
        rows: CalibrationRows,
        seed: int,
        known: OutlierDetector | None,
        name: str | None,
    ) -> tuple[OutlierDetector, bool]:
        """Return outlier scores beside the known ones, and whether none is left.

        In all they are the free ones and that of the options; of a name that one.
        """
        known = OutlierDetector() if known is None else known
        left = [
            score
            for score in scores_to_fit(self.specification.ood_score)
            if score not in known.scores
        ]
        names = [name] if name in {*left, *known.scores} else left
        names = [score for score in names if score in left]
        if not names:
            return known, not left
        scored = self._scored_model(rows.trains_reference, self._folds(rows))
        detector = OutlierDetector.fit(
            replace(scored, trimmed_share=rows.trimmed_share),
            rows.train,
            rows.held_out,
            names,
            seed=seed,
            device=self.device,
            max_steps=self.outcome.n_steps,
            score_rows=self._by_batches,
            trimmed=rows.trimmed,
        )
        return known.beside(detector), len(names) == len(left)

    # -------------------------------------------------------------- training

    def copied_run(self) -> EnergyRun:
        """Return a copy of the run, to train on."""
        run = self.assembly.rebuild_run(self.objective)
        run.restore(self.run.state_dict())
        return run

    # --------------------------------------------------------------- storage

    def to_arrays(self) -> dict[str, Any]:
        """Return the model as arrays, options and numbers, without tensors."""
        return to_arrays(self)

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> FittedModel:
        """Return the model that `to_arrays` described."""
        return from_arrays(cls, arrays)

    # ---------------------------------------------------------------- inside

    def _log_density(self) -> Callable[[Tensor], Tensor]:
        """Return log p in nats and the units of X, a function of complete rows."""
        level, model = self.log_normalizer or 0.0, self.energy_model

        def standardized(z: Tensor) -> Tensor:
            return model.log_prob_unnormalized(z).double() - level

        log_mass = self.encoder.log_mass(standardized)
        return lambda z: log_mass(z) + self.encoder.log_jacobian(z)

    def _energy(self, z: Tensor) -> Tensor:
        """Return E; over a cell, -log of the mean of exp(-E) under the reference."""
        model = self.energy_model
        if self.encoder.cells is None:
            return model.energy(z).double()
        log_mass = self.encoder.log_mass(model.log_prob_unnormalized)
        return self.encoder.log_mass(self.reference.log_prob)(z) - log_mass(z)

    def _scored_model(
        self,
        trains_reference: bool = False,
        folds: Folds = (),
    ) -> ScoredModel:
        return ScoredModel(
            self.energy_model,
            lambda z: self._log_density()(z),  # most scores do without log Z
            self._energy,
            trains_reference,
            folds,
            self.encoder.log_mass,
            self.encoder.centred,
            self.encoder.category_columns,
        )

    def _folds(self, rows: CalibrationRows) -> Folds:
        """Return the folds of the reference, by places of their rows in ``train``."""
        folds, device = rows.folds, self.device
        if not folds or not rows.trains_reference or rows.numbers is None:
            return ()
        numbers = torch.from_numpy(rows.numbers)
        return tuple(
            (torch.isin(numbers, fold).nonzero()[:, 0].to(device), density)
            for fold, density in folds
        )

    def _mean_over_completions(
        self, X: Array, function: Callable[[Array], NDArray[np.float64]]
    ) -> tuple[Array, Filled]:
        """Return a function of rows, its mean over draws where they have gaps.

        Also how these were filled.
        """
        missing = np.isnan(X).any(axis=1)
        if not missing.any():
            return function(X), Filled(X)
        filled = self.complete(X[missing], N_SCORED)
        drawn = function(filled.table)
        means = drawn.reshape(-1, N_SCORED, *drawn.shape[1:]).mean(axis=1)
        values = np.empty((len(X), *means.shape[1:]))
        if not missing.all():
            values[~missing] = function(X[~missing])
        values[missing] = means
        return values, filled

    def _by_batches(
        self, function: Callable[[Tensor], Tensor], z: Array
    ) -> NDArray[np.float64]:
        """Apply a function of tensors to rows, in batches of one size."""

        def prepare(rows: Array) -> Tensor:
            return torch.from_numpy(rows).to(self.device)

        with torch.no_grad(), reporting(self.specification.verbose):
            return in_padded_batches(function, z, prepare)


def estimate_log_normalizer(
    model: EnergyModel,
    normalizer: Any,
    seed: int,
    z: Array | None,
    device: torch.device,
) -> LogNormalizer | None:
    """Return log Z of a model; standardised rows z are where reverse chains start."""
    if model.is_normalized:
        return NORMALIZED
    if normalizer is None:
        return None
    rows = None if z is None else torch.from_numpy(z).to(device)
    latent = model.in_latent_space()
    if rows is not None and latent is not model:
        rows = model.reference.to_latent(rows)
    return normalizer.estimate(
        latent.energy,
        latent.reference,
        generator=make_generator(seed, device),
        rows=rows,
    )
