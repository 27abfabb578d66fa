"""Capabilities that nets declare, and the defaults of nets that declare none."""

import pytest
import torch
from torch import nn

from skebm.networks import (
    MLP,
    EnergyModel,
    EnsembleMLP,
    MixtureOfGaussians,
    NormalizedNetwork,
    ResidualMLP,
)
from skebm.networks._capabilities import (
    as_ensemble,
    closed_form_of,
    has_elementwise_layers,
    is_ensemble,
    is_normalized,
    n_members_of,
)
from skebm.references import GaussianMixtureDensity, UniformBox

pytestmark = pytest.mark.usefixtures("seeded")


class NetOfAUser(nn.Linear):
    """Knows nothing of capabilities; an attribute of the same name changes nothing."""

    n_members = 7


class DensityOfAUser(NormalizedNetwork):
    """Uniform on the unit square."""

    def log_prob(self, x):
        return torch.zeros(len(x))

    def sample(self, n_samples, generator):
        return torch.rand(n_samples, 2, generator=generator)


def model_of(network):
    return EnergyModel(network, UniformBox(torch.zeros(2), torch.ones(2)))


def test_a_net_of_a_user_has_no_capability():
    network = NetOfAUser(2, 3)
    assert as_ensemble(network) is None
    assert n_members_of(network) == 1
    assert closed_form_of(network) is None
    assert not has_elementwise_layers(network)
    assert not is_normalized(network)
    assert model_of(network).n_members == 1
    model_of(network).weigh_members([1.0])


def test_an_ensemble_is_weighed():
    network = EnsembleMLP(2, 3, n_members=2)
    model = model_of(network)
    assert model.n_members == n_members_of(network) == 2
    model.weigh_members([0.25, 0.75])
    torch.testing.assert_close(network.log_weights.exp(), torch.tensor([0.25, 0.75]))


def test_classes_and_nets_say_that_they_are_ensembles():
    assert is_ensemble(EnsembleMLP)
    assert is_ensemble(EnsembleMLP(2, 3))


@pytest.mark.parametrize("kind", [MLP, ResidualMLP, EnsembleMLP])
def test_a_subclass_keeps_its_capabilities(kind):
    assert has_elementwise_layers(type("Subclass", (kind,), {})(2, 1))


def test_closed_form():
    assert isinstance(
        model_of(MixtureOfGaussians(2)).closed_form(), GaussianMixtureDensity
    )
    assert model_of(DensityOfAUser(2)).closed_form() is None
