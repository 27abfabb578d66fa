"""Evaluation of models and tables: log Z, conditionals, outliers, drift, attacks."""

from skebm.evaluation._false_discovery import (
    benjamini_hochberg,
    conditional_p_values,
)
from skebm.evaluation.conditionals._incomplete import IncompleteRow, incomplete_rows
from skebm.evaluation.conditionals._rbm import (
    conditional_means,
    log_marginal_unnormalized,
)
from skebm.evaluation.drift._monitor import DriftMonitor
from skebm.evaluation.drift._report import DriftReport, drift_test
from skebm.evaluation.fidelity._fidelity import Fidelity, fidelity
from skebm.evaluation.metrics._calibration import expected_calibration_error
from skebm.evaluation.metrics._detection import Detection, detection
from skebm.evaluation.metrics._mass import ProbabilityMass, probability_mass
from skebm.evaluation.normalizers import NORMALIZERS
from skebm.evaluation.normalizers._ais import AnnealedImportanceSampling
from skebm.evaluation.normalizers._annealing import annealed_samples
from skebm.evaluation.normalizers._auto import AutoNormalizer
from skebm.evaluation.normalizers._base import AbstractNormalizer, ImportanceSampling
from skebm.evaluation.normalizers._log_weights import NORMALIZED, LogNormalizer
from skebm.evaluation.normalizers._quadrature import Quadrature
from skebm.evaluation.normalizers._rbm import (
    RBMAnnealing,
    can_enumerate,
    enumerated_log_normalizer,
    pseudo_log_likelihood,
)
from skebm.evaluation.normalizers._run_annealing import RunAnnealing
from skebm.evaluation.outliers import OOD_SCORES
from skebm.evaluation.outliers._combined import Combined
from skebm.evaluation.outliers._detector import conformal_p_values
from skebm.evaluation.outliers._mixture import BlurredDensity, MixtureDensity
from skebm.evaluation.outliers._noise_contrast import NoiseContrast
from skebm.evaluation.outliers._score import OODScore, ScoredModel
from skebm.evaluation.robustness._report import (
    AdversarialReport,
    adversarial_accuracy,
)

__all__ = [
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
    "Fidelity",
    "ImportanceSampling",
    "IncompleteRow",
    "LogNormalizer",
    "MixtureDensity",
    "NoiseContrast",
    "OODScore",
    "ProbabilityMass",
    "Quadrature",
    "RBMAnnealing",
    "RunAnnealing",
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
    "fidelity",
    "incomplete_rows",
    "log_marginal_unnormalized",
    "probability_mass",
    "pseudo_log_likelihood",
]
