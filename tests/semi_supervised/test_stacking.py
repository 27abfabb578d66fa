"""Roles of members, and their weights by labelled rows that are left out."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import norm
from sklearn.base import clone

from skebm import JEMClassifier
from skebm.networks import MLP, EnsembleMLP
from skebm.objectives import ROLES, Joint, share_out
from skebm.semi_supervised._held_out_labels import choose_judges, fold_numbers
from skebm.semi_supervised._stacking import (
    LITTLE_KNOWN,
    LOG_TEMPERATURE,
    PRIOR_STRENGTH,
    _at_judges_shares,
    _carried,
    _counting,
    _is_told_shares,
    _know_nothing,
    _stack,
    _tempered,
    fit_temperature,
    prior_stack,
)


def test_judges_are_rows_of_classes_with_two_labels_and_folds_spread_each_class():
    codes = np.array([0, 0, 1, -1, 2, 2, 2, -1])
    judges = choose_judges(codes, 3, np.random.RandomState(0))
    assert sorted(judges) == [0, 1, 4, 5, 6]
    assert choose_judges(np.array([0, 1, 2, -1]), 3, np.random.RandomState(0)) is None
    labels = np.random.RandomState(0).permutation(np.repeat([0, 1, 2], [10, 15, 5]))
    fold = fold_numbers(labels)
    for label, size in ((0, 2), (1, 3), (2, 1)):
        assert np.bincount(fold[labels == label]).tolist() == [size] * 5


def test_two_roles_of_which_each_knows_other_rows_weigh_by_their_rows():
    """Likelihoods of 0 and 1: EM has the closed form (rows + prior) / total."""
    likelihoods = np.zeros((2, 30))
    likelihoods[0, :20] = likelihoods[1, 20:] = 1.0
    prior = np.array([0.5, 0.5])
    counting = np.ones(30)
    # Of so many classes nothing is right by chance.
    weights = _stack(likelihoods, prior, 10**9, counting)
    share = 0.05 / 10**9
    assert share < 1e-9
    expected = (np.array([20, 10]) + PRIOR_STRENGTH * prior) / (30 + PRIOR_STRENGTH)
    assert weights == pytest.approx(expected, abs=1e-6)
    # A row of weight two is two rows.
    counting[:10] = 2
    weights = _stack(likelihoods, prior, 10**9, counting)
    expected = (np.array([30, 10]) + PRIOR_STRENGTH * prior) / (40 + PRIOR_STRENGTH)
    assert weights == pytest.approx(expected, abs=1e-6)


def test_who_knows_more_but_is_too_sure_outweighs_who_knows_nothing():
    """Right in 65 of 100 rows, and sure of each: at its own temperature it says so."""
    labels, right = np.zeros(100, dtype=int), np.arange(100) < 65
    sure = np.where(right, 0.999, 0.001)
    sure = np.stack([sure, 1 - sure], axis=1)
    prior, counting = np.array([0.5, 0.5]), np.ones(100)
    tempered = _tempered(sure, labels, counting)
    assert np.median(tempered[right, 0]) == pytest.approx(0.65, abs=0.12)
    weights = [
        _stack(np.stack([guess[:, 0], np.full(100, 0.5)]), prior, 2, counting)[0]
        for guess in (sure, tempered)
    ]
    assert weights[0] < 0.4
    assert weights[1] > 0.55


@pytest.mark.parametrize(
    ("n_judges", "share", "alone"),
    [(200, 0.5, True), (200, 0.7, False), (60, 0.5, False)],
)
def test_where_many_judges_find_nothing_the_prior_does_not_count(
    n_judges, share, alone
):
    """Information of a role right in a share p of rows: log 2 less the entropy of p."""
    labels = np.arange(n_judges) % 2
    likelihoods = np.where(np.arange(n_judges) < share * n_judges, share, 1 - share)
    likelihoods = np.stack([likelihoods, np.full(n_judges, 0.5)])
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert (1 - entropy / np.log(2) > LITTLE_KNOWN) == (share == 0.7)
    assert _know_nothing(likelihoods, labels, np.ones(n_judges), 2) == alone


@pytest.mark.parametrize("n_rare", [2, 20, 100])
@pytest.mark.parametrize("knows", [True, False])
def test_what_is_nothing_goes_by_what_there_is_to_know(n_rare, knows):
    """A rare class has little entropy; who knows it knows something."""
    labels = (np.arange(200) < n_rare).astype(int)
    shares = np.bincount(labels)[labels] / 200
    likelihoods = np.full((1, 200), 0.97) if knows else shares[None]
    assert _know_nothing(likelihoods, labels, np.ones(200), 2) == (not knows)


def test_noise_with_many_labels_is_left_to_the_labels():
    rng = np.random.RandomState(1)
    X = rng.normal(size=(400, 5))
    few = np.where(np.arange(400) < 300, rng.randint(2, size=400), -1)
    assert fitted(X, few).role_weights_["supervised"] == pytest.approx(1)


def test_judges_count_as_their_rows_and_classes_do():
    judges, labels = np.array([3, 0, 2]), np.array([0, 1, 1])
    weight = torch.tensor([1.0, 5.0, 2.0, 3.0])
    assert _counting(None, None, judges, labels).tolist() == [1, 1, 1]
    assert _counting(weight, None, judges, labels).tolist() == [1.5, 0.5, 1.0]
    found = _counting(weight, (2.0, 1.0), judges, labels)
    assert found == pytest.approx(np.array([6, 1, 2]) / 3)


def test_guesses_by_other_class_shares_become_those_by_the_labelled_ones():
    """Bayes: normal densities about -1 and 1, at shares of 1/10 and of 1/2."""
    x = np.linspace(-2, 2, 9)
    likelihood = np.stack([norm.pdf(x, -1), norm.pdf(x, 1)], axis=1)

    def posterior(shares):
        joint = likelihood * shares
        return joint / joint.sum(axis=1, keepdims=True)

    shares, told = np.array([0.9, 0.1]), np.array([True, False])
    guesses = np.stack([posterior(shares), posterior([0.5, 0.5])])
    found = _at_judges_shares(guesses, told, np.array([20.0, 20.0]), shares)
    assert found == pytest.approx(np.stack([posterior([0.5, 0.5])] * 2))


@pytest.mark.parametrize(("balance_weight", "told"), [(10.0, True), (0.0, False)])
def test_consistency_is_told_the_shares_by_balance_alone(balance_weight, told):
    objective = Joint(None, balance_weight=balance_weight)
    assert _is_told_shares("consistency", objective) == told
    assert _is_told_shares("graph and consistency", objective)
    assert not _is_told_shares("supervised", objective)


def test_the_judges_shares_enter_the_weights_where_classes_are_uneven(monkeypatch):
    """One row in ten is of the second class, half of the labels are."""
    rng = np.random.RandomState(0)
    y = np.concatenate([[0] * 20, [1] * 20, [0] * 360, [1] * 40])
    X = rng.normal(size=(440, 2)) + 2.5 * y[:, None]
    few = np.where(np.arange(440) < 40, y, -1)
    model = fitted(X, few)
    assert model.class_shares_[1] < 0.3
    name = "skebm.semi_supervised._stacking._at_judges_shares"
    monkeypatch.setattr(name, lambda guesses, *_: guesses)
    other = fitted(X, few).role_weights_["supervised"]
    assert abs(other - model.role_weights_["supervised"]) > 0.05


def test_one_label_a_class_leaves_prior_weights_and_temperature():
    X, y = lines(n_rows=60)
    model = fitted(X, np.where(np.arange(60) < 2, y, -1))
    assert model.temperature_ == pytest.approx(np.exp(LOG_TEMPERATURE))
    assert model.role_weights_["supervised"] == pytest.approx(0.4)


def test_judges_are_asked_what_the_nets_that_never_saw_them_say():
    """Labels at random, each row by itself: who has seen a row knows it, no other."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(160, 30))
    few = np.where(np.arange(160) < 100, rng.randint(2, size=160), -1)
    model = fitted(X, few, prediction_entropy_weight=0, vat_weight=0, balance_weight=0)
    assert model.temperature_ > 2.5


