"""Sampling in the latent space of a generator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import Tensor

from skebm.samplers._base import AbstractSampler, SamplerState, make_sampler
from skebm.samplers._point import Energy, checked
from skebm.utils import check_range


class LatentLangevin(AbstractSampler):
    r"""Discriminator-driven latent sampling (DDLS).

    .. math::
        p(z) \propto N(z; 0, I) \, e^{-E(g(z))}, \qquad
        \text{so that } x = g(z) \text{ follows } q_g(x) \, e^{-E(x)} / Z

    with :math:`q_g` the generator's own density. The energy is the tilt of the
    generator's density, minus the log of a density ratio, as the critic of a GAN
    learns it; it is not the energy of the model against another reference. The chains
    are latents, from `x0` on: `decode` maps what `run` returns to rows.

    Parameters
    ----------
    decode : callable, (n, k) -> (n, d)
        g, differentiable: `GeneratorMLP(...).mean`, say. Where rows have noise of scale
        s, make it part of the latents: z = (u, v), g(u) + s v.
    sampler : {"mala", "hmc", "langevin"} or AbstractSampler, default="mala"
        What moves the latents; `Langevin` as published, `MALA` without its bias.

    References
    ----------
    T. Che, R. Zhang, J. Sohl-Dickstein, H. Larochelle, L. Paull, Y. Cao and Y. Bengio,
    "Your GAN is secretly an energy-based model and you should use discriminator driven
    latent sampling", NeurIPS (2020).

    Examples
    --------
    >>> import torch
    >>> from skebm.networks import GeneratorMLP
    >>> from skebm.samplers import MALA, LatentLangevin
    >>> net = GeneratorMLP(2, 5)
    >>> sampler = LatentLangevin(net.mean, MALA(step_size=0.5))
    >>> generator = torch.Generator().manual_seed(0)
    >>> z, diagnostics = sampler.run(
    ...     lambda x: 10 * (x - 0.3).square().sum(1),
    ...     net.draw_latent(100, generator),
    ...     n_steps=10,
    ...     generator=generator,
    ... )
    >>> net.mean(z).shape
    torch.Size([100, 5])
    """

    explores_rows: ClassVar[bool] = False

    def __init__(
        self,
        decode: Callable[[Tensor], Tensor],
        sampler: str | AbstractSampler = "mala",
    ) -> None:
        self.decode = decode
        self.sampler = sampler

    def latent_energy(self, energy: Energy) -> Energy:
        """Return the energy of latents, ``z -> |z|^2 / 2 + E(g(z))``."""

        def latent_energy(z: Tensor) -> Tensor:
            return z.square().sum(1) / 2 + checked(energy(self.decode(z)), len(z))

        return latent_energy

    def for_run(self, n_steps: int) -> Self:
        """Return the sampler with the settings of a `run` of so many steps."""
        sampler = copy.copy(self)
        sampler.sampler = make_sampler(self.sampler).for_run(n_steps)
        return sampler

    def n_warm_up(self) -> int:
        """Return the steps at the beginning of a run that adapt."""
        return make_sampler(self.sampler).n_warm_up()

    def check_settings(self) -> None:
        """Raise ValueError naming a setting that is out of its range."""
        check_range(self, "decode", callable(self.decode), "a callable")
        make_sampler(self.sampler).check_settings()

    def check_energy(self, energy: Energy) -> None:
        """Raise ValueError naming both where `sampler` can't explore latents."""
        make_sampler(self.sampler).check_energy(self.latent_energy(energy))

    def init(self, energy: Energy, x0: Tensor) -> SamplerState:
        """Return the state of chains that start at the latents `x0`, shape (n, k)."""
        return make_sampler(self.sampler).init(self.latent_energy(energy), x0)

    def step(
        self, energy: Energy, state: SamplerState, generator: torch.Generator
    ) -> SamplerState:
        """Make one step with the latents of every chain."""
        sampler = make_sampler(self.sampler)
        return sampler.step(self.latent_energy(energy), state, generator)

    def figures(self, state: SamplerState) -> dict[str, Tensor]:
        """Return metrics of the last step, shape (); their means are diagnostics."""
        return make_sampler(self.sampler).figures(state)
