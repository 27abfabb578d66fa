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


class MLE(Objective):
    r"""Maximum likelihood, Z known or importance-sampled from the reference.

    .. math::

        \min \; -E_{data}[\log p(x)] \quad \text{where the network is normalised, else}

        \min \; E_{data}[E(x)] + \log \frac1m \sum_{j=1}^m e^{-E(r_j)}, \qquad
        r_j \sim q_0 \text{ afresh in each step}

    The first is exact. The second is low by about :math:`(1/f - 1) / 2m`, with f the
    effective share of the draws, and its gradient is biased alike, O(1/m): the
    logarithm of a mean is not the mean of logarithms. It serves where the model stays
    near its reference; in many columns hardly any draw meets the model.

    Parameters
    ----------
    n_reference_samples : int, default=1024
        m; not used where the network is normalised.

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

    def __init__(self, n_reference_samples: int = 1024) -> None:
        self.n_reference_samples = n_reference_samples

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        holds = self.n_reference_samples >= 2
        check_range(self, "n_reference_samples", holds, "at least 2")

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> nn.Module:
        """Return an empty state: nothing is learnt besides the net."""
        del model, reference, generator
        return nn.Module()

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Descend minus the log-likelihood of the rows."""
        del state
        x = batch.dequantized(generator)
        if model.is_normalized:
            log_likelihood = batch.mean(model.log_prob_unnormalized(x))
            figures = {"log_likelihood": log_likelihood.detach()}
            yield Loss("energy", -log_likelihood, figures)
            return
        draws = model.reference.sample(self.n_reference_samples, generator)
        energy_data, energy_draws = model.energy(torch.cat([x, draws])).split(
            [len(x), len(draws)]
        )
        log_normalizer, share = importance_estimate(-energy_draws)
        yield Loss(
            "energy",
            batch.mean(energy_data) + log_normalizer,
            {"log_normalizer": log_normalizer.detach(), "efficiency": share},
        )


def importance_estimate(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log of the mean weight, and the effective share of the draws."""
    log_sum = torch.logsumexp(log_weights, dim=0)
    share = (2 * log_sum - torch.logsumexp(2 * log_weights, dim=0)).exp().detach()
    return log_sum - math.log(len(log_weights)), share / len(log_weights)
