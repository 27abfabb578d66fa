"""The features that the net of a density has learnt."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

from skebm import EBMDensityEstimator
from skebm.networks import MLP, ResidualMLP

X = np.random.RandomState(0).normal(size=(80, 3))
FAST = {"reference": "gaussian", "normalizer": None, "max_iter": 1, "random_state": 0}


@pytest.mark.parametrize(
    "network, n_hidden",
    [
        (partial(MLP, hidden_features=(16, 8)), 8),
        (partial(MLP, hidden_features=(8,), embedding="waves"), 8),
        (partial(MLP, hidden_features=(8,), spectral_norm=True), 8),
        (partial(ResidualMLP, width=12), 12),
    ],
)
def test_the_energy_is_linear_in_the_features(network, n_hidden):
    model = EBMDensityEstimator(network=network, **FAST).fit(X)
    features = model.transform(X)
    assert features.shape == (80, n_hidden)
    design = np.column_stack([features, np.ones(80)])
    energy = model.energy(X)
    weight = np.linalg.lstsq(design, energy, rcond=None)[0]
    np.testing.assert_allclose(design @ weight, energy, atol=1e-5)
    np.testing.assert_array_equal(model.transform(X[3:5]), features[3:5])
    names = model.get_feature_names_out()
    assert names[0] == "ebmdensityestimator0"
    assert len(names) == n_hidden
    frame = model.set_output(transform="pandas").transform(X)
    assert frame.columns.tolist() == names.tolist()
    assert not torch.is_grad_enabled() or model.network_.training is False


def test_rows_with_gaps_have_the_mean_over_draws():
    options = FAST | {"network": partial(MLP, hidden_features=(8,))}
    model = EBMDensityEstimator(**options).fit(X)
    holes = X[:4].copy()
    holes[1, 0] = holes[3, 1:] = np.nan
    features = model.transform(holes)
    np.testing.assert_array_equal(features[[0, 2]], model.transform(X[[0, 2]]))
    draws = model.sample(2000, given=holes[[1, 3]], random_state=0)
    expected = model.transform(draws).reshape(2, 2000, -1)
    error = np.abs(features[[1, 3]] - expected.mean(axis=1))
    assert (error < 5 * expected.std(axis=1) / np.sqrt(32) + 1e-6).all()


def test_before_a_classifier():
    y = X[:, 0] * X[:, 1] > 0
    density = EBMDensityEstimator(network="mlp", **FAST)
    pipeline = make_pipeline(density, LogisticRegression()).fit(X, y)
    assert pipeline.score(X, y) > 0.5


class Product(nn.Module):
    """A net without a linear layer at its end."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_features, n_outputs))

    def forward(self, x):
        return x @ self.weight


@pytest.mark.parametrize("network", [Product, "ppca"])
def test_a_net_without_a_last_layer_is_told(network):
    options = FAST | ({"objective": "mle"} if network == "ppca" else {})
    model = EBMDensityEstimator(network=network, **options).fit(X)
    with pytest.raises(ValueError, match="no linear layer at its end"):
        model.transform(X)
