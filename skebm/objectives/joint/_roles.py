"""Which members of an ensemble learn from unlabelled rows, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: What a member hears besides the labels: "consistency" is the entropy, virtual
#: adversarial and balance terms. In this order, members that hear a term lie together.
ROLES = ("consistency", "graph and consistency", "graph", "supervised")
#: Least weight for which a role gets a member.
LEAST_WEIGHT = 0.08


@dataclass(frozen=True)
class Roles:
    """Roles of the members of an ensemble, by their number.

    Parameters
    ----------
    counts : tuple of int
        Number of members of each role, in the order of `ROLES`.
    """

    counts: tuple[int, int, int, int]

    @property
    def n_members(self) -> int:
        """Number of members."""
        return sum(self.counts)

    @property
    def consistent(self) -> slice:
        """Members that hear the terms of consistency."""
        return slice(0, self.n_consistent)

    @property
    def n_consistent(self) -> int:
        """Number of members that hear the terms of consistency."""
        return self.counts[0] + self.counts[1]

    @property
    def n_on_graph(self) -> int:
        """Number of members that hear the graph."""
        return self.counts[1] + self.counts[2]

    @property
    def on_graph(self) -> slice:
        """Members that hear the graph."""
        return slice(self.counts[0], self.counts[0] + self.n_on_graph)


def share_out(weights: Sequence[float], n_members: int) -> tuple[Roles, list[float]]:
    """Return the roles of the members and their weights in the ensemble's mean.

    Each role of weight 0.08 or more gets a member, heavy ones first; further members go
    where a member has most to carry. A single member takes the heaviest role.

    Parameters
    ----------
    weights : sequence of float
        Of each of `ROLES`; nonnegative, of sum one.
    n_members : int
        Number of members.
    """
    weight = np.asarray(weights, dtype=float)
    counts = np.zeros(len(ROLES), dtype=int)
    for role in np.argsort(-weight, kind="stable")[:n_members]:
        counts[role] = not counts.any() or weight[role] >= LEAST_WEIGHT
    weight = np.where(counts, weight, 0)
    while counts.sum() < n_members:
        counts[(weight / np.maximum(counts, 1)).argmax()] += 1
    of_member = np.repeat(weight / np.maximum(counts, 1), counts) / weight.sum()
    return Roles(tuple(counts.tolist())), of_member.tolist()
