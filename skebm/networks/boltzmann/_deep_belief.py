"""Deep belief nets: directed layers of binary units below an RBM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skebm.networks.boltzmann._rbm import BERNOULLI, RBM, VisibleUnits


@dataclass(frozen=True)
class DirectedLayer:
    r"""Directed layer p(v | h) with its approximate posterior q(h | v).

    .. math:: p(v \mid h) = e^{\theta \cdot s(v) - A(\theta)} \, m(v), \quad
        \theta = b + h W, \qquad
        q(h \mid v) = \prod_j \mathrm{Bernoulli}(h_j; \sigma(c + R \, s(v))_j)

    Parameters
    ----------
    weight, bias : Tensor
        W, shape (n_hidden, n_statistics), and b.
    recognition_weight, recognition_bias : Tensor
        R, of W's shape, and c.
    visible : VisibleUnits
        The kind of v.
    """

    weight: Tensor
    bias: Tensor
    recognition_weight: Tensor
    recognition_bias: Tensor
    visible: VisibleUnits = BERNOULLI

    def log_prob(self, v: Tensor, h: Tensor) -> Tensor:
        """Return log p(v | h), shape (n,)."""
        theta = torch.addmm(self.bias, h, self.weight)
        fit = (theta * self.visible.statistic(v)).sum(1)
        return fit - self.visible.log_partition(theta) + self.visible.log_base(v)

    def recognition_log_prob(self, h: Tensor, v: Tensor) -> Tensor:
        """Return log q(h | v), shape (n,)."""
        field = self.field(v)
        return (h * field).sum(1) - BERNOULLI.log_partition(field)

    def field(self, v: Tensor) -> Tensor:
        """Return the log odds of h given v by q."""
        s = self.visible.statistic(v)
        return torch.addmm(self.recognition_bias, s, self.recognition_weight.mT)

    def sample_down(self, h: Tensor, generator: torch.Generator) -> Tensor:
        """Draw v given h."""
        theta = torch.addmm(self.bias, h, self.weight)
        return self.visible.draw_(theta, torch.empty_like(theta), generator)


@dataclass(frozen=True)
class DeepBeliefNet:
    r"""Deep belief net: an RBM over h_k and directed layers from it down to v.

    .. math:: p(v, h_1, \dots, h_k) = p(v \mid h_1) \, p(h_1 \mid h_2) \cdots
        p(h_{k-1} \mid h_k) \, p_{\mathrm{RBM}}(h_k)

    Parameters
    ----------
    layers : tuple of DirectedLayer
        The lowest first; k of them.
    top : RBM
        Over h_k, with hidden units of its own.

    References
    ----------
    G. E. Hinton, S. Osindero and Y.-W. Teh, "A fast learning algorithm for deep belief
    nets", Neural Computation 18 (2006).
    """

    layers: tuple[DirectedLayer, ...]
    top: RBM

    def features(self, v: Tensor) -> Tensor:
        """Return probabilities of the top RBM's hidden units by a mean-field pass."""
        for layer in self.layers:
            v = layer.field(v).sigmoid_()
        return self.top.hidden_field(v).sigmoid_()

    def sample_up(self, v: Tensor, noise: list[Tensor]) -> list[Tensor]:
        """Draw h_1, ..., h_k from q by uniform noise; return v, h_1, ..., h_k."""
        states = [v]
        for layer, uniform in zip(self.layers, noise, strict=True):
            probability = layer.field(states[-1]).sigmoid_()
            states.append((uniform < probability).to(probability))
        return states

    def sample_down(self, h: Tensor, generator: torch.Generator) -> list[Tensor]:
        """Draw v, h_1, ..., h_{k-1} given h_k; return v, h_1, ..., h_k."""
        states = [h]
        for layer in reversed(self.layers):
            states.insert(0, layer.sample_down(states[0], generator))
        return states

    def noise(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """Return uniform noise for n rows, one tensor per layer."""
        sizes = [layer.recognition_bias for layer in self.layers]
        return [c.new_empty(n, len(c)).uniform_(generator=generator) for c in sizes]

    def log_prob_unnormalized(self, states: list[Tensor]) -> Tensor:
        """Return log p(v, h_1, ..., h_k) plus the top RBM's log Z, shape (n,)."""
        pairs = zip(self.layers, states[:-1], states[1:], strict=True)
        return sum((p.log_prob(v, h) for p, v, h in pairs), -self.top(states[-1]))

    def recognition_log_prob(self, states: list[Tensor]) -> Tensor:
        """Return log q(h_1, ..., h_k | v), shape (n,)."""
        pairs = zip(self.layers, states[:-1], states[1:], strict=True)
        zero = states[0].new_zeros(len(states[0]))
        return sum((q.recognition_log_prob(h, v) for q, v, h in pairs), zero)

    def log_bound_unnormalized(
        self, v: Tensor, n_draws: int, generator: torch.Generator
    ) -> Tensor:
        r"""Return a lower bound on log p(v), plus the top RBM's log Z.

        .. math:: \log \tfrac1S \sum_{s=1}^S \frac{p(v, h^{(s)})}{q(h^{(s)} \mid v)},
            \qquad h^{(s)} \sim q(h \mid v)

        In expectation it lies below log p(v), for S = 1 by the Kullback-Leibler
        divergence of q from the posterior, and rises to it with S. All rows share the
        same noise, so that the bound of a row does not depend on the other rows.

        References
        ----------
        Y. Burda, R. Grosse and R. Salakhutdinov, "Importance weighted autoencoders",
        ICLR 2016.
        """
        total = v.new_full((len(v),), -torch.inf)
        for _ in range(n_draws):
            states = self.sample_up(v, self.noise(1, generator))
            log_weight = self.log_prob_unnormalized(states)
            log_weight = log_weight - self.recognition_log_prob(states)
            total = torch.logaddexp(total, log_weight)
        return total - torch.log(total.new_tensor(n_draws))
