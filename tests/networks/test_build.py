"""Networks by name, class or builder."""

from functools import partial

import numpy as np
import pytest

from skebm.networks import MLP, EnsembleMLP
from skebm.networks._build import count_members


class Trio(EnsembleMLP):
    """An ensemble whose signature does not name the number of its members."""

    def __init__(self, n_features, n_outputs):
        super().__init__(n_features, n_outputs, n_members=3)


@pytest.mark.parametrize(
    ("builder", "n_members"),
    [
        (EnsembleMLP, 6),
        (partial(EnsembleMLP, n_members=2), 2),
        (partial(partial(EnsembleMLP, n_members=2), hidden_features=(8,)), 2),
        (partial(EnsembleMLP, n_members=np.int64(2)), 2),
        (Trio, 3),
        (lambda n, k: EnsembleMLP(n, k, n_members=5), 5),
        (MLP, 1),
    ],
)
def test_members_are_counted(builder, n_members):
    assert count_members(builder, 4, 3) == n_members


def test_members_of_a_class_are_counted_without_a_net(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a net was built")

    monkeypatch.setattr(EnsembleMLP, "forward", refuse)
    assert count_members(EnsembleMLP, 4, 3) == 6


def test_options_of_a_net_are_checked_where_its_members_are_counted():
    with pytest.raises(ValueError, match="'hidden_features' parameter of EnsembleMLP"):
        count_members(partial(EnsembleMLP, hidden_features=5), 4, 3)


def test_a_net_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"outputs of shape \(n, 3\)"):
        count_members(lambda n, k: MLP(n, 1), 4, 3)
