"""Losses of the members of an ensemble: which members train with which terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Terms that a member is trained with besides the labels; "consistency" is the entropy,
#: virtual adversarial and balance terms. In this order, the members trained with a term
#: have neighbouring indices.
ROLES = ("consistency", "graph and consistency", "graph", "supervised")
#: Least weight for which a role gets a member.
LEAST_WEIGHT = 0.08


@dataclass(frozen=True)
class Roles:
    """Roles of the members of an ensemble, in the order of their indices.

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
        """Members that are trained with the terms of consistency."""
        return slice(0, self.n_consistent)

    @property
    def n_consistent(self) -> int:
        """Number of members that are trained with the terms of consistency."""
        return self.counts[0] + self.counts[1]

    @property
    def n_on_graph(self) -> int:
        """Number of members that are trained with the graph's labels."""
        return self.counts[1] + self.counts[2]

    @property
    def on_graph(self) -> slice:
        """Members that are trained with the graph's labels."""
        return slice(self.counts[0], self.counts[0] + self.n_on_graph)

    @property
    def n_supervised(self) -> int:
        """Number of members that are trained without any further term."""
        return self.counts[3]

    @property
    def supervised(self) -> slice:
        """Members that are trained without any further term."""
        return slice(self.n_members - self.n_supervised, self.n_members)


def share_out(weights: Sequence[float], n_members: int) -> tuple[Roles, list[float]]:
    """Return the roles of the members and their weights in the ensemble's mean.

    Each role of weight 0.08 or more gets a member, in the order of falling weights.
    Each further member goes to the role with the largest weight per member. A single
    member takes the role of the largest weight.

    Parameters
    ----------
    weights : sequence of float
        Weights of `ROLES`; nonnegative, of sum one.
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
