"""Machines so small that every sum over states can be made."""

import itertools

import pytest
import torch

from skebm.networks import RBM


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def rbm():
    """4 visible and 3 hidden units, float64, with strong weights."""
    rng = torch.Generator().manual_seed(3)
    weight = 1.5 * torch.randn(3, 4, generator=rng, dtype=torch.float64)
    hidden_bias = torch.randn(3, generator=rng, dtype=torch.float64)
    visible_bias = torch.randn(4, generator=rng, dtype=torch.float64)
    return RBM(weight, hidden_bias, visible_bias)


@pytest.fixture
def states():
    """Return the binary states of n units, shape (2^n, n)."""

    def make(n):
        rows = list(itertools.product([0.0, 1.0], repeat=n))
        return torch.tensor(rows, dtype=torch.float64)

    return make
