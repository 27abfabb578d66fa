"""Draws kept in stock, where a density is slow to draw from."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.references._base import Density
from skebm.utils import make_generator

N_STOCKED = 32_768


class StockedDensity(Density):
    """A density whose draws are picked from a stock, made when the first are asked for.

    Parameters
    ----------
    density : Density
        What is drawn from.
    seed : int
        Of the stock.
    """

    def __init__(self, density: Density, seed: int) -> None:
        super().__init__()
        self.density = density
        self.seed = seed
        self.bounded_support = density.bounded_support  # type: ignore[misc]
        self.has_transitions = density.has_transitions  # type: ignore[misc]
        self._stock: Tensor | None = None

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,)."""
        return self.density.log_prob(x)

    def extended_log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x), finite beyond its support."""
        return self.density.extended_log_prob(x)

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return rows after the density's own step."""
        return self.density.transition(x, scale, generator)

    @property
    def narrowest_scale(self) -> float:
        """Least standard deviation that log q0 curves with."""
        return self.density.narrowest_scale

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features), some of them alike."""
        if self._stock is None:
            own = make_generator(self.seed, generator.device)
            self._stock = self.density.sample(N_STOCKED, own)
        chosen = torch.randint(
            N_STOCKED, (n_samples,), generator=generator, device=generator.device
        )
        return self._stock[chosen]
