"""Noise-contrastive outlier scores: nets that classify rows against wide noise."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from skebm.evaluation.outliers._score import (
    OODScore,
    ScoredModel,
    in_chunks,
    seed_of,
)
from skebm.networks import MLP
from skebm.references import GaussianReference
from skebm.utils import isolated_rng, make_generator, normal_like

#: Widths of the noise in standard deviations: the same in all standardised columns, and
#: with the covariance of the rows.
ROUND_NOISE, ALIGNED_NOISE = 5.0, 3.0
HIDDEN_FEATURES = (128, 128, 128)
MAX_STEPS = 1500
BATCH_ROWS = 100
LEARNING_RATE = 1e-3
#: Scale of a score that is constant on the held-out rows.
MIN_SCALE = 1e-6


class StandardizedMean(OODScore):
    """Mean of scores that are standardised by location and scale on held-out rows."""

    is_free: ClassVar[bool] = False

    def __init__(self, location: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.location: Tensor
        self.scale: Tensor
        self.register_buffer("location", location)
        self.register_buffer("scale", scale)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of scores (n, n_scores), shape (n,)."""
        return ((values - self.location) / self.scale).mean(dim=1)


class NoiseContrast(StandardizedMean):
    r"""Log odds that a row comes from the data and not from wide noise.

    .. math:: f_j(x) \approx \log \frac{p(z)}{N(z; m_j, \Sigma_j)}, \qquad
              s(x) = \frac12 \sum_{j=1}^2 \frac{f_j(x) - l_j}{\sigma_j}

    Nets :math:`f_j` are trained to classify training rows against as many draws of
    noise, five standard deviations wide in all columns (:math:`\Sigma_1 = 25 I`), or
    three times as wide as the rows in all directions (:math:`\Sigma_2 = 9 C`). Such
    nets are smooth functions of many columns together, where a density depends on each
    narrow direction. Location and scale are those of held-out rows.

    Parameters
    ----------
    networks : list of nn.Module
        f.
    location, scale : Tensor of shape (2,)
        l and sigma.

    References
    ----------
    Gutmann, Hyvarinen. Noise-contrastive estimation. AISTATS 2010. Steinwart, Hush,
    Scovel. A classification framework for anomaly detection. JMLR 6, 2005.
    """

    def __init__(
        self, networks: list[nn.Module], location: Tensor, scale: Tensor
    ) -> None:
        super().__init__(location, scale)
        self.networks = nn.ModuleList(networks).requires_grad_(False).eval()

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: Tensor,
        held_out: Tensor,
        generator: torch.Generator,
        max_steps: int,
    ) -> Self:
        """Train both nets by the logistic loss, and standardise them."""
        del scored
        n_steps, identity = min(MAX_STEPS, max_steps), torch.eye(train.shape[1])
        reference = GaussianReference().fit(
            train.cpu(), weight=None, generator=make_generator(0)
        )
        networks = []
        for mean, factor in (
            (torch.zeros_like(reference.means[0]), ROUND_NOISE * identity),
            (reference.means[0], ALIGNED_NOISE * reference.cholesky[0]),
        ):
            with isolated_rng(seed_of(generator), train.device):
                network = _make_network(train.shape[1]).to(train.device)
            noise = mean.to(train), factor.T.to(train)
            _train_contrast(network, train, noise, generator, n_steps)
            networks.append(network)
        values = torch.stack([in_chunks(network, held_out) for network in networks])
        return cls(networks, *moments(values[:, :, 0].double()))

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the mean of the standardised log odds."""
        del scored
        odds = torch.cat([network(x) for network in self.networks], dim=1).double()
        return self.mean(odds)

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> Self:
        """Return the score that has these arrays."""
        n_features = next(a.shape[1] for a in arrays.values() if a.ndim == 2)
        with isolated_rng(0, torch.device("cpu")):
            networks = [_make_network(n_features) for _ in arrays["location"]]
        score = cls(networks, arrays["location"], arrays["scale"])
        score.load_state_dict(arrays)
        return score


def _make_network(n_features: int) -> nn.Module:
    return MLP(n_features, 1, hidden_features=HIDDEN_FEATURES).float()


def _train_contrast(
    network: nn.Module,
    train: Tensor,
    noise: tuple[Tensor, Tensor],
    generator: torch.Generator,
    n_steps: int,
) -> None:
    """Train a net to classify rows against normal noise of a mean and a factor."""
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, n_steps))
    mean, factor = noise
    for _ in range(n_steps):
        chosen = torch.randint(
            len(train), (BATCH_ROWS,), generator=generator, device=train.device
        )
        rows = train[chosen]
        draws = torch.addmm(mean, normal_like(rows, generator), factor)
        with torch.enable_grad():
            odds = network(torch.cat([rows, draws]))[:, 0]
            signed = torch.cat([-odds[:BATCH_ROWS], odds[BATCH_ROWS:]])
            loss = nn.functional.softplus(signed).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()


def moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and standard deviations of the scores, (n_scores, n)."""
    scale = values.std(dim=1, correction=0).clamp(min=MIN_SCALE)
    return values.mean(dim=1), scale
