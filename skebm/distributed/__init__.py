"""One fit by many processes: `init`, and every process calls the same `fit`.

Started by ``torchrun`` or any launcher that sets RANK and WORLD_SIZE. Each process has
the same rows and takes the same steps; the nets' passes over the rows of a step, which
take most of the time, are divided among the processes, and gradients are averaged. All
draw the random numbers of a fit by one process, and so the result is the same, but for
rounding.
"""

from skebm.distributed._membership import alone, current, init, rank, shutdown, size
from skebm.distributed._processes import ALONE, Processes

__all__ = [
    "ALONE",
    "Processes",
    "alone",
    "current",
    "init",
    "rank",
    "shutdown",
    "size",
]
