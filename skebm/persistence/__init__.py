"""Fitted estimators as files without code, and their answers as programs of torch."""

from skebm.persistence._export import export
from skebm.persistence._files import load, save
from skebm.persistence._trusted import trusted_types

__all__ = ["export", "load", "save", "trusted_types"]
