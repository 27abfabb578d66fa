"""The public names: none comes, goes or moves without a line here."""

import importlib
import inspect
import re

import pytest

import skebm.exceptions
from skebm.references import Density
from skebm.references._base import RENAMED

PUBLIC_NAMES = {
    "skebm": [
        "BernoulliRBM",
        "DeepBeliefNetwork",
        "EBMDensityEstimator",
        "EBMImputer",
        "GaussianRBM",
        "JEMClassifier",
        "JEMRegressor",
        "RBMClassifier",
        "SoftmaxRBM",
    ],
    "skebm.composition": [
        "Composition",
        "MixtureOfExperts",
        "Negation",
        "ProductOfExperts",
    ],
    "skebm.datasets": [
        "Checkerboard",
        "Funnel",
        "GaussianRing",
        "TwoRings",
    ],
    "skebm.evaluation": [
        "NORMALIZED",
        "NORMALIZERS",
        "OOD_SCORES",
        "AbstractNormalizer",
        "AdversarialReport",
        "AnnealedImportanceSampling",
        "AutoNormalizer",
        "BlurredDensity",
        "Combined",
        "Detection",
        "DriftMonitor",
        "DriftReport",
        "ImportanceSampling",
        "IncompleteRow",
        "LogNormalizer",
        "MixtureDensity",
        "NoiseContrast",
        "OODScore",
        "ProbabilityMass",
        "Quadrature",
        "RBMAnnealing",
        "ScoredModel",
        "adversarial_accuracy",
        "annealed_samples",
        "benjamini_hochberg",
        "can_enumerate",
        "conditional_means",
        "conditional_p_values",
        "conformal_p_values",
        "detection",
        "drift_test",
        "enumerated_log_normalizer",
        "expected_calibration_error",
        "incomplete_rows",
        "log_marginal_unnormalized",
        "probability_mass",
        "pseudo_log_likelihood",
    ],
    "skebm.inspection": [
        "DensityDisplay",
        "ExplanationDisplay",
        "ImagesDisplay",
        "LogNormalizerDisplay",
        "OODScoreDisplay",
        "ObjectiveComparisonDisplay",
        "ReliabilityDisplay",
        "Report",
        "SamplesDisplay",
        "TrainingDisplay",
        "report",
        "two_sample_auc",
    ],
    "skebm.model_selection": [
        "BatchedSearchCV",
        "fit_many",
        "SemiSupervisedSplit",
        "WithUnlabeledRows",
        "ignore_unlabeled",
    ],
    "skebm.networks": [
        "MLP",
        "NETWORKS",
        "NICE",
        "PPCA",
        "RBM",
        "BernoulliUnits",
        "ColumnEmbedding",
        "DeepBeliefNet",
        "DirectedLayer",
        "EnergyModel",
        "EnsembleMLP",
        "FourierEmbedding",
        "GaussianUnits",
        "GeneratorMLP",
        "LabeledRBM",
        "LabeledUnits",
        "MixtureOfGaussians",
        "NormalizedNetwork",
        "PeriodicEmbedding",
        "ResidualMLP",
        "SoftmaxUnits",
        "VisibleUnits",
        "WaveEmbedding",
        "is_normalized",
    ],
    "skebm.objectives": [
        "CD",
        "DISCRETE_LOSSES",
        "HDGE",
        "MEG",
        "MLE",
        "NCE",
        "OBJECTIVES",
        "PCD",
        "ROLES",
        "VERA",
        "VERAHMC",
        "Batch",
        "ConditionalNCE",
        "ContrastiveGradient",
        "CurvaturePropagation",
        "DenoisingScoreMatching",
        "DiscreteGradient",
        "EnergyDiscrepancy",
        "FiniteDifferenceScoreMatching",
        "FlowContrastive",
        "ImprovedCD",
        "Joint",
        "LabeledGradient",
        "LabeledRows",
        "Loss",
        "Objective",
        "ParameterGroup",
        "RankingNCE",
        "Recipe",
        "Roles",
        "RowCells",
        "ScoreMatching",
        "ShortRun",
        "SlicedScoreMatching",
        "SteinDiscrepancy",
        "Telescoping",
        "UpDown",
        "VERAArdae",
        "WakeSleep",
        "share_out",
    ],
    "skebm.persistence": ["load", "save", "trusted_types"],
    "skebm.references": [
        "REFERENCES",
        "BoxReference",
        "CopulaMixtureDensity",
        "CopulaMixtureReference",
        "Density",
        "EstimatorReference",
        "FlowDensity",
        "FlowMixtureDensity",
        "FlowReference",
        "GaussianMixtureDensity",
        "GaussianMixtureReference",
        "GaussianReference",
        "KernelDensity",
        "KernelDensityReference",
        "MappedMixtureDensity",
        "MarginalMaps",
        "MixtureConditionals",
        "Reference",
        "TiedValues",
        "UniformBox",
        "fit_incomplete",
        "fit_marginals",
        "hot_deck",
        "plain_mixture",
    ],
    "skebm.samplers": [
        "HMC",
        "MALA",
        "REPLACEMENTS",
        "SAMPLERS",
        "AbstractMetropolisSampler",
        "AbstractSampler",
        "AugmentedLangevin",
        "BlockConditionals",
        "BlockGibbs",
        "Clamped",
        "ColorJitter",
        "GaussianBlur",
        "Jitter",
        "Langevin",
        "LatentLangevin",
        "ParallelTempering",
        "RandomCrop",
        "RandomFlip",
        "ReplayBuffer",
        "SwapCoordinates",
        "TemperedGibbs",
        "Transition",
        "make_sampler",
        "transform",
    ],
}

