"""Block Gibbs sampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from skebm.samplers._base import AbstractSampler, SamplerState
from skebm.samplers._point import Energy, Point, checked


@runtime_checkable
class BlockConditionals(Protocol):
    """An energy that can redraw blocks of x from their exact conditionals."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the energies of x, shape (n,)."""

    def sample_blocks(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Redraw every block of x, shape (n, d), one after another, given the rest.

        Blocks that are no part of x, such as hidden units that the energy sums out,
        are drawn on the way: h from p(h | x), then x from p(x | h).
        """


class BlockGibbs(AbstractSampler):
    r"""Block Gibbs sampling from exact conditionals.

    .. math:: x_b \sim p(x_b \mid x_{\text{rest}}), \qquad b = 1, \dots, B

    one block after another in every step, none of which is ever rejected. The energy
    must offer the conditionals as `BlockConditionals`: a restricted Boltzmann machine
    does (hidden units given visible ones and back), a neural net does not. x need not
    be continuous.

    Raises
    ------
    ValueError
        By `run`, before any step, where the energy has no `sample_blocks`.

    References
    ----------
    S. Geman and D. Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian
    restoration of images", IEEE PAMI 6 (1984). J. S. Liu, W. H. Wong and A. Kong,
    "Covariance structure of the Gibbs sampler", Biometrika 81 (1994).

    Examples
    --------
    >>> import torch
    >>> from skebm.samplers import BlockGibbs
    >>> class CorrelatedNormal:  # of correlation 0.8
    ...     def __call__(self, x):
    ...         a, b = x.T
    ...         return (a**2 - 1.6 * a * b + b**2) / 0.72
    ...     def sample_blocks(self, x, generator):
    ...         a, b = x.T
    ...         a = 0.8 * b + 0.6 * torch.randn(len(x), generator=generator)
    ...         b = 0.8 * a + 0.6 * torch.randn(len(x), generator=generator)
    ...         return torch.stack([a, b], dim=1)
    >>> x, _ = BlockGibbs().run(
    ...     CorrelatedNormal(),
    ...     torch.zeros(2000, 2),
    ...     n_steps=20,
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> bool(0.75 < torch.corrcoef(x.T)[0, 1] < 0.85)
    True
    """

    def check_energy(self, energy: Energy) -> None:
        """Raise ValueError naming both unless the energy has `sample_blocks`."""
        if not isinstance(energy, BlockConditionals):
            name = getattr(energy, "__qualname__", type(energy).__name__)
            raise ValueError(
                f"sampler BlockGibbs and energy {name} don't go together: BlockGibbs "
                "draws from exact conditionals, and an energy offers them by a method "
                "sample_blocks(x, generator), as a restricted Boltzmann machine can. "
                'For a neural net take "hmc", "mala" or "langevin".'
            )

    def init(self, energy: Energy, x0: Tensor) -> SamplerState:
        """Return the state of chains that start at `x0`, shape (n, d)."""
        self.check_energy(energy)
        point = _without_gradient(energy, x0.detach())
        return SamplerState(point, x0.new_tensor(torch.nan), x0.new_ones(()))

    @torch.no_grad()
    def step(
        self, energy: Energy, state: SamplerState, generator: torch.Generator
    ) -> SamplerState:
        """Redraw every block of every chain."""
        assert isinstance(energy, BlockConditionals)
        x = energy.sample_blocks(state.point.x, generator)
        return replace(state, point=_without_gradient(energy, x))

    def figures(self, state: SamplerState) -> dict[str, Tensor]:
        """Return the acceptance rate, 1; there is no step size."""
        return {"acceptance": state.acceptance}


@torch.no_grad()
def _without_gradient(energy: Energy, x: Tensor) -> Point:
    values = checked(energy(x), len(x)).to(x.dtype)
    values = values.masked_fill(values.isneginf(), torch.nan)
    return Point(x, values, torch.zeros_like(x))
