"""Answers of a fitted model as modules of torch alone, for `torch.export`."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from skebm.models._fitted import FittedModel
from skebm.networks import EnergyModel
from skebm.tables._traced import TracedEncoder

#: Methods of estimators that have a module here.
TRACED = "score_samples", "predict_proba"


class TracedLogDensity(nn.Module):
    """Log density of complete rows, in nats and the units of X."""

    def __init__(
        self, encoder: TracedEncoder, model: EnergyModel, log_normalizer: float
    ) -> None:
        super().__init__()
        self.encoder, self.model = encoder, model
        self.log_normalizer = log_normalizer
        #: Of nets that are one: its factors are known, not computed at each call.
        self.density = model.closed_form()

    def forward(self, X: Tensor) -> Tensor:
        """Return log p of rows (n, n_features), float64, of shape (n,)."""
        z = self.encoder(X)
        if self.density is None:
            log_prob = self.model.log_prob_unnormalized(z).double()
        else:
            log_prob = self.density.log_prob(z).double()
        return log_prob - self.log_normalizer + self.encoder.log_jacobian(z)


class TracedClasses(nn.Module):
    """p(y|x) of complete rows."""

    def __init__(
        self, encoder: TracedEncoder, model: EnergyModel, temperature: float
    ) -> None:
        super().__init__()
        self.encoder, self.model, self.temperature = encoder, model, temperature

    def forward(self, X: Tensor) -> Tensor:
        """Return probabilities of rows (n, n_features), float64, (n, n_classes)."""
        z = self.encoder.hold_constants(self.encoder(X))
        logits = self.model.class_logits(z).double()
        return (logits / self.temperature).softmax(dim=1)


def traced_answer(
    fitted: FittedModel, method: str, temperature: float, names: Any
) -> nn.Module:
    """Return the module of an answer, a copy on the CPU.

    Parameters
    ----------
    fitted : FittedModel
        The model.
    method : {"score_samples", "predict_proba"}
        Which answer.
    temperature : float
        Of the classes.
    names : sequence of str or None
        Names of the columns, for messages.

    Raises
    ------
    ValueError
        Where the table has columns that are read outside of torch; names them.
    """
    encoder = TracedEncoder(fitted.encoder, names)
    model = copy.deepcopy(fitted.energy_model).cpu().eval().requires_grad_(False)
    if method == "predict_proba":
        return TracedClasses(encoder, model, temperature)
    return TracedLogDensity(encoder, model, fitted.log_normalizer or 0.0)
