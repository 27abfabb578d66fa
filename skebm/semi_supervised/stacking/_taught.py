"""What is taught at training rows outside the graph, of which there may be many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.semi_supervised.graph._graph import LabelGraph
from skebm.semi_supervised.learners._experts import Expertise, Learners
from skebm.utils import phase

Array = NDArray[np.float64]

CHUNK_ROWS = 20_000


def with_others(
    taught: Array,
    z: Tensor,
    graph: LabelGraph,
    expertise: Expertise,
    learners: Learners,
    by_net: Callable[[Tensor], Array] | None = None,
) -> Array:
    """Return what is taught at rows of the graph, and after it at those outside.

    Parameters
    ----------
    taught : ndarray of shape (n, n_classes)
        Class probabilities of the graph's rows.
    z : Tensor of shape (n_rows, n_features)
        The table.
    graph : LabelGraph
        Names the rows outside.
    expertise : Expertise
        Mixes the learners' predictions.
    learners : Learners
        Fitted simple learners.
    by_net : callable or None, default=None
        Returns the class probabilities of rows by the small nets.
    """
    others = graph.other_rows
    if not len(others):
        return taught
    n_inside = len(taught)
    both: NDArray[Any] = np.empty(
        (n_inside + len(others), taught.shape[1]), dtype=np.float32
    )
    both[:n_inside] = taught
    with phase("predictions of simple learners", len(others)) as told:
        for start in range(0, len(others), CHUNK_ROWS):
            rows = others[start : start + CHUNK_ROWS]
            predicted = {}
            if by_net is not None:
                predicted["net"] = by_net(z[torch.from_numpy(rows)])
            predicted |= learners.predict(z.numpy(), rows)
            place = n_inside + start
            both[place : place + len(rows)] = expertise.mix(predicted)
            told.done(start + CHUNK_ROWS)
    return both
