"""Indicators of categories below a net that classifies."""

import numpy as np
import torch
from torch import nn

from skebm.models._class_features import class_features, one_hot_columns
from skebm.networks import EnergyModel, EnsembleMLP
from skebm.networks._one_hot import EmbeddedNetwork
from skebm.references import Density, UniformBox
from skebm.tables import TableEncoder
from skebm.utils import isolated_rng

CODES = np.repeat([0.0, 1.0, 2.0], [50, 30, 20])
SHARES = np.array([50.5, 30.5, 20.5]) / 101.5


def encoder():
    X = np.c_[CODES, np.linspace(-3, 5, 100)]
    return TableEncoder.fit(X, categories=((0, 3),))


def rows(code):
    return torch.from_numpy(encoder().encode(np.array([[code, 1.0]])))


def test_an_indicator_is_exact_at_the_point_of_its_category():
    embedding = one_hot_columns(encoder())
    scale = np.sqrt(2) / np.sqrt(2 - 2 * np.sum(SHARES**2))
    for code in range(3):
        z = rows(float(code))
        expected = scale * (np.eye(3)[code] - SHARES)
        for features in (embedding(z), embedding.of_rows(z)):
            np.testing.assert_allclose(features[0, 1:], expected, atol=2e-5)
            assert features[0, 0] == z[0, 1]
    # Between two points it is linear, and outside of all it is one of them.
    middle = (rows(0.0) + rows(1.0)) / 2
    half = scale * (np.array([0.5, 0.5, 0.0]) - SHARES)
    np.testing.assert_allclose(embedding(middle)[0, 1:], half, atol=2e-5)
    far = torch.tensor([[-9.0, 0.0], [9.0, 0.0]])
    np.testing.assert_allclose(embedding(far)[:, 1:], embedding.of_rows(far)[:, 1:])


def test_all_points_of_a_cell_are_one_row():
    table, columns = encoder(), one_hot_columns(encoder())
    z = rows(1.0).repeat(50, 1)
    moved = table.cells.redraw(z, torch.Generator().manual_seed(0))
    assert moved[:, 0].unique().numel() > 40
    torch.testing.assert_close(columns.of_rows(moved), columns.of_rows(z))


def test_missing_entries_have_the_mean_of_the_rows():
    X = np.c_[CODES, np.linspace(-3, 5, 100)]
    z = torch.from_numpy(encoder().encode(X))
    mean = class_features(encoder(), z).mean(dim=0)
    gaps = class_features(encoder(), torch.full((1, 2), torch.nan))[0]
    assert (gaps == 0).all() and mean.abs().max() < 0.01
    only_numbers = TableEncoder.fit(X)
    assert class_features(only_numbers, z) is z


class Stretched(Density):
    """Columns that a net sees at three times their value."""

    def log_prob(self, x):
        return torch.zeros(len(x))

    def sample(self, n_samples, generator):
        return torch.zeros(n_samples, 2)

    def arrays(self):
        return {"unit": torch.ones(1)}

    def to_latent(self, x):
        return 3 * x + 1


def test_features_in_a_latent_space_are_of_the_same_categories():
    plain, latent = one_hot_columns(encoder()), one_hot_columns(encoder(), Stretched())
    z = torch.linspace(-3, 3, 61)[:, None].repeat(1, 2)
    for name in ("forward", "of_rows"):
        expected = getattr(plain, name)(z)[:, 1:]
        found = getattr(latent, name)(3 * z + 1)[:, 1:]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_model_of_categories_answers_for_rows():
    embedding = one_hot_columns(encoder())
    with isolated_rng(0, torch.device("cpu")):
        ensemble, single = EnsembleMLP(4, 3, (8,), n_members=2), nn.Linear(4, 3)
    net = EmbeddedNetwork(embedding, ensemble)
    model = EnergyModel(net, UniformBox(torch.full((2,), -9.0), torch.full((2,), 9.0)))
    assert model.is_ensemble and model.n_members == 2
    z = torch.cat([rows(float(code)) for code in range(3)])
    torch.testing.assert_close(
        model.class_logits(z), model.logits(z), atol=1e-4, rtol=1e-4
    )
    near = z + torch.tensor([1e-2, 0.0])
    torch.testing.assert_close(model.class_logits(near), model.class_logits(z))
    both = model.features(z).expand(2, -1, -1)
    members = model.of_features.split([2])[0](both)
    mean = members.softmax(2).mean(0)
    torch.testing.assert_close(mean, model.class_logits(z).softmax(1))
    critic = model.logits(z).logsumexp(1)
    torch.testing.assert_close(model.critic(z), critic, atol=1e-5, rtol=1e-4)
    alone = EnergyModel(EmbeddedNetwork(embedding, single), model.reference)
    assert not alone.is_ensemble and alone.n_members == 1
    assert alone.of_features.split([1])[0](both[:1]).shape == (1, 3, 3)
