"""Maximum likelihood, exact or with Z by importance sampling."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, Loss, Objective, check_range
from skebm.references import Density
from skebm.references._kernels import RoundMixture
from skebm.utils import check_count, check_positive, is_number


class MLE(Objective):
    r"""Maximum likelihood, Z known or importance-sampled from the reference.

    .. math::

        \min \; -E_{data}[\log p(x)] \quad \text{where the network is normalised, else}

        \min \; E_{data}[E(x)] + \log \frac1m \sum_{j=1}^m
        \frac{q_0(r_j)}{\pi(r_j)} e^{-E(r_j)}, \qquad
        \pi(x) = (1 - s) \, q_0(x) + s \sum_i w_i N(x; x_i, h^2 I)

    The first is exact. In the second :math:`r_j \sim \pi` is drawn anew in each step,
    from the reference and from the neighbourhood of the step's own rows. Without these
    (s = 0) the energy at rows far out in the reference's tail could fall without bound,
    since no draw lies there. The loss is biased low by about :math:`(1/f - 1) / 2m`,
    where f is the effective sample size per draw, and its gradient by O(1/m): the
    logarithm of a mean is not the mean of logarithms. Use it where the model stays near
    its reference; in many columns hardly any draw lies where the model has mass.

    Parameters
    ----------
    n_reference_samples : int, default=1024
        m; not used where the network is normalised.
    local_share : float, default=0.25
        s; 0 draws from the reference alone.
    local_scale : float, default=0.1
        h, in standardised units.

    References
    ----------
    Bengio, Senecal. Quick training of probabilistic neural nets by importance sampling.
    AISTATS 2003.

    Examples
    --------
    >>> import torch
    >>> from skebm import EBMDensityEstimator
    >>> X = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)).numpy()
    >>> model = EBMDensityEstimator("mle", network="ppca", max_iter=5, random_state=0)
    >>> model.fit(X).log_normalizer_
    0.0
    """

    healthy: ClassVar[dict[str, tuple[float, float]]] = {
        "log_normalizer": (-300.0, 300.0)
    }

    def __init__(
        self,
        n_reference_samples: int = 1024,
        local_share: float = 0.25,
        local_scale: float = 0.1,
    ) -> None:
        self.n_reference_samples = n_reference_samples
        self.local_share = local_share
        self.local_scale = local_scale

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        check_count(self, "n_reference_samples", 2)
        share = is_number(self.local_share, 0) and self.local_share < 1
        check_range(self, "local_share", share, "a number in [0, 1)")
        check_positive(self, "local_scale")

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield minus the mean log-likelihood of the rows."""
        del state
        x = batch.dequantized(generator)
        if model.is_normalized:
            log_likelihood = batch.mean(model.log_prob_unnormalized(x))
            metrics = {"log_likelihood": log_likelihood.detach()}
            yield Loss("energy", -log_likelihood, metrics)
            return
        draws, log_ratio = self._draw(model.reference, x, batch.weight, generator)
        energy_data, energy_draws = model.energy(torch.cat([x, draws])).split(
            [len(x), len(draws)]
        )
        log_normalizer, share = importance_estimate(log_ratio - energy_draws)
        yield Loss(
            "energy",
            batch.mean(energy_data) + log_normalizer,
            {"log_normalizer": log_normalizer.detach(), "efficiency": share},
        )

    @torch.no_grad()
    def _draw(
        self,
        reference: Density,
        x: Tensor,
        weight: Tensor | None,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return draws from pi, and log q0 - log pi at these draws."""
        n_local = round(self.local_share * self.n_reference_samples)
        draws = reference.sample(self.n_reference_samples - n_local, generator)
        if n_local == 0:
            return draws, draws.new_zeros(len(draws))
        share = n_local / self.n_reference_samples
        local = RoundMixture.about(x, self.local_scale, weight)
        draws = torch.cat([draws, local.sample(n_local, generator)])
        log_reference = reference.log_prob(draws)
        log_proposal = torch.logaddexp(
            log_reference + math.log1p(-share),
            local.part(share).log_density(draws),
        )
        return draws, log_reference - log_proposal


def importance_estimate(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log of the mean weight, and the effective sample size per draw."""
    log_sum = torch.logsumexp(log_weights, dim=0)
    share = (2 * log_sum - torch.logsumexp(2 * log_weights, dim=0)).exp().detach()
    return log_sum - math.log(len(log_weights)), share / len(log_weights)
