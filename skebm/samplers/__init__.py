"""How a density is explored: Markov chains that know only an energy x -> (n,).

Every sampler leaves the density proportional to exp(-energy(x)) invariant (tests say
so), takes its randomness from an explicit `torch.Generator`, and gives no gradient to
the model's parameters.
"""

from skebm.samplers._base import (
    SAMPLERS,
    AbstractMetropolisSampler,
    AbstractSampler,
    make_sampler,
)
from skebm.samplers._hmc import HMC
from skebm.samplers._mala import MALA

SAMPLERS |= {"hmc": HMC, "mala": MALA}

__all__ = [
    "HMC",
    "MALA",
    "SAMPLERS",
    "AbstractMetropolisSampler",
    "AbstractSampler",
    "make_sampler",
]
