"""Pictures of fitted estimators, and reports on densities.

Displays follow scikit-learn's: ``from_estimator`` computes and draws, ``plot`` draws
again. They need matplotlib.
"""

from skebm.evaluation.fidelity._two_sample import two_sample_auc
from skebm.inspection._density import DensityDisplay
from skebm.inspection._explanation import ExplanationDisplay
from skebm.inspection._images import ImagesDisplay
from skebm.inspection._log_normalizer import LogNormalizerDisplay
from skebm.inspection._objective_comparison import ObjectiveComparisonDisplay
from skebm.inspection._ood_score import OODScoreDisplay
from skebm.inspection._reliability import ReliabilityDisplay
from skebm.inspection._samples import SamplesDisplay
from skebm.inspection._training import TrainingDisplay
from skebm.inspection.reports._report import Report, report

__all__ = [
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
]
