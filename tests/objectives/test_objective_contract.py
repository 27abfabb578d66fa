"""The contract of every objective; a new method is one row of CASES."""

import copy
from dataclasses import replace

import pytest
import torch

from skebm.networks import MLP, EnergyModel, EnsembleMLP
from skebm.objectives import (
    CD,
    HDGE,
    MEG,
    MLE,
    NCE,
    PCD,
    VERA,
    VERAHMC,
    Batch,
    ConditionalNCE,
    CurvaturePropagation,
    DenoisingScoreMatching,
    EnergyDiscrepancy,
    FiniteDifferenceScoreMatching,
    FlowContrastive,
    ImprovedCD,
    Joint,
    RankingNCE,
    ScoreMatching,
    ShortRun,
    SlicedScoreMatching,
    SteinDiscrepancy,
    Telescoping,
    VERAArdae,
    WakeSleep,
)
from skebm.references import GaussianMixtureDensity, UniformBox
from skebm.samplers import Jitter, Langevin

#: A name, the objective, and whether it needs labels.
CASES = {
    "vera": (VERA(), False),
    "vera with penalty": (VERA(gradient_penalty=0.1), False),
    "vera as published": (VERA(importance_weights=False), False),
    "vera_hmc": (VERAHMC(), False),
    "vera_ardae": (VERAArdae(), False),
    "meg": (MEG(), False),
    "meg as published": (MEG(bound="jensen_shannon"), False),
    "wake_sleep": (WakeSleep(), False),
    "wake_sleep as published": (WakeSleep(importance_weights=False), False),
    "joint with vera": (
        Joint(
            VERA(),
            classification_weight=1.0,
            prediction_entropy_weight=0.1,
            vat_weight=1.0,
            balance_weight=1.0,
        ),
        True,
    ),
    "discriminative": (Joint(None), True),
    "hdge": (HDGE(), True),
    "mle": (MLE(n_reference_samples=64), False),
    "cd": (CD(), False),
    "pcd": (PCD(reinit_probability=0.1), False),
    "jem": (PCD.jem(), False),
    "short_run": (ShortRun(), False),
    "improved_cd": (ImprovedCD(), False),
    "improved_cd as published": (
        ImprovedCD(
            Langevin(),
            n_reference_tries=0,
            n_chains=None,
            buffer_size=1000,
            replacement="reservoir",
            transitions=(Jitter(),),
            energy_regularization=1.0,
        ),
        False,
    ),
    "joint with pcd": (Joint(PCD()), True),
    "nce": (NCE(), False),
    "stratified_nce": (NCE.stratified(), False),
    "conditional nce": (ConditionalNCE(), False),
    "energy_discrepancy": (EnergyDiscrepancy(), False),
    "ranking_nce": (RankingNCE(), False),
    "flow-contrastive": (FlowContrastive(), False),
    "flow-contrastive, warming up": (FlowContrastive(warmup=1.0), False),
    "telescoping": (Telescoping(), False),
    "stein": (SteinDiscrepancy(), False),
    "joint with nce": (Joint(NCE()), True),
    "joint with energy_discrepancy": (Joint(EnergyDiscrepancy()), True),
    "joint with telescoping": (Joint(Telescoping()), True),
    "joint with flow-contrastive": (Joint(FlowContrastive()), True),
    "joint with stein": (Joint(SteinDiscrepancy()), True),
    "score_matching": (ScoreMatching(), False),
    "sliced_score_matching": (SlicedScoreMatching(), False),
    "sliced_score_matching as published": (
        SlicedScoreMatching(reference_share=0.0, noise_scale=0.0),
        False,
    ),
    "fd_score_matching": (FiniteDifferenceScoreMatching(), False),
    "denoising_score_matching": (DenoisingScoreMatching((0.1, 0.3)), False),
    "curvature_propagation": (CurvaturePropagation(), False),
    "joint with sliced_score_matching": (Joint(SlicedScoreMatching()), True),
    "joint with curvature_propagation": (Joint(CurvaturePropagation()), True),
}
#: Those whose losses draw nothing.
DETERMINISTIC = {"discriminative", "hdge"}


