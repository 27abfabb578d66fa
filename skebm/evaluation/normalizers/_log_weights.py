"""Estimates of log Z from importance weights, and whether to trust them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from skebm.samplers._point import Energy, checked, chunk_rows

_MIN_FRACTION, _MIN_DRAWS, _MAX_STANDARD_ERROR = 0.01, 100.0, 0.25


class ReferenceDensity(Protocol):
    """A normalised density q0 that can be evaluated and drawn from."""

    def log_prob(self, x: Tensor, /) -> Tensor:
        """Return log q0(x) in nats, shape (n,), differentiable; -inf outside."""

    def sample(self, n_samples: int, generator: torch.Generator, /) -> Tensor:
        """Return draws of shape (n_samples, d)."""


@dataclass(frozen=True)
class LogNormalizer:
    """An estimate of log Z = log E_q0[exp(-E)], in nats.

    Attributes
    ----------
    log_normalizer : float
        The estimate.
    standard_error : float
        Its standard error by the delta method.
    effective_sample_size : float
        (sum w)^2 / (n sum w^2), a fraction of the draws between 0 and 1.
    n_samples : int
        n, the number of independent draws or particles.
    method : str
        Name of the class that made it.
    trusted : bool
        False where the weights cannot carry the estimate, or the reverse one disagrees.
    reason : str
        Why it is not trusted; empty where it is.
    reverse_log_normalizer : float
        The estimate of chains that go from the model back to q0; NaN where there is
        none. It errs upwards where the forward one errs downwards.
    reverse_standard_error : float
        Its standard error.
    """

    log_normalizer: float
    standard_error: float
    effective_sample_size: float
    n_samples: int
    method: str
    trusted: bool
    reason: str = ""
    reverse_log_normalizer: float = math.nan
    reverse_standard_error: float = math.nan

    def __str__(self) -> str:
        text = f"log Z {self.log_normalizer:.3f} +- {self.standard_error:.3f}"
        if not math.isnan(self.reverse_log_normalizer):
            text += f", reverse {self.reverse_log_normalizer:.3f}"
            text += f" +- {self.reverse_standard_error:.3f}"
        share = f"{self.effective_sample_size:.1%} effective"
        return f"{text} ({self.method}, {self.n_samples} draws, {share})"

    @property
    def upper(self) -> float:
        """The estimate plus two standard errors, or the reverse one if that is larger.

        A score with this log Z does not overrate the model.
        """
        forward = self.log_normalizer
        if self.standard_error > 0:
            forward += 2 * self.standard_error
        reverse = self.reverse_log_normalizer
        return forward if math.isnan(reverse) else max(forward, reverse)


#: The exact result for a normalised density, log Z = 0.
NORMALIZED = LogNormalizer(0.0, 0.0, 1.0, 0, "exact", True)


def summarize(log_weights: Tensor, method: str) -> LogNormalizer:
    r"""Return an estimate of log Z from n independent log weights of mean weight Z.

    .. math::
        \log \hat Z = \log \tfrac1n \sum_i w_i, \qquad
        \mathrm{se}^2 = \frac{1/f - 1}{n - 1}, \qquad
        f = \frac{(\sum_i w_i)^2}{n \sum_i w_i^2}

    Parameters
    ----------
    log_weights : Tensor of shape (n,)
    method : str
        Name of the class that made them.
    """
    n = len(log_weights)
    log_weights = log_weights.double()
    log_sum = log_weights.logsumexp(0)
    log_fraction = 2 * log_sum - (2 * log_weights).logsumexp(0) - math.log(n)
    fraction = float(log_fraction.exp().nan_to_num(0.0))
    log_normalizer = float(log_sum) - math.log(n)
    standard_error = math.inf
    if fraction > 0 and n > 1:
        standard_error = math.sqrt(max(1 / fraction - 1, 0.0) / (n - 1))
    reason = _distrust(log_normalizer, standard_error, fraction, n)
    return LogNormalizer(
        log_normalizer, standard_error, fraction, n, method, not reason, reason
    )


def bracket(
    forward: LogNormalizer, backward: LogNormalizer, slack: float = 0.25
) -> LogNormalizer:
    """Combine an estimate of log Z with one of -log Z by reverse chains.

    It is not trusted where they differ by over `slack` nats and three standard errors.
    """
    reverse, error = -backward.log_normalizer, backward.standard_error
    result = replace(
        forward, reverse_log_normalizer=reverse, reverse_standard_error=error
    )
    gap = abs(forward.log_normalizer - reverse)
    if not result.trusted or gap <= slack + 3 * math.hypot(
        forward.standard_error, error
    ):
        return result
    reason = (
        f"the estimate of reverse chains, {reverse:.3f} with a standard error of "
        f"{error:.3f}, is {gap:.2f} nats away"
    )
    return replace(result, trusted=False, reason=reason)


def _distrust(log_normalizer: float, error: float, fraction: float, n: int) -> str:
    if not math.isfinite(log_normalizer):
        return f"log Z is {log_normalizer}"
    if fraction < _MIN_FRACTION or fraction * n < _MIN_DRAWS:
        return (
            f"the effective sample size is {fraction * n:.1f} of {n} draws "
            f"(at least {_MIN_DRAWS:.0f} and {_MIN_FRACTION:.0%} are needed)"
        )
    if not error <= _MAX_STANDARD_ERROR:
        return f"the standard error is {error:.3g} nats (over {_MAX_STANDARD_ERROR})"
    return ""


def energies(energy: Energy, x: Tensor) -> Tensor:
    """Return energies in float64, shape (n,), in bounded memory.

    Raises
    ------
    FloatingPointError
        Where an energy is NaN or -inf, which no density has.
    ValueError
        Where the energy has not shape (n,).
    """
    values = any_energies(energy, x)
    n_bad = int((values.isnan() | values.isneginf()).sum())
    if n_bad:
        raise FloatingPointError(
            f"the energy is NaN or -inf at {n_bad} of {len(x)} points."
        )
    return values


@torch.no_grad()
def any_energies(energy: Energy, x: Tensor) -> Tensor:
    """Return energies as `energies` does, infinite ones and NaN included."""
    chunks = x.split(chunk_rows(x.shape[1]))
    return torch.cat([checked(energy(rows), len(rows)) for rows in chunks]).double()
