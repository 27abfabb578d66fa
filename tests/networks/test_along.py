"""Densities along one column: what is computed once gives what is computed anew."""

import pytest
import torch

from skebm.networks import MLP, EnergyModel, EnsembleMLP
from skebm.networks._mlp import EMBEDDINGS
from skebm.references import UniformBox
from skebm.references._base import substituted
from skebm.references._copula import CopulaMixtureDensity, MappedMixtureDensity
from skebm.references._marginals import fit_marginals
from skebm.references._mixture import GaussianMixtureDensity


@pytest.fixture(scope="module")
def rows():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(200, 3, generator=rng)
    return torch.stack([x[:, 0].exp(), x[:, 0] + 0.3 * x[:, 1], x[:, 2]], 1)


@pytest.fixture(scope="module")
def references(rows):
    rng = torch.Generator().manual_seed(0)

    def mixture(n_components):
        factors = 0.5 * torch.randn(n_components, 3, 3, generator=rng).tril()
        factors.diagonal(dim1=1, dim2=2).abs_().add_(0.3)
        weights = torch.full((n_components,), 1 / n_components)
        return GaussianMixtureDensity(weights, rows[:n_components], factors)

    maps = dict(fit_marginals(rows.double().numpy()).state_dict())
    mapped = MappedMixtureDensity(**mixture(2).arrays(), **maps)
    copula = CopulaMixtureDensity.of(torch.tensor(0.7), mapped, mixture(2))
    box = UniformBox(torch.full((3,), -4.0), torch.full((3,), 4.0))
    return {"gaussian": mixture(1), "gmm": mixture(3), "copula": copula, "box": box}


def net_of(name):
    if name == "ensemble":
        return EnsembleMLP(3, 2, hidden_features=(8,), n_members=2)
    embedding = None if name == "plain" else name
    return MLP(3, 2, hidden_features=(8, 8), embedding=embedding)


@pytest.mark.parametrize(
    ("net", "reference"),
    [(net, "gmm") for net in ("plain", "ensemble", *EMBEDDINGS)]
    + [("waves", reference) for reference in ("gaussian", "copula", "box")],
)
def test_it_is_the_density_of_rows_with_other_values(rows, references, net, reference):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = net_of(net)
        for parameter in network.parameters():  # heads start at zero
            torch.nn.init.normal_(parameter, std=0.3)
    model = EnergyModel(network, references[reference], entropy_weight=2.0)
    points = torch.linspace(-5, 5, 11).expand(20, -1) + 0.1 * rows[:20, :1]
    for j in range(3):
        with torch.no_grad():
            found = model.along(rows[:20], j)(points)
            expected = substituted(model.log_prob_unnormalized, rows[:20], j)(points)
        scale = 1 + expected.nan_to_num(neginf=0).abs()
        error = ((found - expected) / scale).nan_to_num()
        assert found.isfinite().eq(expected.isfinite()).all()
        assert error.abs().max() < 1e-5


class Doubled(MLP):
    def forward(self, x):
        return 2 * super().forward(x)


class Shifted(GaussianMixtureDensity):
    def log_prob(self, x):
        return super().log_prob(x - 1)


class Bent(CopulaMixtureDensity):
    def to_latent(self, x):
        return x + x.flip(1)


@pytest.mark.parametrize("kind", [Doubled, Shifted, Bent])
def test_a_subclass_that_overrides_the_whole_is_asked_for_the_whole(
    rows, references, kind
):
    with torch.random.fork_rng():
        network = (kind if kind is Doubled else MLP)(3, 1, hidden_features=(4,))
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    reference = references["gmm"]
    if kind is Shifted:
        reference = Shifted(**reference.arrays())
    if kind is Bent:
        reference = Bent(**references["copula"].arrays())
    model = EnergyModel(network, reference)
    points = torch.linspace(-2, 2, 5).expand(4, -1)
    with torch.no_grad():
        found = model.along(rows[:4], 1)(points)
        expected = substituted(model.log_prob_unnormalized, rows[:4], 1)(points)
    assert (found - expected).abs().max() < 1e-4


def test_far_values_lose_no_digits(references):
    """The row's own value has no part in what is computed once."""
    x = torch.tensor([[1e12, 0.5, 0.2]])
    point = torch.tensor([[0.7]])
    near = torch.tensor([[0.7, 0.5, 0.2]])
    for name in ("gmm", "copula"):
        density = references[name]
        found = density.along(x, 0)(point)
        assert found[0].item() == pytest.approx(density.log_prob(near).item(), 1e-5)
