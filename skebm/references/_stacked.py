"""A mixture of two densities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

import torch
from torch import Tensor

from skebm.references._base import Density, Line
from skebm.utils import log_add_exp, uniform_like


class StackedDensity(Density):
    r"""Mixture of two densities, whose classes a subclass names.

    .. math:: q_0(x) = a \, q_1(x) + (1 - a) \, q_2(x)

    Parameters
    ----------
    share : Tensor of shape ()
        a.
    **state : Tensor
        The tensors of both parts, each prefixed by the name of the part and a dot.
    """

    #: Names and classes of the parts.
    part_types: ClassVar[dict[str, type[Density]]]

    def __init__(self, share: Tensor, **state: Tensor) -> None:
        super().__init__()
        self.share: Tensor
        self.register_buffer("share", share)
        for name, part_type in self.part_types.items():
            prefix = f"{name}."
            own = {
                key.removeprefix(prefix): tensor
                for key, tensor in state.items()
                if key.startswith(prefix)
            }
            self.add_module(name, part_type(**own))

    @classmethod
    def of(cls, share: Tensor, *parts: Density) -> Self:
        """Return the mixture of these parts."""
        named = zip(cls.part_types, parts, strict=True)
        return cls(share, **_prefixed(named))

    @property
    def parts(self) -> tuple[Density, ...]:
        """Both parts."""
        return tuple(self.get_submodule(name) for name in self.part_types)  # type: ignore[misc]

    def arrays(self) -> dict[str, Tensor]:
        """Return the tensors that `__init__` takes, by name."""
        named = zip(self.part_types, self.parts, strict=True)
        return {"share": self.share, **_prefixed(named)}

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,)."""
        return self.stack(*(part.log_prob(x) for part in self.parts))

    def along(self, x: Tensor, j: int) -> Line:
        """Return log q0 of rows as a function of column j, by those of the parts."""
        lines = [part.along(x, j) for part in self.parts]
        return lambda points: self.stack(*(line(points) for line in lines))

    def left_out_log_prob(self, x: Tensor) -> Tensor:
        """Return log q0 of the rows it was fitted to, each left out of both parts."""
        return self.stack(*(part.left_out_log_prob(x) for part in self.parts))

    def stack(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the log density from those of the parts."""
        return log_add_exp(self.share.log() + first, torch.log1p(-self.share) + second)

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return rows after a step of the part drawn from each row's posterior."""
        first, second = self.parts
        log_odds = torch.logit(self.share) + first.log_prob(x) - second.log_prob(x)
        of_first = uniform_like(log_odds, generator) < log_odds.sigmoid()
        moved = torch.empty_like(x)
        for part, chosen in ((first, of_first), (second, ~of_first)):
            if chosen.any():
                moved[chosen] = part.transition(x[chosen], scale[chosen], generator)
        return moved

    @property
    def narrowest_scale(self) -> float:
        """The smaller of the narrowest scales of the parts."""
        return min(part.narrowest_scale for part in self.parts)

    @torch.no_grad()
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""
        first, second = self.parts
        x = second.sample(n_samples, generator)
        of_first = uniform_like(x[:, 0], generator) < self.share
        if n_first := int(of_first.sum()):
            x[of_first] = first.sample(n_first, generator)
        return x


def _prefixed(parts: Iterable[tuple[str, Density]]) -> dict[str, Tensor]:
    """Return the tensors of all parts by name, prefixed by the part and a dot."""
    return {
        f"{name}.{key}": tensor
        for name, part in parts
        for key, tensor in part.arrays().items()
    }
