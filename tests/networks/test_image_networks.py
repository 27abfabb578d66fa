"""Nets for images: the units of pixels, known filters, scales, ensembles, errors."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from torch import nn

from skebm.networks import (
    ConvNet,
    EnergyModel,
    ImageEnsemble,
    ImageNetwork,
    MultiScaleNet,
    ResNet,
)
from skebm.references import UniformBox

pytestmark = pytest.mark.usefixtures("seeded")


class Pixels(ImageNetwork):
    """The images themselves."""

    def __init__(self, n_features, n_outputs, image_shape=None):
        super().__init__(n_features, image_shape)

    def of_images(self, images):
        return images.flatten(1)


def perturbed(network):
    """Return a net whose weights are all random, the last layer's too."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return network


def test_pixels_have_one_unit_a_channel():
    """Standardised rows are images again: of mean 0 and deviation 1 in each channel."""
    X = torch.randn(500, 2, 3, 2).double() * torch.rand(2, 3, 2) + torch.randn(2, 3, 2)
    X[:, 0, 0, 0] = 4.0
    rows = X.flatten(1)
    location, scale = rows.mean(0), rows.std(0, correction=0)
    z = (rows - location) / torch.where(scale > 0, scale, 1.0)
    network = Pixels(12, 12, image_shape=(2, 3, 2))
    network.set_units(location, scale)
    images = network.images(z.float())
    mean = X.mean(dim=(0, 2, 3), keepdim=True)
    deviation = X.std(dim=(0, 2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(
        images.double(), (X - mean) / deviation, atol=1e-5, rtol=1e-5
    )
    moved = z.float()
    moved[:, 0] += 5.0  # the constant pixel
    torch.testing.assert_close(network.images(moved), images)


def test_a_net_of_known_filters_is_its_closed_form():
    network = perturbed(ConvNet(12, 2, (2, 3, 2), (1,), 1, "softplus"))
    x = torch.randn(4, 12)
    kernel, bias = (p.detach().numpy() for p in network.body[0].parameters())
    first, last = network.head[1], network.head[3]
    for row, output in zip(x.numpy(), network(x).detach().numpy(), strict=True):
        image = row.reshape(2, 3, 2)
        filtered = bias[0] + sum(
            correlate2d(image[c], kernel[0, c], mode="same") for c in range(2)
        )
        hidden = np.logaddexp(0, filtered).ravel()
        hidden = first.weight.detach().numpy() @ hidden + first.bias.detach().numpy()
        hidden = np.logaddexp(0, hidden)
        expected = last.weight.detach().numpy() @ hidden + last.bias.detach().numpy()
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [ConvNet, ResNet])
def test_maps_move_with_the_image(kind):
    """Away from the edge; without halvings by any shift."""
    body = perturbed(kind(144, 1, hidden_channels=(3,))).body
    image = torch.zeros(1, 1, 12, 12)
    image[..., 4:6, 4:6] = torch.randn(2, 2)
    moved = body(image.roll((1, 2), dims=(2, 3)))
    expected = body(image).roll((1, 2), dims=(2, 3))
    inside = slice(4, -3)
    torch.testing.assert_close(
        moved[..., inside, inside], expected[..., inside, inside]
    )


def test_the_sum_over_scales_is_the_sum_of_its_parts():
    network = perturbed(MultiScaleNet(2 * 6 * 5, 3, (2, 6, 5), n_scales=3))
    x = torch.randn(4, 60)
    images, parts = x.reshape(4, 2, 6, 5), []
    for net in network.nets:
        parts.append(net(images.flatten(1)))
        rows = [images[..., i : i + 2, :].mean(2) for i in range(0, images.shape[2], 2)]
        images = torch.stack(rows, dim=2)
        columns = [images[..., j : j + 2].mean(3) for j in range(0, images.shape[3], 2)]
        images = torch.stack(columns, dim=3)
    assert [net.image_shape[1:] for net in network.nets] == [(6, 5), (3, 3), (2, 2)]
    torch.testing.assert_close(network(x), sum(parts))
    torch.testing.assert_close(
        network.by_scale(x.reshape(4, 2, 6, 5)).sum(0), sum(parts)
    )


def test_an_ensemble_holds_mean_probability_and_critic():
    small = lambda n, k, image_shape: ConvNet(n, k, image_shape, (2,), 4)  # noqa: E731
    network = perturbed(ImageEnsemble(16, 3, network=small, n_members=4))
    network.weigh([0.4, 0.3, 0.2, 0.1])
    x = torch.randn(6, 16)
    weight = torch.tensor([0.4, 0.3, 0.2, 0.1])[:, None, None]
    mean = (weight * network.members(x).softmax(dim=2)).sum(dim=0)
    torch.testing.assert_close(network(x).softmax(dim=1), mean)
    torch.testing.assert_close(network(x).logsumexp(dim=1), network.critic(x))
    rows = torch.randn(4, 6, 16)
    groups = network.split([1, 2, 1])
    parts = torch.cat([groups[0](rows[:1]), groups[1](rows[1:3]), groups[2](rows[3:])])
    torch.testing.assert_close(parts, network.members(rows))
    alone = torch.stack([network.members(rows[m])[m] for m in range(4)])
    torch.testing.assert_close(parts, alone)


@pytest.mark.parametrize("kind", [ConvNet, ResNet])
def test_spectral_norm_bounds_every_layer(kind):
    network = kind(36, 1, hidden_channels=(4, 4), hidden_features=8, spectral_norm=True)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.parametrizations.weight.original, std=3.0)
    for _ in range(60):
        network(torch.randn(3, 36))
    for layer in network.eval().modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
            assert float(largest.detach()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("kind", [ConvNet, ResNet])
def test_the_layout_in_memory_changes_nothing(kind):
    plain = perturbed(kind(48, 2, (3, 4, 4), hidden_channels=(4, 4)))
    last = kind(48, 2, (3, 4, 4), hidden_channels=(4, 4), channels_last=True)
    last.load_state_dict(plain.state_dict())
    x = torch.randn(5, 48)
    assert last.images(x).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last(x), plain(x))


