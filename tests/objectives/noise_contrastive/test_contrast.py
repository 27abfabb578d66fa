"""The loss of a contrast, and its derivatives, against those of NCE by torch."""

import numpy as np
import pytest
import torch
from torch import nn

from skebm.networks import EnergyModel
from skebm.objectives import NCE, Batch
from skebm.references import GaussianMixtureDensity


class Values(nn.Module):
    """A net whose outputs are parameters: those of its rows."""

    def __init__(self, n):
        super().__init__()
        values = torch.randn(n, generator=torch.Generator().manual_seed(1))
        self.values = nn.Parameter(values.double())

    def forward(self, x):
        return self.values[: len(x), None]


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 2.5])])
def test_derivatives_are_those_of_the_loss(weight):
    normal = GaussianMixtureDensity(
        torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]
    )
    objective = NCE(noise_ratio=4)
    batch = Batch(torch.zeros(3, 2), weight=weight)
    model = EnergyModel(Values(3 + 12), normal)
    values = model.network.values

    def generator():
        return torch.Generator().manual_seed(0)

    contrast = objective.contrast(model, batch, generator())
    critic = values.detach().numpy()
    loss = contrast.loss(critic)
    slope, curvature = contrast.derivatives(critic)
    (expected,) = objective.step(model, batch, None, generator())
    assert loss == pytest.approx(float(expected.value.detach()))
    (of_torch,) = torch.autograd.grad(3 * expected.value, values, create_graph=True)
    np.testing.assert_allclose(slope, of_torch.detach(), atol=1e-12)
    bends = [
        float(torch.autograd.grad(of_torch[i], values, retain_graph=True)[0][i])
        for i in range(len(slope))
    ]
    np.testing.assert_allclose(curvature, bends, atol=1e-12)
