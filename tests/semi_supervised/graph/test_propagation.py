"""Label propagation: harmonic class probabilities, and their class priors."""

import numpy as np
import pytest
from scipy import sparse

from skebm.semi_supervised.graph import _propagation
from skebm.semi_supervised.graph._propagation import (
    PriorLabels,
    match_priors,
    propagate_labels,
    solve,
)


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
def test_harmonic_labels_have_their_closed_form(weight):
    """A path 0 - 2 - 3 - 1: labels at its ends, prior labels in mirror image."""
    affinities = np.zeros((4, 4))
    for i, j in ((0, 2), (2, 3), (3, 1)):
        affinities[i, j] = affinities[j, i] = 1.0
    h, mean_degree = 0.2, 1.5
    probability = np.array([[0.5, 0.5], [0.5, 0.5], [h, 1 - h], [1 - h, h]])
    prior = PriorLabels(probability, weight) if weight else None
    y = np.array([0, 1, -1, -1])
    soft = propagate_labels(sparse.csr_array(affinities), y, 2, prior)
    pull = weight * mean_degree
    diagonal = 2 + 1e-4 * mean_degree + pull
    difference = (1 + pull * (2 * h - 1)) / (diagonal + 1)
    total = (1 + pull) / (diagonal - 1)
    expected = (1 + difference / total) / 2
    assert soft[2] == pytest.approx([expected, 1 - expected], abs=1e-6)
    assert soft[3] == pytest.approx([1 - expected, expected], abs=1e-6)
    assert (soft[:2] == np.eye(2)).all()


def test_unlabelled_rows_match_the_class_priors_and_labels_stay():
    rng = np.random.RandomState(0)
    y = np.append([0, 1, 1], np.full(200, -1))
    soft = np.vstack([np.eye(2)[y[:3]], rng.dirichlet([2, 1], size=200)])
    priors = np.array([0.3, 0.7])
    matched = match_priors(soft, y, priors)
    assert (matched[:3] == soft[:3]).all()
    assert matched.sum(axis=1) == pytest.approx(1)
    assert matched[3:].mean(axis=0) == pytest.approx(priors, abs=0.01)


def test_iterations_solve_as_a_dense_solver_does(monkeypatch):
    rng = np.random.RandomState(0)
    affinities = rng.uniform(size=(60, 60)) * (rng.uniform(size=(60, 60)) < 0.1)
    affinities = affinities + affinities.T
    system = np.diag(affinities.sum(axis=1) + 1e-3) - affinities
    right = np.column_stack([rng.uniform(size=(60, 2)), np.zeros(60)])
    monkeypatch.setattr(_propagation, "MAX_DIRECT", 10)
    monkeypatch.setattr(_propagation, "RESIDUAL", 1e-12)
    found = solve(sparse.csr_array(system), right)
    np.testing.assert_allclose(found, np.linalg.solve(system, right), rtol=1e-8)


def test_where_iterations_stall_a_middle_sized_graph_is_solved_directly(monkeypatch):
    # A path whose ends are far: iterations carry a label one row a step.
    n_rows = 400
    ones = np.ones(n_rows - 1)
    affinities = sparse.diags_array([ones, ones], offsets=[-1, 1])
    diagonal = affinities.sum(axis=1) + 1e-9
    system = sparse.csr_array(sparse.diags_array(diagonal) - affinities)
    right = np.zeros((n_rows, 1))
    right[0] = 1e-3
    monkeypatch.setattr(_propagation, "MAX_DIRECT", 10)
    found = solve(system, right)
    expected = np.linalg.solve(system.toarray(), right)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    monkeypatch.setattr(_propagation, "MAX_DIRECT_IF_STALLED", 10)
    monkeypatch.setattr(_propagation, "MAX_ITERATIONS", 25)
    assert np.abs(solve(system, right) - expected).max() > 0.1 * expected.max()
