"""The gradient of an RBM's log-likelihood in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.networks import RBM
from skebm.samplers import TemperedGibbs

METHODS = ("pcd", "cd", "tempering")
#: Weight of the newest rows in the running means that centre the gradient, and the
#: number of steps between updates of these means.
OFFSET_RATE, OFFSET_EVERY = 0.05, 5


class ContrastiveGradient:
    r"""Gradient of an RBM: mean statistics of data less those of the model.

    .. math:: \nabla_W \log p = \tfrac1n \sum_{i} E[h \mid v_i] \, s(v_i)^T
        - \tfrac1m \sum_{j} E[h \mid v'_j] \, s(v'_j)^T

    over n rows v of data and m states v' of chains; likewise for the biases. The
    gradient of W is returned as two factors, `left` and `right`, so that an update is
    one product, W + rate left^T right, without a copy of the gradient.

    Centred, the statistics are taken about offsets mu of v and lambda of h, running
    means over data, and the update in the centred parameters is expressed in W, b, c:

    .. math:: \nabla_W^c = \Delta\langle (h - \lambda)(s - \mu)^T \rangle, \quad
        \nabla_b^c = \Delta\langle s \rangle - (\nabla_W^c)^T \lambda, \quad
        \nabla_c^c = \Delta\langle h \rangle - \nabla_W^c \mu

    Parameters
    ----------
    chains : Tensor of shape (n_chains, n_hidden), or (K, n_chains, n_hidden)
        Hidden states the chains start at; at K temperatures for "tempering". They go
        on from call to call, except for "cd", which starts at data.
    offsets : pair of Tensor
        mu, shape (n_statistics,), and lambda, shape (n_hidden,); updated in place.
    method : {"pcd", "cd", "tempering"}
        Where states of the model come from.
    n_gibbs_steps : int
        Steps of each chain before its state counts.
    centered : bool
        Whether to centre.
    tempering : TemperedGibbs or None
        What moves the chains of "tempering".
    generator : torch.Generator
        The only source of randomness.

    Attributes
    ----------
    hidden_bias, visible_bias : Tensor
        The gradients of the biases after a call.

    References
    ----------
    G. E. Hinton, "Training products of experts by minimizing contrastive divergence",
    Neural Computation 14 (2002). T. Tieleman, "Training restricted Boltzmann machines
    using approximations to the likelihood gradient", ICML 2008. J. Melchior, A. Fischer
    and L. Wiskott, "How to center deep Boltzmann machines", JMLR 17 (2016).
    """

    def __init__(
        self,
        chains: Tensor,
        offsets: tuple[Tensor, Tensor],
        *,
        method: str,
        n_gibbs_steps: int,
        centered: bool,
        tempering: TemperedGibbs | None,
        generator: torch.Generator,
    ) -> None:
        self.chains = chains
        self.visible_offset, self.hidden_offset = offsets
        self.method = method
        self.n_gibbs_steps = n_gibbs_steps
        self.centered = centered
        self.tempering = tempering
        self.generator = generator
        self.hidden_bias = torch.empty_like(self.hidden_offset)
        self.visible_bias = torch.empty_like(self.visible_offset)
        self._buffers: dict[int, _Buffers] = {}
        self.n_calls = 0

    def __call__(self, rbm: RBM, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of the gradient of W, given rows v of data."""
        buffers = self._buffers.get(len(v))
        if buffers is None:
            n_model = len(v) if self.method == "cd" else self.chains.shape[-2]
            buffers = self._buffers[len(v)] = _Buffers(rbm, n_model, len(v))
        buffers.put(rbm.visible.statistic(v), buffers.data)
        if self.tempering is None:
            self._walk(rbm, buffers)
        else:
            for _ in range(self.n_gibbs_steps):
                x, h = self.tempering.step(rbm, self.chains, self.generator)
                self.chains.copy_(h)
            buffers.put(rbm.visible.statistic(x), buffers.model)
        buffers.hidden_mean(rbm, buffers.right, buffers.left)
        if self.method == "pcd":
            self._draw(buffers.left[: buffers.n_model], buffers, out=self.chains)
        return self._finish(buffers)

    def snapshot(self) -> tuple[Tensor, Tensor, Tensor, int]:
        """Return a copy of all that calls change."""
        offsets = self.visible_offset.clone(), self.hidden_offset.clone()
        return self.chains.clone(), *offsets, self.n_calls

    def restore(self, snapshot: tuple[Tensor, Tensor, Tensor, int]) -> None:
        """Go back to a snapshot; the snapshot stays usable."""
        chains, visible_offset, hidden_offset, self.n_calls = snapshot
        self.chains.copy_(chains)
        self.visible_offset.copy_(visible_offset)
        self.hidden_offset.copy_(hidden_offset)

    def _walk(self, rbm: RBM, buffers: _Buffers) -> None:
        """Move the chains; write the statistics of their states to `buffers.model`."""
        left = buffers.left[: buffers.n_model]
        h = self.chains
        if self.method == "cd":
            buffers.hidden_mean(rbm, buffers.data, left)
            h = self._draw(left, buffers, out=buffers.h)
        for step in range(self.n_gibbs_steps):
            if step:
                buffers.hidden_mean(rbm, buffers.model, left)
                h = self._draw(left, buffers, out=buffers.h)
            field = torch.addmm(rbm.visible_bias, h, rbm.weight, out=buffers.model)
            v = rbm.visible.draw_(field, buffers.visible_noise, self.generator)
            buffers.put(rbm.visible.statistic(v), buffers.model)

    def _draw(self, probability: Tensor, buffers: _Buffers, out: Tensor) -> Tensor:
        noise = buffers.hidden_noise.uniform_(generator=self.generator)
        return torch.lt(noise, probability, out=out)

    def _finish(self, buffers: _Buffers) -> tuple[Tensor, Tensor]:
        """Return the factors of W's gradient; write the gradients of the biases."""
        if self.centered:
            self._move_offsets(buffers)
            buffers.left.sub_(self.hidden_offset)
        buffers.left.mul_(buffers.column)
        torch.sum(buffers.left, 0, out=self.hidden_bias)
        if not self.centered:
            torch.mv(buffers.right.mT, buffers.share, out=self.visible_bias)
            return buffers.left, buffers.right
        torch.neg(self.hidden_bias, out=buffers.last_left)
        buffers.last_right.copy_(self.visible_offset)
        left, right = buffers.whole_left, buffers.whole_right
        share = torch.addmv(buffers.whole_share, left, self.hidden_offset, alpha=-1)
        torch.mv(right.mT, share, out=self.visible_bias)
        self.hidden_bias.addmv_(left.mT, right @ self.visible_offset, alpha=-1)
        return left, right

    def _move_offsets(self, buffers: _Buffers) -> None:
        """Move the offsets towards the data's means at every few calls."""
        if self.n_calls % OFFSET_EVERY == 0:
            h = buffers.left[buffers.n_model :].mean(0)
            self.hidden_offset.lerp_(h, OFFSET_RATE)
            self.visible_offset.lerp_(buffers.data.mean(0), OFFSET_RATE)
        self.n_calls += 1


