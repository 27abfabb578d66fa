"""HDGE against a finite table whose p(x, y) is known."""

import torch

from skebm.networks import EnergyModel
from skebm.objectives import HDGE, Batch
from skebm.references import UniformBox

JOINT = torch.tensor([[0.10, 0.20], [0.05, 0.25], [0.30, 0.10]], dtype=torch.float64)


class Tabular(torch.nn.Module):
    """Logits looked up by the number of the row."""

    def __init__(self, logits):
        super().__init__()
        self.table = torch.nn.Parameter(logits)

    def forward(self, x):
        return self.table[x[:, 0].long()]


def gradient(logits):
    """Return the gradient of the exact expectation, by weights on all pairs."""
    model = EnergyModel(Tabular(logits), UniformBox(torch.zeros(1), torch.ones(1)))
    x, y = torch.cartesian_prod(torch.arange(3), torch.arange(2)).T
    labeled = Batch(x[:, None].double(), y, JOINT.flatten())
    rows = Batch(torch.arange(3.0)[:, None], None, JOINT.sum(1), labeled)
    (loss,) = HDGE().step(model, rows, torch.nn.Module(), torch.Generator())
    (slope,) = torch.autograd.grad(loss.value, model.network.parameters())
    return loss.value, slope


def test_optimum_is_the_ratio_to_the_rows_density():
    given_class = JOINT / JOINT.sum(0)
    ratio = (given_class / JOINT.sum(1, keepdim=True)).log()
    shift = torch.tensor([0.7, -1.3])
    _, slope = gradient(ratio + shift)
    assert slope.abs().max() < 1e-12
    assert gradient(ratio + 0.1 * torch.arange(6).view(3, 2))[1].abs().max() > 1e-3


def test_loss_at_the_optimum_is_minus_the_mutual_information():
    independent = JOINT.sum(0) * JOINT.sum(1, keepdim=True)
    information = (JOINT * (JOINT / independent).log()).sum()
    loss, _ = gradient((JOINT / independent).log())
    torch.testing.assert_close(loss, -information)
