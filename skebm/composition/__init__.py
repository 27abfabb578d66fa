"""Composition: densities made of fitted ones, by product, mixture and negation."""

from skebm.composition._base import Composition
from skebm.composition._mixture import MixtureOfExperts
from skebm.composition._negation import Negation
from skebm.composition._product import ProductOfExperts

__all__ = ["Composition", "MixtureOfExperts", "Negation", "ProductOfExperts"]