def make_case(name, reference=None):
    objective, labels = CASES[name]
    rng = torch.Generator().manual_seed(0)
    reference = reference or GaussianMixtureDensity(
        torch.ones(1), torch.zeros(1, 4), torch.eye(4)[None]
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = EnsembleMLP(4, 3, (16,), 2) if labels else MLP(4, 1, (16,))
        model = EnergyModel(network, reference, objective.critic_scale)
        state = objective.init(model, reference, rng)
    with torch.no_grad():  # a flat net has no slope to pass on
        for parameter in [*network.parameters(), *state.parameters()]:
            parameter += 0.1 * torch.randn(parameter.shape, generator=rng)
    y = torch.arange(24) % 3
    labeled = Batch(torch.randn(24, 4, generator=rng), y) if labels else None
    x = torch.randn(24, 4, generator=rng)
    weight = torch.rand(24, generator=rng)
    batch = Batch(x, None, weight, labeled, progress=0.6)
    return objective, model, state, batch, rng


@pytest.mark.parametrize("name", CASES)
def test_losses_reach_the_parameters_of_their_group(name):
    objective, model, state, batch, rng = make_case(name)
    groups = objective.parameter_groups(model, state)
    descended = set()
    for loss in objective.step(model, batch, state, rng):
        assert loss.value.shape == () and torch.isfinite(loss.value)
        parameters = groups[loss.group].parameters
        gradients = torch.autograd.grad(loss.value, parameters, allow_unused=True)
        assert any(g is not None and g.abs().sum() > 0 for g in gradients)
        descended.add(loss.group)
        for metric in loss.figures.values():
            assert not metric.requires_grad and torch.isfinite(metric)
    assert descended == set(groups)


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_a_function_of_state_and_generator(name):
    """A restored state and generator give the same losses again."""
    objective, model, state, batch, rng = make_case(name)
    saved = copy.deepcopy(state.state_dict()), rng.get_state()

    def losses():
        return [loss.value.item() for loss in objective.step(model, batch, state, rng)]

    first = losses()
    assert losses() != first or name in DETERMINISTIC
    state.load_state_dict(saved[0])
    rng.set_state(saved[1])
    assert losses() == pytest.approx(first, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_ties_at_the_walls_of_a_box(name):
    """Columns of two values: without walls their noise leaves the box in every step."""
    walls = UniformBox(torch.full((4,), -1.4), torch.full((4,), 1.4))
    objective, model, state, batch, rng = make_case(name, walls)
    ties = Batch(
        batch.x.sign(),
        labeled=batch.labeled,
        noise_scale=torch.full((4,), 0.45),
        reference=walls,
    )
    without_walls = replace(ties, reference=None).dequantized(rng)
    assert not walls.log_prob(without_walls).isfinite().all()
    for loss in objective.step(model, ties, state, rng):
        assert torch.isfinite(loss.value)


@pytest.mark.parametrize("name", CASES)
def test_options_survive_clone_and_set_params(name):
    from sklearn.base import clone

    objective, _ = CASES[name]
    assert repr(clone(objective)) == repr(objective)


@pytest.mark.parametrize("name", [n for n, (_, labels) in CASES.items() if not labels])
def test_weights_multiply_data_terms_only(name):
    """Rows of weight zero don't count; doubling all weights changes nothing."""
    objective, model, state, batch, rng = make_case(name)
    start = copy.deepcopy(state.state_dict()), rng.get_state()

    def first_loss(weight, x=batch.x):
        state.load_state_dict(start[0])
        rng.set_state(start[1])
        return next(
            iter(objective.step(model, Batch(x, None, weight), state, rng))
        ).value.item()

    half = (torch.arange(24) < 12).float()
    elsewhere = batch.x.clone()
    elsewhere[12:] += 5
    assert first_loss(half) == pytest.approx(first_loss(half, elsewhere), rel=1e-4)
    assert first_loss(half) == pytest.approx(first_loss(2 * half), rel=1e-5)
    assert first_loss(None) != pytest.approx(first_loss(half), rel=1e-4)
