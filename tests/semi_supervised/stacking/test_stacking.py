"""Stacking weights of the roles, fitted on held-out labels."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from skebm.objectives import ROLES, Joint
from skebm.semi_supervised.graph._prior_classifier import LABEL_NOISE
from skebm.semi_supervised.labels._held_out_labels import HeldOutLabels
from skebm.semi_supervised.labels._temperature import scale_by_own_temperature
from skebm.semi_supervised.learners._experts import EXPERTS
from skebm.semi_supervised.stacking._role_weights import (
    EVIDENCE_POWER,
    LITTLE_INFORMATION,
    PRIOR_STRENGTH,
    fit_weights,
    is_uninformative,
    prior_weights,
    realizable_weights,
)
from skebm.semi_supervised.stacking._stacking import (
    FEWEST_PRIOR,
    expert_prior,
    reweight_classes,
    uses_estimated_priors,
    weigh_labels,
)
from skebm.semi_supervised.stacking._traits import TableTraits


@pytest.mark.parametrize("doubled", [0, 8])
def test_roles_that_are_right_in_different_rows_weigh_by_their_rows(doubled):
    """Likelihoods of 0 and 1, each right in half: EM has a closed form.

    It is (rows + prior) / total; a row of weight two is two rows.
    """
    likelihoods = np.zeros((2, 40))
    likelihoods[0, :20] = likelihoods[1, 20:] = 1.0
    prior = np.array([0.7, 0.3])
    sample_weight = np.ones(40)
    sample_weight[:doubled] = sample_weight[20 : 20 + doubled] = 2
    # Of so many classes no label is right by chance.
    weights = fit_weights(likelihoods, prior, 10**9, sample_weight)
    n = 20 + doubled
    expected = (n + PRIOR_STRENGTH * prior) / (2 * n + PRIOR_STRENGTH)
    assert weights == pytest.approx(expected, abs=1e-6)


def test_many_labels_stack_roles_of_which_one_has_the_higher_likelihood():
    """The mixture's optimum is inside, though the other's likelihood is far lower."""
    n = np.array([1400, 600])
    likelihoods = np.repeat([[0.9, 0.1], [0.1, 0.9]], n, axis=1)
    weights = fit_weights(likelihoods, np.array([0.5, 0.5]), 10**9, np.ones(2000))
    # Without a prior the mixture w 0.9 + (1 - w) 0.1 is 0.7 in 70 % of the rows.
    assert weights[0] == pytest.approx(0.75, abs=0.02)


def test_few_labels_weigh_roles_by_a_power_of_their_likelihoods():
    """One label of little weight: the prior weights times p^b, as in averaging."""
    prior, little = np.array([0.4, 0.6]), np.array([1e-6])
    likelihoods = np.array([[0.9], [0.3]])
    alike = np.repeat(likelihoods, 10, axis=1)
    weights = fit_weights(likelihoods, prior, 2, little)
    assert weights == pytest.approx(prior, abs=1e-4)
    noisy = (1 - LABEL_NOISE) * alike + LABEL_NOISE / 2
    averaged = prior * noisy.prod(axis=1) ** EVIDENCE_POWER
    averaged /= averaged.sum()
    weights = fit_weights(alike, prior, 2, np.ones(10))
    assert averaged[0] < weights[0] < 1
    assert averaged[0] > prior[0] + 0.4


def test_an_informative_but_overconfident_role_outweighs_an_uninformative_one():
    """Right in 65 of 100 rows, and sure of each: it gains by its own temperature."""
    labels, right = np.zeros(100, dtype=int), np.arange(100) < 65
    sure = np.where(right, 0.999, 0.001)
    sure = np.stack([sure, 1 - sure], axis=1)
    prior, ones = np.array([0.5, 0.5]), np.ones(100)
    scaled = scale_by_own_temperature(sure, labels, ones)
    before, after = (
        fit_weights(np.stack([p[:, 0], np.full(100, 0.5)]), prior, 2, ones)[0]
        for p in (sure, scaled)
    )
    assert before < 0.4
    assert after > 0.55


def test_each_simple_learner_has_a_prior_weight():
    traits = TableTraits(241, 0.0)
    weights = expert_prior(traits)
    assert list(weights) == ["net", *EXPERTS]
    assert sum(weights.values()) == pytest.approx(1)
    ratio = weights["clusters"] / (1 - weights["clusters"])
    assert ratio == pytest.approx(traits.clusters)
    assert sum(FEWEST_PRIOR.values()) == pytest.approx(1)
    assert set(FEWEST_PRIOR) < set(EXPERTS)


def test_equal_roles_keep_the_prior():
    prior = np.array([0.2, 0.2, 0.2, 0.4])
    weights = fit_weights(np.full((4, 50), 0.7), prior, 2, np.ones(50))
    assert weights == pytest.approx(prior)


@pytest.mark.parametrize(
    ("n_labels", "accuracy", "alone"),
    [(200, 0.5, True), (200, 0.7, False), (60, 0.5, False)],
)
def test_many_labels_show_that_no_role_is_informative(n_labels, accuracy, alone):
    """Information of a role right in a share p of rows: log 2 less the entropy of p."""
    labels = np.arange(n_labels) % 2
    right = np.arange(n_labels) < accuracy * n_labels
    likelihoods = np.where(right, accuracy, 1 - accuracy)
    likelihoods = np.stack([likelihoods, np.full(n_labels, 0.5)])
    p = np.array([accuracy, 1 - accuracy])
    entropy = -(p * np.log(p)).sum()
    assert (1 - entropy / np.log(2) > LITTLE_INFORMATION) == (accuracy == 0.7)
    assert is_uninformative(likelihoods, labels, np.ones(n_labels), 2) == alone


@pytest.mark.parametrize("n_rare", [2, 20, 100])
@pytest.mark.parametrize("informative", [True, False])
def test_information_is_measured_against_the_entropy_of_the_classes(
    n_rare, informative
):
    """A rare class has little entropy; who predicts it is informative."""
    labels = (np.arange(200) < n_rare).astype(int)
    frequencies = np.bincount(labels)[labels] / 200
    likelihoods = np.full((1, 200), 0.97) if informative else frequencies[None]
    found = is_uninformative(likelihoods, labels, np.ones(200), 2)
    assert found == (not informative)


def test_labels_weigh_as_their_rows_and_classes_do():
    rows, labels = np.array([3, 0, 2]), np.array([0, 1, 1])
    held_out = HeldOutLabels(rows, labels, np.zeros(3, dtype=int))
    weight = torch.tensor([1.0, 5.0, 2.0, 3.0])
    assert weigh_labels(None, None, held_out).tolist() == [1, 1, 1]
    assert weigh_labels(weight, None, held_out).tolist() == [1.5, 0.5, 1.0]
    found = weigh_labels(weight, (2.0, 1.0), held_out)
    assert found == pytest.approx(np.array([6, 1, 2]) / 3)


def test_reweighted_predictions_are_the_posteriors_of_the_new_class_priors():
    """Bayes: normal densities about -1 and 1, at priors of 1/10 and of 1/2."""
    x = np.linspace(-2, 2, 9)
    likelihood = np.stack([norm.pdf(x, -1), norm.pdf(x, 1)], axis=1)

    def posterior(priors):
        joint = likelihood * priors
        return joint / joint.sum(axis=1, keepdims=True)

    estimated, even = np.array([0.9, 0.1]), np.array([0.5, 0.5])
    predicted = np.stack([posterior(estimated), posterior(even)])
    which = np.array([True, False])
    found = reweight_classes(predicted, which, even / estimated)
    assert found == pytest.approx(np.stack([posterior(even)] * 2))


@pytest.mark.parametrize(("balance_weight", "uses"), [(10.0, True), (0.0, False)])
def test_consistency_uses_estimated_priors_by_balance_alone(balance_weight, uses):
    objective = Joint(None, balance_weight=balance_weight)
    assert uses_estimated_priors("consistency", objective) == uses
    assert uses_estimated_priors("graph and consistency", objective)
    assert not uses_estimated_priors("supervised", objective)


def test_without_labels_roles_have_prior_weights():
    assert prior_weights(ROLES)["supervised"] == pytest.approx(0.4)
    by_traits = prior_weights(ROLES, supervised=0.7)
    assert by_traits == pytest.approx(dict.fromkeys(ROLES, 0.1) | {"supervised": 0.7})
    alone = prior_weights(["consistency", "supervised"])
    assert alone["supervised"] == pytest.approx(2 / 3)
    assert alone["graph"] == 0


def test_weights_are_those_that_members_can_have():
    weights = {"consistency": 0.5, "graph": 0.05, "supervised": 0.45}
    realizable = realizable_weights(weights, 6)
    assert realizable["graph"] == 0
    assert realizable["consistency"] == pytest.approx(0.5 / 0.95)
    one = realizable_weights(weights, 1)
    assert one == dict.fromkeys(ROLES, 0.0) | {"consistency": 1.0}
