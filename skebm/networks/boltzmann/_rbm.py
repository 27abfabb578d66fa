"""Restricted Boltzmann machines: visible units, hidden units, free energy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional


class VisibleUnits(Protocol):
    r"""Protocol of a kind of visible units: an exponential family.

    .. math:: p(v \mid \theta) = e^{\theta \cdot s(v) - A(\theta)} \, m(v)

    with the statistic s, log partition function A and base measure m. The natural
    parameters theta are b + h W in an RBM; s, theta and W have one column per
    statistic.

    Attributes
    ----------
    is_quadratic : bool
        Whether A is half the squared norm of theta.
    is_product : bool
        Whether the columns of v are independent given theta, as far as they are finite.
    """

    is_quadratic: ClassVar[bool]
    is_product: ClassVar[bool]

    def statistic(self, v: Tensor) -> Tensor:
        """Return s(v), shape (n, n_statistics)."""

    def log_base(self, v: Tensor) -> Tensor | float:
        """Return log m(v), shape (n,) or the same for all."""

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return A(theta), summed over the last axis."""

    def mean_(self, theta: Tensor) -> Tensor:
        """Turn natural parameters, in place, into E[v]."""

    def draw_(self, theta: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Turn natural parameters, in place, into a draw of v; `noise` is scratch."""

    def bias(self, mean: Tensor, n: Tensor | float) -> Tensor:
        """Return natural parameters of independent units with this mean over n rows."""

    def n_states(self, n_statistics: int) -> float:
        """Return the number of values of v; infinite for continuous units."""

    def states(self, indices: Tensor, n_statistics: int) -> Tensor:
        """Return the states v of these indices, which go from 0 to n_states - 1."""

    def subset(self, kept: Tensor) -> VisibleUnits:
        """Return the units of the columns of v where `kept` is True."""

    def log_density(self, observed: Tensor, theta: Tensor) -> Tensor:
        """Return log p(v_O | theta) of one row, NaN where missing, for each theta."""

    def given(self, observed: Tensor) -> VisibleUnits:
        """Return units whose draws and means `clamp` takes, for these rows."""

    def clamp(self, observed: Tensor) -> Callable[[Tensor], Tensor]:
        """Return a function that conditions draws, or means, of v on v_O."""

    def values_by_column(self, n_statistics: int) -> list[tuple[Tensor, Tensor]]:
        """Return for each column of a table the numbers of its units and their states.

        The latter has a row for each value of the column. Continuous units have none.
        """

    def to(self, place: torch.device | torch.dtype) -> VisibleUnits:
        """Return units whose tensors are on a device or of a dtype."""


class BernoulliUnits:
    r"""Units of 0 and 1: s(v) = v, A(theta) = sum of softplus(theta), m = 1."""

    is_quadratic: ClassVar[bool] = False
    is_product: ClassVar[bool] = True

    def statistic(self, v: Tensor) -> Tensor:
        """Return v."""
        return v

    def log_base(self, v: Tensor) -> float:
        """Return 0."""
        return 0.0

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return the sum of softplus(theta) over the last axis."""
        return functional.softplus(theta).sum(-1)

    def mean_(self, theta: Tensor) -> Tensor:
        """Turn log odds, in place, into probabilities."""
        return theta.sigmoid_()

    def draw_(self, theta: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Turn log odds, in place, into draws; `noise` is scratch of that shape."""
        noise.uniform_(generator=generator)
        return torch.lt(noise, theta.sigmoid_(), out=theta)

    def bias(self, mean: Tensor, n: Tensor | float) -> Tensor:
        """Return log odds of the means, smoothed by one row of each value."""
        ones = mean.clamp(0, 1) * n
        return ((ones + 1) / (n - ones + 1)).log()

    def n_states(self, n_statistics: int) -> float:
        """Return 2^n_statistics."""
        return n_binary_states(n_statistics)

    def states(self, indices: Tensor, n_statistics: int) -> Tensor:
        """Return the binary digits of the indices."""
        return binary_digits(indices, n_statistics)

    def subset(self, kept: Tensor) -> BernoulliUnits:
        """Return these units."""
        return self

    def log_density(self, observed: Tensor, theta: Tensor) -> Tensor:
        """Return log p(v_O | theta) of one row, NaN where missing, for each theta."""
        seen = ~observed.isnan()
        theta = theta[:, seen]
        return theta @ observed[seen] - self.log_partition(theta)

    def given(self, observed: Tensor) -> BernoulliUnits:
        """Return these units: one says nothing of another."""
        return self

    def clamp(self, observed: Tensor) -> Callable[[Tensor], Tensor]:
        """Return a function that sets the observed units."""
        return hold(observed)

    def switched(self, v: Tensor, theta: Tensor) -> Tensor:
        """Return by how much theta s(v) changes where one unit of v is flipped.

        theta has shape (k, d) or (n, k, d), the change (n, k, d, 1).
        """
        return ((1 - 2 * v)[:, None] * theta)[..., None]

    def others(self, v: Tensor) -> Tensor:
        """Return that each flip gives another value, shape (n, d, 1)."""
        return torch.ones_like(v, dtype=torch.bool)[..., None]

    def values_by_column(self, n_statistics: int) -> list[tuple[Tensor, Tensor]]:
        """Return for each column the number of its unit and its states, 0 and 1."""
        states = torch.arange(2.0)[:, None]
        return [(unit, states) for unit in torch.arange(n_statistics).split(1)]

    def to(self, place: torch.device | torch.dtype) -> BernoulliUnits:
        """Return these units, which hold no tensors."""
        return self


def hold(observed: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that sets the units of v that are observed (not NaN)."""
    is_free = observed.isnan()
    return lambda v: torch.where(is_free, v, observed)


def n_binary_states(n: int) -> float:
    """Return 2^n, or infinity where a float overflows."""
    return 2.0**n if n < 1024 else math.inf


def binary_digits(indices: Tensor, n: int) -> Tensor:
    """Return the n lowest binary digits of each index, shape (len(indices), n)."""
    places = torch.arange(n, device=indices.device)
    return indices[:, None].bitwise_right_shift(places).bitwise_and(1)


#: The units have no state: one instance is shared.
BERNOULLI = BernoulliUnits()


@dataclass(frozen=True)
class RBM:
    r"""Restricted Boltzmann machine with binary hidden units: an energy of v.

    .. math:: p(v, h) \propto e^{b \cdot s(v) + c \cdot h + h^T W s(v)} \, m(v), \qquad
        F(v) = -\log m(v) - b \cdot s(v) - \sum_j \log(1 + e^{c_j + (W s(v))_j})

    Calling it gives the free energy F, so that p(v) is proportional to exp(-F(v)), and
    it offers `sample_blocks` to the sampler `BlockGibbs`. It is no nn.Module, since its
    gradient is known in closed form.

    Parameters
    ----------
    weight : Tensor of shape (n_hidden, n_statistics)
        W.
    hidden_bias : Tensor of shape (n_hidden,)
        c.
    visible_bias : Tensor of shape (n_statistics,)
        b.
    visible : VisibleUnits
        The kind of the visible units.

    References
    ----------
    P. Smolensky, "Information processing in dynamical systems: foundations of harmony
    theory", in Parallel distributed processing (1986). M. Welling, M. Rosen-Zvi and
    G. E. Hinton, "Exponential family harmoniums with an application to information
    retrieval", NeurIPS 2004.

    Examples
    --------
    >>> import torch
    >>> from skebm.networks import RBM
    >>> rbm = RBM(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
    >>> rbm(torch.zeros(1, 2))  # -3 log 2
    tensor([-2.0794])
    """

    weight: Tensor
    hidden_bias: Tensor
    visible_bias: Tensor
    visible: VisibleUnits = BERNOULLI

    def __call__(self, v: Tensor) -> Tensor:
        """Return the free energy F(v), shape (n,)."""
        s = self.visible.statistic(v)
        pull = functional.softplus(self._pull(s)).sum(1)
        return -s @ self.visible_bias - pull - self.visible.log_base(v)

    def hidden_field(self, v: Tensor) -> Tensor:
        """Return the log odds of h given v, c + W s(v)."""
        return self._pull(self.visible.statistic(v))

    def visible_field(self, h: Tensor) -> Tensor:
        """Return the natural parameters of v given h, b + h W."""
        return torch.addmm(self.visible_bias, h, self.weight)

    def hidden_log_prob_unnormalized(self, h: Tensor) -> Tensor:
        """Return c h + A(b + h W), the log of p(h) up to log Z, shape (n,)."""
        field = self.visible_field(h)
        return h @ self.hidden_bias + self.visible.log_partition(field)

    def sample_hidden(self, v: Tensor, generator: torch.Generator) -> Tensor:
        """Draw h given v."""
        probability = self.hidden_field(v).sigmoid_()
        noise = torch.empty_like(probability).uniform_(generator=generator)
        return torch.lt(noise, probability, out=probability)

    def sample_visible(self, h: Tensor, generator: torch.Generator) -> Tensor:
        """Draw v given h."""
        field = self.visible_field(h)
        return self.visible.draw_(field, torch.empty_like(field), generator)

    def sample_blocks(self, v: Tensor, generator: torch.Generator) -> Tensor:
        """Draw h given v, then v given h; see `skebm.samplers.BlockConditionals`."""
        return self.sample_visible(self.sample_hidden(v, generator), generator)

    def tempered(self, beta: float, base_bias: Tensor) -> RBM:
        """Return the RBM on the path from independent units to this one.

        At beta = 0 it has no weights and `base_bias` for its visible units.
        """
        return replace(
            self,
            weight=beta * self.weight,
            hidden_bias=beta * self.hidden_bias,
            visible_bias=torch.lerp(base_bias, self.visible_bias, beta),
        )

    def parameters(self) -> dict[str, Tensor]:
        """Return the parameters by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: v for k, v in values.items() if isinstance(v, Tensor)}

    def to(self, place: torch.device | torch.dtype) -> RBM:
        """Return an RBM whose parameters are on a device or of a dtype."""
        moved: Any = {k: v.to(place) for k, v in self.parameters().items()}
        return replace(self, **moved, visible=self.visible.to(place))

    def _pull(self, s: Tensor) -> Tensor:
        return torch.addmm(self.hidden_bias, s, self.weight.mT)
