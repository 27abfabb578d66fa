"""Visible units of restricted Boltzmann machines whose base measure is of trees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from skebm.networks.boltzmann._rbm import BERNOULLI, hold
from skebm.networks.boltzmann._units import SoftmaxUnits
from skebm.references import TreeMixture


class TreeUnits:
    r"""Binary or categorical units that follow a mixture of trees, without weights.

    .. math:: p(v \mid \theta) = e^{\theta \cdot s(v) - A(\theta)} \, q_0(v)

    where :math:`q_0` is the mixture. An RBM of these units is the tilt of it by the
    RBM's own energy, and without weights and biases it is the mixture itself. A and
    draws are exact: fields on the columns of a tree are summed out along its edges.

    Parameters
    ----------
    log_weights, parents, log_tables : Tensor
        The mixture; see `skebm.references.TreeMixture`.
    sizes : sequence of int or None, default=None
        Number of categories of each column, whose units are one-hot; None is for units
        of 0 and 1.
    fields : Tensor of shape (n, n_features, n_values) or None, default=None
        Added to those of theta, row by row: -inf forbids a value.

    Examples
    --------
    >>> import torch
    >>> from skebm.networks import RBM, TreeUnits
    >>> table = torch.tensor([[[0.5, 0.5], [0.5, 0.5]], [[0.9, 0.1], [0.1, 0.9]]])
    >>> units = TreeUnits(torch.zeros(1), torch.tensor([[0, 0]]), table.log()[None])
    >>> rbm = RBM(torch.zeros(0, 2), torch.zeros(0), torch.zeros(2), units)
    >>> (-rbm(torch.tensor([[1.0, 1.0]]))).exp()
    tensor([0.4500])
    """

    is_quadratic: ClassVar[bool] = False
    is_product: ClassVar[bool] = False

    def __init__(
        self,
        log_weights: Tensor,
        parents: Tensor,
        log_tables: Tensor,
        sizes: Sequence[int] | None = None,
        fields: Tensor | None = None,
    ) -> None:
        self.log_weights, self.parents, self.log_tables = (
            log_weights,
            parents,
            log_tables,
        )
        self.sizes, self.fields = sizes, fields
        #: The mixture, and the units that v is made of.
        self.trees = TreeMixture(log_weights, parents, log_tables)
        inner: Any = BERNOULLI if sizes is None else SoftmaxUnits(sizes)
        self.inner = inner.to(parents.device)

    @classmethod
    def of(
        cls,
        trees: TreeMixture,
        sizes: Sequence[int] | None = None,
        fields: Tensor | None = None,
    ) -> TreeUnits:
        """Return the units of a mixture."""
        arrays = trees.log_weights, trees.parents, trees.log_tables
        return cls(*arrays, sizes, fields)

    def to(self, place: torch.device | torch.dtype) -> TreeUnits:
        """Return units on a device or of a dtype."""
        fields = None if self.fields is None else self.fields.to(place)
        if fields is self.fields and self.log_tables.to(place) is self.log_tables:
            return self
        return TreeUnits.of(self.trees.to(place), self.sizes, fields)

    def statistic(self, v: Tensor) -> Tensor:
        """Return v."""
        return v

    def indices(self, v: Tensor) -> Tensor:
        """Return the index of the value of each column."""
        if self.sizes is None:
            return v.round().long()
        return self.inner.by_unit(v, -1.0).argmax(-1)

    def fields_of(self, theta: Tensor) -> Tensor:
        """Return natural parameters by column and value."""
        if self.sizes is None:
            fields = torch.stack([torch.zeros_like(theta), theta], -1)
        else:
            fields = self.inner.by_unit(theta, 0.0)
        return fields if self.fields is None else fields + self.fields

    def log_base(self, v: Tensor) -> Tensor:
        """Return log q0(v), shape (n,)."""
        x = self.indices(v)
        return self.trees.log_prob(x.flatten(0, -2)).reshape(x.shape[:-1]).to(v)

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return log of the sum of q0(v) exp(theta s(v)) over all rows v."""
        trees = self.trees.to(theta.dtype)
        level = trees.log_partition(self.fields_of(theta.reshape(-1, theta.shape[-1])))
        return level.reshape(theta.shape[:-1])

    def mean_(self, theta: Tensor) -> Tensor:
        """Return E[v], the gradient of A."""
        with torch.enable_grad():
            leaf = theta.detach().clone().requires_grad_()
            (mean,) = torch.autograd.grad(self.log_partition(leaf).sum(), leaf)
        return theta.copy_(mean)

    def draw_(self, theta: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Turn natural parameters, in place, into draws."""
        del noise
        trees, flat = self.trees.to(theta.dtype), theta.reshape(-1, theta.shape[-1])
        x = trees.draw(self.fields_of(flat), generator)
        if self.sizes is None:
            return theta.copy_(x.reshape(theta.shape))
        chosen = x[..., None] == torch.arange(max(self.sizes), device=x.device)
        return theta.copy_(chosen[..., self.inner.exists].reshape(theta.shape))

    def bias(self, mean: Tensor, n: Tensor | float) -> Tensor:
        """Return zeros: the mixture has the means of its rows."""
        del n
        return torch.zeros_like(mean)

    def n_states(self, n_statistics: int) -> float:
        """Return the number of values of v."""
        return self.inner.n_states(n_statistics)

    def states(self, indices: Tensor, n_statistics: int) -> Tensor:
        """Return the states v of these indices."""
        return self.inner.states(indices, n_statistics)

    def subset(self, kept: Tensor) -> Any:
        """Return what lists the states of some columns."""
        return self.inner.subset(kept)

    def values_by_column(self, n_statistics: int) -> list[tuple[Tensor, Tensor]]:
        """Return for each column the numbers of its units and their states."""
        return self.inner.values_by_column(n_statistics)

    def log_density(self, observed: Tensor, theta: Tensor) -> Tensor:
        """Return log p(v_O | theta) of one row, NaN where missing, for each theta."""
        given = self.given(observed[None])
        return given.log_partition(theta) - self.log_partition(theta)

    def given(self, observed: Tensor) -> TreeUnits:
        """Return units whose draws and sums have the observed values."""
        missing = observed.isnan()
        x = self.indices(observed.nan_to_num(0.0))
        if self.sizes is not None:
            missing = missing[:, self.inner.columns[:, 0]]
        fields = self.trees.held(x, ~missing).to(observed.dtype)
        return TreeUnits.of(self.trees, self.sizes, fields)

    def clamp(self, observed: Tensor) -> Callable[[Tensor], Tensor]:
        """Return a function that sets the observed units of what `given` draws."""
        return hold(observed)
