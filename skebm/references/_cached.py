"""Cached draws of densities that are slow to draw from."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.references._base import Density
from skebm.utils import make_generator

N_CACHED = 32_768


class CachedDensity(Density):
    """A density with cached draws, made at the first call of `sample`.

    Later draws are picked from them at random, so that some are alike.

    Parameters
    ----------
    density : Density
        The density that is drawn from.
    seed : int
        Seed of the cached draws.
    """

    def __init__(self, density: Density, seed: int) -> None:
        super().__init__()
        self.density = density
        self.seed = seed
        self.bounded_support = density.bounded_support  # type: ignore[misc]
        self.has_transitions = density.has_transitions  # type: ignore[misc]
        self._draws: Tensor | None = None

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,)."""
        return self.density.log_prob(x)

    def extended_log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x), continued outside the support."""
        return self.density.extended_log_prob(x)

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return rows after a step of the density."""
        return self.density.transition(x, scale, generator)

    @property
    def narrowest_scale(self) -> float:
        """The smallest standard deviation of a feature of q0."""
        return self.density.narrowest_scale

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features), some of them alike."""
        if self._draws is None:
            own = make_generator(self.seed, generator.device)
            self._draws = self.density.sample(N_CACHED, own)
        chosen = torch.randint(
            N_CACHED, (n_samples,), generator=generator, device=generator.device
        )
        return self._draws[chosen]
