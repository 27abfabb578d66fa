"""Energy discrepancy: a row against points that its noisy copy may have come from."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, CategoryNoise, Loss, Objective, check_range
from skebm.utils import check_count, is_positive, is_sequence, normal_like, uniform_like

CATEGORY_NOISES = ("gaussian", "heat", "absorbing")


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
    category_noise : {"gaussian", "heat", "absorbing"}, default="gaussian"
        Of columns of categories. "gaussian" moves a point within the interval that
        stands for a category, and beyond it: the density of such points is what the
        model has, so that the form above is right for them, too. "heat" is a random
        walk on the graph of the categories for the time :math:`s^2`: to any category
        of a nominal column, to the next ones of an ordinal column, of which the last
        and the first are neighbours in a cyclic one. "absorbing" makes entries missing,
        with probability :math:`1 - e^{-s^2}`, so that any category may have been there.
        Which column is of which kind, ``categorical_features`` of the estimator says.

    References
    ----------
    Schroeder, Ou, Lim, Li, Vollmer, Duncan. Energy discrepancies: a score-independent
    loss for energy-based models. NeurIPS 2023 (arXiv:2307.06431). Schroeder, Ou, Li,
    Duncan. Energy-based modelling for discrete and mixed data via heat equations on
    structured spaces. NeurIPS 2024.

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
        category_noise: str = "gaussian",
    ) -> None:
        self.noise_scale = noise_scale
        self.n_noise = n_noise
        self.stabilization = stabilization
        self.category_noise = category_noise

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        scales = self.noise_scale
        pair = is_sequence(scales, is_positive) and len(scales) == 2
        expected = "two numbers, 0 < least <= largest"
        check_range(self, "noise_scale", pair and scales[0] <= scales[1], expected)
        check_count(self, "n_noise")
        positive = is_positive(self.stabilization)
        check_range(self, "stabilization", positive, "a number above 0")
        noise = self.category_noise
        known = isinstance(noise, str) and noise in CATEGORY_NOISES
        check_range(self, "category_noise", known, f"one of {CATEGORY_NOISES}")

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
        noise = None
        if batch.cells is not None and self.category_noise != "gaussian":
            noise = batch.cells.diffusion
        points = self._points(x, noise, generator)
        every = torch.cat([x, points.flatten(0, 1)])
        log_prob = model.log_prob_unnormalized(every)
        if noise is not None:
            log_prob = log_prob - noise.log_base(every).to(log_prob.dtype)
        of_data, of_points = log_prob[: len(x)], log_prob[len(x) :]
        ratios = of_points.unflatten(0, points.shape[:2]) - of_data
        level = torch.full_like(ratios[:1], math.log(self.stabilization))
        losses = torch.logsumexp(torch.cat([level, ratios]), dim=0)
        yield Loss("energy", batch.mean(losses) - math.log(self.n_noise))

    def _points(
        self, x: Tensor, noise: CategoryNoise | None, generator: torch.Generator
    ) -> Tensor:
        """Return points around a noisy copy of each row, (n_noise, n, n_features)."""
        low, high = (math.log(scale) for scale in self.noise_scale)
        height = uniform_like(x[:, :1], generator)
        scale = torch.exp(low + (high - low) * height)
        normal = normal_like(x.expand(self.n_noise + 1, *x.shape), generator)
        points = x + scale * (normal[0] + normal[1:])
        if noise is None:
            return points
        absorbing = self.category_noise == "absorbing"
        time = scale[:, 0].square()
        alike = noise.alike(x, time, self.n_noise, generator, absorbing)
        points[..., noise.columns] = alike[..., noise.columns]
        return points
