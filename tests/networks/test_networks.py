"""Nets: shapes, gradients, embeddings, generators, ensembles."""

import numpy as np
import pytest
import torch

from skebm.networks import (
    MLP,
    NETWORKS,
    EnergyModel,
    EnsembleMLP,
    FourierEmbedding,
    GeneratorMLP,
    PeriodicEmbedding,
    ResidualMLP,
    is_normalized,
)
from skebm.networks._capabilities import is_boosted
from skebm.networks._mlp import EMBEDDINGS
from skebm.references import GaussianMixtureDensity

pytestmark = pytest.mark.usefixtures("seeded")


TILTS = [
    name
    for name, net in NETWORKS.items()
    if not is_normalized(net) and not is_boosted(net)  # no gradient grows trees
]


@pytest.mark.parametrize("name", TILTS)
@pytest.mark.parametrize("n_outputs", [1, 4])
def test_contract_of_every_network(name, n_outputs):
    """Shape; a flat start; gradients reach all parameters once it is not flat."""
    network = NETWORKS[name](9, n_outputs)
    x = torch.randn(7, 9, requires_grad=True)
    logits = network(x)
    assert logits.shape == (7, n_outputs)
    critic = torch.logsumexp(logits, dim=1)
    torch.testing.assert_close(critic, critic[:1].expand(7), atol=1e-5, rtol=0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    (network(x) ** 2).sum().backward()
    for parameter_name, parameter in network.named_parameters():
        of_classes = parameter_name.startswith("class_head")
        of_classes |= name == "ensemble_conv" and not parameter_name.startswith(
            "nets.0"
        )
        if n_outputs == 1 and of_classes:
            continue  # one class has probability one whatever its logit
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0
    assert x.grad.abs().min() > 0


@pytest.mark.parametrize("activation", ["silu", "softplus", "gelu", "tanh"])
def test_energies_are_twice_differentiable(activation):
    network = MLP(3, 1, (16,), activation)
    torch.nn.init.normal_(
        network.layers[-1].weight, generator=torch.Generator().manual_seed(0)
    )
    x = torch.zeros(4, 3).requires_grad_()
    (slope,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.square().sum(), x)
    assert curvature.abs().sum() > 0


def test_spectral_norm_bounds_the_slope():
    network = MLP(3, 1, (32, 32), "tanh", spectral_norm=True)
    for layer in network.layers[::2]:
        torch.nn.init.normal_(layer.parametrizations.weight.original, std=3.0)
    for _ in range(50):
        network(torch.randn(8, 3))  # power iterations, in training mode
    x = torch.randn(500, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(network.eval()(x).sum(), x)
    assert slope.norm(dim=1).max() < 1.01


def test_embeddings_from_their_equations():
    periodic, fourier = PeriodicEmbedding(2, 3, 4), FourierEmbedding(2, 3)
    x = torch.tensor([[0.3, -1.2]])
    phase = 2 * np.pi * periodic.frequencies * x.T
    waves = torch.cat([phase.sin(), phase.cos()], dim=1)
    linear = torch.einsum("jf,jfe->je", waves, periodic.weight) + periodic.bias
    silu = linear * torch.sigmoid(linear)
    torch.testing.assert_close(periodic(x), silu.flatten()[None])
    phase = x @ fourier.directions
    torch.testing.assert_close(fourier(x), torch.cat([x, phase.sin(), phase.cos()], 1))


def test_generator_matches_principal_axes():
    rng = torch.Generator().manual_seed(0)
    axes = torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    x = torch.randn(50_000, 2, generator=rng) @ axes + torch.tensor([1.0, 2.0, 3.0])
    net = GeneratorMLP(2, 3, noise_scale=0.1)
    net.match(x)
    drawn = net.sample(50_000, rng)[0].detach()
    torch.testing.assert_close(drawn.mean(0), x.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.std(0)[:2], x.std(0)[:2], atol=0.05, rtol=0)
    assert drawn.std(0)[2] == pytest.approx(0.1, abs=0.01)


def test_generator_noise_stays_in_its_bounds():
    net = GeneratorMLP(2, 3)
    with torch.no_grad():
        net.log_noise_scale.fill_(5.0)
    net.clamp_noise()
    assert net.log_noise_scale.exp().item() == pytest.approx(0.3)


def test_ensemble_logits_hold_mean_probability_and_critic():
    network = EnsembleMLP(4, 3, (8, 8), 5)
    torch.nn.init.normal_(network.critic_head.weight)
    x = torch.randn(6, 4)
    logits = network(x)
    mean = torch.softmax(network.members(x), dim=2).mean(dim=0)
    torch.testing.assert_close(torch.softmax(logits, dim=1), mean)
    torch.testing.assert_close(torch.logsumexp(logits, dim=1), network.critic(x))
    assert network.critic(x).std() > 0
    network.weigh([0.5, 0.2, 0.1, 0.1, 0.1])
    share = torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1])[:, None, None]
    mean = (share * torch.softmax(network.members(x), dim=2)).sum(dim=0)
    torch.testing.assert_close(torch.softmax(network(x), dim=1), mean)


def test_each_member_sees_its_own_rows():
    network = EnsembleMLP(4, 3, (8,), 2)
    x = torch.randn(2, 6, 4)
    apart = network.members(x)
    torch.testing.assert_close(apart[1], network.members(x[1])[1])
    assert not torch.allclose(apart[0], network.members(x[1])[0])
    torch.testing.assert_close(network.members(x[1:], slice(1, 2)), apart[1:])


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_energy_is_the_critic_over_lambda(n_outputs):
    density = GaussianMixtureDensity(
        torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]
    )
    network = ResidualMLP(2, n_outputs, width=8, n_blocks=1)
    torch.nn.init.normal_(
        network.last[-1].weight, generator=torch.Generator().manual_seed(0)
    )
    model = EnergyModel(network, density, entropy_weight=0.1)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    critic = torch.logsumexp(network(x), dim=1)
    torch.testing.assert_close(model.energy(x), -critic / 0.1)
    torch.testing.assert_close(
        model.log_prob_unnormalized(x), density.log_prob(x) + critic / 0.1
    )


def test_bad_options_are_named():
    with pytest.raises(ValueError, match=r"'activation' parameter.*silu.*Got 'relu'"):
        MLP(2, 1, activation="relu")
    with pytest.raises(ValueError, match=r"'embedding' parameter.*periodic.*Got 'plr'"):
        MLP(2, 1, embedding="plr")
    with pytest.raises(ValueError, match="hidden_features"):
        MLP(2, 1, hidden_features=())


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_parameters_have_one_gradient_by_either_way(embedding):
    """Rows that need no gradient take a shorter way through the embedding."""
    with torch.random.fork_rng():
        net = EMBEDDINGS[embedding](3)
        x, slope = torch.randn(50, 3), torch.randn(50, net.out_features)
    leaf = x.clone().requires_grad_()
    parameters = list(net.parameters())
    outputs = net(leaf), net(x)
    known, found = (torch.autograd.grad(y, parameters, slope) for y in outputs)
    for a, b in zip(known, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(a.abs().max()))
    with torch.no_grad():
        for y in outputs:
            torch.testing.assert_close(net(x), y, rtol=1e-5, atol=1e-6)
