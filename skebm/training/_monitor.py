"""Metrics of held-out rows, for early stopping."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from skebm.networks import EnergyModel
from skebm.references import Density

MIN_EFFECTIVE_SHARE = 0.05
MORE_DRAWS = 16
MAX_MONITORED = 4096  # held-out rows
CHUNK_ROWS = 1024  # an embedding's waves take many times a row's memory


@dataclass(frozen=True)
class Evaluation:
    """Held-out scores by name, higher is better, and their reliability.

    Attributes
    ----------
    scores : dict of str to float
        Every metric that was computed; the monitor chooses the one to compare by.
    effective_share : float
        Effective sample size of the estimate of log Z, as a share of m.
    standard_error : float
        Standard error of the likelihood's gain over the reference, in nats.
    """

    scores: dict[str, float]
    effective_share: float = 1.0
    standard_error: float = 0.0


class Monitor(ABC):
    """Evaluates a model on held-out rows and compares evaluations."""

    @abstractmethod
    def evaluate(self, model: EnergyModel) -> Evaluation:
        """Return the scores of the model, which is not changed."""

    @abstractmethod
    def metric(self, new: Evaluation, best: Evaluation) -> str:
        """Return the name of the score by which the two are to be compared."""

    def improvement(self, new: Evaluation, best: Evaluation) -> float:
        """Return the score of ``new`` less that of ``best``."""
        name = self.metric(new, best)
        return new.scores[name] - best.scores[name]


class DensityMonitor(Monitor):
    r"""Held-out log-likelihood, or the sliced score matching loss where log Z fails.

    .. math:: \frac{1}{n} \sum_i \log q_0(x_i) - E(x_i)
              - \log \frac{1}{m} \sum_j e^{-E(r_j)}, \qquad r_j \sim q_0 \text{ fixed}

    log Z is estimated from m fixed draws. Where the effective sample size of the
    weights :math:`e^{-E(r_j)}` is below 5 % of m, sixteen times the draws are taken. A
    state whose effective sample size stays below 5 % of m has no reliable log Z. It is
    never preferred to a state that has one, since a narrow minimum of the energy that
    no draw meets looks like a gain. Two such states, or one and a bare box, are
    compared by minus the sliced score matching loss with fixed projections (Song et
    al., 2019, UAI), which needs no Z. log Z of a normalised net is zero.

    States are compared by the likelihood less the standard error of its gain over the
    reference. A tilt is thus kept only where the held-out rows agree on it.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Held-out rows.
    weight : Tensor of shape (n,) or None
        Their weights.
    reference : Density
        q0.
    generator : torch.Generator
        Source of the fixed draws and projections.
    n_draws : int, default=4096
        m.
    max_rows : int, default=4096
        Held-out rows used, the first ones.
    """

    def __init__(
        self,
        x: Tensor,
        weight: Tensor | None,
        reference: Density,
        generator: torch.Generator,
        n_draws: int = 4096,
        max_rows: int = MAX_MONITORED,
    ) -> None:
        self.x = x[:max_rows]
        weight = torch.ones(len(self.x)) if weight is None else weight[:max_rows]
        self.weight = (weight / weight.sum()).to(x.device)
        self.draws = reference.sample(n_draws, generator)
        self._draw_more = partial(reference.sample, MORE_DRAWS * n_draws, generator)
        self.bounded_support = reference.bounded_support
        self.reference_score = reference.log_prob(self.x)
        signs = torch.randint(
            2, (min(len(self.x), 512), x.shape[1]), generator=generator, device=x.device
        )
        self.directions = 2.0 * signs - 1.0

    @cached_property
    def more_draws(self) -> Tensor:
        """Further draws, for energies at which the first ones are too few."""
        return self._draw_more()

    def evaluate(self, model: EnergyModel) -> Evaluation:
        """Return the scores of the held-out rows.

        The sliced score is computed where log Z fails or q0 has bounded support.
        """
        with torch.no_grad():
            energy = self.energies(model)
            held_out = float((self.weight * (self.reference_score - energy)).sum())
            log_normalizer, n_effective = self._log_normalizer(model)
        evaluation = Evaluation(
            {"log_likelihood": held_out - log_normalizer},
            min(1.0, n_effective / len(self.draws)),
            self.standard_error(energy),
        )
        if self.bounded_support or _lacks_log_z(evaluation):
            evaluation.scores["sliced_score_matching"] = self._sliced_score(model)
        return evaluation

    def log_prob_unnormalized(self, model: EnergyModel) -> Tensor:
        """Return log q0 - E of each held-out row."""
        with torch.no_grad():
            return self.reference_score - self.energies(model)

    def energies(self, model: EnergyModel) -> Tensor:
        """Return E of each held-out row."""
        return energies_of(model, self.x)

    def standard_error(self, values: Tensor) -> float:
        """Return the standard error of the weighted mean of values of held-out rows."""
        deviation = values - (self.weight * values).sum()
        n_rows = 1 / self.weight.square().sum()  # effectively
        variance = (self.weight * deviation.square()).sum() / (n_rows - 1).clamp(1)
        return float(variance.sqrt())

    def _log_normalizer(self, model: EnergyModel) -> tuple[float, float]:
        """Return log Z and the effective number of draws behind it."""
        if model.is_normalized:
            return 0.0, len(self.draws)
        estimate = _importance_estimate(model, self.draws)
        if estimate[1] < MIN_EFFECTIVE_SHARE * len(self.draws):
            return _importance_estimate(model, self.more_draws)
        return estimate

    def _sliced_score(self, model: EnergyModel) -> float:
        v = self.directions
        x = self.x[: len(v)].detach().requires_grad_()
        weight = self.weight[: len(v)]
        with torch.enable_grad():
            log_prob = model.log_prob_unnormalized(x)
            (score,) = torch.autograd.grad(log_prob.sum(), x, create_graph=True)
            slope = (score * v).sum(dim=1)
            (curvature,) = torch.autograd.grad(slope.sum(), x)
        loss = (curvature * v).sum(dim=1) + 0.5 * slope.square()
        return -float((weight * loss.detach()).sum() / weight.sum())

    def improvement(self, new: Evaluation, best: Evaluation) -> float:
        """Return the gain of ``new``; minus infinity where only ``new`` lacks log Z."""
        lacking = _lacks_log_z(new), _lacks_log_z(best)
        if lacking[0] != lacking[1] and not self.bounded_support:
            return -math.inf if lacking[0] else math.inf
        gain = super().improvement(new, best)
        if self.metric(new, best) == "log_likelihood":
            gain -= new.standard_error - best.standard_error
        return gain

    def metric(self, new: Evaluation, best: Evaluation) -> str:
        """Compare by log-likelihood where both estimates of Z can be trusted."""
        if _lacks_log_z(new) or _lacks_log_z(best):
            return "sliced_score_matching"
        return "log_likelihood"


def _lacks_log_z(evaluation: Evaluation) -> bool:
    return evaluation.effective_share <= MIN_EFFECTIVE_SHARE


def energies_of(model: EnergyModel, rows: Tensor) -> Tensor:
    """Return E of rows, computed in chunks."""
    return torch.cat([model.energy(part) for part in rows.split(CHUNK_ROWS)])


def _importance_estimate(model: EnergyModel, draws: Tensor) -> tuple[float, float]:
    """Estimate log Z from draws of q0; return it and their effective number."""
    log_weight = -energies_of(model, draws).double()
    log_sum = torch.logsumexp(log_weight, 0)
    n_effective = torch.exp(2 * log_sum - torch.logsumexp(2 * log_weight, 0))
    return float(log_sum) - math.log(len(draws)), float(n_effective)


class LabelMonitor(Monitor):
    """Accuracy on held-out labelled rows, ties broken by the mean log p(y | x).

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Held-out labelled rows.
    y : Tensor of shape (n,)
        Their class indices.
    weight : Tensor of shape (n,) or None
        Their weights.
    """

    def __init__(self, x: Tensor, y: Tensor, weight: Tensor | None) -> None:
        weight = torch.ones(len(x), device=x.device) if weight is None else weight
        self.x, self.y, self.weight = x, y, weight / weight.sum()

    def evaluate(self, model: EnergyModel) -> Evaluation:
        """Return accuracy, plus a thousandth of the mean log p(y | x) above -10."""
        with torch.no_grad():
            logits = model.class_logits(self.x)
            correct = (logits.argmax(dim=1) == self.y).double()
            log_prob = torch.log_softmax(logits, dim=1)
            log_prob = log_prob.gather(1, self.y[:, None])[:, 0].clamp(min=-10.0)
            accuracy = (self.weight * (correct + 1e-3 * log_prob)).sum()
        return Evaluation({"accuracy": float(accuracy)})

    def metric(self, new: Evaluation, best: Evaluation) -> str:
        """Compare by accuracy."""
        del new, best
        return "accuracy"
