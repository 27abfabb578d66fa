"""The noise of categories: exact kernels, and how columns say their kind."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import expm

from skebm import EBMDensityEstimator
from skebm.objectives import EnergyDiscrepancy
from skebm.tables import Cells, Intervals, TableEncoder, category_kinds
from skebm.tables._diffusion import (
    STEPS_PER_SIZE,
    CategoryDiffusion,
    heat_kernel,
    laplacian,
)

KINDS = ("nominal", "ordinal", "cyclic")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("time", [0.0, 0.3, 2.0])
def test_the_kernel_is_the_matrix_exponential(kind, size, time):
    kernel = heat_kernel(kind, size, time)
    np.testing.assert_allclose(kernel, expm(time * laplacian(kind, size)), atol=1e-12)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-12)
    np.testing.assert_allclose(kernel.sum(axis=1), 1)
    np.testing.assert_allclose(heat_kernel(kind, size, 1e3), 1 / size, atol=1e-9)


def test_graphs_are_those_of_the_kinds():
    path, ring = laplacian("ordinal", 4), laplacian("cyclic", 4)
    assert (path[0, 3], ring[0, 3]) == (0, 1)
    np.testing.assert_array_equal(np.diag(path), [-1, -2, -2, -1])
    np.testing.assert_array_equal(np.diag(ring), [-2, -2, -2, -2])
    kernel = heat_kernel("nominal", 4, 0.7)
    stays = np.exp(-0.7)
    np.testing.assert_allclose(kernel, stays * np.eye(4) + (1 - stays) / 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("absorbing", [False, True])
def test_draws_follow_the_kernel(kind, absorbing):
    """A walk there and back is one of twice the time."""
    share = np.array([0.4, 0.3, 0.2, 0.1])
    intervals = [Intervals.of_categories(share)]
    noise = CategoryDiffusion([1], intervals, [kind])
    cells, rng = Cells([1], intervals), torch.Generator().manual_seed(0)
    n, time = 20_000, 0.4
    index = np.full((n, 1), 2)
    x = torch.from_numpy(cells.midpoints(np.zeros((n, 2), np.float32), index))
    points = noise.alike(x, torch.full((n,), time), 2, rng, absorbing)
    assert torch.equal(points[..., 0], x[:, 0].expand(2, n))
    speed = 1.0 if kind == "nominal" else STEPS_PER_SIZE * 16
    expected = heat_kernel(kind, 4, 2 * speed * time)[2]
    if absorbing:
        expected = np.exp(-time) * np.eye(4)[2] + (1 - np.exp(-time)) / 4
    for one in points:
        found = np.bincount(cells.indices(one.numpy())[:, 0], minlength=4) / n
        np.testing.assert_allclose(found, expected, atol=0.015)


def test_the_base_measure_is_uniform_in_each_interval():
    """Its density integrates to the number of categories."""
    intervals = [Intervals.of_categories(np.array([0.5, 0.3, 0.2]))]
    noise = CategoryDiffusion([0], intervals, ["nominal"])
    z = torch.linspace(-7, 7, 20_001, dtype=torch.float64)
    total = torch.trapezoid(noise.log_base(z[:, None]).exp(), z)
    assert float(total) == pytest.approx(3, abs=1e-2)


def frame():
    rng = np.random.default_rng(0)
    grade = pd.Categorical(rng.choice(["low", "mid", "high"], 60))
    grade = grade.set_categories(["low", "mid", "high"], ordered=True)
    hour = rng.integers(0, 4, 60)
    return pd.DataFrame({"x": rng.normal(size=60), "grade": grade, "hour": hour})


def test_columns_say_their_kind():
    X = frame()
    assert category_kinds(X, "from_dtype") == {1: "ordinal"}
    assert category_kinds(X, {"grade": "nominal", "hour": "cyclic"}) == {2: "cyclic"}
    assert category_kinds(X.to_numpy(), {2: "cyclic"}) == {2: "cyclic"}
    assert category_kinds(X, ["hour"]) == {}


def test_an_estimator_trains_by_them():
    X = frame()
    kinds = {"grade": "ordinal", "hour": "cyclic"}
    model = EBMDensityEstimator(
        EnergyDiscrepancy(category_noise="heat"),
        reference="gaussian",
        categorical_features=kinds,
        normalizer="importance",
        max_iter=1,
        random_state=0,
    ).fit(X)
    again = pickle.loads(pickle.dumps(model))
    scores = again.score_samples(X)
    np.testing.assert_array_equal(scores, model.score_samples(X))
    for one in (model, again):
        assert one._reader.categories == ((1, 3, "ordinal"), (2, 4, "cyclic"))
        assert one._fitted.encoder.cells.diffusion.columns == [1, 2]


def test_another_kind_is_an_error():
    with pytest.raises(ValueError, match=r"'categorical_features'.*'circular'"):
        EBMDensityEstimator(categorical_features={"hour": "circular"}).fit(frame())


def test_codes_of_determined_columns_have_no_order():
    """Of pairs of columns that say the same one is coded by the difference."""
    k = np.random.default_rng(0).integers(0, 5, 400)
    X = np.stack([k, k], axis=1).astype(float)
    both = [(0, 5, "ordinal"), (1, 5, "ordinal")]
    kinds = TableEncoder.fit(X, categories=both).kinds[0].category_kinds()
    assert sorted(kinds.values()) == ["nominal", "ordinal"]
