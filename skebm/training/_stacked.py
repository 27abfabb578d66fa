"""Epochs of RBMs of one shape, trained as one stack of matrices.

Each RBM makes the steps that it would make alone, to the last bit: it draws from its
own generator, products of matrices and vectors are those of one RBM, and so is the
order of each sum. What is saved is the cost of calling small operations.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skebm.networks import RBM, BernoulliUnits
from skebm.objectives import ContrastiveGradient
from skebm.objectives.boltzmann._gradient import OFFSET_EVERY, OFFSET_RATE
from skebm.training._batches import EvenBatches
from skebm.training._schedule import AVERAGE_EVERY, average_share
from skebm.utils import in_threads
from skebm.utils._stacks import stacked_products

#: Numbers of a stack's units; torch splits operations on more among threads, and the
#: ends of each part may be rounded otherwise.
MAX_UNITS = 32_000
#: Random numbers that are drawn at once for a stack.
MAX_NOISE = 2_000_000


@dataclass(frozen=True, eq=False)
class Epoch:
    """An epoch of an RBM's training, to be made.

    Attributes
    ----------
    ascent : RBMAscent
        Makes the steps, in place.
    batches : Batches
        The rows.
    batch_size : int
        Rows a step.
    rates : list of float
        Learning rate of each step.
    metric : AscentMetric
        Takes note of each step that is made alone.
    generator : torch.Generator
        Source of randomness.
    """

    ascent: Any
    batches: Any
    batch_size: int
    rates: list[float]
    metric: Any
    generator: torch.Generator

    @property
    def likeness(self) -> Hashable | None:
        """What epochs share that can be made as a stack; None where this can't be."""
        ascent, gradient, batches = self.ascent, self.ascent.gradient, self.batches
        if not (
            ascent.is_stackable
            and type(gradient) is ContrastiveGradient
            and gradient.method in ("pcd", "cd")
            and type(ascent.rbm.visible) is BernoulliUnits
            and type(batches) is EvenBatches
            and batches.is_dense
            and self.generator.device.type == "cpu"
        ):
            return None
        return (
            gradient.method,
            gradient.n_gibbs_steps,
            gradient.centered,
            ascent.momentum,
            bool(ascent.averaging),
            ascent.rbm.weight.shape,
            gradient.chains.shape,
            batches.x.shape,
            self.batch_size,
        )

    @property
    def scalars(self) -> Hashable:
        """The numbers by which the steps are scaled, and when means are updated."""
        ascent = self.ascent
        numbers = ascent.weight_decay, ascent.averaging
        counts = ascent.n_steps, ascent.n_averaged, ascent.gradient.n_calls
        return *numbers, *counts, *self.rates

    def make(self) -> Tensor:
        """Make the epoch alone; return the rows of the last step."""
        epoch = self.batches.epoch(self.batch_size, self.generator)
        for rows, rate in zip(epoch, self.rates, strict=True):
            self.ascent.step(rows, rate)
            self.metric.add(self.ascent.gradient)
        return rows


