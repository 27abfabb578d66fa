"""Rows with missing entries: completions for training, marginals for evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from skebm.networks import RBM, EnergyModel
from skebm.references import (
    Density,
    GaussianMixtureDensity,
    MixtureConditionals,
    TiedValues,
)
from skebm.samplers import Clamped
from skebm.training._monitor import MAX_MONITORED, DensityMonitor, energies_of
from skebm.utils import pick

#: Gibbs steps that redraw the missing entries of a row at each visit.
N_GIBBS_STEPS = 1
#: Proposals that compete with a row's present completion.
N_PROPOSALS = 3
#: Least log weight of a completion, so that one of four is kept if all have density 0.
LEAST_LOG_RATIO = -1e9
#: Number of completions of all held-out rows together; least and most of one row.
N_COMPLETIONS, MIN_COMPLETIONS, MAX_COMPLETIONS = 16_384, 8, 64


class Completion(Protocol):
    """Completes rows with missing entries, again whenever a row is drawn."""

    def renew(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the rows of these indices, complete."""


class GibbsCompletion:
    """A chain of block Gibbs steps of an RBM over the missing entries of each row.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Rows, NaN where missing; completed in place.
    rbm : RBM
        The RBM in training, on the device where the steps run.
    """

    def __init__(self, x: Tensor, rbm: RBM) -> None:
        self.x, self._rbm, self._missing = x, rbm, x.isnan()

    def renew(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Make a step of the chains of the rows of these indices; return the rows."""
        device = self._rbm.weight.device
        v = self.x.index_select(0, rows).to(device)
        missing = self._missing[rows].to(device)
        chains = Clamped(self._rbm, v.masked_fill(missing, torch.nan))
        v = torch.where(v.isnan(), chains.start(generator), v)  # at the first visit
        for _ in range(N_GIBBS_STEPS):
            v = chains.sample_blocks(v, generator)
        self.x[rows] = v.to(self.x.device)
        return v

    def snapshot(self) -> Tensor:
        """Return a copy of the states of the chains."""
        return self.x[self._missing]

    def restore(self, snapshot: Tensor) -> None:
        """Go back to a snapshot; the snapshot stays usable."""
        self.x[self._missing] = snapshot


class ResampledCompletion:
    r"""Resamples the missing entries of a row whenever the row is drawn.

    .. math:: x_M^{(0)} \text{ the present one}, \quad x_M^{(1..3)} \sim r(x_M | x_O),
              \qquad P(k) \propto \frac{q_0(x^{(k)}) e^{-E(x^{(k)})}}{r(x^{(k)})}

    One of the four is kept. This is iterated sampling importance resampling, which
    leaves :math:`p(x_M | x_O)` invariant, however few the draws. Training on the
    completed rows is stochastic EM: it raises the likelihood of the observed entries.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Rows, NaN where missing, on the device.
    proposal : GaussianMixtureDensity
        r; the reference itself where it is a mixture.
    model : callable, () -> EnergyModel
        Returns the present model.
    tied : TiedValues
        Values that completions are moved to.
    generator : torch.Generator

    References
    ----------
    Andrieu, Lee, Vihola. Uniform ergodicity of the iterated conditional SMC and
    geometric ergodicity of particle Gibbs samplers. Bernoulli 24, 2018. Rhodes,
    Gutmann. Variational noise-contrastive estimation. AISTATS 2019.
    """

    def __init__(
        self,
        x: Tensor,
        proposal: GaussianMixtureDensity,
        model: Callable[[], EnergyModel],
        tied: TiedValues,
        generator: torch.Generator,
    ) -> None:
        self._model, self._proposal, self._tied = model, proposal, tied
        rows = x.isnan().any(1).nonzero()[:, 0]
        self._place = torch.full((len(x),), -1, device=x.device)
        self._place[rows] = torch.arange(len(rows), device=x.device)
        self._missing = x[rows].isnan()
        self._given = MixtureConditionals(proposal, x[rows], generator)
        self.x = x.clone()
        self.x[rows] = self._draw(self._place[rows], 1, generator)[:, 0]

    def renew(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Make a step of the chains of the rows of these indices; return the rows."""
        incomplete = rows[self._place[rows] >= 0]
        if len(incomplete):
            proposals = self._draw(self._place[incomplete], N_PROPOSALS, generator)
            candidates = torch.cat([self.x[incomplete].unsqueeze(1), proposals], dim=1)
            with torch.no_grad():
                log_weight = log_ratio(self._model(), self._proposal, candidates)
            chosen = pick(log_weight.softmax(1), generator)
            everyone = torch.arange(len(incomplete), device=rows.device)
            self.x[incomplete] = candidates[everyone, chosen]
        return self.x[rows]

    def _draw(self, places: Tensor, n_draws: int, generator: torch.Generator) -> Tensor:
        drawn = self._given.draw(places, n_draws, generator)
        missing = self._missing[places].unsqueeze(1)
        return torch.where(missing, self._tied.snap(drawn), drawn)


def log_ratio(
    model: EnergyModel, proposal: GaussianMixtureDensity, x: Tensor
) -> Tensor:
    """Return log q0 - E - log r of completions x (n, n_draws, n_features)."""
    rows = x.flatten(0, 1)
    log_ratio = -energies_of(model, rows).double()
    if proposal is not model.reference:
        log_ratio += model.reference.log_prob(rows) - proposal.log_prob(rows)
    return log_ratio.clamp(min=LEAST_LOG_RATIO).unflatten(0, x.shape[:2])


class IncompleteRowsMonitor(DensityMonitor):
    r"""`DensityMonitor` of the observed entries of rows with missing entries.

    .. math:: \log p(x_O) = \log r(x_O) + \log \frac1K \sum_k
              \frac{q_0(x^k) e^{-E(x^k)}}{r(x^k)} - \log Z, \qquad x_M^k \sim r(x_M|x_O)

    with K = 8 to 64 fixed completions of each row, fewer where the held-out rows are
    many.

    Parameters
    ----------
    x, weight, reference, generator, **options
        As of `DensityMonitor`; NaN where an entry is missing.
    proposal : GaussianMixtureDensity
        r.
    """

    def __init__(
        self,
        x: Tensor,
        weight: Tensor | None,
        reference: Density,
        generator: torch.Generator,
        *,
        proposal: GaussianMixtureDensity,
        max_rows: int = MAX_MONITORED,
    ) -> None:
        x, weight = x[:max_rows], None if weight is None else weight[:max_rows]
        is_incomplete = x.isnan().any(1)
        order = is_incomplete.int().argsort(stable=True)  # complete rows come first
        x, weight = x[order], None if weight is None else weight[order.cpu()]
        self.n_complete = int((~is_incomplete).sum())
        given = MixtureConditionals(proposal, x[self.n_complete :], generator)
        n_incomplete = len(given.log_marginal)
        n_draws = min(
            max(N_COMPLETIONS // n_incomplete, MIN_COMPLETIONS), MAX_COMPLETIONS
        )
        rows = torch.arange(n_incomplete, device=x.device)
        self.completions = given.draw(rows, n_draws, generator)
        x[self.n_complete :] = self.completions[:, 0]
        super().__init__(x, weight, reference, generator, max_rows=max_rows)
        flat = self.completions.flatten(0, 1)
        self.log_offset = reference.log_prob(flat) - proposal.log_prob(flat)
        self.untilted = self._log_means(self.log_offset)
        self.reference_score[self.n_complete :] = (
            given.log_marginal + self.untilted
        ).to(self.reference_score)

    def energies(self, model: EnergyModel) -> Tensor:
        r"""Return E of each complete row, and the marginal energy of each other row.

        .. math:: E(x_O) = \log q_0(x_O) - \log p(x_O) - \log Z
        """
        complete = energies_of(model, self.x[: self.n_complete])
        tilted = self.log_offset - energies_of(model, self.completions.flatten(0, 1))
        return torch.cat([complete, self.untilted - self._log_means(tilted)])

    def _log_means(self, values: Tensor) -> Tensor:
        n_draws = self.completions.shape[1]
        return values.unflatten(0, (-1, n_draws)).logsumexp(1) - math.log(n_draws)
