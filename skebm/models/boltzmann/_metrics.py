"""Metrics of an epoch of an RBM's training, for the history."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from skebm.evaluation import pseudo_log_likelihood
from skebm.networks import RBM

#: Rows of the last batch that a metric is the mean over.
MAX_METRIC_ROWS = 100


class PseudoLikelihood:
    """Mean log pseudo-likelihood over the last batch, by one random column a row."""

    name = "pseudo_likelihood"
    shown = "pseudo-likelihood = {:.2f}"

    def add(self, gradient: Any) -> None:
        """Do nothing: the last batch is enough."""

    def of_epoch(self, rbm: RBM, rows: Tensor, generator: torch.Generator) -> float:
        """Return the metric of an epoch, of which ``rows`` are the last batch."""
        v = rows[:MAX_METRIC_ROWS]
        columns = torch.randint(
            v.shape[1], (len(v),), generator=generator, device=v.device
        )
        return float(pseudo_log_likelihood(rbm, v, columns).mean())


class NegativeFreeEnergy:
    """Mean of minus the free energy over the last batch."""

    name = "negative_free_energy"
    shown = "negative-free-energy = {:.2f}"

    def add(self, gradient: Any) -> None:
        """Do nothing: the last batch is enough."""

    def of_epoch(self, rbm: RBM, rows: Tensor, generator: torch.Generator) -> float:
        """Return the metric of an epoch, of which ``rows`` are the last batch."""
        return float(-rbm(rows[:MAX_METRIC_ROWS]).mean())


class LabelLogProb:
    """Mean log p(y | v) of the labelled rows in the course of an epoch."""

    name = "label_log_prob"
    shown = "log p(y | v) = {:.3f}"

    def __init__(self) -> None:
        self._total, self._n_steps = 0.0, 0

    def add(self, gradient: Any) -> None:
        """Add the value of one step."""
        self._total += gradient.label_log_prob
        self._n_steps += 1

    def of_epoch(self, rbm: RBM, rows: Any, generator: torch.Generator) -> float:
        """Return the mean over the steps since the last call."""
        mean = self._total / self._n_steps if self._n_steps else math.nan
        self._total, self._n_steps = 0.0, 0
        return mean