def make_epochs(epochs: Sequence[Epoch]) -> list[Tensor]:
    """Make epochs of one likeness; return the rows of the last step of each."""
    if len(epochs) == 1:
        return [epochs[0].make()]
    size = max(1, MAX_UNITS // _n_units(epochs[0]))
    n_threads = min(torch.get_num_threads(), len(epochs) // 2)
    n_stacks = max(-(-len(epochs) // size), n_threads)
    order = sorted(range(len(epochs)), key=lambda k: epochs[k].scalars)  # type: ignore
    ends = [len(epochs) * k // n_stacks for k in range(n_stacks + 1)]
    parts = [[epochs[k] for k in order[a:b]] for a, b in pairwise(ends)]
    made = [rows for part in in_threads(_made, parts) for rows in part]
    return [made[place] for place in np.argsort(order)]


def _made(epochs: Sequence[Epoch]) -> list[Tensor]:
    return [epochs[0].make()] if len(epochs) == 1 else _Stack(epochs).make()


def _n_units(epoch: Epoch) -> int:
    """Return the numbers that a step computes for the units of an RBM."""
    gradient = epoch.ascent.gradient
    n_data = min(epoch.batch_size, len(epoch.batches.x))
    n_model = n_data if gradient.method == "cd" else len(gradient.chains)
    return int((n_model + n_data) * max(epoch.ascent.rbm.weight.shape))


class _Parameters:
    """The parameters of RBMs, or what is kept of each, stacked along the first axis."""

    def __init__(self, rbms: Sequence[RBM]) -> None:
        n_hidden = len(rbms[0].hidden_bias)
        self.weight = torch.stack([rbm.weight for rbm in rbms])
        biases = [torch.cat([rbm.hidden_bias, rbm.visible_bias]) for rbm in rbms]
        self.bias = torch.stack(biases)
        self.hidden_bias = self.bias[:, :n_hidden]
        self.visible_bias = self.bias[:, n_hidden:]


class _Stack:
    """RBMs of one shape in training, stacked along the first axis."""

    def __init__(self, epochs: Sequence[Epoch]) -> None:
        self.epochs = epochs
        ascents = [epoch.ascent for epoch in epochs]
        gradients = [ascent.gradient for ascent in ascents]
        first = gradients[0]
        self.is_cd, self.is_centered = first.method == "cd", first.centered
        self.n_gibbs_steps = first.n_gibbs_steps
        self.chains = torch.stack([g.chains for g in gradients])
        self.visible_offset = torch.stack([g.visible_offset for g in gradients])
        self.hidden_offset = torch.stack([g.hidden_offset for g in gradients])
        self.rbm = _Parameters([ascent.rbm for ascent in ascents])
        self.velocity = self.average = None
        self.momentum = ascents[0].momentum
        if self.momentum:
            self.velocity = _Parameters([ascent.velocity for ascent in ascents])
        if ascents[0].averaging:
            self.average = _Parameters([ascent.running_average for ascent in ascents])
        self.slope = torch.empty_like(self.rbm.bias)
        n_hidden = self.hidden_offset.shape[1]
        self.hidden_bias = self.slope[:, :n_hidden]
        self.visible_bias = self.slope[:, n_hidden:]
        self.lanes = [_Lane(self, part, epochs[part.start]) for part in _parts(epochs)]
        self.decays = any(lane.decays for lane in self.lanes)
        for lane in self.lanes:
            lane.decays = self.decays
        self.buffers: dict[int, _Buffers] = {}

    def make(self) -> list[Tensor]:
        """Make the epochs; return the rows of the last step of each."""
        first = self.epochs[0]
        orders = [
            epoch.batches.order(epoch.batch_size, epoch.generator)
            for epoch in self.epochs
        ]
        ends = orders[0][1]
        n_steps = len(ends) - 1
        n_chains, n_hidden = self.chains.shape[1:]
        n_units = n_hidden + self.visible_offset.shape[1]
        largest = first.batch_size if self.is_cd else n_chains
        a_step = self.n_gibbs_steps * largest * n_units * len(self.epochs)
        n_at_once = max(1, MAX_NOISE // a_step)
        for start in range(0, n_steps, n_at_once):
            stop = min(start + n_at_once, n_steps)
            rows = slice(ends[start], ends[stop])
            x = torch.stack(
                [
                    epoch.batches.x.index_select(0, order[rows])
                    for epoch, (order, _) in zip(self.epochs, orders, strict=True)
                ]
            )
            sizes = [end - begin for begin, end in pairwise(ends[start : stop + 1])]
            self._steps(start, x.split(sizes, dim=1))
        self._write_back(n_steps)
        last = slice(ends[-2], ends[-1])
        return [
            epoch.batches.x.index_select(0, order[last])
            for epoch, (order, _) in zip(self.epochs, orders, strict=True)
        ]

    def _steps(self, start: int, batches: Sequence[Tensor]) -> None:
        """Make some steps, whose random numbers are drawn at once."""
        n_chains, n_hidden = self.chains.shape[1:]
        n_units = n_hidden + self.visible_offset.shape[1]
        counts = [
            self.n_gibbs_steps * (v.shape[1] if self.is_cd else n_chains) * n_units
            for v in batches
        ]
        noise = torch.empty(len(self.epochs), sum(counts))
        for numbers, epoch in zip(noise, self.epochs, strict=True):
            numbers.uniform_(generator=epoch.generator)
        for step, (v, numbers) in enumerate(
            zip(batches, noise.split(counts, dim=1), strict=True), start
        ):
            buffers = self.buffers.get(v.shape[1])
            if buffers is None:
                n_model = v.shape[1] if self.is_cd else n_chains
                buffers = _Buffers(self, n_model, v.shape[1])
                self.buffers[v.shape[1]] = buffers
            buffers.data.copy_(v)
            self._walk(buffers, _Noise(numbers, buffers.n_model))
            self._center(buffers, step)
            self._move(buffers, step)

    def _walk(self, buffers: _Buffers, noise: _Noise) -> None:
        """Move the chains, and write the hidden means given model and data."""
        n_hidden, n_visible = self.rbm.weight.shape[1:]
        model, left, h = buffers.model, buffers.left_model, self.chains
        if self.is_cd:
            self._hidden_mean(buffers.data, left)
            h = torch.lt(noise.take(n_hidden), left, out=buffers.h)
        for step in range(self.n_gibbs_steps):
            if step:
                self._hidden_mean(model, left)
                h = torch.lt(noise.take(n_hidden), left, out=buffers.h)
            bias = self.rbm.visible_bias[:, None]
            torch.baddbmm(bias, h, self.rbm.weight, out=model)
            torch.lt(noise.take(n_visible), model.sigmoid_(), out=model)
        self._hidden_mean(buffers.right_rows, buffers.left_rows)
        if not self.is_cd:
            torch.lt(noise.take(n_hidden), left, out=self.chains)

    def _hidden_mean(self, s: Tensor, out: Tensor) -> None:
        bias = self.rbm.hidden_bias[:, None]
        torch.baddbmm(bias, s, self.rbm.weight.mT, out=out).sigmoid_()

    def _center(self, buffers: _Buffers, step: int) -> None:
        """Write the gradients of the biases, as `ContrastiveGradient` does."""
        rows, n = buffers.left_rows, buffers.n_model
        if self.is_centered:
            for lane in self.lanes:
                if (lane.ascent.gradient.n_calls + step) % OFFSET_EVERY == 0:
                    h = rows[lane.part, n:].mean(1)
                    self.hidden_offset[lane.part].lerp_(h, OFFSET_RATE)
                    v = buffers.data[lane.part].mean(1)
                    self.visible_offset[lane.part].lerp_(v, OFFSET_RATE)
            rows.sub_(self.hidden_offset[:, None])
        rows.mul_(buffers.column)
        torch.sum(rows, 1, out=self.hidden_bias)
        if not self.is_centered:
            share = buffers.share.expand(len(rows), -1)
            right = buffers.right_rows.mT
            self.visible_bias.copy_(stacked_products(right, share))
            return
        left, right = buffers.left, buffers.right
        torch.neg(self.hidden_bias, out=left[:, -1])
        right[:, -1].copy_(self.visible_offset)
        share = stacked_products(left, self.hidden_offset, buffers.whole_share)
        self.visible_bias.copy_(stacked_products(right.mT, share))
        pull = stacked_products(right, self.visible_offset)
        self.hidden_bias.copy_(stacked_products(left.mT, pull, self.hidden_bias))

    def _move(self, buffers: _Buffers, step: int) -> None:
        """Move the parameters, and now and then their average."""
        rbm, u = self.rbm, self.velocity
        if u is not None:
            u.bias.mul_(self.momentum)
        for lane, left, right in buffers.lanes:
            lane.move(left, right, step, self.momentum)
        if u is not None and not self.decays:
            rbm.weight.add_(u.weight)
        if u is not None:
            rbm.bias.add_(u.bias)
        if self.average is not None:
            self._update_average(self.average, step)

    def _update_average(self, average: _Parameters, step: int) -> None:
        """Take the steps since the last update into the average, if it is time."""
        for lane in self.lanes:
            part, ascent = lane.part, lane.ascent
            n = ascent.n_steps + step + 1
            if (n - ascent.n_averaged) % AVERAGE_EVERY == 0:
                share = average_share(ascent.averaging, n, AVERAGE_EVERY)
                average.weight[part].lerp_(self.rbm.weight[part], share)
                average.bias[part].lerp_(self.rbm.bias[part], share)

    def _write_back(self, n_steps: int) -> None:
        """Write what steps change to each RBM's own tensors."""
        for k, epoch in enumerate(self.epochs):
            ascent, gradient = epoch.ascent, epoch.ascent.gradient
            gradient.chains.copy_(self.chains[k])
            gradient.visible_offset.copy_(self.visible_offset[k])
            gradient.hidden_offset.copy_(self.hidden_offset[k])
            if self.is_centered:
                gradient.n_calls += n_steps
            kept = [(self.rbm, ascent.rbm), (self.velocity, ascent.velocity)]
            if self.average is not None:
                kept.append((self.average, ascent.running_average))
            for stacked, own in kept:
                if stacked is not None:
                    own.weight.copy_(stacked.weight[k])
                    own.hidden_bias.copy_(stacked.hidden_bias[k])
                    own.visible_bias.copy_(stacked.visible_bias[k])
            ascent.n_steps += n_steps
            n_new = ascent.n_steps - ascent.n_averaged
            ascent.n_averaged += n_new // AVERAGE_EVERY * AVERAGE_EVERY


class _Lane:
    """A part of a stack whose RBMs are scaled by the same numbers."""

    def __init__(self, stack: _Stack, part: slice, epoch: Epoch) -> None:
        self.part, self.ascent, self.rates = part, epoch.ascent, epoch.rates
        u, rbm = stack.velocity, stack.rbm
        decay = self.ascent.weight_decay / (1 - stack.momentum)
        self.decays = u is None or bool(decay)
        self.kept = [1 - rate * decay for rate in self.rates]
        self.weight, self.bias = rbm.weight[part], rbm.bias[part]
        self.slope = stack.slope[part]
        self.weight_speed = None if u is None else u.weight[part]
        self.bias_speed = None if u is None else u.bias[part]

    def move(self, left: Tensor, right: Tensor, step: int, momentum: float) -> None:
        """Move the weights, and the biases or their velocity."""
        rate, kept, u = self.rates[step], self.kept[step], self.weight_speed
        if u is None:
            self.weight.baddbmm_(left, right, beta=kept, alpha=rate)
            self.bias.add_(self.slope, alpha=rate)
            return
        assert self.bias_speed is not None
        u.baddbmm_(left, right, beta=momentum, alpha=rate)
        self.bias_speed.add_(self.slope, alpha=rate)
        if self.decays:
            torch.add(u, self.weight, alpha=kept, out=self.weight)


class _Noise:
    """Uniform numbers of one step of each RBM, in the order in which it takes them."""

    def __init__(self, numbers: Tensor, n_rows: int) -> None:
        self._numbers, self._n_rows, self._taken = numbers, n_rows, 0

    def take(self, n_units: int) -> Tensor:
        """Return the next numbers, a row for each state of a chain."""
        count = self._n_rows * n_units
        numbers = self._numbers[:, self._taken : self._taken + count]
        self._taken += count
        return numbers.unflatten(1, (self._n_rows, n_units))


class _Buffers:
    """Buffers for batches of one size, as those of `ContrastiveGradient`.

    The last row of each RBM keeps the rows of one apart from those of the next, so that
    operations on them begin anew with each.
    """

    def __init__(self, stack: _Stack, n_model: int, n_data: int) -> None:
        n, weight = n_model + n_data, stack.rbm.weight
        n_stacked, n_hidden, n_visible = weight.shape
        self.n_model = n_model
        self.left = weight.new_zeros(n_stacked, n + 1, n_hidden)
        self.right = weight.new_zeros(n_stacked, n + 1, n_visible)
        self.left_rows, self.right_rows = self.left[:, :n], self.right[:, :n]
        self.left_model = self.left[:, :n_model]
        self.model, self.data = self.right[:, :n_model], self.right[:, n_model:n]
        self.h = weight.new_empty(n_stacked, n_model, n_hidden)
        self.whole_share = weight.new_zeros(n + 1)
        self.whole_share[n_model:n] = 1 / n_data
        self.whole_share[:n_model] = -1 / n_model
        end = n + 1 if stack.is_centered else n
        self.lanes = [
            (lane, self.left[lane.part, :end].mT, self.right[lane.part, :end])
            for lane in stack.lanes
        ]
        self.share = self.whole_share[:n]
        self.column = self.share[:, None]


def _parts(epochs: Sequence[Epoch]) -> list[slice]:
    """Return the parts of a stack with the same scalars, which lie side by side."""
    starts = [0]
    for k, (before, after) in enumerate(pairwise(epochs), start=1):
        if before.scalars != after.scalars:
            starts.append(k)
    return [slice(*ends) for ends in pairwise([*starts, len(epochs)])]
