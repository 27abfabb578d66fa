"""Options of a wrong type or out of range are refused by name, before any training."""

import numpy as np
import pytest

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.objectives import (
    CD,
    NCE,
    PCD,
    ConditionalNCE,
    CurvaturePropagation,
    DenoisingScoreMatching,
    EnergyDiscrepancy,
    FiniteDifferenceScoreMatching,
    FlowContrastive,
    ImprovedCD,
    RankingNCE,
    ScoreMatching,
    ShortRun,
    SlicedScoreMatching,
    SteinDiscrepancy,
    Telescoping,
)
from skebm.samplers import MALA, Jitter, Langevin

#: An objective, the option that is wrong, and words of what was expected.
WRONG = [
    (CD([1]), "sampler", "'mala'"),
    (CD(MALA), "sampler", "'mala'"),
    (CD(None), "sampler", "'mala'"),
    (CD(Langevin(step_size=-1.0)), "step_size", "positive"),
    (CD(n_steps=1.5), "n_steps", "an integer, at least 1"),
    (CD(n_steps="3"), "n_steps", "an integer, at least 1"),
    (CD(n_steps=True), "n_steps", "an integer, at least 1"),
    (CD(n_reference_tries=1.5), "n_reference_tries", "an integer, at least 0"),
    (ShortRun(n_chains=1.5), "n_chains", "an integer, at least 1"),
    (PCD(n_chains="10"), "n_chains", "an integer, at least 1 and at most"),
    (PCD(buffer_size=10.5), "buffer_size", "an integer, at least 1"),
    (PCD(buffer_size="a"), "buffer_size", "an integer, at least 1"),
    (PCD(reinit_probability="a"), "reinit_probability", "a number, in [0, 1]"),
    (PCD(reinit_probability=np.nan), "reinit_probability", "a number, in [0, 1]"),
    (ImprovedCD(transitions=Jitter()), "transitions", "a tuple of at least one"),
    (ImprovedCD(transitions=("jitter",)), "transitions", "a tuple of at least one"),
    (ImprovedCD(replacement=["fifo"]), "replacement", "'fifo'"),
    (ImprovedCD(n_kl_steps=0.5), "n_kl_steps", "an integer, at least 1"),
    (ImprovedCD(kl_weight="1"), "kl_weight", "a number, at least 0"),
    (ImprovedCD(energy_regularization=-1), "energy_regularization", "at least 0"),
    (NCE(1.5), "noise_ratio", "an integer, at least 1"),
    (NCE("a"), "noise_ratio", "an integer, at least 1"),
    (ConditionalNCE(0.3), "noise_scale", "two numbers"),
    (ConditionalNCE((0.1, 0.2, 0.3)), "noise_scale", "two numbers"),
    (ConditionalNCE((0.3, 0.1)), "noise_scale", "two numbers"),
    (ConditionalNCE(("a", "b")), "noise_scale", "two numbers"),
    (ConditionalNCE(n_noise=2.5), "n_noise", "an integer, at least 1"),
    (EnergyDiscrepancy(0.3), "noise_scale", "two numbers"),
    (EnergyDiscrepancy(n_noise=0), "n_noise", "an integer, at least 1"),
    (EnergyDiscrepancy(stabilization=0), "stabilization", "a number above 0"),
    (RankingNCE(0), "n_noise", "an integer, at least 1"),
    (FlowContrastive(1.5), "noise_ratio", "an integer, at least 1"),
    (FlowContrastive(flow="maf"), "flow", "a builder"),
    (FlowContrastive(flow_rate="1"), "flow_rate", "a number above 0"),
    (FlowContrastive(warmup=None), "warmup", "a number, in [0, 1]"),
    (FlowContrastive(flow_interval=0.5), "flow_interval", "an integer, at least 1"),
    (Telescoping(0.1), "waymarks", "rising numbers"),
    (Telescoping(()), "waymarks", "rising numbers"),
    (Telescoping((0.5, 1.0)), "waymarks", "rising numbers"),
    (Telescoping(("a",)), "waymarks", "rising numbers"),
    (Telescoping(span_weight="1"), "span_weight", "a number, at least 0"),
    (Telescoping(ratios="mlp"), "ratios", "a builder"),
    (SteinDiscrepancy(critic="mlp"), "critic", "a builder"),
    (SteinDiscrepancy(n_critic_steps=1.5), "n_critic_steps", "an integer"),
    (SteinDiscrepancy(critic_penalty="5"), "critic_penalty", "a number above 0"),
    (SteinDiscrepancy(noise_scale=None), "noise_scale", "a number, at least 0"),
    (ScoreMatching("a"), "reference_share", "a number in [0, 1)"),
    (ScoreMatching(1.0), "reference_share", "a number in [0, 1)"),
    (CurvaturePropagation(noise_scale="a"), "noise_scale", "a number, at least 0"),
    (SlicedScoreMatching(projections=["x"]), "projections", "'rademacher'"),
    (SlicedScoreMatching(n_projections=1.5), "n_projections", "an integer"),
    (DenoisingScoreMatching(0.1), "noise_scales", "a tuple of numbers"),
    (DenoisingScoreMatching(("a",)), "noise_scales", "a tuple of numbers"),
    (FiniteDifferenceScoreMatching("a"), "step_size", "a number above 0"),
]


@pytest.mark.parametrize("face", [EBMDensityEstimator, JEMClassifier])
@pytest.mark.parametrize(("objective", "name", "expected"), WRONG, ids=repr)
def test_wrong_options_are_refused_by_name(objective, name, expected, face):
    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(ValueError, match=f"'{name}' parameter of") as raised:
        face(objective, max_iter=1).fit(X, np.arange(30) % 2)
    assert expected in str(raised.value)