def test_equal_roles_keep_the_prior():
    weights = _stack(
        np.full((4, 50), 0.7), np.array([0.2, 0.2, 0.2, 0.4]), 2, np.ones(50)
    )
    assert weights == pytest.approx([0.2, 0.2, 0.2, 0.4])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_of_known_logits_is_found(temperature):
    rng = np.random.RandomState(0)
    logits = 2 * rng.normal(size=(20_000, 3))
    noise = rng.gumbel(size=logits.shape)
    labels = (logits / temperature + noise).argmax(axis=1)
    log_prob = log_softmax(logits, axis=1)
    assert fit_temperature(log_prob, labels) == pytest.approx(temperature, rel=0.05)


def test_without_rows_the_temperature_is_the_priors():
    nothing = fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int))
    assert nothing == pytest.approx(np.exp(LOG_TEMPERATURE), abs=1e-3)


@pytest.mark.parametrize(
    ("weights", "n_members", "counts", "of_member"),
    [
        ([0.15] * 3 + [0.55], 6, (1, 1, 1, 3), [0.15] * 3 + [0.55 / 3] * 3),
        ([0.5, 0.45, 0.03, 0.02], 6, (3, 3, 0, 0), None),
        ([0.1, 0.6, 0.1, 0.2], 2, (0, 1, 0, 1), [0.75, 0.25]),
        ([0.1, 0.6, 0.1, 0.2], 1, (0, 1, 0, 0), [1.0]),
        ([0.0, 0.0, 0.0, 1.0], 3, (0, 0, 0, 3), [1 / 3] * 3),
    ],
)
def test_members_are_shared_out_by_weight(weights, n_members, counts, of_member):
    roles, found = share_out(weights, n_members)
    assert roles.counts == counts
    assert sum(found) == pytest.approx(1)
    if of_member:
        assert found == pytest.approx(of_member)


