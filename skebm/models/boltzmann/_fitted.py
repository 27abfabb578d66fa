"""A fitted RBM as a value: parameters in, scores, features and samples out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.evaluation import (
    LogNormalizer,
    RBMAnnealing,
    can_enumerate,
    conditional_means,
    enumerated_log_normalizer,
    log_marginal_unnormalized,
    pseudo_log_likelihood,
)
from skebm.evaluation.outliers._detector import CalibrationScores
from skebm.models._calibration import Calibration, CalibrationRows
from skebm.models._explanation import Explanation
from skebm.models.boltzmann import _chains
from skebm.models.boltzmann._explanation import explain_numbers, explain_values
from skebm.models.boltzmann._left_out import Refit, left_out_shifts
from skebm.models.boltzmann._rows import (
    MAX_KEPT_ROWS,
    chunks,
    dense,
    on_chunk,
    to_tensor,
)
from skebm.models.boltzmann._state import (
    pack_device,
    pack_units,
    standardizer,
    unpack_device,
    unpack_units,
)
from skebm.networks import RBM
from skebm.tables import TableEncoder
from skebm.utils import make_generator, resolve_device

Array = NDArray[Any]

#: Most rows of the data that the entries of new rows are compared with.
N_COMPARED = 256


@dataclass(frozen=True, eq=False)
class FittedRBM:
    """A fitted RBM, with all that is needed to train it further.

    Rows are those of visible units: float arrays or CSR matrices.

    Attributes
    ----------
    units : VisibleUnits
        The visible units, on the CPU.
    weight : ndarray of shape (n_hidden, n_statistics)
        W, of the dtype of the rows; averaged where training averages.
    hidden_bias, visible_bias : ndarray
        c and b.
    base_bias : ndarray of shape (n_statistics,)
        Biases of independent units with the means of the data, where tempered chains
        begin.
    state : dict
        State of the training, as arrays; see `skebm.training.AscentRun.state`.
    n_rows : int
        Rows trained on so far.
    encoder : TableEncoder or None
        What maps the columns of X to rows v; None where they are the same.
    recent_rows : tuple of ndarray
        Rows of the data that log Z and the outlier threshold are computed from.
    calibration : Calibration
        log Z and the outlier threshold, computed at the first question.
    refit : callable or None
        Trains an RBM alike on other rows, for the threshold; not stored.
    shifts : ndarray of shape (n,) or None
        How far the scores of the recent rows would fall, were each left out, where that
        is known.
    normalizer : {"auto", "exact", "ais", None} or instance
        Estimator of log Z.
    device : str, torch.device or None
        Where questions are answered.
    """

    units: Any
    weight: Array
    hidden_bias: Array
    visible_bias: Array
    base_bias: Array
    state: dict[str, Any] = field(repr=False)
    n_rows: int = 0
    encoder: TableEncoder | None = None
    recent_rows: tuple[Array, ...] = field(default=(), repr=False)
    calibration: Calibration = field(
        default_factory=lambda: Calibration(None, 0), repr=False
    )
    normalizer: Any = None
    device: Any = "auto"
    refit: Refit | None = field(default=None, repr=False)
    shifts: Array | None = field(default=None, repr=False)

    @property
    def chains(self) -> Array:
        """Hidden states of the persistent chains, at temperature 1."""
        chains = self.state["chains"]
        return (chains[0] if chains.ndim == 3 else chains).astype(self.weight.dtype)

    def rbm(self, dtype: Any = np.float32) -> RBM:
        """Return the RBM, on the device."""
        device = resolve_device(self.device)
        arrays = (self.weight, self.hidden_bias, self.visible_bias)
        weight, hidden_bias, visible_bias = (
            torch.as_tensor(np.ascontiguousarray(a, dtype=dtype)) for a in arrays
        )
        rbm = RBM(weight, hidden_bias, visible_bias, self.units)
        return rbm.to(weight.dtype).to(device)

    # ------------------------------------------------------------- calibration

    def with_recent_rows(
        self, rows: Array, seed: int, keep: bool = True, refit: Refit | None = None
    ) -> FittedRBM:
        """Return the RBM with more rows for calibration.

        Parameters
        ----------
        rows : ndarray of shape (n, n_features)
            Complete rows, float32.
        seed : int
            Of every random number.
        keep : bool, default=True
            Whether earlier rows are used as well, as far as they are recent.
        refit : callable or None
            Trains an RBM alike on other rows, where the RBM was trained on these alone.
        """
        recent = [*self.recent_rows, rows] if keep else [rows]
        while sum(map(len, recent[1:])) >= MAX_KEPT_ROWS:
            recent = recent[1:]
        calibration = Calibration(CalibrationRows(np.concatenate(recent), None), seed)
        return replace(
            self,
            recent_rows=tuple(recent),
            calibration=calibration,
            refit=refit,
            shifts=None,
        )

    def calibrate(self) -> None:
        """Compute log Z, unless it is known; the threshold is left to who asks."""
        self.calibration.estimate(self)

    @property
    def estimate(self) -> LogNormalizer | None:
        """The estimate of log Z; None without a normaliser."""
        self.calibrate()
        return self.calibration.estimate(self)

    @property
    def calibration_scores(self) -> CalibrationScores:
        """Log densities of rows of the data, as if left out where that is known."""
        scores = self.calibration.detector(self)
        assert isinstance(scores, CalibrationScores)
        return scores

    def complete_rows(self, rows: Array, seed: int) -> Array:
        """Return the rows, or a row of the columns' means where there is none."""
        if len(rows):
            return rows
        rbm = self.rbm()
        bias = torch.from_numpy(self.base_bias[None]).to(rbm.weight)
        return rbm.visible.mean_(bias.clone()).cpu().numpy()

    def estimate_log_normalizer(self, rows: Array, seed: int) -> LogNormalizer | None:
        """Return log Z; ``rows`` are of the data, for chains that start there."""
        if self.normalizer is None:
            return None
        rbm = self.rbm()
        if self.normalizer in ("auto", "exact") and can_enumerate(rbm):
            return enumerated_log_normalizer(self.rbm(np.float64))
        is_named = isinstance(self.normalizer, str)
        normalizer = RBMAnnealing() if is_named else self.normalizer
        device = rbm.weight.device
        estimate = normalizer.estimate(
            rbm,
            to_tensor(self.base_bias, np.float32, device),
            to_tensor(rows, np.float32, device),
            make_generator(seed, device),
        )
        if not isinstance(estimate, LogNormalizer):
            raise TypeError(
                f"The estimate of normalizer={self.normalizer!r} must be a "
                f"skebm.evaluation.LogNormalizer. Got {estimate!r}."
            )
        return estimate

    def fit_outlier_scores(
        self, rows: CalibrationRows, seed: int, known: None, name: str | None
    ) -> tuple[CalibrationScores, bool]:
        """Return the log densities of rows of the data, each as if left out."""
        del seed, known, name
        log_prob = self._log_prob(rows.train) + self._known_shifts
        return CalibrationScores(log_prob, self._are_left_out), True

    @property
    def _are_left_out(self) -> bool:
        return self.refit is not None or self.shifts is not None

    @cached_property
    def _known_shifts(self) -> Array | float:
        """Return how far the scores of the recent rows fall, were each left out."""
        if self.shifts is not None or self.refit is None:
            return 0.0 if self.shifts is None else self.shifts
        rows = np.concatenate(self.recent_rows)
        if not len(rows):
            return 0.0
        seed = self.calibration.seed
        return left_out_shifts(
            lambda v: -self.free_energy(v), rows, self.n_rows, self.refit, seed
        )

    # ------------------------------------------------------------------ scores

    def free_energy(self, v: Any) -> Array:
        """Return F of complete rows, in nats, float64."""
        return self._on_rows(self.rbm(np.float64), v)

    def log_prob(self, v: Any) -> Array:
        """Return log p of rows, in nats and the units of X; NaN is summed out."""
        self.calibrate()
        return self._log_prob(v)

    def _log_prob(self, v: Any) -> Array:
        rbm = self.rbm(np.float64)

        def negative_marginal(x: Tensor) -> Tensor:
            return -log_marginal_unnormalized(rbm, x)

        estimate = self.calibration.estimate(self)
        level = 0.0 if estimate is None else estimate.log_normalizer
        log_prob = -self._on_rows(rbm, v, complete=negative_marginal) - level
        return self.in_units_of_x(log_prob, v)

    def in_units_of_x(self, log_density: Array, v: Any) -> Array:
        """Return log densities of rows v as those of the rows of X."""
        if self.encoder is None:
            return log_density
        return log_density + self.encoder.log_jacobian(torch.from_numpy(v)).numpy()

    def explain(self, v: Any) -> Explanation:
        """Return how strange each entry of rows is, given the others; NaN is missing.

        Of the columns of the table that the rows are made of.
        """
        rbm = self.rbm(np.float64)
        if self.units.is_quadratic:
            assert self.encoder is not None
            base = torch.from_numpy(self.base_bias).to(rbm.weight)
            return explain_numbers(rbm, base, self.encoder, v)
        return explain_values(rbm, dense(v))

    @cached_property
    def sample_tails(self) -> NDArray[np.float64] | None:
        """How strange each entry of rows of the data is; None where none are kept."""
        rows = self._described_rows()[:N_COMPARED]
        return self.explain(rows).tail if len(rows) else None

    def _described_rows(self) -> Array:
        """Return the recent rows, as rows of the table."""
        return np.concatenate(self.recent_rows)

    def pseudo_likelihood(self, v: Any) -> Array:
        """Return the log pseudo-likelihood of binary rows."""
        rbm = self.rbm(np.float64)
        return self._on_rows(lambda x: pseudo_log_likelihood(rbm, x), v)

    def mean_hidden(self, v: Any) -> Array:
        """Return P(h = 1 | v), of the dtype of v; NaN is marginalised."""
        dtype = np.result_type(v.dtype, self.weight.dtype)
        rbm = self.rbm(np.float64)

        def mean(x: Tensor) -> Tensor:
            return rbm.hidden_field(x).sigmoid_()

        def marginal_mean(x: Tensor) -> Tensor:
            return conditional_means(rbm, x, make_generator(0, x.device))[1]

        return self._on_rows(mean, v, marginal_mean).astype(dtype, copy=False)

    def impute(self, v: Any) -> Array:
        """Return rows whose missing entries are filled by their conditional means."""
        rbm = self.rbm(np.float64)

        def means(x: Tensor) -> Tensor:
            return conditional_means(rbm, x, make_generator(0, x.device))[0]

        return self._on_rows(lambda x: x, v, means).astype(v.dtype, copy=False)

    def _on_rows(
        self,
        function: Callable[[Tensor], Tensor],
        v: Any,
        complete: Callable[[Tensor], Tensor] | None = None,
    ) -> Array:
        """Apply a function of tensors to rows; rows with NaN go to `complete`."""
        device = resolve_device(self.device)
        parts = [
            on_chunk(function, rows, np.float64, device, complete) for rows in chunks(v)
        ]
        return np.concatenate(parts)

    # ---------------------------------------------------------------- sampling

    def gibbs(self, v: Any, seed: int) -> Array:
        """Return rows after one Gibbs step from rows v."""
        device = resolve_device(self.device)
        generator, rbm = make_generator(seed, device), self.rbm(np.float64)
        parts = [
            rbm.sample_blocks(to_tensor(rows, np.float64, device), generator)
            for rows in chunks(v)
        ]
        return np.concatenate([part.cpu().numpy() for part in parts])

    def sample(
        self,
        n_samples: int,
        n_steps: int,
        seed: int,
        *,
        tempered: bool = False,
        given: Any = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Draw rows, or complete each row of ``given`` n_samples times.

        Returns the rows, float64, and the diagnostics of the chains.
        """
        rbm = self.rbm()
        device = rbm.weight.device
        generator = make_generator(seed, device)
        base = torch.from_numpy(self.base_bias).to(rbm.weight)
        if given is not None:
            held = to_tensor(dense(given), np.float32, device)
            v, diagnostics = _chains.clamped_chains(
                rbm, base, held, n_samples, n_steps, generator
            )
        else:
            run = _chains.tempered_chains if tempered else _chains.annealed_chains
            n = max(n_samples, _chains.MIN_CHAINS)
            v, diagnostics = run(rbm, base, n, n_steps, generator)
            v = v[:n_samples]
        return v.cpu().numpy().astype(np.float64), diagnostics

    # ----------------------------------------------------------------- storage

    def to_arrays(self) -> dict[str, Any]:
        """Return the RBM as arrays, numbers and words; see `from_arrays`."""
        stored = {name: getattr(self, name) for name in STORED}
        stored["units"] = pack_units(self.units)
        stored["device"] = pack_device(self.device)
        stored["encoder"] = self.encoder and self.encoder.to_arrays()
        stored["seed"] = self.calibration.seed
        if self.calibration.is_complete:
            estimate = self.calibration.estimate(self)
            stored["log_normalizer"] = estimate and asdict(estimate)
            stored["log_prob"] = self.calibration_scores.values
            stored["are_left_out"] = self.calibration_scores.are_left_out
        elif self._are_left_out:
            stored["shifts"] = self._known_shifts
        return stored

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> FittedRBM:
        """Return the RBM that `to_arrays` described."""
        parts = {name: arrays[name] for name in STORED}
        parts["units"] = unpack_units(arrays["units"])
        if arrays.get("encoder") is not None:
            parts["encoder"] = TableEncoder.from_arrays(arrays["encoder"])
        elif arrays.get("log_scales") is not None:  # a state without an encoder
            log_scales = arrays["log_scales"]
            parts["encoder"] = standardizer(0 * log_scales, np.exp(log_scales))
        rows, seed = np.concatenate(parts["recent_rows"]), arrays["seed"]
        calibration = Calibration(CalibrationRows(rows, None), seed)
        if "log_prob" in arrays:
            are_left_out = arrays.get(
                "are_left_out", False
            )  # earlier states do not say
            scores = CalibrationScores(arrays["log_prob"], are_left_out)
            packed = arrays["log_normalizer"]
            estimate = None if packed is None else LogNormalizer(**packed)
            calibration = Calibration.known(estimate, scores, seed)
        device = unpack_device(arrays["device"])
        return cls(
            **parts,
            device=device,
            calibration=calibration,
            shifts=arrays.get("shifts"),
        )


#: Attributes that are stored as they are.
STORED = (
    "weight",
    "hidden_bias",
    "visible_bias",
    "base_bias",
    "state",
    "n_rows",
    "recent_rows",
    "normalizer",
)
