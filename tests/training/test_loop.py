"""The loop: order of steps, averages, best state, guard."""

import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from skebm.exceptions import DivergenceError, NonFiniteChainError
from skebm.networks import EnergyModel
from skebm.objectives import Loss, Objective
from skebm.references import UniformBox
from skebm.training import GradientRun, Loop, Schedule, TableBatches
from skebm.training._monitor import Evaluation, Monitor


class Level(nn.Module):
    """An energy of one parameter."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.tensor([5.0]))

    def forward(self, x):
        return self.level.expand(len(x), 1)


class Square(Objective):
    """Minimises (level - 1)^2; a non-finite loss in the steps that `broken` names."""

    def __init__(self, broken=()):
        self.broken = broken

    def init(self, model, reference, generator):
        return nn.Module()

    def step(self, model, batch, state, generator):
        self.count = getattr(self, "count", 0) + 1
        level = model.network.level
        value = (level - 1).square().sum()
        if self.count in self.broken:
            value = value * torch.nan
        yield Loss("energy", value, {"level": level.detach()[0]})


class Closeness(Monitor):
    """Scores by the distance of the level to a target."""

    def __init__(self, target):
        self.target = target

    def evaluate(self, model):
        distance = abs(model.network.level.item() - self.target)
        return Evaluation({"closeness": -distance})

    def metric(self, new, best):
        return "closeness"


def make_run(objective, averaging=0.0):
    box = UniformBox(torch.zeros(1), torch.ones(1))
    model = EnergyModel(Level(), box)
    return GradientRun(model, objective, torch.Generator().manual_seed(0), averaging)


def make_batches(n=40):
    x = torch.linspace(0, 1, n)[:, None]
    return TableBatches(x, None, None, torch.arange(n), device=torch.device("cpu"))


def schedule(rate=0.1):
    return Schedule(rate, warmup=0.0, final_rate=1.0, batch_size=10)


def train(loop, run, objective, n_epochs):
    loop.fit(run.configure(objective, schedule()), make_batches(), n_epochs)


def test_descends_and_records_every_epoch():
    objective = Square()
    run = make_run(objective)
    loop = Loop()
    train(loop, run, objective, 60)
    assert run.model.network.level.item() == pytest.approx(1, abs=0.05)
    assert {len(column) for column in loop.history.values()} == {60}
    assert loop.history["energy_loss"][0] > loop.history["energy_loss"][-1]


def test_best_state_by_the_monitor_is_kept():
    objective = Square()
    run = make_run(objective)
    loop = Loop(monitor=Closeness(3.0))
    train(loop, run, objective, 60)
    assert run.model.network.level.item() == pytest.approx(3, abs=0.3)
    assert loop.n_epochs < 60  # patience ran out long before
    closest = np.argmax(loop.history["validation_closeness"])
    assert loop.best_epoch == closest + 1


def test_the_untrained_state_is_a_candidate(capsys):
    objective = Square()
    run = make_run(objective)
    loop = Loop(monitor=Closeness(9.0), verbose=100)
    train(loop, run, objective, 30)
    assert run.model.network.level.item() == 5.0
    assert loop.best_epoch == 0
    assert "kept: the state before training" in capsys.readouterr().out


def test_a_passing_divergence_is_rolled_back_at_a_lower_rate():
    objective = Square(broken=(9,))
    run = make_run(objective)
    loop = Loop()
    train(loop, run, objective, 200)
    assert loop.history["n_rollbacks"][-1] == 1
    assert run.rate_factor == pytest.approx(0.3)
    assert run.model.network.level.item() == pytest.approx(1, abs=0.05)
    assert {len(column) for column in loop.history.values()} == {200}


class Poisoned(Square):
    """What goes wrong in the second epoch shows in the fifth."""

    def init(self, model, reference, generator):
        state = nn.Module()
        state.register_buffer("poison", torch.zeros(()))
        return state

    def step(self, model, batch, state, generator):
        for loss in super().step(model, batch, state, generator):
            if self.count == 6:
                state.poison += 1
            if self.count > 16 and state.poison:
                loss = Loss("energy", loss.value * torch.nan)
            yield loss


def test_the_third_return_is_to_an_older_state():
    objective = Poisoned()
    run = make_run(objective)
    loop = Loop()
    train(loop, run, objective, 40)
    assert loop.history["n_rollbacks"][3:8] == [0, 1, 2, 3, 3]
    assert loop.history["n_rollbacks"][-1] == 3
    assert run.state.poison == 0


def test_the_older_state_is_not_the_beginning():
    objective = Square(broken=(121, 129, 137))  # the last quarter of the run
    run = make_run(objective)
    loop = Loop()
    train(loop, run, objective, 40)
    assert loop.history["n_rollbacks"][-1] == 3
    assert run.model.network.level.item() == pytest.approx(1, abs=0.05)


def test_lost_chains_are_a_reason_to_go_back():
    class Lost(Square):
        def step(self, model, batch, state, generator):
            yield from super().step(model, batch, state, generator)
            if self.count == 9:
                raise NonFiniteChainError("1 chain of 4 at step size 0.1")

    objective = Lost()
    run = make_run(objective)
    loop = Loop()
    train(loop, run, objective, 5)
    assert loop.history["n_rollbacks"] == [0, 0, 1, 1, 1]
    assert run.rate_factor == pytest.approx(0.3)


@pytest.mark.parametrize("n_epochs", [3, 50])
def test_chains_that_stay_lost_ask_for_another_step_size(n_epochs):
    class Lost(Square):
        def step(self, model, batch, state, generator):
            raise NonFiniteChainError("1 chain of 4 is lost", "Take a smaller step.")
            yield

    objective = Lost()
    with pytest.raises(DivergenceError) as raised:
        train(Loop(), make_run(objective), objective, n_epochs)
    message = str(raised.value)
    assert "1 chain of 4 is lost" in message and "Take a smaller step." in message
    assert ".." not in message and "Lower learning_rate" not in message


def test_lost_chains_survive_a_pickle():
    error = NonFiniteChainError("1 chain of 4 is lost", "Take a smaller step.")
    copied = pickle.loads(pickle.dumps(error))
    assert str(copied) == str(error) == "1 chain of 4 is lost. Take a smaller step."


def test_a_lasting_divergence_is_an_error_with_metrics():
    objective = Square(broken=range(5, 10_000))
    with pytest.raises(DivergenceError, match=r"epoch 7.*energy_loss.*learning_rate"):
        train(Loop(), make_run(objective), objective, 50)


def test_a_metric_out_of_its_range_is_a_divergence():
    class Watched(Square):
        healthy: ClassVar = {"level": (2.0, 10.0)}

    objective = Watched()
    run = make_run(objective)
    with pytest.raises(DivergenceError, match=r"level = .* left its stable range"):
        Loop().fit(run.configure(objective, schedule(1.0)), make_batches(), 500)


def test_interrupt_leaves_the_best_state():
    class Interrupting(Square):
        def step(self, model, batch, state, generator):
            yield from super().step(model, batch, state, generator)
            if self.count == 30:
                raise KeyboardInterrupt

    objective = Interrupting()
    run = make_run(objective)
    loop = Loop(monitor=Closeness(1.0))
    train(loop, run, objective, 100)
    assert loop.interrupted and loop.n_epochs == 7
    best = -max(loop.history["validation_closeness"])
    assert abs(run.model.network.level.item() - 1) == pytest.approx(best)


def test_averaged_weights_are_an_exponential_average():
    objective = Square()
    run = make_run(objective, averaging=0.9)
    levels = []
    loop = Loop(on_epoch=lambda *_: levels.append(run.model.network.level.item()))
    train(loop, run, objective, 5)  # four steps an epoch: one update each
    average = levels[0]
    for n, level in enumerate(levels[1:], start=1):
        decay = min(0.9, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * level
    assert run.averaged_model.network.level.item() == pytest.approx(average, rel=1e-5)
    assert run.averaged_model.network.level.item() != run.model.network.level.item()


def test_a_callback_stops_training():
    loop = Loop(on_epoch=lambda epoch, entry: epoch == 3)
    train(loop, make_run(Square()), Square(), 50)
    assert loop.n_epochs == 3


def test_snapshot_and_restore_are_exact():
    objective = Square()
    run = make_run(objective, averaging=0.9)
    train(Loop(), run, objective, 3)
    snapshot = run.snapshot()

    def go_on():
        train(Loop(), run, objective, 3)
        return run.model.network.level.item(), run.averaged_model.network.level.item()

    first = go_on()
    run.restore(snapshot)
    assert go_on() == first


def test_gradient_clipping_bounds_the_norm():
    """With plain momentum off, Adam's first step has the size of the rate anyway."""
    objective = Square()
    run = make_run(objective)
    run.configure(objective, schedule(), gradient_clip=0.5)
    Loop().fit(run, make_batches(), 1)
    assert abs(run.model.network.level.grad.item()) <= 0.5 + 1e-6


def test_schedule():
    plan = Schedule(1.0, warmup=0.1, final_rate=0.01, batch_size=10, batch_growth=4.0)
    rates = np.array([plan.rate(p) for p in np.linspace(0, 1, 101)])
    assert rates[0] < 0.02 and rates[-1] == pytest.approx(0.01)
    assert rates.argmax() == 10 and (np.diff(rates[10:]) < 0).all()
    assert plan.rows_per_step(0.0, 1000) == 10
    assert plan.rows_per_step(1.0, 1000) == 40
    assert plan.rows_per_step(1.0, 7) == 7
