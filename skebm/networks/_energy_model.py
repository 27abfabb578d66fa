"""The energy-based model: a net that tilts a reference density."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from skebm.networks._capabilities import (
    as_ensemble,
    as_feature_network,
    closed_form_of,
    critic_along,
    is_ensemble,
    is_normalized,
    n_members_of,
    terms_of,
)
from skebm.networks._pullback import pullback
from skebm.references import Density
from skebm.references._base import Line, keeps_up, substituted

#: From rows (m, n, n_features) of m members to their class logits (m, n, n_outputs).
Members = Callable[[Tensor], Tensor]


class FeatureClassifier(Protocol):
    """Classifiers as functions of features."""

    @property
    def n_members(self) -> int:
        """Number of classifiers."""

    def split(self, counts: Sequence[int]) -> list[Members]:
        """Return the members in groups of so many, each a function of its rows."""


@dataclass(frozen=True, eq=False)
class ClassifierAlone:
    """The classifiers in a net, without a density.

    Attributes
    ----------
    network : nn.Module
        Takes features to logits.
    """

    network: nn.Module

    @property
    def n_members(self) -> int:
        """Number of classifiers."""
        return n_members_of(self.network)

    def split(self, counts: Sequence[int]) -> list[Members]:
        """Return the members in groups of so many, each a function of its rows."""
        return split_members(self.network, counts)


def split_members(network: nn.Module, counts: Sequence[int]) -> list[Members]:
    """Return the members of a net in groups, each a function of its own rows.

    A net that is no ensemble has one member.
    """
    ensemble = as_ensemble(network)
    if ensemble is not None:
        return ensemble.split(counts)

    def single(z: Tensor) -> Tensor:
        return network(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    return [single] * len(counts)


class EnergyModel(nn.Module):
    r"""Energy-based model: a net whose output tilts a reference density.

    .. math:: c(x) = \log \sum_y e^{g_y(x)}, \qquad E(x) = -c(x) / \lambda, \qquad
              \log p(x) = \log q_0(x) - E(x) - \log Z

    With one output, c is that output. A normalised net f, with
    :math:`\int e^{f(x)} dx = 1`, is the model's log density whatever the reference:

    .. math:: c(x) = \lambda (f(x) - \log q_0(x)), \qquad \log p(x) = f(x),
              \qquad \log Z = 0

    Parameters
    ----------
    network : nn.Module
        Maps (n, n_features) to (n, n_outputs), the logits g; or a `NormalizedNetwork`.
    reference : Density
        q0, which is not trained; with full support where the net is normalised.
    entropy_weight : float, default=1.0
        :math:`\lambda`, by which the critic c is divided (see `VERA`).

    Examples
    --------
    >>> import torch
    >>> from skebm.networks import MLP
    >>> from skebm.references import UniformBox
    >>> box = UniformBox(torch.zeros(2), torch.ones(2))
    >>> EnergyModel(MLP(2, 1), box).energy(torch.zeros(3, 2)).shape
    torch.Size([3])
    """

    def __init__(
        self,
        network: nn.Module,
        reference: Density,
        entropy_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.reference = reference
        self.entropy_weight = entropy_weight

    @property
    def is_normalized(self) -> bool:
        """Whether the net is a log density by itself, so that log Z = 0."""
        return is_normalized(self.network)

    @property
    def is_ensemble(self) -> bool:
        """Whether the net is an `EnsembleNetwork`."""
        return is_ensemble(self.network)

    @property
    def whole(self) -> EnergyModel:
        """The model that computes all rows in this process: itself, for one process.

        An objective asks it what is not a function of each row by itself.
        """
        return self

    def in_latent_space(self) -> EnergyModel:
        """Return the model of latent points, of the same log Z, or the model itself."""
        reference = self.reference.in_latent_space()
        if reference is self.reference:
            return self
        return EnergyModel(self.network, reference, self.entropy_weight)

    def logits(self, x: Tensor) -> Tensor:
        """Return g(x), shape (n, n_outputs)."""
        return self.network(self.reference.to_latent(x))

    def member_logits(self, x: Tensor) -> Tensor:
        """Return the class logits of each member, shape (n_members, n, n_outputs).

        x has shape (n_members, n, n_features); a net that is no ensemble has one
        member.
        """
        return self.split([self.n_members])[0](x)

    def split(self, counts: Sequence[int]) -> list[Members]:
        """Return the members in groups of so many, each a function of its rows."""

        def logits(group: Members, x: Tensor) -> Tensor:
            z = self.reference.to_latent(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            return group(z)

        return [partial(logits, g) for g in split_members(self.network, counts)]

    @property
    def n_members(self) -> int:
        """Number of classifiers in the net."""
        return n_members_of(self.network)

    def features(self, x: Tensor) -> Tensor:
        """Return what `of_features` takes: x, or features where categories are."""
        above = as_feature_network(self.network)
        return x if above is None else above.features(self.reference.to_latent(x))

    @property
    def of_features(self) -> FeatureClassifier:
        """The classifiers, as functions of the features of rows."""
        above = as_feature_network(self.network)
        return self if above is None else ClassifierAlone(above.inner)

    def class_logits(self, x: Tensor) -> Tensor:
        """Return the logits of rows, wherever in their cells the points x are."""
        above = as_feature_network(self.network)
        return self.logits(x) if above is None else above.inner(self.features(x))

    def weigh_members(self, weights: Sequence[float]) -> None:
        """Set the weights of an ensemble's members; no other net has any."""
        ensemble = as_ensemble(self.network)
        if ensemble is not None:
            ensemble.weigh(weights)

    def closed_form(self) -> Density | None:
        """Return the density of a normalised net with closed conditionals, or None."""
        return closed_form_of(self.network)

    def critic(self, x: Tensor) -> Tensor:
        """Return c(x), shape (n,)."""
        ensemble = as_ensemble(self.network)
        if ensemble is not None:
            return ensemble.critic(self.reference.to_latent(x))
        if self.is_normalized:
            log_tilt = self.network(x)[:, 0] - self.reference.extended_log_prob(x)
            return self.entropy_weight * log_tilt
        logits = self.logits(x)
        if logits.shape[1] == 1:
            return logits[:, 0]
        return torch.logsumexp(logits, dim=1)

    def energy(self, x: Tensor) -> Tensor:
        """Return E(x) in nats, shape (n,)."""
        return -self.critic(x) / self.entropy_weight

    def energy_terms(self) -> list[Callable[[Tensor], Tensor]]:
        """Return energies of sum E, coarse ones first; E alone if it is no sum."""
        terms = [] if self.is_ensemble or self.is_normalized else terms_of(self.network)
        if len(terms) < 2:
            return [self.energy]

        def energy(term: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
            outputs = term(self.reference.to_latent(x))
            return -outputs[:, 0] / self.entropy_weight

        return [partial(energy, term) for term in terms]

    @property
    def knows_gradient(self) -> bool:
        """Whether the model has `energy_with_gradient`."""
        if self.is_normalized or self.is_ensemble:
            return False
        sees_rows = type(self.reference).to_latent is Density.to_latent
        return sees_rows and keeps_up(type(self), "energy_with_gradient", "critic")

    @torch.no_grad()
    def energy_with_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return E(x), shape (n,), and its gradients (n, n_features), without a graph.

        Only for models whose `knows_gradient` is True: a net alone, which sees rows.
        """
        logits, back = pullback(self.network, x)
        if logits.shape[1] == 1:
            critic, slope = logits[:, 0], torch.ones_like(logits)
        else:
            critic, slope = logits.logsumexp(dim=1), logits.softmax(dim=1)
        return -critic / self.entropy_weight, back(-slope / self.entropy_weight)

    def log_prob_unnormalized(self, x: Tensor) -> Tensor:
        """Return log q0(x) - E(x), shape (n,)."""
        if self.is_normalized:
            return self.network(x)[:, 0]
        return self.reference.log_prob(x) - self.energy(x)

    def along(self, x: Tensor, j: int) -> Line:
        """Return log q0(x) - E(x) of rows as a function of values in column j.

        What does not depend on the column is computed once, where net and reference
        can tell it apart.
        """
        latent_column, critic = self.reference.latent_column(j), None
        kind = type(self.reference)
        is_known = keeps_up(kind, "latent_column", "to_latent")
        is_known &= not (self.is_normalized or self.is_ensemble)
        if is_known and latent_column is not None:
            critic = critic_along(self.network, self.reference.to_latent(x), j)
        if critic is None or latent_column is None:
            return substituted(self.log_prob_unnormalized, x, j)
        reference, weight = self.reference, self.entropy_weight
        if keeps_up(kind, "along", "log_prob"):
            log_prob = reference.along(x, j)
        else:
            log_prob = substituted(reference.log_prob, x, j)
        return lambda points: log_prob(points) + critic(latent_column(points)) / weight
