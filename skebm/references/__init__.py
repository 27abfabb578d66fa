"""Floor 1: the reference densities q0 that energies tilt."""

from __future__ import annotations

from skebm.references._base import Density, Reference
from skebm.references._box import BoxReference, UniformBox
from skebm.references._fitted import EstimatorReference
from skebm.references._flow import FlowDensity, FlowMixtureDensity, FlowReference
from skebm.references._incomplete import (
    MixtureConditionals,
    TiedValues,
    fit_incomplete,
    hot_deck,
)
from skebm.references._kde import KernelDensity, KernelDensityReference
from skebm.references._mixture import GaussianMixtureDensity, GaussianReference
from skebm.references._stacking import GaussianMixtureReference

__all__ = [
    "REFERENCES",
    "BoxReference",
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
    "MixtureConditionals",
    "Reference",
    "TiedValues",
    "UniformBox",
    "fit_incomplete",
    "hot_deck",
]

#: A name for each reference; None is the uniform density on a box.
REFERENCES: dict[str | None, type[Reference]] = {
    None: BoxReference,
    "flow": FlowReference,
    "gaussian": GaussianReference,
    "gmm": GaussianMixtureReference,
    "kde": KernelDensityReference,
}
