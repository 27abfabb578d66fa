"""Maximum likelihood: its gradients against exact ones."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skebm import EBMDensityEstimator
from skebm.networks import MLP, NETWORKS, PPCA, EnergyModel
from skebm.objectives import MLE, Batch
from skebm.references import GaussianMixtureDensity

pytestmark = pytest.mark.usefixtures("seeded")


def normal(d):
    eye = torch.eye(d, dtype=torch.float64)[None]
    return GaussianMixtureDensity(torch.ones(1).double(), eye[:, 0] * 0, eye)


def gradient(value, network):
    parts = torch.autograd.grad(value, list(network.parameters()))
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("name", ["mixture", "nice", "ppca"])
@pytest.mark.parametrize("weighted", [False, True])
def test_exact_where_the_network_is_normalized(name, weighted):
    network = NETWORKS[name](3, 1).double()
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=rng, dtype=torch.float64)
    weight = torch.rand(20, generator=rng, dtype=torch.float64) if weighted else None
    model = EnergyModel(network, normal(3))
    (loss,) = MLE().step(model, Batch(x, weight=weight), torch.nn.Module(), rng)
    shares = torch.full((20,), 1 / 20) if weight is None else weight / weight.sum()
    exact = -(shares * network(x)[:, 0]).sum()
    assert loss.value.item() == pytest.approx(exact.item())
    torch.testing.assert_close(gradient(loss.value, network), gradient(exact, network))


def importance_case():
    network = MLP(2, 1, hidden_features=(8,)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn_like(parameter)
    model = EnergyModel(network, normal(2))
    x = torch.randn(10, 2, dtype=torch.float64)
    axis = torch.linspace(-8, 8, 300, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    unnormalized = model.log_prob_unnormalized(points)
    log_normalizer = torch.logsumexp(unnormalized, 0) + 2 * math.log(axis[1] - axis[0])
    return model, x, model.energy(x).mean() + log_normalizer


def mean_gradient(objective, model, x, n_repeats):
    rng = torch.Generator().manual_seed(1)
    gradients = torch.stack(
        [
            gradient(loss.value, model.network)
            for _ in range(n_repeats)
            for loss in objective.step(model, Batch(x), torch.nn.Module(), rng)
        ]
    )
    return gradients.mean(0), gradients.std(0) / n_repeats**0.5


@pytest.mark.parametrize("options", [{}, {"local_share": 0.0}, {"local_scale": 1.0}])
def test_importance_sampled_gradient_against_quadrature(options):
    model, x, exact_loss = importance_case()
    exact = gradient(exact_loss, model.network)
    found, error = mean_gradient(MLE(5000, **options), model, x, 100)
    active = error > 1e-12  # the last bias has no gradient at all
    assert active.sum() >= len(error) - 1
    assert ((found - exact).abs()[active] < 3 * error[active] + 1e-12).all()
    assert error.norm() < 0.02 * exact.norm()  # tight enough to tell


def test_few_draws_have_the_bias_that_the_notes_tell():
    """The mean loss is low by about (1/f - 1) / 2m."""
    model, x, exact = importance_case()
    rng = torch.Generator().manual_seed(2)
    m = 50
    draws = [
        loss
        for _ in range(3000)
        for loss in MLE(m).step(model, Batch(x), torch.nn.Module(), rng)
    ]
    losses = torch.stack([loss.value.detach() for loss in draws])
    (many,) = MLE(200_000).step(model, Batch(x), torch.nn.Module(), rng)
    expected = (1 / many.figures["efficiency"].item() - 1) / (2 * m)
    bias = (exact - losses.mean()).item()
    error = (losses.std() / len(losses) ** 0.5).item()
    assert bias == pytest.approx(expected, abs=3 * error + 0.2 * expected)
    assert expected > 3 * error


def test_ppca_reaches_the_closed_form():
    """scikit-learn's PCA is the exact maximum likelihood of the same model."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(1000, 2)) @ rng.normal(size=(2, 6))
    X += 0.5 * rng.normal(size=X.shape)
    X /= X.std(axis=0)
    model = EBMDensityEstimator(
        "mle",
        network=partial(PPCA, n_components=2),
        reference="gaussian",
        early_stopping=False,
        max_iter=80,
        learning_rate=1e-2,
        random_state=0,
    ).fit(X)
    exact = PCA(2).fit(X).score(X)
    assert model.score(X) == pytest.approx(exact, abs=2e-3)
    assert model.score(X) <= exact + 1e-3


def test_rows_in_the_tail_of_the_reference_do_not_sink_the_energy():
    """Where no draw of the reference comes, a spike would cost nothing."""
    rng = np.random.RandomState(0)
    X = np.concatenate([rng.normal(size=(1000, 1)), np.full((5, 1), 40.0)])
    X += 0.1 * rng.normal(size=X.shape)
    options = {"reference": "gaussian", "max_iter": 20, "random_state": 0}
    options |= {"learning_rate": 1e-2, "early_stopping": False, "normalizer": None}
    low = {}
    for share in (0.0, 0.25):
        model = EBMDensityEstimator(MLE(local_share=share), "mlp", **options).fit(X)
        low[share] = model.score_samples(X[-5:]).mean()
    assert low[0.0] - low[0.25] > 3


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"'local_share'.*in \[0, 1\). Got 1"):
        MLE(local_share=1).check_options()
    with pytest.raises(ValueError, match=r"'local_scale'.*above 0. Got 0"):
        MLE(local_scale=0).check_options()
    with pytest.raises(ValueError, match=r"'n_reference_samples'.*at least 2. Got 1"):
        MLE(1).check_options()
