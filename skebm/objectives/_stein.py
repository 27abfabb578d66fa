"""The learned Stein discrepancy: an energy trained without samples or log Z."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from skebm.networks import MLP, EnergyModel
from skebm.objectives._base import Batch, Loss, ParameterGroup
from skebm.objectives.score_matching._base import (
    ScoreMatchingObjective,
    random_signs,
    score_at,
)
from skebm.references import Density
from skebm.utils import (
    check_builder,
    check_count,
    check_number,
    check_positive,
    normal_like,
)


class SteinDiscrepancy(ScoreMatchingObjective):
    r"""Learned Stein discrepancy.

    .. math::

        \min_E \max_f \; E_r[s(x)^T f(x) + tr \nabla f(x)] - \lambda \, E_r |f(x)|^2,
        \qquad s = \nabla \log r_E

    The critic f is a vector field; the first expectation is zero for every f where
    the model is the data's density (Stein's identity). The best critic is
    :math:`(s - \nabla \log r) / (2 \lambda)`, and the objective then is the mean of
    :math:`|s - \nabla \log r|^2 / (4 \lambda)`, the Fisher divergence. It needs no
    draws from the model, no log Z and, unlike score matching, no second derivatives of
    the energy in x. The trace is estimated by random signs v,
    :math:`v^T \nabla f \, v`.

    As published, r is the data's density and :math:`r_E` the model's. Such a method is
    blind to the masses of modes that are apart; so both are mixed with the reference,
    as in `ScoreMatching`, where r and :math:`r_E` are defined.

    Parameters
    ----------
    critic_penalty : float, default=5.0
        :math:`\lambda`. It sets the length of f and nothing else; a short f is learnt
        sooner.
    n_critic_steps : int, default=2
        Steps of f for one of the energy.
    critic_rate : float, default=3.0
        Learning rate of f, as a multiple of the energy's.
    critic : callable or None, default=None
        Builder ``(n_features, n_features) -> nn.Module`` of f; None takes the net
        "wave_mlp" plus a linear map, since scores of Gaussians are linear.
    reference_share : float, default=0.5
        w, the reference's share of r. 0 is the method as published, and what a
        normalised network gets.
    noise_scale : float, default=0.05
        Standard deviation of the noise added to the rows, in standardised units.

    References
    ----------
    Grathwohl, Wang, Jacobsen, Duvenaud, Zemel. Learning the Stein discrepancy for
    training and evaluating energy-based models without sampling. ICML 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator("stein", max_iter=5).fit(X)
    >>> model.score_samples(X).shape
    (150,)
    """

    def __init__(
        self,
        critic_penalty: float = 5.0,
        n_critic_steps: int = 2,
        critic_rate: float = 3.0,
        critic: Callable[[int, int], nn.Module] | None = None,
        reference_share: float = 0.5,
        noise_scale: float = 0.05,
    ) -> None:
        self.critic_penalty = critic_penalty
        self.n_critic_steps = n_critic_steps
        self.critic_rate = critic_rate
        self.critic = critic
        self.reference_share = reference_share
        self.noise_scale = noise_scale

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        check_number(self, "noise_scale", 0)
        for name in ("critic_penalty", "critic_rate"):
            check_positive(self, name)
        check_count(self, "n_critic_steps")
        check_builder(self, "critic")

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> nn.Module:
        """Return the critic f, at its start."""
        del model
        row = reference.sample(1, generator)
        n_features = row.shape[1]
        build = self.critic or SteinCritic
        return build(n_features, n_features).to(row)

    def parameter_groups(
        self, model: EnergyModel, state: nn.Module
    ) -> dict[str, ParameterGroup]:
        """Return the parameter groups of the energy and of the critic."""
        return {
            "energy": ParameterGroup(list(model.network.parameters())),
            "stein_critic": ParameterGroup(list(state.parameters()), self.critic_rate),
        }

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield `n_critic_steps` losses of the critic, then one of the energy."""
        x = batch.dequantized(generator)
        x = x + self.noise_scale * normal_like(x, generator)
        share = self.share(model)
        if share:
            draws = model.reference.sample_extended(len(x), generator)
            x = torch.cat([x, draws])
        x, score = score_at(self.log_density(model), x)
        for _ in range(self.n_critic_steps):
            f = state(x)
            stein = (score.detach() * f).sum(dim=1) + _trace(f, x, generator)
            discrepancy = self.mean(batch, stein, share)
            length = self.mean(batch, f.square().sum(dim=1), share)
            loss = self.critic_penalty * length - discrepancy
            metrics = {"stein_discrepancy": discrepancy.detach()}
            yield Loss("stein_critic", loss, metrics)
        f = state(x).detach()
        yield Loss("energy", self.mean(batch, (score * f).sum(dim=1), share))


class SteinCritic(nn.Module):
    """A vector field: a linear map, zero at first, plus a net."""

    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_features, n_outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        hidden_features = (64, 64)
        self.net = MLP(n_features, n_outputs, hidden_features, embedding="waves")

    def forward(self, x: Tensor) -> Tensor:
        """Return f(x), shape (n, n_outputs)."""
        return self.linear(x) + self.net(x)


def _trace(f: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Estimate the trace of the Jacobian of f at each row by random signs."""
    signs = random_signs(x, generator)
    (product,) = torch.autograd.grad((f * signs).sum(), x, create_graph=True)
    return (product * signs).sum(dim=1)
