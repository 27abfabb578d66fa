"""Estimators of log Z by name: a new one is a class in a file here and a row."""

from skebm.evaluation.normalizers._ais import AnnealedImportanceSampling
from skebm.evaluation.normalizers._auto import AutoNormalizer
from skebm.evaluation.normalizers._base import AbstractNormalizer, ImportanceSampling
from skebm.evaluation.normalizers._quadrature import Quadrature

#: A class for each value of ``normalizer``.
NORMALIZERS: dict[str, type[AbstractNormalizer]] = {
    "ais": AnnealedImportanceSampling,
    "auto": AutoNormalizer,
    "importance": ImportanceSampling,
    "quadrature": Quadrature,
}
