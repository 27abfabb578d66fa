"""Telescoping density-ratio estimation: data and noise joined by waymarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from skebm.networks import MLP, EnergyModel
from skebm.objectives._base import (
    Batch,
    Loss,
    Objective,
    ParameterGroup,
    check_range,
)
from skebm.references import Density
from skebm.utils import check_builder, check_number, is_positive, is_sequence


class Telescoping(Objective):
    r"""Telescoping density-ratio estimation.

    .. math::

        x_k & = \sqrt{1 - a_k^2} \, x + a_k \, n, \quad n \sim q_0, \quad
            0 = a_0 < a_1 < \dots < a_K = 1 \\
        \log \frac{p_{data}}{q_0} & = \sum_{k < K} r_k, \qquad
            r_k = \log \frac{p_k}{p_{k+1}} = f_k - f_{k+1} \\
        \min_{f_0 = c, f_1, \dots} & \; \sum_{k < K}
            E_{p_k} \log(1 + e^{-r_k}) + E_{p_{k+1}} \log(1 + e^{r_k})

    If data and noise are far apart, a classifier is soon perfect and learns no more
    about the ratio. So the way is divided at waymarks: each bridge :math:`r_k`
    classifies neighbouring waymarks, and the sum of the bridges is the critic. They are
    written as differences of :math:`f_k`, the log ratio of waymark k to the noise, with
    :math:`f_K = 0`: the first of them is the critic itself, and the others are the
    outputs of one more net.

    ``span_weight`` adds one bridge over the whole way, from data to noise: it has the
    same optimum and keeps the critic low where only noise falls, which the first bridge
    is not trained on. On a box the waymarks are :math:`(1 - a) x + a n`, which stay
    inside.

    Parameters
    ----------
    waymarks : tuple of float, default=(0.2, 0.5, 0.8)
        :math:`a_1 < \dots < a_{K-1}`, between 0 and 1. Data much narrower than the
        noise need a geometric sequence that begins at their width.
    span_weight : float, default=1.0
        Weight of the bridge over the whole way; 0 is the published sum.
    ratios : callable or None, default=None
        Builder ``(n_features, K - 1) -> nn.Module`` of the net of the other ratios;
        None takes the net "wave_mlp".

    References
    ----------
    Rhodes, Xu, Gutmann. Telescoping density-ratio estimation. NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator("telescoping", max_iter=5).fit(X)
    >>> model.score_samples(X).shape
    (150,)
    """

    def __init__(
        self,
        waymarks: tuple[float, ...] = (0.2, 0.5, 0.8),
        span_weight: float = 1.0,
        ratios: Callable[[int, int], nn.Module] | None = None,
    ) -> None:
        self.waymarks = waymarks
        self.span_weight = span_weight
        self.ratios = ratios

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        rising = is_sequence(self.waymarks, is_positive) and all(
            low < high for low, high in pairwise([*self.waymarks, 1.0])
        )
        expected = "a tuple of rising numbers between 0 and 1"
        check_range(self, "waymarks", rising, expected)
        check_number(self, "span_weight", 0)
        check_builder(self, "ratios")

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> nn.Module:
        """Return the net of the waymarks' log ratios to the noise."""
        del model
        row = reference.sample(1, generator)
        build = self.ratios or partial(MLP, hidden_features=(64, 64), embedding="waves")
        return build(row.shape[1], len(self.waymarks)).to(row)

    def parameter_groups(
        self, model: EnergyModel, state: nn.Module
    ) -> dict[str, ParameterGroup]:
        """Return one parameter group: the bridges are trained together."""
        parameters = [*model.network.parameters(), *state.parameters()]
        return {"energy": ParameterGroup(parameters)}

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the sum of the bridges' logistic losses."""
        x = batch.dequantized(generator)
        noise = model.reference.sample(len(x), generator)
        straight = model.reference.bounded_support
        marks = self._interpolate(x, noise, straight=straight)
        rows = marks.flatten(0, 1)
        ratios = torch.cat([model.critic(rows).unsqueeze(1), state(rows)], dim=1)
        ratios = nn.functional.pad(ratios, (0, 1)).unflatten(0, marks.shape[:2])
        bridges = ratios[..., :-1] - ratios[..., 1:]  # (K + 1 waymarks, n, K bridges)
        near = bridges[:-1].diagonal(dim1=0, dim2=2)
        far = bridges[1:].diagonal(dim1=0, dim2=2)
        loss = batch.mean(softplus(-near).sum(dim=1) + softplus(far[:, :-1]).sum(dim=1))
        loss = loss + softplus(far[:, -1]).mean()
        if self.span_weight:
            of_data, of_noise = ratios[0, :, 0], ratios[-1, :, 0]
            span = batch.mean(softplus(-of_data)) + softplus(of_noise).mean()
            loss = loss + self.span_weight * span
        yield Loss("energy", loss)

    def _interpolate(self, x: Tensor, noise: Tensor, straight: bool) -> Tensor:
        """Return the waymarks and both ends, shape (K + 1, n, n_features)."""
        mixing = x.new_tensor([0.0, *self.waymarks, 1.0])[:, None, None]
        keep = 1 - mixing if straight else (1 - mixing.square()).sqrt()
        return keep * x + mixing * noise