class _Buffers:
    """Buffers for batches of one size, so that a step allocates next to nothing.

    Rows of the model come first, then those of data, then one for the offsets.
    """

    def __init__(self, rbm: RBM, n_model: int, n_data: int) -> None:
        n, weight = n_model + n_data, rbm.weight
        n_hidden, n_statistics = weight.shape
        self.n_model = n_model
        self.whole_left = weight.new_zeros(n + 1, n_hidden)
        self.whole_right = weight.new_zeros(n + 1, n_statistics)
        self.left, self.last_left = self.whole_left[:n], self.whole_left[n]
        self.right, self.last_right = self.whole_right[:n], self.whole_right[n]
        self.model, self.data = self.right[:n_model], self.right[n_model:]
        self.h = weight.new_empty(n_model, n_hidden)
        self.hidden_noise = torch.empty_like(self.h)
        self.visible_noise = torch.empty_like(self.model)
        #: Weight of each row in the difference of the two means.
        self.whole_share = weight.new_zeros(n + 1)
        self.whole_share[n_model:n] = 1 / n_data
        self.whole_share[:n_model] = -1 / n_model
        self.share = self.whole_share[:n]
        self.column = self.share[:, None]

    @staticmethod
    def put(s: Tensor, place: Tensor) -> None:
        """Copy statistics to their place unless they are in it already."""
        if s is not place:
            place.copy_(s)

    @staticmethod
    def hidden_mean(rbm: RBM, s: Tensor, out: Tensor) -> None:
        """Write E[h | s] to `out`."""
        torch.addmm(rbm.hidden_bias, s, rbm.weight.mT, out=out)
        out.sigmoid_()
