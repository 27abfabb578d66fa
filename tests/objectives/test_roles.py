"""Roles of ensemble members in the joint objective."""

import numpy as np
import pytest

from skebm.objectives import ROLES, share_out
from skebm.objectives.joint._joint import graph_fade


@pytest.mark.parametrize(
    ("weights", "n_members", "counts", "of_member"),
    [
        ([0.15] * 3 + [0.55], 6, (1, 1, 1, 3), [0.15] * 3 + [0.55 / 3] * 3),
        ([0.5, 0.45, 0.03, 0.02], 6, (3, 3, 0, 0), None),
        ([0.1, 0.6, 0.1, 0.2], 2, (0, 1, 0, 1), [0.75, 0.25]),
        ([0.1, 0.6, 0.1, 0.2], 1, (0, 1, 0, 0), [1.0]),
        ([0.0, 0.0, 0.0, 1.0], 3, (0, 0, 0, 3), [1 / 3] * 3),
    ],
)
def test_roles_get_members_by_weight(weights, n_members, counts, of_member):
    roles, found = share_out(weights, n_members)
    assert roles.counts == counts
    assert sum(found) == pytest.approx(1)
    if of_member:
        assert found == pytest.approx(of_member)


def test_members_that_share_a_loss_lie_together():
    roles, _ = share_out([0.25] * 4, 8)
    names = np.repeat(ROLES, roles.counts)
    assert all("consistency" in name for name in names[roles.consistent])
    assert all("graph" in name for name in names[roles.on_graph])
    assert len(names[roles.consistent]) == len(names[roles.on_graph]) == 4


def test_the_weight_of_the_graph_fades_to_three_tenths():
    factors = [graph_fade(progress) for progress in (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)]
    assert factors == pytest.approx([1, 1, 0.75, 0.5, 0.3, 0.3])