@pytest.mark.parametrize(
    "shape", [(3, 3), (1, 3, 3), (1, 8, -2), 16, (1.0, 4, 4), "144"]
)
@pytest.mark.parametrize("kind", [ConvNet, ResNet, MultiScaleNet, ImageEnsemble])
def test_a_wrong_shape_is_named(kind, shape):
    with pytest.raises(ValueError, match="'image_shape' parameter must be") as caught:
        kind(16, 1, image_shape=shape)
    assert "16" in str(caught.value) and repr(shape) in str(caught.value)


def test_too_many_scales_are_named():
    with pytest.raises(ValueError, match=r"'n_scales' parameter .* from 1 to 2 "):
        MultiScaleNet(12, 1, (1, 3, 4), n_scales=3)


def test_the_energies_of_the_scales_sum_to_the_energy():
    box = UniformBox(torch.zeros(16), torch.ones(16))
    model = EnergyModel(perturbed(MultiScaleNet(16, 1)), box, entropy_weight=0.5)
    x = torch.rand(5, 16)
    terms = model.energy_terms()
    assert len(terms) == 2
    torch.testing.assert_close(sum(term(x) for term in terms), model.energy(x))
    coarse = terms[0]  # sees the means of 2 x 2 pixels alone
    flipped = x.reshape(5, 2, 2, 2, 2).flip(2, 4).reshape(5, 16)
    torch.testing.assert_close(coarse(flipped), coarse(x))
    assert (terms[1](flipped) - terms[1](x)).abs().min() > 1e-6
    of_classes = EnergyModel(perturbed(MultiScaleNet(16, 3)), box)
    assert len(of_classes.energy_terms()) == 1  # logsumexp is no sum
    torch.testing.assert_close(
        of_classes.energy_terms()[0](x), -of_classes.network(x).logsumexp(1)
    )
