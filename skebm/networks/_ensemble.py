"""An ensemble of classifiers with a critic, evaluated together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from skebm.networks._mlp import make_activation
from skebm.utils import check_argument, check_sizes, is_count

Layer = Callable[[Tensor], Tensor]

ALL = slice(None)
FIRST = slice(0, 1)


class BatchedLinear(nn.Module):
    """Linear layers of all members, evaluated by one batched product."""

    def __init__(
        self, n_members: int, n_inputs: int, n_outputs: int, gain: float = 2.0
    ):
        super().__init__()
        weight = torch.randn(n_members, n_inputs, n_outputs)
        self.weight = nn.Parameter(weight * math.sqrt(gain / n_inputs))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_outputs))

    def forward(self, x: Tensor, which: slice = ALL) -> Tensor:
        """Map x of shape (m, n, n_inputs) to (m, n, n_outputs), by m members."""
        if which == ALL:  # a slice's gradient is copied into one of full size
            return torch.baddbmm(self.bias, x, self.weight)
        return torch.baddbmm(self.bias[which], x, self.weight[which])

    def split(self, counts: Sequence[int]) -> list[Layer]:
        """Return the layers of so many members each, in their order."""
        parts = zip(self.bias.split(counts), self.weight.split(counts), strict=True)
        return [partial(_linear, bias, weight) for bias, weight in parts]


def _linear(bias: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    return torch.baddbmm(bias, x, weight)


def _chain(layers: Sequence[Layer], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


class EnsembleMLP(nn.Module):
    r"""Ensemble of perceptrons with a head for the classes and one for the critic.

    .. math:: g_y(x) = \log \sum_m w_m \, p_m(y | x) + c(x)

    The softmax of g is the mean of the members' p(y | x), of equal weights
    :math:`w_m = 1/M` until `weigh` sets others, and its logsumexp the critic
    c, a second head on the first member's hidden layers (one member suffices, at a
    third of the cost). With a separate head the cross-entropy does not change the
    density; the logits of any joint energy-based model can be written in this form.

    Parameters
    ----------
    n_features, n_outputs : int
        Columns in, classes out.
    hidden_features : sequence of int, default=(256, 256)
        Width of each hidden layer.
    n_members : int, default=6
        M.
    activation : {"silu", "softplus", "gelu", "tanh"}, default="silu"
        Activation of the hidden layers.

    Examples
    --------
    >>> import torch
    >>> EnsembleMLP(4, 3)(torch.zeros(7, 4)).shape
    torch.Size([7, 3])
    """

    #: Declares the capability of an `EnsembleNetwork`.
    is_ensemble: ClassVar[bool] = True
    has_elementwise_layers: ClassVar[bool] = True

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        hidden_features: Sequence[int] = (256, 256),
        n_members: int = 6,
        activation: str = "silu",
    ) -> None:
        super().__init__()
        check_sizes(self, "hidden_features", hidden_features)
        right = is_count(n_members, 1)
        check_argument(self, "n_members", n_members, right, "an integer, at least 1")
        self.n_members = int(n_members)
        layers: list[nn.Module] = []
        width = n_features
        for size in hidden_features:
            layers.append(BatchedLinear(n_members, width, size))
            layers.append(make_activation(activation))
            width = size
        self.trunk = nn.ModuleList(layers)
        self.class_head = BatchedLinear(n_members, width, n_outputs, gain=1.0)
        self.critic_head = BatchedLinear(1, width, 1, gain=0.0)
        self.log_weights: Tensor
        even = torch.full((n_members,), -math.log(n_members))
        self.register_buffer("log_weights", even)

    def weigh(self, weights: Sequence[float]) -> None:
        """Set the weights of the members, positive and of sum one."""
        self.log_weights.copy_(torch.tensor(weights).log())

    def members(self, x: Tensor, which: slice = ALL) -> Tensor:
        """Return each member's class logits, shape (n_members, n, n_outputs).

        Parameters
        ----------
        x : Tensor of shape (n, n_features) or (n_members, n, n_features)
            The same rows for all members, or rows for each.
        which : slice, default=slice(None)
            The members to evaluate.
        """
        return self.class_head(self._hidden(x, which), which)

    def split(self, counts: Sequence[int]) -> list[Layer]:
        """Return the members in groups, each a function of rows of its own.

        The gradients of all groups come together by one copy a parameter, where each
        call of `members` with a slice makes one.

        Parameters
        ----------
        counts : sequence of int
            Members of each group, in their order; of sum `n_members`.

        Returns
        -------
        list of callable
            From rows (m, n, n_features) of m members to logits (m, n, n_outputs).
        """
        layers = [*self.trunk, self.class_head]
        parts = [
            layer.split(counts)
            if isinstance(layer, BatchedLinear)
            else [layer] * len(counts)
            for layer in layers
        ]
        return [partial(_chain, group) for group in zip(*parts, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (n, n_features) to the logits g, (n, n_outputs)."""
        hidden = self._hidden(x, ALL)
        log_prob = torch.log_softmax(self.class_head(hidden), dim=2)
        mean_prob = torch.logsumexp(log_prob + self.log_weights[:, None, None], dim=0)
        return mean_prob + self.critic_head(hidden[:1])[0]

    def critic(self, x: Tensor) -> Tensor:
        """Return the logsumexp of the logits g, shape (n,), without computing them."""
        return self.critic_head(self._hidden(x, FIRST))[0, :, 0]

    def _hidden(self, x: Tensor, which: slice) -> Tensor:
        if x.dim() == 2:
            x = x.expand(len(range(self.n_members)[which]), -1, -1)
        layers = iter(self.trunk)
        for linear, activation in zip(layers, layers, strict=True):
            x = activation(linear(x, which))
        return x
