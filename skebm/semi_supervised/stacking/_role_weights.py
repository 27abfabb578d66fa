"""Weights of roles and of learners: of model averaging, then of stacking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from skebm.objectives import ROLES, share_out
from skebm.semi_supervised.graph._prior_classifier import LABEL_NOISE

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Prior weight of the supervised role without a table's traits: twice any other's.
SUPERVISED = 0.4
#: Prior weights where the graph is trusted fully, and how far then they count.
ON_GRAPH = {role: 0.0 for role in ROLES} | {"graph": 0.5, "graph and consistency": 0.5}
FULL_TRUST = 0.8
#: Power of the likelihood of the held-out labels that multiplies the prior weights, and
#: worth of these weights in held-out labels.
EVIDENCE_POWER, PRIOR_STRENGTH = 0.3, 50.0
#: Least number of held-out labels that can show roles to be uninformative, and least
#: share of the classes' entropy that an informative role explains.
ENOUGH_LABELS = 100
LITTLE_INFORMATION = 0.07


def prior_weights(
    active: Sequence[str], supervised: float = SUPERVISED, trust: float = 0.0
) -> dict[str, float]:
    """Return the weights of the active roles without any held-out label.

    Parameters
    ----------
    active : sequence of str
        Roles that there are.
    supervised : float, default=0.4
        Prior weight of the supervised role, where all are active; the others share the
        rest alike.
    trust : float, default=0.0
        In the graph, from 0 to 1; by `trust_graph`.
    """
    alike = dict.fromkeys(ROLES, (1 - supervised) / (len(ROLES) - 1))
    alike["supervised"] = supervised
    share = FULL_TRUST * trust
    prior = {role: (1 - share) * alike[role] + share * ON_GRAPH[role] for role in ROLES}
    total = sum(prior[role] for role in active)
    return {role: prior[role] / total if role in active else 0.0 for role in ROLES}


def fit_weights(
    likelihoods: Array, prior: Array, n_classes: int, sample_weight: Array
) -> Array:
    """Return the weights of the roles: of averaging, then of stacking.

    The weights of model averaging, by a power of the likelihood, are the prior mean of
    those of the mixture, which expectation maximisation finds. Few labels say which
    role predicts better, but not how to mix two.

    Parameters
    ----------
    likelihoods : ndarray of shape (n_roles, n)
        Probabilities of the held-out labels.
    prior : ndarray of shape (n_roles,)
        Prior weights.
    n_classes : int
        Number of classes.
    sample_weight : ndarray of shape (n,)
        Weights of the labels.
    """
    likelihoods = _allow_for_noise(likelihoods, n_classes)
    log_likelihood = np.log(likelihoods) @ sample_weight
    prior = prior * np.exp(EVIDENCE_POWER * (log_likelihood - log_likelihood.max()))
    prior = prior / prior.sum()
    # From the averaged weights, near 0 and 1, steps of EM would hardly get away.
    weights = np.full(len(prior), 1 / len(prior))
    for _ in range(1000):
        joint = weights[:, None] * likelihoods
        before, weights = weights, joint / joint.sum(axis=0) @ sample_weight
        weights = weights + PRIOR_STRENGTH * prior
        weights /= weights.sum()
        if np.abs(weights - before).max() < 1e-9:
            break
    return weights


def is_uninformative(
    likelihoods: Array, labels: Indices, sample_weight: Array, n_classes: int
) -> bool:
    """Return True if, on enough held-out labels, no role beats the class frequencies.

    Then none can show that unlabelled rows help, and the prior doesn't count.
    """
    n_labels = len(labels)
    counts = np.bincount(labels, sample_weight, minlength=n_classes)
    of_label = (counts / n_labels)[labels]
    by_frequency = np.log(_allow_for_noise(of_label, n_classes)) @ sample_weight
    best = (np.log(_allow_for_noise(likelihoods, n_classes)) @ sample_weight).max()
    # `by_frequency` is minus the entropy of the classes: all that can be explained.
    enough = n_labels >= ENOUGH_LABELS
    return bool(enough and best < (1 - LITTLE_INFORMATION) * by_frequency)


def realizable_weights(
    weights: Mapping[str, float], n_members: int
) -> dict[str, float]:
    """Return the nearest weights of roles that an ensemble of this size can have."""
    wanted = [weights.get(role, 0.0) for role in ROLES]
    roles, of_member = share_out(wanted, n_members)
    ends = np.cumsum(roles.counts)
    parts = np.split(np.array(of_member), ends[:-1])
    return {role: float(part.sum()) for role, part in zip(ROLES, parts, strict=True)}


def _allow_for_noise(likelihoods: Array, n_classes: int) -> Array:
    return (1 - LABEL_NOISE) * likelihoods + LABEL_NOISE / n_classes
