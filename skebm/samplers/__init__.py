"""Samplers: Markov chains that take an energy x -> (n,) and nothing else.

Every sampler leaves the density proportional to exp(-energy(x)) invariant (as tests
check; the unadjusted Langevin ones approximately, for small steps), takes randomness
from an explicit `torch.Generator`, and gives no gradient to the model's parameters.
"""

from skebm.samplers._augmented import AugmentedLangevin, transform
from skebm.samplers._base import (
    SAMPLERS,
    AbstractMetropolisSampler,
    AbstractSampler,
    make_sampler,
)
from skebm.samplers._gibbs import BlockConditionals, BlockGibbs
from skebm.samplers._hmc import HMC
from skebm.samplers._langevin import Langevin
from skebm.samplers._latent import LatentLangevin
from skebm.samplers._mala import MALA
from skebm.samplers._rbm import Clamped, TemperedGibbs
from skebm.samplers._replay_buffer import REPLACEMENTS, ReplayBuffer
from skebm.samplers._tempering import ParallelTempering
from skebm.samplers._transitions import (
    ColorJitter,
    GaussianBlur,
    Jitter,
    RandomCrop,
    RandomFlip,
    RandomRescale,
    RandomShift,
    SwapCoordinates,
    Transition,
)

SAMPLERS |= {
    "augmented_langevin": AugmentedLangevin,
    "block_gibbs": BlockGibbs,
    "hmc": HMC,
    "langevin": Langevin,
    "mala": MALA,
    "parallel_tempering": ParallelTempering,
}

__all__ = [
    "HMC",
    "MALA",
    "REPLACEMENTS",
    "SAMPLERS",
    "AbstractMetropolisSampler",
    "AbstractSampler",
    "AugmentedLangevin",
    "BlockConditionals",
    "BlockGibbs",
    "Clamped",
    "ColorJitter",
    "GaussianBlur",
    "Jitter",
    "Langevin",
    "LatentLangevin",
    "ParallelTempering",
    "RandomCrop",
    "RandomFlip",
    "RandomRescale",
    "RandomShift",
    "ReplayBuffer",
    "SwapCoordinates",
    "TemperedGibbs",
    "Transition",
    "make_sampler",
    "transform",
]
