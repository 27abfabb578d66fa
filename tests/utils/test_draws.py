"""Draws by weights."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from skebm.utils import make_generator, pick

WEIGHTS = torch.tensor([[0.0, 1.0, 3.0, 0.0, 6.0, 0.0], [5.0, 0.0, 0.0, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pick_draws_by_the_weights(dtype):
    drawn = pick(WEIGHTS.to(dtype), make_generator(0), 100_000)
    assert drawn.shape == (2, 100_000)
    counts = np.bincount(drawn[0], minlength=6)
    assert counts[[0, 3, 5]].tolist() == [0, 0, 0]
    assert chisquare(counts[[1, 2, 4]], [1e4, 3e4, 6e4]).pvalue > 1e-4
    assert (drawn[1] == 0).all()


def test_pick_draws_one_column_of_each_row():
    weights = torch.eye(5)[torch.arange(1000) % 5]
    drawn = pick(weights, make_generator(0))
    assert drawn.tolist() == [i % 5 for i in range(1000)]


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_pick_never_leaves_the_columns_of_weight(uniform, monkeypatch):
    """At either end of the uniform numbers, whatever the product is rounded to."""
    monkeypatch.setattr(
        "skebm.utils._torch.uniform_like", lambda x, _: torch.full_like(x, uniform)
    )
    generator = make_generator(0)
    scales = 10.0 ** torch.arange(-30, 30).unsqueeze(1)
    drawn = pick(WEIGHTS[:1] * scales, generator)
    assert set(drawn.tolist()) == ({1} if uniform == 0 else {4})


@pytest.mark.parametrize("weight", [0.0, np.nan])
def test_pick_without_weights_is_a_column_all_the_same(weight):
    drawn = pick(torch.full((50, 3), weight), make_generator(0))
    assert ((drawn >= 0) & (drawn < 3)).all()
