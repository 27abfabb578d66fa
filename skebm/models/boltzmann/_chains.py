"""Gibbs chains that draw rows from a trained RBM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from skebm.networks import RBM
from skebm.samplers import BlockGibbs, Clamped, TemperedGibbs

#: Fewer samples are thinned from so many chains, so that R-hat means something.
MIN_CHAINS = 64


def annealed_chains(
    rbm: RBM, base_bias: Tensor, n: int, n_steps: int, generator: torch.Generator
) -> tuple[Tensor, dict[str, Any]]:
    """Run n chains while beta goes from 0 to 1, then as many steps at 1.

    Returns where they end and the diagnostics of the second half.
    """
    n_rising = n_steps // 2
    v = _cooled(rbm, base_bias, n, n_rising, generator)
    return BlockGibbs().run(rbm, v, n_steps=n_steps - n_rising, generator=generator)


def tempered_chains(
    rbm: RBM, base_bias: Tensor, n: int, n_steps: int, generator: torch.Generator
) -> tuple[Tensor, dict[str, Any]]:
    """Run n chains at each temperature.

    Returns where the coldest end and the diagnostics of their second half.
    """
    tempering = TemperedGibbs(base_bias)
    return tempering.run(rbm, n, n_steps=n_steps, generator=generator)


def clamped_chains(
    rbm: RBM,
    base_bias: Tensor,
    held: Tensor,
    n_samples: int,
    n_steps: int,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, Any]]:
    """Run chains as `annealed_chains` for each row of `held`, enough to judge them by.

    Returns where `n_samples` of each row end and the diagnostics of the second half.
    """
    n_rows, n_rising = len(held), n_steps // 2
    n = max(n_samples, 2, -(-MIN_CHAINS // n_rows))
    clamped = Clamped(rbm, held.repeat_interleave(n, 0))
    rbm = clamped.rbm
    v = _cooled(rbm, base_bias, n * n_rows, n_rising, generator, clamped.clamp)
    v, diagnostics = clamped.run(
        v, n_rows, n_steps=n_steps - n_rising, generator=generator
    )
    return v.unflatten(0, (n_rows, n))[:, :n_samples].flatten(0, 1), diagnostics


def _cooled(
    rbm: RBM,
    base_bias: Tensor,
    n: int,
    n_steps: int,
    generator: torch.Generator,
    clamp: Callable[[Tensor], Tensor] = lambda v: v,
) -> Tensor:
    """Return the rows of n chains that lead from independent units to the RBM."""
    tempered = rbm.tempered(0.0, base_bias)
    v = clamp(tempered.sample_blocks(base_bias.expand(n, -1), generator))
    for k in range(n_steps):
        tempered = rbm.tempered((k + 1) / n_steps, base_bias)
        v = clamp(tempered.sample_blocks(v, generator))
    return v
