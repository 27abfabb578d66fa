"""Conditional noise-contrastive estimation: noise around the rows themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, Loss, Objective, check_range
from skebm.utils import check_count, is_positive, is_sequence, normal_like, uniform_like


class ConditionalNCE(Objective):
    r"""Conditional noise-contrastive estimation.

    .. math:: \min_E \; 2 \, E_{x \sim data} \, E_{y | x}
              \log\left(1 + e^{f(y) - f(x)}\right), \qquad f = \log q_0 - E

    A classifier tells each row x from noise y around it. The noise
    :math:`y = x + s \varepsilon` is symmetric, so that p(y|x) / p(x|y) cancels, and
    log Z with it.

    The scale s of a draw is log-uniform between the ends of ``noise_scale``, which
    leaves the noise symmetric. Short steps determine the shape of a mode, as score
    matching does (the limit of small s); long ones determine the relative masses of
    separate modes, which short ones cannot.

    Parameters
    ----------
    noise_scale : (float, float), default=(0.1, 3.0)
        Least and largest s, in standard deviations of a column.
    n_noise : int, default=8
        Noise rows per row.

    References
    ----------
    Ceylan, Gutmann. Conditional noise-contrastive estimation of unnormalised models.
    ICML 2018; there s is a constant that is chosen semi-automatically.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator("conditional_nce", max_iter=5).fit(X)
    >>> model.score_samples(X).shape
    (150,)
    """

    def __init__(
        self, noise_scale: tuple[float, float] = (0.1, 3.0), n_noise: int = 8
    ) -> None:
        self.noise_scale = noise_scale
        self.n_noise = n_noise

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        scales = self.noise_scale
        pair = is_sequence(scales, is_positive) and len(scales) == 2
        expected = "two numbers, 0 < least <= largest"
        check_range(self, "noise_scale", pair and scales[0] <= scales[1], expected)
        check_count(self, "n_noise")

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the logistic loss of rows against their noise."""
        del state
        x = batch.dequantized(generator)
        y = self._noise(x, generator)
        log_prob = model.log_prob_unnormalized(torch.cat([x, y.flatten(0, 1)]))
        of_data, of_noise = log_prob[: len(x)], log_prob[len(x) :]
        losses = softplus(of_noise.unflatten(0, y.shape[:2]) - of_data)
        yield Loss("energy", 2 * batch.mean(losses.mean(dim=0)))

    def _noise(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the noise y of each row, shape (n_noise, n, n_features)."""
        low, high = (math.log(scale) for scale in self.noise_scale)
        copies = x.expand(self.n_noise, *x.shape)
        height = uniform_like(copies[..., :1], generator)
        noise = normal_like(copies, generator)
        return x + torch.exp(low + (high - low) * height) * noise
