"""Objectives with a generator that learns to draw from the model."""

from skebm.objectives.amortized._meg import MEG
from skebm.objectives.amortized._vera import VERA
from skebm.objectives.amortized._vera_ardae import VERAArdae
from skebm.objectives.amortized._vera_hmc import VERAHMC
from skebm.objectives.amortized._wake_sleep import WakeSleep

__all__ = ["MEG", "VERA", "VERAHMC", "VERAArdae", "WakeSleep"]
