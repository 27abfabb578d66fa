"""Random states that are never NumPy's global one."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state


def private_random_state(
    random_state: int | np.random.RandomState | None,
) -> np.random.RandomState:
    """Return a NumPy random state; for None one that the operating system seeds.

    Not the global one, whose state must not change.
    """
    if random_state is None:
        return np.random.RandomState()
    return check_random_state(random_state)
