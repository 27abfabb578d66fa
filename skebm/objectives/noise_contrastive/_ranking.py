"""Ranking noise-contrastive estimation: the row among noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, Loss, Objective, Recipe
from skebm.objectives.noise_contrastive._nce import NCE
from skebm.utils import check_count


class RankingNCE(Objective):
    r"""Ranking noise-contrastive estimation.

    .. math:: \min_c \; -E_{x_0 \sim data} \, E_{x_1, \dots, x_k \sim q_0} \log
              \frac{e^{c(x_0)}}{\sum_{i=0}^{k} e^{c(x_i)}}, \qquad c = -E

    A classifier finds the row among k draws of the reference. Unlike in `NCE` the
    constant of the critic cancels, so that log Z is left to the normaliser. The minimum
    is the data's density for every k; for large k the loss is the negative
    log-likelihood with log Z by importance sampling.

    Parameters
    ----------
    n_noise : int, default=8
        k, fresh noise rows per row and step.

    References
    ----------
    Ma, Collins. Noise contrastive estimation and negative sampling for conditional
    models: consistency and statistical efficiency. EMNLP 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator("ranking_nce", max_iter=5).fit(X)
    >>> model.score_samples(X).shape
    (150,)
    """

    recipe: ClassVar[Recipe] = NCE.recipe

    def __init__(self, n_noise: int = 8) -> None:
        self.n_noise = n_noise

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        check_count(self, "n_noise")

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the loss of finding rows among noise."""
        del state
        x = batch.dequantized(generator)
        noise = model.reference.sample(self.n_noise * len(x), generator)
        critic: Tensor = model.critic(torch.cat([x, noise]))
        critic = critic.unflatten(0, (1 + self.n_noise, len(x)))
        yield Loss("energy", batch.mean(torch.logsumexp(critic, dim=0) - critic[0]))
