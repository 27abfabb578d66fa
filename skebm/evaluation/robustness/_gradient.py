"""Attack by gradients: projected ascent with momentum and step sizes that halve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from skebm.evaluation.robustness._ball import Balls

#: From rows (n, n_features) to logits (n, n_classes), in the units of the rows.
Logits = Callable[[Tensor], Tensor]
#: From logits, true classes and other classes to losses (n,): high is wrong.
ClassLoss = Callable[[Tensor, Tensor, Tensor], Tensor]

#: Weight of the new step beside the last one.
MOMENTUM = 0.75
#: The step size halves where fewer than this share of the steps went up.
LEAST_RISES = 0.75
#: First interval between checks of the step size, its decrease, and its least length,
#: as shares of all steps.
INTERVAL, DECREASE, LEAST_INTERVAL = 0.22, 0.03, 0.06


def cross_entropy(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Return -log p(y|x)."""
    del target
    return -logits.log_softmax(dim=1).gather(1, y[:, None])[:, 0]


def margin(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Return the logit of another class less that of the true one.

    Its gradient does not vanish where the classifier is confident.
    """
    pair = logits.gather(1, torch.stack([y, target], dim=1))
    return pair[:, 1] - pair[:, 0]


def attack(
    logits_of: Logits,
    balls: Balls,
    y: Tensor,
    n_steps: int,
    n_restarts: int,
    n_targets: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return moves of rows, and whether each changes the class by the logits.

    Ascents of the cross-entropy, the first from the row itself and others from random
    moves, then of the margin of each of the likeliest other classes.
    """
    found = torch.zeros_like(balls.rows)
    fell = torch.zeros(len(y), dtype=torch.bool)
    with torch.no_grad():
        others = logits_of(balls.rows).scatter(1, y[:, None], -torch.inf)
        targets = others.argsort(dim=1, descending=True)
    n_targets = min(n_targets, targets.shape[1] - 1)
    for loss, rank, is_random in _plan(n_restarts, n_targets):
        left = (~fell).nonzero()[:, 0]
        if not len(left):
            break
        own = balls.of(left)
        start = own.draw(generator) if is_random else torch.zeros_like(own.rows)
        problem = Problem(logits_of, loss, own, y[left], targets[left, rank])
        u, hit = ascend(problem, start, n_steps)
        found[left[hit]], fell[left[hit]] = u[hit], True
    return found, fell


def _plan(n_restarts: int, n_targets: int) -> Iterator[tuple[ClassLoss, int, bool]]:
    """Yield loss, rank of the other class, and whether the start is random."""
    for restart in range(n_restarts):
        yield cross_entropy, 0, restart > 0
    for restart in range(n_restarts):
        for rank in range(n_targets):
            yield margin, rank, restart > 0


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to rise: a loss of the logits over balls of moves.

    Attributes
    ----------
    logits_of : callable
        The classifier.
    loss : callable
        What rises.
    balls : Balls
        The moves.
    y, target : Tensor of shape (n,)
        True classes, and other ones.
    """

    logits_of: Logits
    loss: ClassLoss
    balls: Balls
    y: Tensor
    target: Tensor

    def of(self, which: Tensor) -> Self:
        """Return the problem of some rows."""
        y, target = self.y[which], self.target[which]
        return replace(self, balls=self.balls.of(which), y=y, target=target)

    def at(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss, gradient and whether the class is wrong, at moves u."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            # Not `moved`: at a bound, rounding would cut the gradient off.
            logits = self.logits_of(self.balls.rows + self.balls.unit * u)
            loss = self.loss(logits, self.y, self.target)
            (gradient,) = torch.autograd.grad(loss.sum(), u)
        wrong = logits.detach().argmax(dim=1) != self.y
        return loss.detach(), gradient.nan_to_num(), wrong


@dataclass(frozen=True, eq=False)
class Climb:
    """Where the ascents of several rows stand.

    Attributes
    ----------
    place : Tensor of shape (n,)
        Places of the rows among those of the attack.
    u, previous : Tensor of shape (n, n_features)
        The moves, and those of the step before.
    loss, gradient : Tensor
        Of the moves.
    best, best_loss, best_gradient : Tensor
        The best moves so far, their losses and gradients.
    step, rises : Tensor of shape (n,)
        Step sizes, and steps that went up since the last check.
    checked_loss, has_halved : Tensor of shape (n,)
        The best loss at the last check, and whether the step size halved there.
    """

    place: Tensor
    u: Tensor
    previous: Tensor
    loss: Tensor
    gradient: Tensor
    best: Tensor
    best_loss: Tensor
    best_gradient: Tensor
    step: Tensor
    rises: Tensor
    checked_loss: Tensor
    has_halved: Tensor

    def of(self, which: Tensor) -> Self:
        """Return the climbs of some rows."""
        parts = {f.name: getattr(self, f.name)[which] for f in fields(self)}
        return replace(self, **parts)

    def after_check(self, n_steps: int) -> Self:
        """Return the climbs with halved steps, from the best move, where they stall."""
        stalls = self.rises < LEAST_RISES * n_steps
        stalls |= ~self.has_halved & (self.best_loss <= self.checked_loss)
        return replace(
            self,
            u=torch.where(stalls[:, None], self.best, self.u),
            loss=torch.where(stalls, self.best_loss, self.loss),
            gradient=torch.where(stalls[:, None], self.best_gradient, self.gradient),
            step=torch.where(stalls, self.step / 2, self.step),
            rises=torch.zeros_like(self.rises),
            checked_loss=self.best_loss,
            has_halved=stalls,
        )


def ascend(problem: Problem, start: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
    """Return moves, and whether each is one at which the class is wrong.

    The step size, first the diameter of the ball, halves where the loss does not rise.

    References
    ----------
    Croce, Hein. Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks. ICML 2020.
    """
    found, fell = start.clone(), torch.zeros(len(start), dtype=torch.bool)
    loss, gradient, wrong = problem.at(start)
    zeros = torch.zeros_like(loss)
    climb = Climb(
        place=torch.arange(len(start)),
        u=start,
        previous=start,
        loss=loss,
        gradient=gradient,
        best=start,
        best_loss=loss,
        best_gradient=gradient,
        step=zeros + 2 * problem.balls.radius,
        rises=zeros,
        checked_loss=loss,
        has_halved=torch.ones_like(wrong),
    )
    last_check, checks = 0, set(check_points(n_steps))
    for k in range(n_steps + 1):
        if wrong.any():
            hit = climb.place[wrong]
            found[hit], fell[hit] = climb.u[wrong], True
            climb, problem = climb.of(~wrong), problem.of(~wrong)
        if k == n_steps or not len(climb.place):
            break
        if k in checks:
            climb, last_check = climb.after_check(k - last_check), k
        climb, wrong = _step(problem, climb, is_first=k == 0)
    return found, fell


def _step(problem: Problem, climb: Climb, is_first: bool) -> tuple[Climb, Tensor]:
    """Return the climbs after one step, and whether classes are wrong there."""
    balls, momentum = problem.balls, 1.0 if is_first else MOMENTUM
    ahead = climb.u + climb.step[:, None] * balls.steepest(climb.gradient)
    new = climb.u + momentum * (balls.project(ahead) - climb.u)
    u = balls.project(new + (1 - momentum) * (climb.u - climb.previous))
    loss, gradient, wrong = problem.at(u)
    better = loss > climb.best_loss
    climb = replace(
        climb,
        u=u,
        previous=climb.u,
        loss=loss,
        gradient=gradient,
        best=torch.where(better[:, None], u, climb.best),
        best_loss=torch.where(better, loss, climb.best_loss),
        best_gradient=torch.where(better[:, None], gradient, climb.best_gradient),
        rises=climb.rises + (loss > climb.loss),
    )
    return climb, wrong


def check_points(n_steps: int) -> list[int]:
    """Return the steps before which step sizes are checked, fewer and fewer apart."""
    shares, interval = [0.0, INTERVAL], INTERVAL
    while shares[-1] < 1:
        interval = max(interval - DECREASE, LEAST_INTERVAL)
        shares.append(shares[-1] + interval)
    return sorted({round(share * n_steps + 0.5) for share in shares[1:]})
