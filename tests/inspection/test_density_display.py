"""Densities of columns, against closed forms."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.neighbors import KernelDensity

from skebm import EBMDensityEstimator
from skebm.inspection import DensityDisplay
from skebm.inspection._density_grid import shown_range

MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[4.0, 1.5, 0.3], [1.5, 1.0, 0.2], [0.3, 0.2, 0.5]])
NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def rows():
    draws = np.random.RandomState(0).multivariate_normal(MEAN, COVARIANCE, 400)
    return pd.DataFrame(draws, columns=NAMES)


@pytest.fixture(scope="module")
def gaussian(rows):
    """One Gaussian: no tilt is better than the bare reference by ten nats."""
    model = EBMDensityEstimator(
        reference="gaussian", normalizer="importance", max_iter=1, tol=10.0
    )
    model = model.set_params(ood_score="log_density", random_state=0).fit(rows)
    assert model.best_epoch_ == 0
    return model


def moments(rows):
    return rows.to_numpy().mean(axis=0), np.cov(rows.to_numpy().T, bias=True)


def test_a_marginal_density_is_that_of_the_gaussian(gaussian, rows):
    display = DensityDisplay.from_estimator(gaussian, rows, "b", resolution=30)
    (grid,) = display.grids.values()
    mean, covariance = moments(rows)
    expected = norm.pdf(grid.values[0], mean[1], np.sqrt(covariance[1, 1]))
    np.testing.assert_allclose(grid.density, expected, rtol=0.1, atol=0.005)
    assert grid.values[0][0] < rows["b"].min() < rows["b"].max() < grid.values[0][-1]
    assert display.ax_.get_xlabel() == "b" and display.ax_.get_ylabel() == "density"
    legend = display.ax_.get_legend().get_texts()
    assert {text.get_text() for text in legend} == {"rows", "model"}
    assert sum(p.get_height() * p.get_width() for p in display.ax_.patches) == (
        pytest.approx(1)
    )


class Gaussian:
    """The Gaussian of the rows, exact for rows that miss the same columns."""

    def score_samples(self, X):
        X = X.to_numpy()
        known = ~np.isnan(X[0])
        covariance = COVARIANCE[np.ix_(known, known)]
        return np.atleast_1d(
            multivariate_normal(MEAN[known], covariance).logpdf(X[:, known])
        )


def test_two_columns_given_a_third_are_the_conditional_gaussian(rows):
    display = DensityDisplay.from_estimator(
        Gaussian(), rows, ["a", 1], at={"c": 1.0}, resolution=8
    )
    (grid,) = display.grids.values()
    slope = COVARIANCE[:2, 2] / COVARIANCE[2, 2]
    conditional = multivariate_normal(
        MEAN[:2] + slope * (1.0 - MEAN[2]),
        COVARIANCE[:2, :2] - np.outer(slope, COVARIANCE[2, :2]),
    )
    points = np.dstack(np.meshgrid(*grid.values))
    np.testing.assert_allclose(grid.density, conditional.pdf(points))
    assert display.ax_.get_title() == "given c = 1.0"
    assert display.ax_.get_xlabel() == "a" and display.ax_.get_ylabel() == "b"


SHARES, MEANS = {"x": 0.25, "y": 0.75}, {"x": -1.0, "y": 2.0}


class Table:
    """A density of a number given a category: exact, also with gaps."""

    is_categorical_ = np.array([True, False])

    def score_samples(self, X):
        given = X["kind"].notna(), X["size"].notna()
        assert X["kind"].dtype == "category"
        total = np.zeros(len(X))
        for name, share in SHARES.items():
            size = X["size"].fillna(0.0).to_numpy(dtype=float)
            part = np.where(given[1], norm.pdf(size, MEANS[name]), 1.0)
            total += share * part * (~given[0] | (X["kind"] == name)).to_numpy()
        return np.log(total)


def test_categories_have_probabilities():
    kind = pd.Categorical(["x", "y", "y", None], ["x", "y"])
    X = pd.DataFrame({"kind": kind, "size": [-1.0, 2.0, 2.5, 0.0]})
    display = DensityDisplay.from_estimator(Table(), X, "kind")
    (grid,) = display.grids.values()
    np.testing.assert_allclose(grid.density, [0.25, 0.75])
    np.testing.assert_allclose(grid.shares(), [1 / 3, 2 / 3])
    assert display.ax_.get_ylabel() == "probability"
    ticks = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert ticks == ["x", "y"]

    display = DensityDisplay.from_estimator(Table(), X, ["kind", "size"], resolution=9)
    (grid,) = display.grids.values()
    assert grid.density.shape == (9, 2)
    expected = 0.25 * norm.pdf(grid.values[1], -1.0)
    np.testing.assert_allclose(grid.density[:, 0], expected)

    given = DensityDisplay.from_estimator(Table(), X, "size", at={"kind": "y"})
    (grid,) = given.grids.values()
    np.testing.assert_allclose(grid.density, norm.pdf(grid.values[0], 2.0))


@pytest.mark.parametrize("value", ["z", np.nan])
def test_columns_are_held_at_values_of_their_own(value):
    """Else the picture would say "given" and show what is given nothing."""
    X = pd.DataFrame({"kind": pd.Categorical(["x", "y"] * 5), "size": np.arange(10.0)})

    class Blind:
        def score_samples(self, X):
            return np.zeros(len(X))

    with pytest.raises(ValueError, match=r"'at' parameter must hold kind at one of"):
        DensityDisplay.from_estimator(Blind(), X, "size", at={"kind": value})
    with pytest.raises(ValueError, match="'at' parameter must hold size at a value"):
        DensityDisplay.from_estimator(Blind(), X, "kind", at={"size": np.nan})


def test_pairs_have_a_grid_of_axes(rows):
    ax = plt.subplots()[1]
    display = DensityDisplay.from_estimator(
        Gaussian(), rows, NAMES, resolution=3, ax=ax
    )
    assert sorted(display.grids) == [(0,), (0, 1), (0, 2), (1,), (1, 2), (2,)]
    assert display.axes_.shape == (3, 3) and display.figure_ is ax.figure
    assert [axes.get_xlabel() for axes in display.axes_[2]] == NAMES
    assert [axes.get_ylabel() for axes in display.axes_[1:, 0]] == NAMES[1:]


def test_any_density_of_all_the_columns_can_be_drawn(rows):
    X = rows[["a", "b"]].to_numpy()
    model = KernelDensity(bandwidth=0.5).fit(X)
    display = DensityDisplay.from_estimator(model, X, resolution=5)
    (grid,) = display.grids.values()
    points = np.dstack(np.meshgrid(*grid.values)).reshape(-1, 2)
    np.testing.assert_allclose(
        grid.density.ravel(), np.exp(model.score_samples(points))
    )
    assert display.ax_.get_ylabel() == "column 1"


def test_wild_values_leave_room_for_the_others():
    x = np.r_[np.linspace(0, 1, 999), 1e6]
    low, high = shown_range(x)
    assert -0.2 < low < 0 and 1 < high < 1.2
    assert shown_range(np.full(5, 3.0)) == (0.0, 6.0)
    assert shown_range(np.zeros(0)) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": "d"}, "a, b, c. Got 'd'"),
        ({"columns": "a", "at": {"a": 1.0}}, "'at' .*Got a in both"),
        ({"columns": "a", "resolution": 1}, "'resolution' .* Got 1"),
    ],
)
def test_bad_options_are_refused_by_name(rows, options, message):
    with pytest.raises(ValueError, match=message):
        DensityDisplay.from_estimator(Gaussian(), rows, **options)
