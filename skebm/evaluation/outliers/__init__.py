"""Outlier scores by name: a new one is a class in a file of this folder and a row."""

from skebm.evaluation.outliers._auto import Auto
from skebm.evaluation.outliers._combined import Combined
from skebm.evaluation.outliers._mixture import BlurredDensity, MixtureDensity
from skebm.evaluation.outliers._neighbors import NearestNeighbor
from skebm.evaluation.outliers._noise_contrast import NoiseContrast
from skebm.evaluation.outliers._ranked_neighbors import LocalDensity, RankedNeighbors
from skebm.evaluation.outliers._score import (
    GradientNorm,
    LogDensity,
    NegativeEnergy,
    OODScore,
    Typicality,
)
from skebm.evaluation.outliers._tails import Tails

#: A class for each value of ``ood_score``.
OOD_SCORES: dict[str, type[OODScore]] = {
    "auto": Auto,
    "blurred_density": BlurredDensity,
    "combined": Combined,
    "gradient_norm": GradientNorm,
    "local_density": LocalDensity,
    "log_density": LogDensity,
    "mixture_density": MixtureDensity,
    "nearest_neighbor": NearestNeighbor,
    "negative_energy": NegativeEnergy,
    "noise_contrast": NoiseContrast,
    "ranked_neighbors": RankedNeighbors,
    "tails": Tails,
    "typicality": Typicality,
}
