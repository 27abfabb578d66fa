"""Chains of a restricted Boltzmann machine: clamped, or at several temperatures."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from skebm.networks import RBM
from skebm.samplers._base import Diagnostics
from skebm.samplers._diagnostics import ChainMoments
from skebm.samplers._point import Point


class Clamped:
    """Energy of an RBM with some visible units clamped to observed values.

    Its `sample_blocks`, for `BlockGibbs`, redraws the free units given the observed.

    Parameters
    ----------
    rbm : RBM
    observed : Tensor of shape (n, d)
        One row per chain; NaN where a unit is free.
    """

    def __init__(self, rbm: RBM, observed: Tensor) -> None:
        self.rbm = replace(rbm, visible=rbm.visible.given(observed))
        self.observed = observed
        #: Conditions draws of v given h on the observed values.
        self.clamp = rbm.visible.clamp(observed)

    def __call__(self, v: Tensor) -> Tensor:
        """Return the free energy of whole rows, shape (n,)."""
        return self.rbm(v)

    def sample_blocks(self, v: Tensor, generator: torch.Generator) -> Tensor:
        """Draw h given v, then the free units given h."""
        return self.clamp(self.rbm.sample_blocks(v, generator))

    def start(self, generator: torch.Generator) -> Tensor:
        """Return rows whose free units are drawn with all hidden units at 0."""
        h = self.observed.new_zeros(len(self.observed), len(self.rbm.weight))
        return self.clamp(self.rbm.sample_visible(h, generator))

    @torch.no_grad()
    def run(
        self, v: Tensor, n_rows: int, *, n_steps: int, generator: torch.Generator
    ) -> tuple[Tensor, Diagnostics]:
        """Run chains from v, whose clamped units have the observed values.

        Each of `n_rows` observed rows has the same number of chains, one after another.
        Returns the ends of the chains, shape (n, d), with "r_hat" and
        "effective_sample_size", computed within rows.
        """
        moments = ChainMoments(n_steps, n_rows)
        for _ in range(n_steps):
            v = self.sample_blocks(v, generator)
            moments.add(Point(v, self(v), v))
        return v, {name: float(value) for name, value in moments.metrics().items()}


class TemperedGibbs:
    r"""Block Gibbs chains at several temperatures, with swaps between them.

    .. math:: p_\beta(v, h) \propto e^{\beta (h^T W s(v) + c \cdot h
        + (b - b_0) \cdot s(v)) + b_0 \cdot s(v)} \, m(v), \qquad
        1 = \beta_1 > \dots > \beta_K = 0

    At beta = 0 the units are independent, with natural parameters b_0, so that the
    hottest chains are independent from step to step. A step redraws v and h at every
    temperature, then swaps neighbours, even pairs in one step and odd ones in the next,
    with probability min(1, exp(r)), r the usual difference of log probabilities.

    Parameters
    ----------
    base_bias : Tensor of shape (n_statistics,)
        b_0.
    n_temperatures : int, default=10
        K, equidistant in beta.

    References
    ----------
    G. Desjardins, A. Courville, Y. Bengio, P. Vincent and O. Delalleau, "Parallel
    tempering for training of restricted Boltzmann machines", AISTATS 2010. K. Cho,
    T. Raiko and A. Ilin, "Parallel tempering is efficient for learning restricted
    Boltzmann machines", IJCNN 2010.
    """

    def __init__(self, base_bias: Tensor, n_temperatures: int = 10) -> None:
        self.base_bias = base_bias
        self.betas = torch.linspace(1, 0, n_temperatures).to(base_bias)[:, None, None]
        self.n_steps = 0
        #: Mean acceptance rate of the last step's swaps.
        self.swap_acceptance = 1.0

    def step(
        self, rbm: RBM, h: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return v of the coldest chains and h of all, (n, d) and (K, n, n_hidden)."""
        n = h.shape[1]
        bias = torch.lerp(self.base_bias, rbm.visible_bias, self.betas)
        field = (self.betas * (h @ rbm.weight)).add_(bias)
        v = rbm.visible.draw_(field, torch.empty_like(field), generator)
        s = rbm.visible.statistic(v)
        pull = rbm.hidden_bias + s @ rbm.weight.mT
        odds = (self.betas * pull).sigmoid_()
        h = torch.empty_like(odds).uniform_(generator=generator).lt(odds).to(h)
        tilt = (h * pull).sum(-1) + s @ (rbm.visible_bias - self.base_bias)
        order = self._swap(tilt, generator)
        chain = torch.arange(n, device=h.device)
        return v[order[0], chain], h[order, chain]

    @torch.no_grad()
    def run(
        self, rbm: RBM, n: int, *, n_steps: int, generator: torch.Generator
    ) -> tuple[Tensor, Diagnostics]:
        """Run n chains from independent units.

        Returns the ends of the coldest chains, shape (n, d), with "r_hat",
        "effective_sample_size" and "swap_acceptance" of the second half of the steps.
        """
        h = rbm.weight.new_zeros(len(self.betas), n, len(rbm.weight))
        moments = ChainMoments(n_steps - n_steps // 2)
        swaps = []
        for k in range(n_steps):
            v, h = self.step(rbm, h, generator)
            swaps.append(self.swap_acceptance)
            if k >= n_steps // 2:
                moments.add(Point(v, rbm(v), v))
        metrics = {name: float(value) for name, value in moments.metrics().items()}
        return v, metrics | {"swap_acceptance": sum(swaps) / len(swaps)}

    def _swap(self, tilt: Tensor, generator: torch.Generator) -> Tensor:
        """Return the index of the replica at each temperature after swaps, (K, n)."""
        n_temperatures, n = tilt.shape
        order = torch.arange(n_temperatures, device=tilt.device)[:, None].repeat(1, n)
        cold = torch.arange(self.n_steps % 2, n_temperatures - 1, 2)
        self.n_steps += 1
        if not len(cold):
            return order
        betas = self.betas[:, :, 0]
        log_ratio = (betas[cold] - betas[cold + 1]) * (tilt[cold + 1] - tilt[cold])
        probability = log_ratio.clamp(max=0.0).exp()
        self.swap_acceptance = float(probability.mean())
        swap = torch.empty_like(probability).uniform_(generator=generator) < probability
        step = swap.long()
        order[cold] += step
        order[cold + 1] -= step
        return order
