"""The reference densities q0 that energies tilt."""

from __future__ import annotations

from skebm.references._base import Density, Reference
from skebm.references._box import BoxReference, UniformBox
from skebm.references._chow_liu import ChowLiuReference, TreeDensity
from skebm.references._copula import (
    CopulaMixtureDensity,
    CopulaMixtureReference,
    MappedMixtureDensity,
    plain_mixture,
)
from skebm.references._fitted import EstimatorReference
from skebm.references._flow import FlowDensity, FlowMixtureDensity, FlowReference
from skebm.references._incomplete import (
    MixtureConditionals,
    TiedValues,
    fit_incomplete,
    hot_deck,
)
from skebm.references._kde import KernelDensity, KernelDensityReference
from skebm.references._marginals import MarginalMaps, fit_marginals
from skebm.references._mixture import GaussianMixtureDensity, GaussianReference
from skebm.references._stacking import GaussianMixtureReference
from skebm.references._trees import TreeMixture

__all__ = [
    "REFERENCES",
    "BoxReference",
    "ChowLiuReference",
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
    "TreeDensity",
    "TreeMixture",
    "UniformBox",
    "fit_incomplete",
    "fit_marginals",
    "hot_deck",
    "plain_mixture",
]

#: A class for each value of ``reference``; None is the uniform density on a box.
REFERENCES: dict[str | None, type[Reference]] = {
    None: BoxReference,
    "chow_liu": ChowLiuReference,
    "copula": CopulaMixtureReference,
    "flow": FlowReference,
    "gaussian": GaussianReference,
    "gmm": GaussianMixtureReference,
    "kde": KernelDensityReference,
}
