"""Diagnostics of chains: split R-hat and effective sample size."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.samplers._point import Point

#: Replaces energies of +inf or NaN, so that R-hat shows chains out of the support.
_IMPOSSIBLE = 1e30


class ChainMoments:
    r"""Split R-hat and effective sample size from running sums over n chains.

    .. math::
        B = \operatorname{var}_j \bar f_j, \quad
        W = \operatorname{mean}_j \operatorname{var}_t f_j(t), \quad
        V = \tfrac{N - 1}{N} W + B, \quad
        \hat R = \sqrt{V / W}, \quad
        \mathrm{ESS} = V / \max(B / 2n, \, B' / n)

    over the 2n halves j of the chains, each of N states; B' is the variance of the
    means of whole chains, larger where the halves of a chain are alike. f runs over the
    columns of x, the distance of x from the mean first state, and the energy; the
    worst value is reported. Two sums per chain and f are stored, no history. As B is
    the variance of 2n means, the relative standard error of each ESS is about
    (1 / n)^(1/2): good for many short chains, a guess for a few. It is at most the
    number of states.

    Parameters
    ----------
    n_states : int
        States of each chain that will be added; the last of an odd number is left out.
    n_groups : int, default=1
        Equal groups of chains, one after another, each with a density of its own: B and
        B' are then their means over groups.

    References
    ----------
    A. Gelman and D. B. Rubin, "Inference from iterative simulation using multiple
    sequences", Statistical Science 7 (1992). A. Gelman, J. B. Carlin, H. S. Stern,
    D. B. Dunson, A. Vehtari and D. B. Rubin, "Bayesian data analysis", third edition
    (2013), sections 11.4 and 11.5.
    """

    def __init__(self, n_states: int, n_groups: int = 1) -> None:
        self.length, self.n_groups = n_states // 2, n_groups
        self.n_seen = 0
        self.sums: list[Tensor] = []
        self.square_sum: Tensor | float = 0.0

    def add(self, point: Point) -> None:
        """Add the next state of all chains."""
        if self.length < 2:
            return  # a half of one state has no variance
        if self.n_seen == 0:
            self.centre = point.x.mean(0)
            first = self._summaries(point)[0]
            self.shift = torch.where(first < _IMPOSSIBLE, first, 0.0)
        half, place = divmod(self.n_seen, self.length)
        self.n_seen += 1
        if half > 1:
            return
        values = self._summaries(point) - self.shift  # constants become exactly 0
        if place == 0:
            self.sums.append(torch.zeros_like(values))
        self.sums[half] += values
        self.square_sum = self.square_sum + values.square().sum(0)

    def metrics(self) -> dict[str, Tensor]:
        """Return the largest R-hat and the smallest ESS; NaN for less than 4 states."""
        if not self.sums:
            nan = torch.tensor(torch.nan)
            return {"r_hat": nan, "effective_sample_size": nan}
        n = self.length
        first, second = (total / n for total in self.sums)
        means = torch.cat([first, second])
        squares = self.square_sum - n * means.square().sum(0)
        within = squares.clamp(min=0.0) / (len(means) * (n - 1))
        between = self._spread(first, second)
        pooled = (n - 1) / n * within + between
        r_hat = (pooled / within).sqrt()
        error = between / len(means)  # variance of the mean over everything
        if len(first) > self.n_groups:
            spread = self._spread((first + second) / 2)
            error = torch.maximum(error, spread / len(first))
        ess = (pooled / error).clamp(max=n * len(means))
        # A constant gives 0 / 0, from which nothing is known.
        metrics = {"r_hat": r_hat.nan_to_num(1.0, torch.inf).max()}
        return metrics | {"effective_sample_size": ess.nan_to_num(n * len(means)).min()}

    def _spread(self, *means: Tensor) -> Tensor:
        """Return the variance of means of chains within a group, over groups."""
        groups = [part.unflatten(0, (self.n_groups, -1)) for part in means]
        return torch.cat(groups, 1).var(1).mean(0)

    def _summaries(self, point: Point) -> Tensor:
        distance = (point.x - self.centre).norm(dim=1)
        energy = point.energy.nan_to_num(_IMPOSSIBLE).clamp(max=_IMPOSSIBLE)
        return torch.cat([point.x.mT, distance[None], energy[None]]).mT.double()