def test_members_that_hear_a_term_lie_together():
    roles, _ = share_out([0.25] * 4, 8)
    names = np.repeat(ROLES, roles.counts)
    assert all("consistency" in name for name in names[roles.consistent])
    assert all("graph" in name for name in names[roles.on_graph])
    assert len(names[roles.consistent]) == len(names[roles.on_graph]) == 4


def test_roles_without_evidence_have_their_prior():
    assert prior_stack(ROLES).weights["supervised"] == pytest.approx(0.4)
    alone = prior_stack(["consistency", "supervised"]).weights
    assert alone["supervised"] == pytest.approx(2 / 3)
    assert alone["graph"] == 0


def lines(seed=0, n_rows=600):
    """Two classes by the sign of a thin column; a wide one has four clusters."""
    rng = np.random.RandomState(seed)
    y = np.arange(n_rows) % 2
    X = np.empty((n_rows, 2))
    X[:, 0] = 8 * rng.randint(4, size=n_rows) + rng.normal(size=n_rows)
    X[:, 1] = (2 * y - 1) * rng.uniform(0.05, 1, size=n_rows)
    return X, y


def fitted(X, few, **options):
    model = JEMClassifier(
        None,
        normalizer=None,
        reference="gaussian",
        max_iter=200,
        random_state=0,
        **options,
    )
    return model.fit(X, few)


def tilted_sheets(n_rows=600):
    """Classes along a thin direction, two clusters along another; turned at random."""
    rng = np.random.RandomState(0)
    y = np.arange(n_rows) % 2
    Z = rng.normal(size=(n_rows, 3))
    Z[:, 0] = 0.2 * (2 * y - 1) * (0.2 + rng.uniform(size=n_rows))
    Z[:, 1] += 3 * rng.choice([-1, 1], size=n_rows)
    return Z @ np.linalg.qr(np.random.RandomState(1).normal(size=(3, 3)))[0], y


def test_where_clusters_are_not_classes_unlabelled_rows_do_little_harm():
    X, y = tilted_sheets()
    few = np.where(np.arange(600) < 30, y, -1)
    hidden = few < 0
    none = {"graph_weight": 0, "vat_weight": 0, "balance_weight": 0}
    none |= {"prediction_entropy_weight": 0, "stacking": False}
    supervised, harmed, stacked = (
        fitted(X, few, **options).score(X[hidden], y[hidden])
        for options in (none, {"stacking": False}, {})
    )
    assert harmed < supervised - 0.08
    assert stacked > supervised - 0.03


def test_a_net_of_one_classifier_takes_the_heaviest_role():
    X, y = lines(n_rows=200)
    few = np.where(np.arange(200) < 40, y, -1)
    model = JEMClassifier(
        None, MLP, "gaussian", normalizer=None, max_iter=20, random_state=0
    ).fit(X, few)
    assert model._roles.n_members == 1
    assert sorted(model.role_weights_.values()) == pytest.approx([0, 0, 0, 1])
    heaviest = max(model.role_weights_, key=model.role_weights_.get)
    assert model._roles.counts[ROLES.index(heaviest)] == 1


def test_weights_are_those_that_members_carry():
    weights = {"consistency": 0.5, "graph": 0.05, "supervised": 0.45}
    carried = _carried(weights, 6)
    assert carried["graph"] == 0
    assert carried["consistency"] == pytest.approx(0.5 / 0.95)
    assert _carried(weights, 1) == dict.fromkeys(ROLES, 0.0) | {"consistency": 1.0}


def test_another_net_may_follow_by_a_fresh_fit():
    X, y = lines(n_rows=120)
    few = np.where(np.arange(120) < 40, y, -1)
    wide = partial(EnsembleMLP, hidden_features=(8,))
    small = partial(EnsembleMLP, hidden_features=(8,), n_members=2)
    options = {"normalizer": None, "max_iter": 4, "random_state": 0}
    model = JEMClassifier(None, wide, "gaussian", **options).fit(X, few)
    for network, n_members in ((small, 2), (MLP, 1), (wide, 6)):
        model.set_params(network=network).fit(X, few)
        assert model._roles.n_members == n_members
        again = clone(model).fit(X, few)
        assert model.role_weights_ == again.role_weights_


def test_a_given_radius_holds_from_the_next_fit_on():
    X, y = lines(n_rows=120)
    few = np.where(np.arange(120) < 40, y, -1)
    options = {"normalizer": None, "max_iter": 2, "random_state": 0}
    model = JEMClassifier(None, MLP, "gaussian", warm_start=True, **options)
    model.set_params(vat_radius=0.3).fit(X, few)
    assert model.vat_radius_ == 0.3
    assert model.set_params(vat_radius=2.0).fit(X, few).vat_radius_ == 2.0
