"""The slopes of nets without autograd are those of autograd."""

import pytest
import torch
from torch import nn

from skebm.networks import MLP, EnergyModel, EnsembleMLP, ResidualMLP
from skebm.networks._mlp import ACTIVATIONS, EMBEDDINGS
from skebm.networks._pullback import pullback
from skebm.references import GaussianReference, UniformBox
from skebm.utils import value_and_gradient

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


def with_random_head(net):
    generator = torch.Generator().manual_seed(2)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return net


class Doubled(MLP):
    def forward(self, x):
        return 2 * super().forward(x)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        return self.linear(x.sin()).tanh()


class Constant(nn.Module):
    def forward(self, x):
        return x.new_ones(len(x), 2)


NETS = {
    **{name: lambda k=name: MLP(3, 2, (7, 5), activation=k) for name in ACTIVATIONS},
    **{name: lambda k=name: MLP(3, 2, (7,), embedding=k) for name in EMBEDDINGS},
    "spectral norm": lambda: MLP(3, 2, (7,), spectral_norm=True).eval(),
    "residual": lambda: ResidualMLP(3, 2, width=6),
    "subclass": lambda: Doubled(3, 2, (7,)),
    "tanh approximation": lambda: nn.Sequential(nn.Linear(3, 2), nn.GELU("tanh")),
    "user's": Own,
    "constant": Constant,
}


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_slopes_are_those_of_autograd(make):
    with torch.random.fork_rng():
        net = make()
    if not hasattr(net, "layers") or "parametrizations" not in str(net.layers):
        with_random_head(net)
    slope = torch.randn(40, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        outputs, back = pullback(net, X)
    leaf = X.clone().requires_grad_()
    expected = net(leaf) + 0 * leaf[:, :2]
    (pulled,) = torch.autograd.grad(expected, leaf, slope)
    torch.testing.assert_close(outputs, expected.detach())
    torch.testing.assert_close(back(slope), pulled, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_the_energy_s_gradient(n_outputs):
    box = UniformBox(torch.full((3,), -9.0), torch.full((3,), 9.0))
    with torch.random.fork_rng():
        net = with_random_head(MLP(3, n_outputs, (7, 5), embedding="waves"))
    model = EnergyModel(net, box, entropy_weight=0.7)
    assert model.knows_gradient
    for found, known in zip(
        model.energy_with_gradient(X), value_and_gradient(model.energy, X), strict=True
    ):
        torch.testing.assert_close(found, known, rtol=1e-5, atol=1e-6)


def test_models_of_another_critic_do_without():
    gaussian = GaussianReference().fit(
        X, weight=None, generator=torch.Generator().manual_seed(0)
    )

    class Shifted(EnergyModel):
        def critic(self, x):
            return super().critic(x) + x[:, 0]

    with torch.random.fork_rng():
        plain, ensemble = MLP(3, 1), EnsembleMLP(3, 2)
    assert EnergyModel(plain, gaussian).knows_gradient
    assert not EnergyModel(ensemble, gaussian).knows_gradient
    assert not Shifted(plain, gaussian).knows_gradient
