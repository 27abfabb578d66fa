"""Classes of clusters."""

import numpy as np
import pytest

from skebm.semi_supervised.learners import _clusters
from skebm.semi_supervised.learners._clusters import ClusterClassifier, Clusters


def blobs(n=120, n_columns=3, seed=0):
    rng = np.random.RandomState(seed)
    y = np.arange(n) % 2
    return rng.normal(size=(n, n_columns)) + 8 * y[:, None], y


class KnownParts:
    """Two mixtures whose parts are known."""

    def parts(self, views):
        first = views[0][:, :2]
        return [first, np.ones((len(first), 1))]


def test_probabilities_are_posterior_means_of_the_parts_classes():
    x = np.array([[0.9, 0.1], [0.4, 0.6], [1.0, 0.0]])
    y, weight = np.array([0, 1, 0]), np.array([1.0, 2.0, 0.5])
    classifier = ClusterClassifier(KnownParts(), 1).fit(x, y, weight)
    a, share = _clusters.PRIOR_LABELS, 1.5 / 3.5
    of_zero = []
    for k in range(2):
        votes = weight * x[:, k]
        of_zero.append((votes[y == 0].sum() + a * share) / (votes.sum() + a))
    expected = 0.3 * of_zero[0] + 0.7 * of_zero[1]
    # The mixture of one part knows the frequencies alone.
    expected = (expected + share) / 2
    found = classifier.predict_proba(np.array([[0.3, 0.7]]))
    np.testing.assert_allclose(found, [[expected, 1 - expected]])


def test_one_label_a_cluster_labels_it():
    x, y = blobs()
    clusters = Clusters.fit([x, x], 2, 0)
    both, labeled = np.hstack([x, x]), np.array([4, 7])
    classifier = ClusterClassifier(clusters, 2)
    classifier.fit(both[labeled], y[labeled], np.ones(2))
    found = classifier.predict_proba(both)
    np.testing.assert_array_equal(found.argmax(axis=1), y)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert [part.shape[1] for part in clusters.parts([x, x])] == [2, 4, 8, 12] * 4


def test_many_columns_are_compared_by_their_first_components():
    x, y = blobs(n_columns=60)
    (index, components, _), *_ = Clusters.fit([x], 2, 0).mixtures
    assert index == 0 and components.n_components_ == _clusters.N_COMPONENTS
    classifier = ClusterClassifier(Clusters.fit([x], 2, 0), 1)
    classifier.fit(x[:10], y[:10], np.ones(10))
    assert (classifier.predict_proba(x).argmax(axis=1) == y).all()


@pytest.mark.parametrize("n", [2, 11, 25])
def test_few_rows_have_few_parts(n):
    x, y = blobs(n)
    clusters = Clusters.fit([x], 2, 0)
    assert max(part.shape[1] for part in clusters.parts([x])) == max(n // 10, 1)
    classifier = ClusterClassifier(clusters, 1).fit(x, y, np.ones(n))
    np.testing.assert_allclose(classifier.predict_proba(x).sum(axis=1), 1)
