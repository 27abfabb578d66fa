"""Samplers inside objectives: checked before training, adapted during it."""

import pytest
import torch

from skebm.exceptions import NonFiniteChainError
from skebm.networks import MLP, EnergyModel
from skebm.objectives import CD, PCD, ImprovedCD, ShortRun, WakeSleep
from skebm.objectives._chain import ChainKernel, Potential
from skebm.references import GaussianMixtureDensity, GaussianReference, UniformBox
from skebm.references._kernels import RoundMixture
from skebm.samplers import HMC, MALA, Langevin, LatentLangevin, ParallelTempering
from skebm.utils import value_and_gradient


def make_model(reference=None):
    reference = reference or GaussianMixtureDensity(
        torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]
    )
    with torch.random.fork_rng():
        return EnergyModel(MLP(2, 1, (8,)), reference)


@pytest.mark.parametrize("objective", [CD, PCD, ShortRun, ImprovedCD, WakeSleep])
@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (MALA, "'sampler' parameter of .* must be one of"),
        ([1], "'sampler' parameter of .* must be one of"),
        ("nuts", "'sampler' parameter of .* must be one of"),
        (MALA(step_size=-1.0), "'step_size' parameter of MALA must be positive"),
        (HMC(n_leapfrog_steps=0), "'n_leapfrog_steps' parameter of HMC must be"),
        (ParallelTempering("block_gibbs"), "ParallelTempering and sampler BlockGibbs"),
        (LatentLangevin(torch.sin), "sampler LatentLangevin don't go together"),
    ],
)
def test_samplers_are_checked_before_training(objective, sampler, message):
    with pytest.raises(ValueError, match=message):
        objective(sampler).check_options()


@pytest.mark.parametrize("first", [0.01, 5.0])
def test_the_step_size_of_tempering_follows_its_acceptance(first):
    rng = torch.Generator().manual_seed(0)
    model = make_model()
    kernel = ChainKernel(ParallelTempering(MALA(first, n_adapt=50), (1, 4)), 0)
    x = model.reference.sample(200, rng)
    for _ in range(150):
        x, metrics = kernel.move(model, x, 2, rng)
    assert metrics["acceptance"] == pytest.approx(0.574, abs=0.1)
    assert metrics["step_size"] == pytest.approx(
        kernel.adaptive_step.log_size.exp().item(), rel=0.1
    )


def wake_sleep_rows(objective, model):
    """Return rows that the chains of a step moved, all of them the generator's."""
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        state = objective.init(model, model.reference, rng)
    with torch.no_grad():
        x, _, means = state.generator_net.sample(200, rng)
    local = RoundMixture.about(x, 0.1)
    return objective.model_rows(model, state, x, means, local, rng)[0]


@pytest.mark.parametrize("importance_weights", [True, False])
def test_wake_sleep_stays_within_walls(importance_weights):
    walls = UniformBox(torch.full((2,), -1.0), torch.ones(2))
    objective = WakeSleep(Langevin(0.5), importance_weights=importance_weights)
    rows = wake_sleep_rows(objective, make_model(walls))
    assert walls.log_prob(rows).isfinite().all()


def test_wake_sleep_reports_lost_chains():
    model = make_model()
    objective = WakeSleep(Langevin(1e6))
    with pytest.raises(ValueError, match=r"sampler of WakeSleep.*don't go together"):
        objective.check_model(model, 2)
    with torch.no_grad():  # a net that blew up in training
        for parameter in model.network.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(NonFiniteChainError, match=r"step_size=0\.1"):
        wake_sleep_rows(WakeSleep(Langevin(0.1)), model)


@pytest.mark.parametrize("kind", ["box", "own box", "gaussian"])
def test_the_potential_and_its_gradient_without_autograd(kind):
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(60, 3, generator=generator)  # some rows are outside the box

    class Shifted(UniformBox):
        def reflect(self, x):
            return super().reflect(x + 0.1)

    corners = x.amin(0) / 2, x.amax(0) / 2
    if "box" in kind:
        reference = (UniformBox if kind == "box" else Shifted)(*corners)
    else:
        reference = GaussianReference().fit(x, weight=None, generator=generator)
    with torch.random.fork_rng():
        net = MLP(3, 1, hidden_features=(8, 8))
    torch.nn.init.normal_(net.layers[-1].weight, generator=generator)
    target = Potential(EnergyModel(net, reference))
    found = target.with_gradient(x)
    for own, known in zip(found, value_and_gradient(target, x), strict=True):
        torch.testing.assert_close(own, known, rtol=1e-5, atol=1e-5)
