"""What a fitted model is worth: log Z, draws, outliers found, calibration."""

from skebm.evaluation._ais import AnnealedImportanceSampling
from skebm.evaluation._annealing import annealed_samples
from skebm.evaluation._auto import AutoNormalizer
from skebm.evaluation._calibration import expected_calibration_error
from skebm.evaluation._conditional import (
    conditional_means,
    log_marginal_unnormalized,
)
from skebm.evaluation._detection import Detection, conformal_p_values, detection
from skebm.evaluation._log_weights import NORMALIZED, LogNormalizer
from skebm.evaluation._machine import (
    RBMAnnealing,
    can_enumerate,
    enumerated_log_normalizer,
    pseudo_log_likelihood,
)
from skebm.evaluation._mass import ProbabilityMass, probability_mass
from skebm.evaluation._missing import IncompleteRow, incomplete_rows
from skebm.evaluation._normalizer import AbstractNormalizer, ImportanceSampling
from skebm.evaluation._ood import (
    GradientNorm,
    LogDensity,
    NegativeEnergy,
    OODScore,
    ScoredModel,
    Typicality,
)
from skebm.evaluation._ood_combined import (
    BlurredDensity,
    Combined,
    MixtureDensity,
    NoiseContrast,
)
from skebm.evaluation._quadrature import Quadrature

NORMALIZERS: dict[str, type[AbstractNormalizer]] = {
    "ais": AnnealedImportanceSampling,
    "auto": AutoNormalizer,
    "importance": ImportanceSampling,
    "quadrature": Quadrature,
}

OOD_SCORES: dict[str, type[OODScore]] = {
    "blurred_density": BlurredDensity,
    "combined": Combined,
    "gradient_norm": GradientNorm,
    "log_density": LogDensity,
    "mixture_density": MixtureDensity,
    "negative_energy": NegativeEnergy,
    "noise_contrast": NoiseContrast,
    "typicality": Typicality,
}

__all__ = [
    "NORMALIZED",
    "NORMALIZERS",
    "OOD_SCORES",
    "AbstractNormalizer",
    "AnnealedImportanceSampling",
    "AutoNormalizer",
    "BlurredDensity",
    "Combined",
    "Detection",
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
    "annealed_samples",
    "can_enumerate",
    "conditional_means",
    "conformal_p_values",
    "detection",
    "enumerated_log_normalizer",
    "expected_calibration_error",
    "incomplete_rows",
    "log_marginal_unnormalized",
    "probability_mass",
    "pseudo_log_likelihood",
]
