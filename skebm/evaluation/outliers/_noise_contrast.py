"""Noise-contrastive outlier scores: nets that classify rows against wide noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from skebm.evaluation.outliers._score import (
    ENOUGH_HELD_OUT,
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
#: Below so many rows nets see halves of them, so that others can judge each row.
MIN_ROWS, FEW_ROWS = 4, 3000
#: Times that few rows are halved, and the part of the steps that each net then takes.
N_HALVINGS, PART_OF_STEPS = 2, 4
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

    Of fewer than 3000 rows each :math:`f_j` is the mean of four nets, trained on both
    halves of two random splits: so each row has nets that did not see it, by which
    thresholds are made.

    Parameters
    ----------
    networks : list of nn.Module
        f; as many against each kind of noise, the first kind's first.
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
        self._seen: list[Tensor | None] = []

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: Tensor,
        held_out: Tensor,
        generator: torch.Generator,
        max_steps: int,
    ) -> Self:
        """Train the nets by the logistic loss, and standardise them."""
        n_steps, identity = min(MAX_STEPS, max_steps), torch.eye(train.shape[1])
        seen: list[Tensor | None] = [None]
        is_few = held_out is train or len(held_out) < ENOUGH_HELD_OUT
        if is_few and MIN_ROWS <= len(train) < FEW_ROWS:
            seen = list(_halves(len(train), generator))
            n_steps = -(-n_steps // PART_OF_STEPS)
        reference = GaussianReference().fit(
            train.cpu(), weight=None, generator=make_generator(0)
        )
        networks = []
        for mean, factor in (
            (torch.zeros_like(reference.means[0]), ROUND_NOISE * identity),
            (reference.means[0], ALIGNED_NOISE * reference.cholesky[0]),
        ):
            noise = mean.to(train), factor.T.to(train)
            for rows in seen:
                with isolated_rng(seed_of(generator), train.device):
                    network = _make_network(train.shape[1]).to(train.device)
                part = train if rows is None else train[rows]
                _train_contrast(network, part, noise, generator, n_steps)
                networks.append(network)
        score = cls(networks, torch.zeros(2).double(), torch.ones(2).double())
        score._seen = seen
        odds = score._odds(held_out)
        if seen[0] is not None:
            left_out = score._left_out_odds(train)
            odds = left_out if held_out is train else torch.cat([odds, left_out])
        score.location, score.scale = moments(odds.T)
        return score

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the mean of the standardised log odds."""
        del scored
        return self.mean(self._outputs(x).mean(dim=2))

    def left_out(self, scored: ScoredModel, train: Tensor, held_out: Tensor) -> Tensor:
        """Return the scores of training rows by the nets that did not see them."""
        if not self._seen or self._seen[0] is None:
            return super().left_out(scored, train, held_out)
        return self.mean(self._left_out_odds(train))

    def _outputs(self, x: Tensor) -> Tensor:
        """Return the log odds, shape (n, n_noises, n_networks of each)."""
        odds = torch.cat([network(x) for network in self.networks], dim=1)
        return odds.double().unflatten(1, (len(self.location), -1))

    def _odds(self, x: Tensor) -> Tensor:
        """Return the mean log odds against each kind of noise, shape (n, n_noises)."""
        return in_chunks(self._outputs, x).mean(dim=2)

    def _left_out_odds(self, train: Tensor) -> Tensor:
        """Return the mean log odds by the nets that did not see a row."""
        unseen = torch.ones(len(train), len(self._seen)).to(train).double()
        for k, rows in enumerate(self._seen):
            unseen[rows, k] = 0
        share = unseen / unseen.sum(dim=1, keepdim=True)
        return (in_chunks(self._outputs, train) * share[:, None]).sum(dim=2)

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> Self:
        """Return the score that has these arrays."""
        n_features = next(a.shape[1] for a in arrays.values() if a.ndim == 2)
        names = {key.split(".")[1] for key in arrays if key.startswith("networks.")}
        with isolated_rng(0, torch.device("cpu")):
            networks = [_make_network(n_features) for _ in names]
        score = cls(networks, arrays["location"], arrays["scale"])
        score.load_state_dict(arrays)
        return score


def _make_network(n_features: int) -> nn.Module:
    return MLP(n_features, 1, hidden_features=HIDDEN_FEATURES).float()


def _halves(n_rows: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the rows of both halves of random splits."""
    for _ in range(N_HALVINGS):
        order = torch.randperm(n_rows, generator=generator, device=generator.device)
        yield from (order[n_rows // 2 :], order[: n_rows // 2])


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
