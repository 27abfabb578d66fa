"""Fitted estimators as files that hold arrays and words, and run no code."""

from skebm.persistence._files import load, save
from skebm.persistence._trusted import trusted_types

__all__ = ["load", "save", "trusted_types"]
