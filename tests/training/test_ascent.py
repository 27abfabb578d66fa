"""The ascent of an RBM as a run of the loop: snapshots, rollbacks, schedules."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from skebm.exceptions import DivergenceError
from skebm.networks import RBM, DeepBeliefNet, DirectedLayer, GaussianUnits
from skebm.objectives import ContrastiveGradient, UpDown
from skebm.training import (
    AscentRun,
    EpochSpan,
    EvenBatches,
    GaussianRBMAscent,
    GibbsCompletion,
    Loop,
    RateSchedule,
    RBMAscent,
    StabilityGuard,
    UpDownRun,
)

CPU = torch.device("cpu")


class Level:
    """The mean visible bias; not finite in the epochs that `broken` names."""

    name = "level"

    def __init__(self, broken=()):
        self.broken, self.epoch = broken, 0

    def add(self, gradient):
        pass

    def of_epoch(self, rbm, rows, generator):
        self.epoch += 1
        return math.nan if self.epoch in self.broken else float(rbm.visible_bias.mean())


def make_run(broken=(), gaussian=False, averaging=0.9):
    generator = torch.Generator().manual_seed(0)
    rbm = RBM(0.1 * torch.ones(2, 4), torch.zeros(2), torch.zeros(4))
    kind = RBMAscent
    if gaussian:
        rbm = replace(rbm, visible=GaussianUnits(torch.ones(4)))
        kind = GaussianRBMAscent
    gradient = ContrastiveGradient(
        torch.zeros(5, 2),
        (torch.full((4,), 0.5), torch.full((2,), 0.5)),
        method="pcd",
        n_gibbs_steps=1,
        centered=True,
        tempering=None,
        generator=generator,
    )
    ascent = kind(rbm, gradient, momentum=0.5, averaging=averaging)
    return AscentRun(ascent, RateSchedule(0.1, 8), Level(broken), generator)


def make_batches():
    rng = torch.Generator().manual_seed(1)
    return EvenBatches((torch.rand(30, 4, generator=rng) < 0.7).float(), CPU)


def learnt(run):
    average = run.ascent.average
    return [*average.parameters().values(), getattr(average.visible, "scale", None)]


@pytest.mark.parametrize("gaussian", [False, True])
def test_snapshot_and_restore_are_exact(gaussian):
    run = make_run(gaussian=gaussian)
    Loop().fit(run, make_batches(), 3)
    snapshot = run.snapshot()

    def go_on():
        Loop().fit(run, make_batches(), 4)
        return [x.clone() for x in learnt(run) if x is not None]

    first = go_on()
    run.restore(snapshot)
    second = go_on()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_snapshot_holds_the_completed_rows():
    """Missing entries are redrawn in place: a repeated epoch starts as the first."""
    x = make_batches().x.clone()
    x[::2, 1] = x[::3, 2] = torch.nan
    run = make_run()
    run.completion = GibbsCompletion(x, run.ascent.rbm)
    batches = EvenBatches(x, CPU, run.completion)
    Loop().fit(run, batches, 2)
    snapshot, before = run.snapshot(), x.clone()

    def go_on():
        Loop().fit(run, batches, 3)
        return [*map(torch.clone, learnt(run)[:-1]), x.clone()]

    first = go_on()
    assert not torch.equal(first[-1], before)
    run.restore(snapshot)
    assert torch.equal(x, before)
    assert all(torch.equal(a, b) for a, b in zip(first, go_on(), strict=True))


def test_asking_for_the_average_changes_nothing():
    run, twin = make_run(), make_run()
    watched = Loop(on_epoch=lambda *_: run.ascent.average is None)
    watched.fit(run, make_batches(), 7)
    Loop().fit(twin, make_batches(), 7)
    assert all(
        torch.equal(a, b)
        for a, b in zip(learnt(run)[:-1], learnt(twin)[:-1], strict=True)
    )


def test_a_passing_divergence_is_rolled_back_at_a_lower_rate():
    run = make_run(broken=(3,))
    loop = Loop()
    loop.fit(run, make_batches(), 6)
    assert loop.history["n_rollbacks"] == [0, 0, 1, 1, 1, 1]
    assert run.rate_factor == pytest.approx(0.3)
    assert loop.history["learning_rate"] == pytest.approx([0.1] * 3 + [0.03] * 3)
    assert torch.isfinite(run.ascent.rbm.weight).all()


def test_a_lasting_divergence_is_an_error():
    run = make_run(broken=range(2, 100))
    with pytest.raises(DivergenceError, match=r"its level is nan.*learning_rate=0\.1"):
        Loop().fit(run, make_batches(), 20)


def test_a_loop_without_rollbacks_raises_at_once():
    run = make_run(broken=(2,))
    loop = Loop()
    loop.guard = StabilityGuard(max_rollbacks=0)
    with pytest.raises(DivergenceError, match=r"diverged in epoch 2: its level is nan"):
        loop.fit(run, make_batches(), 5)


def test_parameters_out_of_bounds_are_divergence():
    run = make_run()
    run.ascent.rbm.weight[0, 0] = 1e6
    with pytest.raises(DivergenceError, match="largest parameter 1e"):
        Loop().fit(run, make_batches(), 20)


def test_rate_schedule():
    spans = [EpochSpan(k, 20) for k in range(1, 21)]
    rates = np.concatenate([RateSchedule(2.0, 1, "linear").rates(s, 5) for s in spans])
    assert rates.argmax() == 10 and rates.max() == pytest.approx(2.0)
    assert (np.diff(rates[50:]) < 0).all() and rates[-1] < 0.05
    assert (RateSchedule(2.0, 1).rates(spans[3], 5) == 2).all()
    assert spans[4].begin == pytest.approx(0.2) and spans[4].end == pytest.approx(0.25)


def test_fine_tuning_rolls_back():
    layer = DirectedLayer(
        torch.zeros(3, 4), torch.zeros(4), torch.zeros(3, 4), torch.zeros(3)
    )
    top = RBM(torch.zeros(2, 3), torch.zeros(2), torch.zeros(3))
    net = DeepBeliefNet((layer,), top)
    generator = torch.Generator().manual_seed(0)
    run = UpDownRun(net, UpDown(1), RateSchedule(1e30, 10, "linear"), generator)
    with pytest.raises(DivergenceError, match="largest parameter"):
        Loop().fit(run, make_batches(), 3)
    assert all(p.isfinite().all() and not p.requires_grad for p in run.parameters)
