"""Scores of any scale, as the surprise at a score as low."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

#: Most points of the curve, and how many of the lowest scores are all kept.
N_KNOTS, N_LOWEST = 512, 128
LOWEST = -1e30
#: Least scale beyond the lowest score, and the same as a part of all scores' range.
MIN_SCALE, PART_OF_RANGE = 1e-6, 1e-3
#: Doublings of the tail's exponential distribution beyond which scores are wild.
DOUBLINGS = 2.0


class Surprisal(nn.Module):
    r"""Minus the log of the share of calibration rows that score as low.

    .. math:: u(s) = -\log \frac{\tfrac12 (\#\{s_i < s\} + \#\{s_i \le s\}) +
              \tfrac12}{n + 1}

    linear between the scores :math:`s_i`. Below :math:`s_0`

    .. math:: \log\left(1 + \frac{s_0 - s}{q_{1/4} - s_0}\right), \qquad
              s_0 = \max\left(\min_i s_i,\;
              q_{1/4} - 2 (q_{1/4} - q_{1/8}) \log_2 n\right)

    is added, with quantiles q. So the scale is that of the lowest score, unless it is
    wild: twice as far as the lowest of n with an exponential tail.

    Parameters
    ----------
    knots, heights : Tensor of shape (m,)
        Scores, ascending, and u there; float64.
    scale : Tensor of shape ()
        The scale beyond the start.
    start : Tensor of shape (), default=None
        :math:`s_0`; None takes the lowest score.
    """

    def __init__(
        self,
        knots: Tensor,
        heights: Tensor,
        scale: Tensor,
        start: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.knots: Tensor
        self.heights: Tensor
        self.scale: Tensor
        self.register_buffer("knots", knots)
        self.register_buffer("heights", heights)
        self.register_buffer("scale", scale)
        self.start: Tensor
        self.register_buffer("start", knots[0] if start is None else start)

    @classmethod
    def of(cls, scores: Tensor) -> Self:
        """Return the curve of calibration scores."""
        ordered = _finite(scores).sort().values
        n_rows = len(ordered)
        knots, counts = ordered.unique_consecutive(return_counts=True)
        up_to = counts.cumsum(0).double()
        heights = -((up_to - counts / 2 + 0.5) / (n_rows + 1)).log()
        if len(knots) > N_KNOTS:
            last = len(knots) - 1
            others = torch.linspace(N_LOWEST, last, N_KNOTS - N_LOWEST).long()
            kept = torch.cat([torch.arange(N_LOWEST), others]).to(knots.device)
            knots, heights = knots[kept], heights[kept]
        quarter, start = ordered[n_rows // 4], ordered[0]
        doubling = quarter - ordered[n_rows // 8]
        if doubling > 0:
            reach = DOUBLINGS * math.log2(max(2, n_rows)) * doubling
            start = torch.maximum(start, quarter - reach)
        scale = (quarter - start).clamp(min=PART_OF_RANGE * float(ordered[-1] - start))
        return cls(knots, heights, scale.clamp(min=MIN_SCALE), start)

    def forward(self, scores: Tensor) -> Tensor:
        """Return the surprise of scores, float64."""
        scores = _finite(scores)
        last = len(self.knots) - 1
        right = torch.searchsorted(self.knots, scores).clamp(min=min(1, last), max=last)
        left = (right - 1).clamp(min=0)
        width = (self.knots[right] - self.knots[left]).clamp(min=torch.finfo().tiny)
        part = ((scores - self.knots[left]) / width).clamp(0, 1)
        inside = self.heights[left] + part * (self.heights[right] - self.heights[left])
        beyond = (self.start - scores).clamp(min=0) / self.scale
        return inside + beyond.log1p()


def _finite(scores: Tensor) -> Tensor:
    return scores.double().nan_to_num(nan=LOWEST).clamp(min=LOWEST, max=-LOWEST)