#: Public members of the classes that users extend or call back, by their full name.
MEMBERS = {
    "skebm.references.Density": [
        "adapt",
        "along",
        "arrays",
        "as_mixture",
        "beside",
        "bounded_support",
        "bounds",
        "extended_log_prob",
        "folds",
        "for_training",
        "from_latent",
        "has_conditionals",
        "has_transitions",
        "in_latent_space",
        "is_discrete",
        "latent_column",
        "left_out_log_prob",
        "log_prob",
        "narrowest_scale",
        "outside",
        "partition",
        "reflect",
        "sample",
        "sample_extended",
        "to_latent",
        "transition",
    ],
    "skebm.references.Reference": [
        "apart",
        "check_options",
        "coarser",
        "fit",
        "for_normalized",
        "has_units",
        "in_units",
        "is_gaussian",
        "needs_all_rows",
    ],
    "skebm.objectives.Objective": [
        "check_columns",
        "check_model",
        "check_options",
        "critic_scale",
        "end_epoch",
        "healthy",
        "healthy_for",
        "init",
        "is_joint",
        "max_features",
        "needs_labels",
        "parameter_groups",
        "recipe",
        "remedy",
        "step",
    ],
    "skebm.samplers.AbstractSampler": [
        "check_energy",
        "check_lost",
        "check_settings",
        "explores_rows",
        "figures",
        "for_run",
        "init",
        "largest_stable_step",
        "move",
        "n_warm_up",
        "run",
        "step",
        "step_size",
        "target_acceptance",
        "temperature",
    ],
    "skebm.networks.EnergyModel": [
        "along",
        "class_logits",
        "closed_form",
        "critic",
        "energy",
        "features",
        "in_latent_space",
        "is_ensemble",
        "is_normalized",
        "log_prob_unnormalized",
        "logits",
        "member_logits",
        "n_members",
        "of_features",
        "split",
        "weigh_members",
    ],
    "skebm.evaluation.AbstractNormalizer": [
        "check_options",
        "estimate",
    ],
    "skebm.evaluation.OODScore": [
        "arrays",
        "fit",
        "forward",
        "from_arrays",
        "is_free",
        "left_out",
        "of_fitted_rows",
    ],
}

EXCEPTIONS = {
    "SkebmError": ["Exception"],
    "DivergenceError": ["SkebmError", "ArithmeticError"],
    "NonFiniteChainError": ["SkebmError", "ArithmeticError"],
    "SkebmWarning": ["UserWarning"],
    "NormalizerWarning": ["SkebmWarning"],
    "TrainingWarning": ["SkebmWarning"],
    "CalibrationWarning": ["SkebmWarning"],
    "RangeWarning": ["SkebmWarning"],
    "DataWarning": ["SkebmWarning"],
}


@pytest.mark.parametrize("module", PUBLIC_NAMES)
def test_public_names_stay(module):
    imported = importlib.import_module(module)
    assert sorted(imported.__all__) == sorted(PUBLIC_NAMES[module])
    assert all(hasattr(imported, name) for name in imported.__all__)


def test_exceptions_and_what_they_are_stay():
    classes = {
        name: [base.__name__ for base in value.__bases__]
        for name, value in vars(skebm.exceptions).items()
        if inspect.isclass(value) and value.__module__ == "skebm.exceptions"
    }
    assert classes == EXCEPTIONS


@pytest.mark.parametrize("name", MEMBERS)
def test_members_of_the_extension_classes_stay(name):
    module, _, kind = name.rpartition(".")
    bases = getattr(importlib.import_module(module), kind).__mro__
    members = {
        member
        for base in bases
        if base.__module__.startswith("skebm.")
        for member in vars(base)
        # scikit-learn adds set_fit_request and the like.
        if not member.startswith("_") and not re.fullmatch("set_.*_request", member)
    }
    assert sorted(members) == MEMBERS[name]


@pytest.mark.parametrize("old, new", RENAMED.items())
def test_a_density_with_a_former_name_is_refused(old, new):
    with pytest.raises(TypeError, match=rf"Custom\.{old} .* Density\.{new} "):
        type("Custom", (Density,), {old: None})
