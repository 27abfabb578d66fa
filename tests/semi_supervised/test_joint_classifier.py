"""JEMClassifier with few labels, by its public attributes."""

from functools import partial

import numpy as np
import pytest
from sklearn.base import clone

from skebm import JEMClassifier
from skebm.networks import MLP, EnsembleMLP

OPTIONS = {"reference": "gaussian", "normalizer": None, "random_state": 0}


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
    unlabeled = few < 0
    none = {"graph_weight": 0, "vat_weight": 0, "balance_weight": 0}
    none |= {"prediction_entropy_weight": 0, "stacking": False}
    supervised, harmed, stacked = (
        JEMClassifier(None, max_iter=100, **OPTIONS, **options)
        .fit(X, few)
        .score(X[unlabeled], y[unlabeled])
        for options in (none, {"stacking": False}, {})
    )
    assert harmed < supervised - 0.08
    assert stacked > supervised - 0.06


def test_a_net_of_one_classifier_takes_the_heaviest_role(lines):
    X, y = lines(200)
    few = np.where(np.arange(200) < 40, y, -1)
    model = JEMClassifier(None, MLP, max_iter=20, **OPTIONS).fit(X, few)
    assert sorted(model.role_weights_.values()) == pytest.approx([0, 0, 0, 1])


def test_another_net_may_follow_by_a_fresh_fit(lines):
    X, y = lines(120)
    few = np.where(np.arange(120) < 40, y, -1)
    wide = partial(EnsembleMLP, hidden_features=(8,))
    small = partial(EnsembleMLP, hidden_features=(8,), n_members=2)
    model = JEMClassifier(None, wide, max_iter=4, **OPTIONS).fit(X, few)
    for network, n_members in ((small, 2), (MLP, 1)):
        model.set_params(network=network).fit(X, few)
        assert np.count_nonzero(list(model.role_weights_.values())) <= n_members
        again = clone(model).fit(X, few)
        assert model.role_weights_ == again.role_weights_


def test_a_given_radius_holds_from_the_next_fit_on(lines):
    X, y = lines(120)
    few = np.where(np.arange(120) < 40, y, -1)
    model = JEMClassifier(None, MLP, max_iter=2, warm_start=True, **OPTIONS)
    model.set_params(vat_radius=0.3).fit(X, few)
    assert model.vat_radius_ == 0.3
    assert model.set_params(vat_radius=2.0).fit(X, few).vat_radius_ == 2.0
