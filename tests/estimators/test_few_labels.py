"""Few labels in practice: rare classes, other shares, hardly a label, none at all."""

from functools import partial

import numpy as np
import pytest

from skebm import JEMClassifier
from skebm.evaluation import detection
from skebm.networks import EnsembleMLP

CENTERS = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
SMALL = partial(EnsembleMLP, hidden_features=(32, 32))


def make(objective=None, **options):
    defaults = {
        "normalizer": None,
        "stacking": False,
        "learning_rate": 1e-2,
        "max_iter": 50,
        "batch_size": 150,
        "random_state": 0,
    }
    return JEMClassifier(objective, SMALL, "gaussian", **(defaults | options))


def blobs(counts, seed, scale=1.0):
    """Return as many rows of each class as counts say; classes 6 times scale apart."""
    y = np.repeat(np.arange(len(counts)), counts)
    noise = np.random.RandomState(seed).normal(size=(len(y), 2))
    return scale * CENTERS[y] + noise, y


def few(y, n_labels, seed, classes=(0, 1, 2)):
    rng = np.random.RandomState(seed)
    hidden = np.full(len(y), -1)
    for k in classes:
        hidden[rng.choice(np.flatnonzero(y == k), n_labels, replace=False)] = k
    return hidden


def test_balanced_weights_find_more_of_a_rare_class():
    """Eight rows in a hundred are positive, labelled ones too; classes overlap."""
    gains = []
    for seed in range(2):
        rng = np.random.RandomState(seed)
        y = (rng.uniform(size=500) < 0.08).astype(int)
        X = rng.normal(size=(500, 2))
        X[:, 0] += 2 * y
        labeled = np.arange(500) < 150
        positive = (y == 1) & ~labeled
        options = {"batch_size": 200, "max_iter": 20}
        recalls = [
            (
                make(class_weight=weight, **options)
                .fit(X, np.where(labeled, y, -1))
                .predict(X[positive])
                == 1
            ).mean()
            for weight in (None, "balanced")
        ]
        gains.append(recalls[1] - recalls[0])
    assert np.mean(gains) > 0.05


def test_unlabelled_rows_of_other_class_shares():
    """Half of the labels are of a class that a tenth of the other rows have."""
    right, shares = [], []
    for seed in range(2):
        X, y = blobs([25, 25], seed, 0.6)
        X_new, y_new = blobs([360, 40], seed + 50, 0.6)
        y_few = np.concatenate([y, np.full(400, -1)])
        model = make().fit(np.concatenate([X, X_new]), y_few)
        right.append(model.score(X_new, y_new))
        shares.append(model.predict_proba(X_new)[:, 1].mean())
    assert np.mean(right) > 0.95
    assert np.mean(shares) == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize("n_labels", [1, 2])
def test_hardly_a_label_a_class(n_labels):
    """And new rows are classified as well as the unlabelled rows of the training."""
    right, fresh = [], []
    for seed in range(2):
        X, y = blobs([150] * 3, seed, 0.7)
        X_new, y_new = blobs([150] * 3, seed + 9, 0.7)
        y_few = few(y, n_labels, seed)
        hidden = y_few < 0
        model = make(stacking=True).fit(X, y_few)
        right.append(model.score(X[hidden], y[hidden]))
        fresh.append(model.score(X_new, y_new))
    assert np.mean(right) > 0.9
    assert np.mean(fresh) == pytest.approx(np.mean(right), abs=0.03)
    together = model.predict_proba(X)
    alone = np.concatenate([model.predict_proba(row[None]) for row in X[:10]])
    np.testing.assert_allclose(alone, together[:10], rtol=1e-4, atol=1e-7)


def test_a_class_without_a_label_is_given_to_the_others():
    X, y = blobs([200] * 3, 0)
    model = make(stacking=True).fit(X, few(y, 5, 0, classes=(0, 1)))
    assert model.classes_.tolist() == [0, 1]
    assert model.predict_proba(X).shape == (600, 2)
    assert model.score(X[y < 2], y[y < 2]) > 0.97


def test_a_class_announced_without_a_label_has_a_column():
    X, y = blobs([60] * 3, 0)
    y_few, model = few(y, 5, 0, classes=(0, 1)), make()
    for _ in range(20):
        model.partial_fit(X, y_few, classes=[0, 1, 2])
    probability = model.predict_proba(X)
    assert probability.shape == (180, 3)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert model.score(X[y < 2], y[y < 2]) > 0.97
    y_few[np.flatnonzero(y == 2)[:5]] = 2
    for _ in range(20):
        model.partial_fit(X, y_few)
    assert model.score(X, y) > 0.97


@pytest.mark.parametrize("kind", ["log_density", "negative_energy"])
def test_a_class_left_out_is_out_of_distribution(kind):
    """Not so one that is there without a label: the density learns it."""
    X, y = blobs([200] * 3, 0)
    y_few = few(y, 10, 0, classes=(0, 1))
    known = y < 2
    normalizer = "importance" if kind == "log_density" else None
    model = make("vera", ood_score=kind, normalizer=normalizer)
    scores = model.fit(X[known], y_few[known]).ood_scores(X)
    assert detection(scores[known], scores[~known]).auroc > 0.95
    if kind == "log_density":
        assert scores[~known].mean() < scores[known].mean() - 8
        scores = model.fit(X, y_few).ood_scores(X)
        assert scores[~known].mean() > scores[known].mean() - 2


def test_labels_of_little_weight_teach_little():
    """Two labels in five are wrong, and weigh a thousandth."""
    gains, right = [], []
    for seed in range(2):
        X, y = blobs([150, 150], seed, 0.5)
        rng = np.random.RandomState(seed)
        labeled = rng.uniform(size=300) < 0.2
        wrong = labeled & (rng.uniform(size=300) < 0.4)
        y_few = np.where(labeled, np.where(wrong, 1 - y, y), -1)
        weight = np.where(wrong, 1e-3, 1.0)
        plain = make().fit(X, y_few).score(X, y)
        right.append(make().fit(X, y_few, sample_weight=weight).score(X, y))
        gains.append(right[-1] - plain)
    assert np.mean(right) > 0.85
    assert np.mean(gains) > 0.1
