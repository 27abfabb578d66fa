import numpy as np
import torch
from sklearn.datasets import make_blobs

from skebm.semi_supervised.graph import _graph
from skebm.semi_supervised.graph._graph import build
from skebm.semi_supervised.learners._experts import Expertise, Lessons
from skebm.semi_supervised.stacking import _taught
from skebm.semi_supervised.stacking._taught import with_others

NAMES = ("linear", "forest")


def test_rows_outside_the_graph_are_taught_as_if_they_were_in_it(monkeypatch):
    X, y = make_blobs(300, 3, centers=3, random_state=0)
    X, few = X.astype(np.float32), np.where(np.arange(300) % 10 == 0, y, -1)
    monkeypatch.setattr(_graph, "MAX_GRAPH_ROWS", 80)
    monkeypatch.setattr(_taught, "CHUNK_ROWS", 50)
    rng = np.random.RandomState(0)
    graph = build(X, few, np.arange(20, 300), 3, rng)
    z = torch.from_numpy(X)
    lessons = Lessons.of(z[graph.rows], graph.y, 3, None, None, 0)
    learners = lessons.learn(graph.y, NAMES)
    weights = {"net": 0.5, "linear": 0.3, "forest": 0.2}
    expertise = Expertise(weights, dict.fromkeys(weights, 1.5), 28)

    def by_net(rows):
        return torch.softmax(rows, dim=1).double().numpy()

    def mixed(rows):
        by_name = {"net": by_net(z[rows])} | learners.predict(X, rows)
        return expertise.mix(by_name)

    inside = mixed(graph.rows)
    taught = with_others(inside, z, graph, expertise, learners, by_net)
    everything = np.concatenate([graph.rows, graph.other_rows])
    assert np.array_equal(np.sort(everything), np.arange(20, 300))
    np.testing.assert_allclose(taught, mixed(everything), rtol=1e-5)
    without = with_others(inside, z, graph, expertise, learners)
    expected = expertise.mix(learners.predict(X, graph.other_rows))
    np.testing.assert_allclose(without[80:], expected, rtol=1e-5)
