"""Boosted trees against brute force, closed forms and enumeration."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from skebm.evaluation import ImportanceSampling
from skebm.networks import BoostedTrees, EnergyModel
from skebm.objectives.noise_contrastive._contrast import Contrast
from skebm.references import GaussianMixtureDensity


def small_problem(n=60, d=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)).round(1)
    return x, rng.normal(size=n), rng.uniform(0.1, 1, size=n)


def test_the_first_split_is_the_best_of_all():
    x, slope, curvature = small_problem()
    trees = BoostedTrees(3, depth=1, l2_regularization=0.7)
    increase = trees.grow(trees.histogram(x), slope, curvature, 1.0)

    def gain(mask):
        return sum(
            slope[side].sum() ** 2 / (curvature[side].sum() + 0.7)
            for side in (mask, ~mask)
        )

    candidates = [(j, b) for j in range(3) for b in np.unique(x[:, j])[:-1]]
    j, b = max(candidates, key=lambda split: gain(x[:, split[0]] <= split[1]))
    left = x[:, j] <= b
    assert int(trees.features[0, 0]) == j
    assert float(trees.thresholds[0, 0]) == pytest.approx(b)
    for side in (left, ~left):
        value = -slope[side].sum() / (curvature[side].sum() + 0.7)
        np.testing.assert_allclose(increase[side], value)


def test_deeper_splits_are_those_of_all_leaves_together():
    x, slope, curvature = small_problem()
    trees = BoostedTrees(3, depth=3, l2_regularization=0.7)
    trees.grow(trees.histogram(x), slope, curvature, 1.0)
    leaf = np.zeros(len(x), dtype=int)
    for k in range(3):

        def gain(split, leaf=leaf):
            right = x[:, split[0]] > split[1]
            cells = itertools.product(np.unique(leaf), (right, ~right))
            sides = [(leaf == value) & side for value, side in cells]
            return sum(
                slope[side].sum() ** 2 / (curvature[side].sum() + 0.7) for side in sides
            )

        chosen = int(trees.features[0, k]), float(trees.thresholds[0, k])
        chosen = chosen[0], min(x[:, chosen[0]], key=lambda b: abs(b - chosen[1]))
        candidates = [(j, b) for j in range(3) for b in np.unique(x[:, j])[:-1]]
        assert gain(chosen) == pytest.approx(max(map(gain, candidates)))
        leaf = leaf + 2**k * (x[:, chosen[0]] > chosen[1])


def test_outputs_are_the_sum_of_what_grew():
    x, slope, curvature = small_problem()
    trees = BoostedTrees(3, depth=2)
    rows = trees.histogram(x)
    total = sum(trees.grow(rows, s, curvature, 0.3) for s in (slope, -slope, slope**2))
    outputs = trees(torch.from_numpy(x).float())[:, 0].numpy()
    np.testing.assert_allclose(outputs, total, rtol=1e-5, atol=1e-7)


def test_the_energy_of_a_discrete_table_is_that_of_enumeration():
    """Of all cells of a 3 x 4 table, weighed as drawn, c = log p / q0 in each."""
    cells = np.array(list(itertools.product(range(3), range(4))), dtype=float)
    p = np.random.default_rng(0).dirichlet(np.full(12, 3.0))
    points = torch.from_numpy(np.r_[cells, cells])
    contrast = Contrast(points, 12 * p, noise_ratio=3)  # q0 is uniform
    trees = BoostedTrees(2, depth=5, l2_regularization=0.0)
    rows = trees.histogram(points.numpy())
    critic = np.zeros(24)
    for _ in range(80):
        slope, curvature = contrast.derivatives(critic)
        critic += trees.grow(rows, slope, curvature, 0.5)
    found = trees(torch.from_numpy(cells).float())[:, 0].numpy()
    np.testing.assert_allclose(found, np.log(12 * p), atol=1e-4)


def stump(threshold, height):
    """Return trees that are `height` above a threshold of the first column."""
    trees = BoostedTrees(2, depth=1)
    trees.set_extra_state(
        {
            "features": torch.tensor([[0]]),
            "thresholds": torch.tensor([[threshold]]),
            "values": torch.tensor([[0.0, height]]),
            "borders": [],
        }
    )
    return trees


def test_log_z_of_a_step_is_a_closed_form():
    normal = GaussianMixtureDensity(
        torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]
    )
    model = EnergyModel(stump(0.4, 1.5), normal)
    estimate = ImportanceSampling(100_000).estimate(
        model.energy, normal, generator=torch.Generator().manual_seed(0)
    )
    exact = math.log(ndtr(0.4) + math.exp(1.5) * ndtr(-0.4))
    assert estimate.log_normalizer == pytest.approx(exact, abs=0.01)


def test_its_derivatives_are_zero():
    x = torch.linspace(-1, 1, 8).reshape(4, 2).requires_grad_()
    (slope,) = torch.autograd.grad(stump(0.0, 1.0)(x).sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x)
    assert not slope.any()
    assert not bend.any()


def test_a_state_brings_its_trees_along():
    trees = stump(0.4, 1.5)
    state = copy.deepcopy(trees.state_dict())
    other = BoostedTrees(2, depth=1)
    other.load_state_dict(state)
    x = torch.linspace(-1, 1, 10).reshape(5, 2)
    assert torch.equal(other(x), trees(x))
    assert other.n_trees == 1


@pytest.mark.parametrize(
    "options", [{"depth": 0}, {"n_bins": 1.5}, {"l2_regularization": -1.0}]
)
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        BoostedTrees(2, **options)
