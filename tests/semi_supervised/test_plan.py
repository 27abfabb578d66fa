"""SemiSupervision: learnt from rows, then an objective and weights of members."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skebm.objectives import ROLES
from skebm.semi_supervised._plan import (
    LabeledTable,
    SemiSupervision,
    TermWeights,
    labeled_per_step,
)
from skebm.semi_supervised.labels._temperature import LOG_TEMPERATURE_OF_FEWEST
from skebm.semi_supervised.stacking import _stacking, _traits
from skebm.semi_supervised.stacking._stacking import FEWEST_PRIOR, NetTraining
from skebm.semi_supervised.stacking._traits import TableTraits

N_MEMBERS = 6
DEFAULTS = {
    "classification": 10.0,
    "graph": "auto",
    "prediction_entropy": 3.0,
    "vat": 10.0,
    "vat_radius": "auto",
    "balance": 10.0,
}
NO_CONSISTENCY = {"prediction_entropy": 0.0, "vat": 0.0, "balance": 0.0}


def standardize(X):
    return torch.from_numpy(((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32))


def learn(X, few, **options):
    """Return what the rows say, and their graph."""
    return learn_and_teach(X, few, **options)[:2]


def learn_and_teach(X, few, n_steps=400, **options):
    """Return what the rows say, their graph, and what they are taught."""
    return SemiSupervision.learn(
        LabeledTable(standardize(X), torch.from_numpy(few), None, torch.arange(len(X))),
        few.max() + 1,
        TermWeights(**DEFAULTS | options),
        NetTraining(N_MEMBERS, 2e-3, n_steps, torch.device("cpu")),
        np.random.RandomState(0),
    )


def make(**fields):
    """Return a value of even roles and two classes."""
    defaults = {
        "class_priors": np.array([0.8, 0.2]),
        "believed_priors": (0.8, 0.2),
        "radius": 0.7,
        "shape": np.eye(3, dtype=np.float32),
        "role_weights": dict.fromkeys(ROLES, 0.25),
        "temperature": 1.5,
    }
    return SemiSupervision(**defaults | fields)


def test_noise_with_many_labels_leaves_the_supervised_role_alone():
    rng = np.random.RandomState(1)
    X = rng.normal(size=(400, 5))
    few = np.where(np.arange(400) < 300, rng.randint(2, size=400), -1)
    said, _ = learn(X, few)
    assert said.role_weights["supervised"] == pytest.approx(1)


def test_estimated_class_priors_enter_the_weights(monkeypatch):
    """One row in ten is of the second class, half of the labels are."""
    rng = np.random.RandomState(0)
    y = np.concatenate([[0] * 20, [1] * 20, [0] * 360, [1] * 40])
    X = rng.normal(size=(440, 2)) + 2.5 * y[:, None]
    few = np.where(np.arange(440) < 40, y, -1)
    # Two columns would leave the other roles hardly any weight.
    monkeypatch.setattr(_traits, "MOST_SUPERVISED", 0.4)
    said, _ = learn(X, few)
    assert said.class_priors[1] < 0.3
    lower, upper = said.class_priors_interval[1]
    assert 0 <= lower <= 0.1 <= upper < 0.6
    assert said.believed_priors == tuple(said.class_priors)
    monkeypatch.setattr(_stacking, "reweight_classes", lambda predicted, *_: predicted)
    other, _ = learn(X, few)
    difference = other.role_weights["supervised"] - said.role_weights["supervised"]
    assert abs(difference) > 0.05


def test_one_label_a_class_leaves_prior_weights_and_temperature(lines):
    X, y = lines(60)
    few = np.where(np.arange(60) < 2, y, -1)
    said, _, taught = learn_and_teach(X, few)
    assert said.temperature == pytest.approx(np.exp(LOG_TEMPERATURE_OF_FEWEST))
    # The wide column gives stable clusters: the graph has four fifths of the trust, and
    # as columns are few, the supervised role most of the rest; consistency no member.
    assert said.role_weights["consistency"] == 0
    traits = TableTraits(2, 0.0)
    most, least = traits.supervised(stability=0.8), traits.supervised(stability=1.0)
    assert 0.2 * least < said.role_weights["supervised"] < 0.2 * most / 0.95
    assert said.believed_priors is None
    np.testing.assert_array_equal(said.class_priors_interval, [[0, 1], [0, 1]])
    assert set(said.expertise.weights) == set(FEWEST_PRIOR)
    np.testing.assert_array_equal(taught[:2].argmax(dim=1), few[:2])


def test_held_out_labels_are_predicted_by_nets_that_never_saw_them():
    """Labels at random: only a net that was trained on a row would predict it."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(160, 30))
    few = np.where(np.arange(160) < 100, rng.randint(2, size=160), -1)
    said, _ = learn(X, few, **NO_CONSISTENCY)
    assert said.expertise.temperatures["net"] > 2.5


