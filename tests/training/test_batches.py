"""Mini-batches: every row once an epoch, labelled rows and neighbours beside."""

from itertools import chain

import torch

from skebm.training import RowGraph, TableBatches, _batches

CPU = torch.device("cpu")


def rows_of(batches, size, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [batch.x[:, 0].long().tolist() for batch in batches.epoch(size, rng)]


def test_every_row_once_an_epoch_in_new_order():
    x = torch.arange(30.0)[:, None]
    batches = TableBatches(x, None, None, torch.arange(30), device=CPU)
    first, second = rows_of(batches, 10), rows_of(batches, 10, seed=1)
    assert sorted(chain(*first)) == list(range(30))
    assert sorted(chain(*second)) == list(range(30))
    assert first != second and rows_of(batches, 10) == first


def test_a_ragged_rest_waits():
    x = torch.arange(25.0)[:, None]
    batches = TableBatches(x, None, None, torch.arange(25), device=CPU)
    drawn = rows_of(batches, 10)
    assert [len(rows) for rows in drawn] == [10, 10]
    assert len(set(chain(*drawn))) == 20


def test_held_out_rows_are_never_drawn():
    x = torch.arange(40.0)[:, None]
    rows = torch.arange(40)[torch.arange(40) % 4 != 0]
    y = torch.where(torch.arange(40) < 20, 1, -1)
    batches = TableBatches(x, y, None, rows, device=CPU, n_labeled=6)
    rng = torch.Generator().manual_seed(0)
    for batch in batches.epoch(10, rng):
        assert (batch.x % 4 != 0).all() and (batch.labeled.x % 4 != 0).all()
        assert (batch.labeled.y == 1).all() and (batch.labeled.x < 20).all()
        assert len(batch.labeled.x) == 6


def test_all_labelled_rows_where_they_are_few():
    y = torch.full((20,), -1)
    y[3], y[8] = 0, 1
    x = torch.arange(20.0)[:, None]
    batches = TableBatches(x, y, None, torch.arange(20), device=CPU, n_labeled=6)
    batch = next(batches.epoch(5, torch.Generator().manual_seed(0)))
    assert batch.labeled.x[:, 0].tolist() == [3, 8]


def test_neighbours_and_weights_belong_to_their_rows():
    n = 20
    x = torch.arange(float(n))[:, None]
    graph = RowGraph(
        torch.arange(float(n))[:, None].repeat(1, 2),
        torch.arange(float(n)),
        torch.stack([torch.arange(n), (torch.arange(n) + 1) % n], dim=1),
    )
    weight = torch.arange(float(n))
    batches = TableBatches(x, None, weight, torch.arange(n), device=CPU, graph=graph)
    rng = torch.Generator().manual_seed(0)
    for batch in batches.epoch(5, rng):
        assert torch.equal(batch.weight, batch.x[:, 0])
        assert torch.equal(batch.confidence, batch.x[:, 0])
        step = (batch.neighbors.x - batch.x)[:, 0] % n
        assert set(step.tolist()) <= {0.0, 1.0}
        assert torch.equal(batch.neighbors.soft_labels[:, 0], batch.neighbors.x[:, 0])


def test_progress_runs_through_the_epoch():
    batches = TableBatches(torch.zeros(20, 1), None, None, torch.arange(20), device=CPU)
    rng = torch.Generator().manual_seed(0)
    progress = [batch.progress for batch in batches.epoch(5, rng, 0.5, 0.6)]
    torch.testing.assert_close(progress, [0.5, 0.525, 0.55, 0.575])


def test_a_table_too_large_for_the_device_is_streamed(monkeypatch):
    """Only what a step needs goes to the device; the batches are the same."""
    n = 20
    x, y = torch.arange(float(n))[:, None], torch.arange(n) % 2
    graph = RowGraph(
        torch.ones(n, 2) / 2, torch.arange(float(n)), torch.arange(n)[:, None]
    )
    parts = (x, y, torch.arange(float(n)), torch.arange(n))

    def batches(device):
        return TableBatches(
            *parts, device=torch.device(device), n_labeled=4, graph=graph
        )

    monkeypatch.setattr(_batches, "_fits", lambda x, device: device.type == "cpu")
    streamed, whole = batches("meta"), batches("cpu")
    assert streamed.home == CPU and streamed.x.device == CPU
    rng, twin = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    for moved, batch in zip(streamed.epoch(5, rng), whole.epoch(5, twin), strict=True):
        for part in (moved, moved.labeled, moved.neighbors):
            tensors = (part.x, part.y, part.weight, part.soft_labels, part.confidence)
            assert {tensor.device.type for tensor in tensors} == {"meta"}
        assert moved.x.shape == batch.x.shape == (5, 1)
    streamed.device = CPU  # the rows themselves
    for moved, batch in zip(streamed.epoch(5, rng), whole.epoch(5, twin), strict=True):
        assert torch.equal(moved.x, batch.x)
        assert torch.equal(moved.weight, batch.x[:, 0])
        assert torch.equal(moved.neighbors.x, batch.neighbors.x)
