"""The joint objective of a classifier and a density."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.networks._energy_model import FeatureClassifier, Members
from skebm.objectives._base import Batch, Loss, Objective, ParameterGroup
from skebm.objectives.joint._consistency import (
    entropy,
    soft_cross_entropy,
    virtual_adversarial_loss,
)
from skebm.objectives.joint._members import (
    deal,
    log_probs,
    mix_with_neighbors,
    own_version,
)
from skebm.objectives.joint._roles import Roles
from skebm.references import Density

#: The density trains on one in so many rows of a step: it takes most of the time.
DENSITY_PART = 6
#: Share of the training before the terms of consistency begin, and of their rise.
SUPERVISED_SHARE, RAMP_SHARE = 0.1, 0.2
#: Share of the training after which the graph's term has faded, and its last factor.
GRAPH_END, GRAPH_FLOOR = 0.9, 0.3


class JointState(nn.Module):
    """State of the density's objective, and mean class probabilities of the net."""

    def __init__(self, density: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.density = density
        self.class_shares: Tensor
        even = torch.full((n_classes,), 1 / n_classes, dtype=torch.float32)
        self.register_buffer("class_shares", even)


class Joint(Objective):
    r"""Joint energy-based model, semi-supervised.

    .. math::

        -\log p(x) + \alpha \, CE(y, p(y|x))
        + \alpha_g \, CE(\text{graph}, p(y|x))
        + \beta \, H(p(y|x)) + v \, KL(p(y|x) \| p(y|x + r))
        + b \, KL(\bar\pi \| \bar p(y))

    The first term, over all rows, is any density's objective; the second is over
    labelled rows; the others are over all rows, unlabelled ones included. Each of the
    others trains only the members of an ensemble whose role includes it. Labels may
    come in V versions; then member m is trained with version m modulo V.

    Where other learners teach, by class probabilities of the rows, members without any
    further term are trained with these in the place of the labels.

    The first tenth of the training is supervised, by labels and graph; the graph's term
    then fades to three tenths, and the last three terms rise from zero. The class
    shares :math:`\bar\pi` are given, or those that the net gives the rows at the end of
    the first tenth.

    Parameters
    ----------
    density : Objective or None
        Objective of -log p(x); None trains the classifier alone.
    classification_weight : float
        :math:`\alpha`.
    graph_weight : float
        :math:`\alpha_g`, times the confidence of each row's soft label; the rows are
        mixed with their neighbours.
    prediction_entropy_weight : float
        :math:`\beta`.
    vat_weight, vat_radius : float
        v and the length of r.
    vat_shape : Tensor of shape (n_features, n_features) or None
        S of `virtual_adversarial_loss`, for the members that are trained with the
        graph's labels; the others take the identity.
    balance_weight : float
        b.
    class_shares : tuple of float or None
        :math:`\bar\pi`; None takes those of the first tenth.
    class_weights : tuple of float or None
        Weights of the classes in the second term.
    roles : Roles or None, default=None
        Roles of the net's members; None trains each member with all terms.
    density_interval : int, default=2
        Steps from one use of the first term to the next: it takes most of the time.

    References
    ----------
    Grathwohl et al. Your classifier is secretly an energy based model and you should
    treat it like one. ICLR 2020. Miyato et al. Virtual adversarial training. PAMI 2018.
    """

    def __init__(
        self,
        density: Objective | None,
        classification_weight: float = 1.0,
        graph_weight: float = 0.0,
        prediction_entropy_weight: float = 0.0,
        vat_weight: float = 0.0,
        vat_radius: float = 1.0,
        vat_shape: Tensor | None = None,
        balance_weight: float = 0.0,
        class_shares: tuple[float, ...] | None = None,
        class_weights: tuple[float, ...] | None = None,
        roles: Roles | None = None,
        density_interval: int = 2,
    ) -> None:
        self.density = density
        self.classification_weight = classification_weight
        self.graph_weight = graph_weight
        self.prediction_entropy_weight = prediction_entropy_weight
        self.vat_weight = vat_weight
        self.vat_radius = vat_radius
        self.vat_shape = vat_shape
        self.balance_weight = balance_weight
        self.class_shares = class_shares
        self.class_weights = class_weights
        self.roles = roles
        self.density_interval = density_interval

    needs_labels: ClassVar[bool] = True
    is_joint: ClassVar[bool] = True

    @property
    def healthy(self) -> dict[str, tuple[float, float]]:  # type: ignore[override]
        """Return the stable ranges of the density's objective."""
        return {} if self.density is None else self.density.healthy

    def check_model(self, model: EnergyModel, n_features: int) -> None:
        """Raise ValueError where the density's objective can't train this model."""
        if self.density is not None:
            self.density.check_model(model, n_features)

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> JointState:
        """Return the state of the density's objective, with equal class shares."""
        inner: nn.Module = nn.Module()
        if self.density is not None:
            inner = self.density.init(model, reference, generator)
        row = reference.sample(1, generator)
        with torch.no_grad():
            n_classes = model.logits(row).shape[1]
        return JointState(inner, n_classes)

    def parameter_groups(
        self, model: EnergyModel, state: nn.Module
    ) -> dict[str, ParameterGroup]:
        """Return the parameter groups of the density's objective."""
        assert isinstance(state, JointState)
        if self.density is None:
            parameters = list(model.network.parameters())
            return {"energy": ParameterGroup(parameters, betas=(0.9, 0.99))}
        groups = self.density.parameter_groups(model, state.density)
        return groups | {"energy": replace(groups["energy"], betas=(0.9, 0.99))}

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the density's losses, the classifier's added to that of the energy."""
        assert isinstance(state, JointState)
        given = _with_features(model, batch)
        loss, metrics = self._class_loss(model.of_features, given, state, generator)
        if self.density is None or batch.number % self.density_interval:
            yield Loss("energy", loss, metrics)
            return
        n_rows = min(len(batch.x), max(2, len(batch.x) // DENSITY_PART))
        weight = None if batch.weight is None else batch.weight[:n_rows]
        rows = replace(
            batch,
            x=batch.x[:n_rows],
            y=None,
            weight=weight,
            soft_labels=None,
            confidence=None,
            neighbors=None,
            taught=None,
        )
        for part in self.density.step(model, rows, state.density, generator):
            if part.group == "energy":
                part = Loss("energy", part.value + loss, part.figures | metrics)
            yield part

    def end_epoch(
        self, model: EnergyModel, state: nn.Module, generator: torch.Generator
    ) -> None:
        """End the epoch of the density's objective."""
        assert isinstance(state, JointState)
        if self.density is not None:
            self.density.end_epoch(model, state.density, generator)

    def _class_loss(
        self,
        model: FeatureClassifier,
        batch: Batch,
        state: JointState,
        generator: torch.Generator,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the losses of p(y | x), each a mean over all members.

        A member without a term adds zero to it. So the weight of the term relative to
        that of the labels is the same for each member with it, however many there are.
        """
        assert batch.labeled is not None
        roles = self.roles or Roles((0, model.n_members, 0, 0))
        groups, n_members = model.split(roles.counts), roles.n_members
        mixed, parts = None, {}
        # What is taught considers the labels already.
        is_taught = batch.taught is not None and roles.n_supervised > 0
        by_labels = slice(0, n_members - roles.n_supervised * is_taught)
        if by_labels.stop:
            x = batch.labeled.x.expand(by_labels.stop, -1, -1)
            parts["labels"] = by_labels, x
        if is_taught:
            parts["taught"] = roles.supervised, deal(batch.x, roles.n_supervised)
        if self.graph_weight and batch.neighbors is not None and roles.n_on_graph:
            mixed = mix_with_neighbors(batch, generator)
            parts["graph"] = roles.on_graph, deal(mixed.x, roles.n_on_graph)
        if self._is_consistent and roles.n_consistent:
            parts["rows"] = roles.consistent, deal(batch.x, roles.n_consistent)
        found = log_probs(groups, roles.counts, list(parts.values()))
        log_prob = dict(zip(parts, found, strict=True))
        loss = cross_entropy = batch.x.new_zeros(())
        if by_labels.stop:
            cross_entropy = self._cross_entropy(log_prob["labels"], batch.labeled)
            weight = self.classification_weight * by_labels.stop / n_members
            loss = weight * cross_entropy
        if mixed is not None:
            graph_loss = _graph_loss(log_prob["graph"], mixed, roles)
            weight = self.graph_weight * roles.n_on_graph / n_members
            loss = loss + graph_fade(batch.progress) * weight * graph_loss
        if is_taught:
            weight = self.classification_weight * roles.n_supervised / n_members
            loss = loss + weight * _lesson_loss(log_prob["taught"], batch, roles)
        if "rows" in parts:
            given = parts["rows"][1], log_prob["rows"], groups, roles
            part = self._consistency_loss(*given, batch.progress, state, generator)
            loss = loss + roles.n_consistent / n_members * part
        return loss, {"cross_entropy": cross_entropy.detach()}

    @property
    def _is_consistent(self) -> bool:
        weights = self.prediction_entropy_weight, self.vat_weight, self.balance_weight
        return any(weights)

    def _cross_entropy(self, log_prob: Tensor, labeled: Batch) -> Tensor:
        assert labeled.y is not None
        y = labeled.y if labeled.y.dim() == 2 else labeled.y.unsqueeze(1)
        all_members = slice(0, len(log_prob))
        y = own_version(y.expand(len(log_prob), *y.shape), all_members)
        losses = -log_prob.gather(2, y.clamp(min=0).unsqueeze(2))[:, :, 0]
        if self.class_weights is not None:
            losses = losses * losses.new_tensor(self.class_weights)[y]
        known = (y >= 0).to(losses.dtype)
        losses = (known * losses).sum(dim=0) / known.sum(dim=0).clamp(min=1)
        return labeled.mean(losses)

    def _consistency_loss(
        self,
        x: Tensor,
        log_prob: Tensor,
        groups: Sequence[Members],
        roles: Roles,
        progress: float,
        state: JointState,
        generator: torch.Generator,
    ) -> Tensor:
        shares = log_prob.exp().mean(dim=1)
        if progress < SUPERVISED_SHARE:
            state.class_shares.lerp_(shares.detach().mean(dim=0), 0.05)
            return log_prob.new_zeros(())
        ramp = min(1.0, (progress - SUPERVISED_SHARE) / RAMP_SHARE)
        loss = self.prediction_entropy_weight * entropy(log_prob).mean()
        if self.vat_weight:
            adversarial = self._adversarial_loss(x, log_prob, groups, roles, generator)
            loss = loss + self.vat_weight * adversarial
        if self.balance_weight:
            target = state.class_shares
            if self.class_shares is not None:
                target = target.new_tensor(self.class_shares)
            target = target + 1e-6
            divergence = target * (target.log() - (shares + 1e-6).log())
            loss = loss + self.balance_weight * divergence.sum(dim=1).mean()
        return ramp * loss

    def _adversarial_loss(
        self,
        x: Tensor,
        log_prob: Tensor,
        groups: Sequence[Members],
        roles: Roles,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the virtual adversarial loss, `vat_shape` for members on the graph."""
        total = log_prob.new_zeros(())
        n_round, n_all = roles.counts[0], roles.n_consistent
        shape = None if self.vat_shape is None else self.vat_shape.to(x)
        ranges = (0, n_round, None), (n_round, n_all, shape)
        for group, (first, end, own_shape) in zip(groups[:2], ranges, strict=True):
            if first == end:
                continue
            which = slice(first, end)
            given = x[which], log_prob[which], self.vat_radius
            part = virtual_adversarial_loss(group, *given, generator, own_shape)
            total = total + (end - first) / n_all * part
        return total


def graph_fade(progress: float) -> float:
    """Return the factor of the graph's weight at this progress of the training."""
    remaining = (GRAPH_END - progress) / (GRAPH_END - SUPERVISED_SHARE)
    return min(1.0, max(GRAPH_FLOOR, remaining))


def _graph_loss(log_prob: Tensor, mixed: Batch, roles: Roles) -> Tensor:
    """Return the cross-entropy with the graph's labels, at mixtures of rows."""
    which = roles.on_graph
    assert mixed.soft_labels is not None and mixed.confidence is not None
    soft_labels = own_version(deal(mixed.soft_labels, roles.n_on_graph), which)
    confidence = own_version(deal(mixed.confidence, roles.n_on_graph), which)
    return (confidence * soft_cross_entropy(soft_labels, log_prob)).mean()


def _lesson_loss(log_prob: Tensor, batch: Batch, roles: Roles) -> Tensor:
    """Return the cross-entropy of supervised members with what they are taught."""
    assert batch.taught is not None
    taught = deal(batch.taught, roles.n_supervised)
    return soft_cross_entropy(taught, log_prob).sum() / taught.sum().clamp(min=1.0)


def _with_features(model: EnergyModel, batch: Batch) -> Batch:
    """Return a batch with the features of all its rows in the place of x."""

    def changed(rows: Batch | None) -> Batch | None:
        return None if rows is None else replace(rows, x=model.features(rows.x))

    return replace(
        batch,
        x=model.features(batch.x),
        labeled=changed(batch.labeled),
        neighbors=changed(batch.neighbors),
    )