def test_simple_learners_teach_what_they_know():
    """Thirty columns and ten labels a class: a net of these labels alone overfits."""
    rng = np.random.RandomState(1)
    X = rng.normal(size=(400, 30))
    y = (X[:, :10].sum(axis=1) > 0).astype(int)
    few = np.full(400, -1)
    for k in (0, 1):
        few[np.flatnonzero(y == k)[:20]] = k
    said, _, taught = learn_and_teach(X, few, 100, **NO_CONSISTENCY)
    assert sum(said.expertise.weights.values()) == pytest.approx(1)
    assert said.expertise.weights["linear"] > said.expertise.weights["net"]
    np.testing.assert_allclose(taught.sum(dim=1), 1, atol=1e-5)
    right = (taught.argmax(dim=1).numpy() == y)[few < 0].mean()
    assert right > 0.7
    chosen = (few >= 0) | (np.arange(400) % 2 == 0)
    rows = torch.from_numpy(np.flatnonzero(chosen))
    further = LabeledTable(standardize(X), torch.from_numpy(few), None, rows)
    terms, rng = TermWeights(**DEFAULTS), np.random.RandomState(0)
    later = said.teach(further, terms, rng)
    assert (later[~chosen] == 0).all()
    np.testing.assert_allclose(later[rows].sum(dim=1), 1, atol=1e-5)
    rare = torch.arange(300, 400)  # without labels enough
    assert said.teach(replace(further, train=rare), terms, rng) is None
    again = SemiSupervision.from_arrays(said.to_arrays())
    assert again.expertise == said.expertise
    arrays = said.to_arrays()
    del arrays["expertise"]  # as an earlier version stored it
    assert SemiSupervision.from_arrays(arrays).expertise is None


def test_without_unlabelled_rows_nothing_is_taught(lines):
    X, y = lines(60)
    said, _, taught = learn_and_teach(X, y, 10)
    assert said.expertise is None and taught is None


def test_without_stacking_every_member_has_all_losses(lines):
    X, y = lines(60)
    said, graph = learn(X, np.where(np.arange(60) < 20, y, -1), stacking=False)
    assert said.roles(N_MEMBERS).counts == (0, N_MEMBERS, 0, 0)
    assert said.member_weights(N_MEMBERS) == pytest.approx([1 / N_MEMBERS] * N_MEMBERS)
    assert said.temperature == 1
    assert said.radius == graph.radius
    assert said.row_graph(graph, 60, N_MEMBERS).confidence.shape == (60, 1)


def test_roles_are_those_whose_losses_have_weight():
    def roles(has_graph=True, **options):
        return TermWeights(**DEFAULTS | options).roles(has_graph)

    assert roles() == list(ROLES)
    assert roles(graph=0.0) == roles(has_graph=False) == ["consistency", "supervised"]
    assert roles(**NO_CONSISTENCY) == ["graph", "supervised"]


def test_the_graph_takes_the_weight_of_the_classification():
    assert TermWeights(**DEFAULTS).graph == 10
    assert TermWeights(**DEFAULTS | {"graph": 2.0}).graph == 2


def test_the_objective_has_the_terms_and_what_was_learnt():
    said = make()
    terms = TermWeights(**DEFAULTS, class_weights=(1.0, 2.0))
    objective = said.objective(None, terms, 8)
    assert objective.vat_radius == 0.7
    assert objective.class_shares == (0.8, 0.2)
    assert objective.class_weights == (1.0, 2.0)
    assert objective.graph_weight == objective.classification_weight == 10
    assert objective.roles == said.roles(8)
    assert objective.roles.counts == (2, 2, 2, 2)


def test_a_given_radius_takes_the_place_of_the_learnt_one():
    terms = TermWeights(**DEFAULTS | {"vat_radius": 0.3})
    said = make().with_terms(terms)
    assert said.radius == make().objective(None, terms, 6).vat_radius == 0.3
    assert said.with_terms(TermWeights(**DEFAULTS)).radius == 0.3


@pytest.mark.parametrize("case", ["all labelled", "no member uses it"])
def test_further_training_builds_a_graph_only_where_it_is_used(case, lines):
    X, y = lines(60)
    few = y if case == "all labelled" else np.where(np.arange(60) < 20, y, -1)
    alone = dict.fromkeys(ROLES, 0.0) | {"supervised": 1.0}
    said = make() if case == "all labelled" else make(role_weights=alone)
    rng = np.random.RandomState(0)
    rows = (standardize(X), torch.from_numpy(few), torch.arange(60))
    assert said.graph_of(*rows, n_members=6, rng=rng) is None
    assert rng.randint(1000) == np.random.RandomState(0).randint(1000)


def test_further_training_has_the_graph_of_its_own_rows(lines):
    X, y = lines(80)
    few = np.where(np.arange(80) < 20, y, -1)
    said, graph = learn(X, few, stacking=False)
    rows = (standardize(X), few, torch.arange(80))
    again = said.graph_of(*rows, n_members=6, rng=np.random.RandomState(0))
    expected = said.row_graph(graph, 80, 6)
    assert torch.equal(again.soft_labels, expected.soft_labels)


def test_each_labelled_row_is_seen_twenty_times():
    assert labeled_per_step(900, 90, 384) == 200
    assert labeled_per_step(10, 90, 384) == 64
    assert labeled_per_step(9000, 90, 384) == 384
