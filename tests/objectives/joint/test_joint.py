"""The joint objective: which members are trained with which rows."""

from dataclasses import replace

import pytest
import torch

from skebm.networks import EnergyModel, EnsembleMLP
from skebm.objectives import Batch, Joint, Roles
from skebm.objectives.joint._consistency import virtual_adversarial_loss
from skebm.references import UniformBox
from skebm.utils import isolated_rng


@pytest.fixture
def model():
    with isolated_rng(0, torch.device("cpu")):
        network = EnsembleMLP(3, 2, (8,), n_members=4)
    return EnergyModel(network, UniformBox(-torch.ones(3), torch.ones(3)))


def batch(y, soft_labels=None):
    x = torch.randn(32, 3, generator=torch.Generator().manual_seed(1))
    if soft_labels is None:
        soft_labels = torch.full((32, 1, 2), 0.5)
    confidence = torch.ones(soft_labels.shape[:2])
    near = Batch(x + 0.1, soft_labels=soft_labels, confidence=confidence)
    labeled = Batch(x[: len(y)], y)
    return Batch(
        x,
        labeled=labeled,
        soft_labels=soft_labels,
        confidence=confidence,
        neighbors=near,
        progress=0.5,
    )


def slopes(model, rows, roles, **weights):
    """Return the norm of each member's gradient."""
    joint = Joint(None, classification_weight=0.0, roles=roles, **weights)
    generator = torch.Generator().manual_seed(0)
    state = joint.init(model, model.reference, generator)
    model.zero_grad()
    (loss,) = joint.step(model, rows, state, generator)
    loss.value.backward()
    return model.network.class_head.weight.grad.flatten(1).norm(dim=1)


def test_a_term_reaches_the_members_of_its_roles_alone(model):
    rows, roles = batch(torch.tensor([0, 1])), Roles((1, 1, 1, 1))
    graph = slopes(model, rows, roles, graph_weight=1.0)
    assert (graph > 0).tolist() == [False, True, True, False]
    for weight in ("vat_weight", "prediction_entropy_weight", "balance_weight"):
        consistent = slopes(model, rows, roles, **{weight: 1.0})
        assert (consistent > 0).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("weight", "hearing"),
    [
        ("graph_weight", "on_graph"),
        ("prediction_entropy_weight", "consistent"),
        ("balance_weight", "consistent"),
    ],
)
def test_a_term_weighs_the_same_however_many_hear_it(model, weight, hearing):
    """All rows and members are alike, so each member's slope is its share alone."""
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.copy_(parameter[:1].expand_as(parameter))
    rows = batch(torch.tensor([0, 1]))
    x = rows.x[:1].expand(32, -1)
    near = Batch(x, soft_labels=rows.soft_labels, confidence=rows.confidence)
    rows = replace(rows, x=x, neighbors=near)
    found = []
    for counts in ((0, 1, 0, 3), (0, 2, 0, 2), (0, 4, 0, 0), (1, 1, 1, 1)):
        roles = Roles(counts)
        norms = slopes(model, rows, roles, **{weight: 1.0})
        found += norms[getattr(roles, hearing)].tolist()
        assert (norms > 0).sum() == len(norms[getattr(roles, hearing)])
    assert found == pytest.approx([found[0]] * 9, rel=1e-4)


def test_a_member_learns_from_its_own_version_of_the_labels(model):
    """Of two versions, the second hides both rows: members 1 and 3 know no label."""
    y = torch.tensor([[0, -1], [1, -1]])
    joint = Joint(None, roles=Roles((0, 0, 0, 4)))
    generator = torch.Generator().manual_seed(0)
    state = joint.init(model, model.reference, generator)
    (loss,) = joint.step(model, batch(y), state, generator)
    loss.value.backward()
    norms = model.network.class_head.weight.grad.flatten(1).norm(dim=1)
    assert (norms > 0).tolist() == [True, False, True, False]


def test_a_member_is_trained_with_its_own_version_of_the_graph(model):
    """At the members' own probabilities a cross-entropy has no slope."""
    with torch.no_grad():
        model.network.class_head.weight.zero_()
        model.network.class_head.bias.zero_()
    even, one = torch.full((32, 2), 0.5), torch.tensor([1.0, 0.0]).expand(32, 2)
    versions = torch.stack([even, one], dim=1)
    rows = batch(torch.tensor([0, 1]), versions)
    norms = slopes(model, rows, Roles((0, 0, 4, 0)), graph_weight=1.0)
    assert (norms > 1e-6).tolist() == [False, True, False, True]


def test_a_shaped_ball_is_a_round_one_in_other_coordinates():
    shape = torch.tensor([[1.0, 0.2, 0.0], [0.0, 0.5, 0.1], [0.3, 0.0, 0.25]])
    weight = torch.tensor([[1.0, -1.0], [0.5, 2.0], [-1.5, 0.3]])
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))

    def loss(logits_of, shape=None):
        generator = torch.Generator().manual_seed(1)
        log_prob = torch.log_softmax(x @ weight, dim=1)
        return virtual_adversarial_loss(
            logits_of, x, log_prob, 0.7, generator, shape
        ).item()

    shaped = loss(lambda v: v @ weight, shape)
    as_round = loss(lambda v: x @ weight + (v - x) @ shape @ weight)
    assert shaped == pytest.approx(as_round, rel=1e-4)
    assert shaped != pytest.approx(loss(lambda v: v @ weight), rel=1e-2)
