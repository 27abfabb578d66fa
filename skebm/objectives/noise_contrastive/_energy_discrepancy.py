"""Energy discrepancy: a row against points that its noisy copy may have come from."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, Loss, Objective, check_range
from skebm.utils import check_count, is_positive, is_sequence, normal_like, uniform_like


class EnergyDiscrepancy(Objective):
    r"""Energy discrepancy with Gaussian noise.

    .. math:: \min_E \; E_{x \sim data} \, E_{y | x} \, E_{x_1, \dots, x_M | y}
              \log\Big(\frac wM + \frac1M \sum_j e^{U(x) - U(x_j)}\Big), \qquad
              U = E - \log q_0

    Noise turns the row x into :math:`y = x + s \varepsilon`, and each
    :math:`x_j = y + s \varepsilon_j` could have been turned into y as well. The energy
    of the row is pushed below that of such points. No chains, no scores and no draws of
    the reference are needed, and log Z cancels.

    As :math:`M \to \infty` the loss does not depend on w. It goes from score matching
    (small s; the loss over :math:`s^2`) to maximum likelihood (large s). For finite M
    the term w keeps it finite. With w = 1 it is, but for a constant, the loss of a
    classifier that finds the row among M + 1 points, which are alike given y. So the
    minimum is the data's density then, for every M and s, whereas other w bias it.

    The scale s of a row is log-uniform between the ends of ``noise_scale``, as in
    `ConditionalNCE`, which is the case M = 1: short steps determine the shape of a
    mode, long ones the relative masses of separate modes.

    Parameters
    ----------
    noise_scale : (float, float), default=(0.1, 2.0)
        Least and largest s, in standard deviations of a column. Two equal numbers are
        the method as published, with :math:`t = s^2`.
    n_noise : int, default=16
        M, points per row.
    stabilization : float, default=1.0
        w, above 0.

    Notes
    -----
    Of categories the noise moves a point within the interval that stands for a
    category, and beyond it. The density of such points is what the model has, so the
    Gaussian form is right for their columns, too.

    References
    ----------
    Schroeder, Ou, Lim, Li, Vollmer, Duncan. Energy discrepancies: a score-independent
    loss for energy-based models. NeurIPS 2023 (arXiv:2307.06431).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator("energy_discrepancy", max_iter=5).fit(X)
    >>> model.score_samples(X).shape
    (150,)
    """

    def __init__(
        self,
        noise_scale: tuple[float, float] = (0.1, 2.0),
        n_noise: int = 16,
        stabilization: float = 1.0,
    ) -> None:
        self.noise_scale = noise_scale
        self.n_noise = n_noise
        self.stabilization = stabilization

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        scales = self.noise_scale
        pair = is_sequence(scales, is_positive) and len(scales) == 2
        expected = "two numbers, 0 < least <= largest"
        check_range(self, "noise_scale", pair and scales[0] <= scales[1], expected)
        check_count(self, "n_noise")
        positive = is_positive(self.stabilization)
        check_range(self, "stabilization", positive, "a number above 0")

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the loss of rows against the points of their noisy copies."""
        del state
        x = batch.dequantized(generator)
        points = self._points(x, generator)
        log_prob = model.log_prob_unnormalized(torch.cat([x, points.flatten(0, 1)]))
        of_data, of_points = log_prob[: len(x)], log_prob[len(x) :]
        ratios = of_points.unflatten(0, points.shape[:2]) - of_data
        level = torch.full_like(ratios[:1], math.log(self.stabilization))
        losses = torch.logsumexp(torch.cat([level, ratios]), dim=0)
        yield Loss("energy", batch.mean(losses) - math.log(self.n_noise))

    def _points(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return points around a noisy copy of each row, (n_noise, n, n_features)."""
        low, high = (math.log(scale) for scale in self.noise_scale)
        height = uniform_like(x[:, :1], generator)
        scale = torch.exp(low + (high - low) * height)
        noise = normal_like(x.expand(self.n_noise + 1, *x.shape), generator)
        return x + scale * (noise[0] + noise[1:])
