import numpy as np
import pytest
import torch

from skebm.models._rows import TrainingRows


def rows_of(y):
    n = len(y)
    held_out, train = torch.arange(10), torch.arange(10, n)
    return TrainingRows(torch.zeros(n, 2), y, None, train, held_out, None, np.zeros(2))


def test_few_labels_all_stay_among_the_rows_that_are_visited():
    y = np.full(1000, -1)
    y[np.arange(10, 1000, 100)] = 1
    rows = rows_of(y).visiting(200, np.random.RandomState(0))
    train = rows.train.numpy()
    assert len(train) == 200
    assert (np.diff(train) > 0).all() and train.min() >= 10
    assert (y[train] >= 0).sum() == 10
    assert len(rows.held_out) == 10


@pytest.mark.parametrize("n_labeled", [500, 990])
def test_many_labels_keep_their_share(n_labeled):
    y = np.where(np.arange(1000) < 10 + n_labeled, 1, -1)
    train = rows_of(y).visiting(100, np.random.RandomState(0)).train.numpy()
    assert len(train) == 100
    assert (y[train] >= 0).mean() == pytest.approx(n_labeled / 990, abs=0.01)


def test_a_small_table_is_visited_whole_and_nothing_is_drawn():
    rows, rng = rows_of(np.full(100, -1)), np.random.RandomState(0)
    state = rng.get_state()[1].copy()
    assert rows.visiting(90, rng) is rows
    assert (rng.get_state()[1] == state).all()
