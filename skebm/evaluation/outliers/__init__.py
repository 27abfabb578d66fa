"""Outlier scores by name: a new one is a class in a file of this folder and a row."""

from skebm.evaluation.outliers._combined import Combined
from skebm.evaluation.outliers._mixture import BlurredDensity, MixtureDensity
from skebm.evaluation.outliers._noise_contrast import NoiseContrast
from skebm.evaluation.outliers._score import (
    GradientNorm,
    LogDensity,
    NegativeEnergy,
    OODScore,
    Typicality,
)

#: A class for each value of ``ood_score``.
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
