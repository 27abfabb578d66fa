"""Restricted Boltzmann machines over binary columns and a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from skebm.networks.boltzmann._rbm import BERNOULLI, RBM, binary_digits, n_binary_states


@dataclass(frozen=True)
class LabeledUnits:
    """Units of 0 and 1, and in the last columns one unit of K values, one-hot.

    Parameters
    ----------
    n_classes : int
        K.
    """

    n_classes: int

    is_quadratic: ClassVar[bool] = False
    is_product: ClassVar[bool] = True

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return views of the binary columns and of the columns of the class."""
        return x[..., : -self.n_classes], x[..., -self.n_classes :]

    def statistic(self, v: Tensor) -> Tensor:
        """Return v."""
        return v

    def log_base(self, v: Tensor) -> float:
        """Return 0."""
        return 0.0

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return the sum of softplus over binary units plus logsumexp of the class."""
        binary, label = self.split(theta)
        return BERNOULLI.log_partition(binary) + label.logsumexp(-1)

    def mean_(self, theta: Tensor) -> Tensor:
        """Turn log odds, in place, into probabilities."""
        binary, label = self.split(theta)
        binary.sigmoid_()
        label.copy_(label.softmax(-1))
        return theta

    def draw_(self, theta: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Turn log odds, in place, into draws; the class is drawn by Gumbel noise."""
        binary, label = self.split(theta)
        noise.uniform_(generator=generator)
        binary_noise, label_noise = self.split(noise)
        torch.lt(binary_noise, binary.sigmoid_(), out=binary)
        drawn = (label - (-label_noise.log()).log()).argmax(-1, keepdim=True)
        label.zero_().scatter_(-1, drawn, 1.0)
        return theta

    def bias(self, mean: Tensor, n: Tensor | float) -> Tensor:
        """Return log odds and log class frequencies, smoothed by a row of each."""
        n = torch.as_tensor(n).expand_as(mean)
        binary, label = self.split(mean)
        log_share = (label * self.split(n)[1] + 1).log().log_softmax(-1)
        return torch.cat([BERNOULLI.bias(binary, self.split(n)[0]), log_share])

    def n_states(self, n_statistics: int) -> float:
        """Return 2^(n_statistics - K) K."""
        return n_binary_states(n_statistics - self.n_classes) * self.n_classes

    def states(self, indices: Tensor, n_statistics: int) -> Tensor:
        """Return states: binary digits of the indices, then the class, one-hot."""
        n_binary = n_statistics - self.n_classes
        label = functional.one_hot(indices >> n_binary, self.n_classes)
        return torch.cat([binary_digits(indices, n_binary), label], 1)

    def values_by_column(self, n_statistics: int) -> list[tuple[Tensor, Tensor]]:
        """Return the numbers and states of the binary units, then of the class."""
        n_binary = n_statistics - self.n_classes
        label = torch.arange(n_binary, n_statistics), torch.eye(self.n_classes)
        return [*BERNOULLI.values_by_column(n_binary), label]

    def to(self, place: torch.device | torch.dtype) -> LabeledUnits:
        """Return these units; they hold no tensors."""
        return self


class LabeledRBM:
    r"""RBM over (v, y) as a function of v: log p(v) and class logits.

    .. math:: -F(v, y) = b \cdot v + d_y
        + \sum_j \log(1 + e^{c_j + (W v)_j + U_{jy}}), \qquad
        p(y \mid v) = \mathrm{softmax}_y (-F(v, y)), \qquad
        F(v) = -\log \sum_y e^{-F(v, y)}

    Calling it gives F(v).

    Parameters
    ----------
    joint : RBM
        With `LabeledUnits`: its weights are W beside U, its visible biases b and d.

    References
    ----------
    H. Larochelle and Y. Bengio, "Classification using discriminative restricted
    Boltzmann machines", ICML 2008.

    Examples
    --------
    >>> import torch
    >>> from skebm.networks import RBM, LabeledRBM, LabeledUnits
    >>> joint = RBM(torch.zeros(3, 4), torch.zeros(3), torch.zeros(4), LabeledUnits(2))
    >>> LabeledRBM(joint).log_joint(torch.ones(1, 2)).softmax(1)
    tensor([[0.5000, 0.5000]])
    """

    def __init__(self, joint: RBM) -> None:
        units = cast(LabeledUnits, joint.visible)
        self.joint, self.n_classes = joint, units.n_classes
        self.weight, self.class_weight = units.split(joint.weight)
        self.visible_bias, self.class_bias = units.split(joint.visible_bias)

    def __call__(self, v: Tensor) -> Tensor:
        """Return F(v), shape (n,)."""
        return -self.log_joint(v).logsumexp(1)

    def pull(self, v: Tensor) -> Tensor:
        """Return c + W v, the log odds of h without the contribution of the class."""
        return torch.addmm(self.joint.hidden_bias, v, self.weight.mT)

    def log_joint(self, v: Tensor) -> Tensor:
        """Return -F(v, y) of every class, shape (n, n_classes)."""
        return self.logits(self.pull(v)) + (v @ self.visible_bias)[:, None]

    def logits(self, pull: Tensor) -> Tensor:
        """Return -F(v, y) up to terms shared by all classes, given c + W v."""
        # A class at a time: n_classes times less memory.
        parts = [functional.softplus(pull + u).sum(1) for u in self.class_weight.mT]
        return torch.stack(parts, 1) + self.class_bias

    def given(self, label: int) -> RBM:
        """Return the RBM of p(v | y), whose hidden biases are shifted by the class."""
        shifted = self.joint.hidden_bias + self.class_weight[:, label]
        return RBM(self.weight, shifted, self.visible_bias)
