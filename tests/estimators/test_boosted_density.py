"""Boosted trees as the energy of an estimator."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.networks import BoostedTrees

FEW = {"normalizer": "importance", "max_iter": 2, "random_state": 0}


def stairs(n, seed):
    """Return rows in the unit square, and their log density.

    Density 0.4, 0.8, 1.2 and 1.6 in its quarters.
    """
    rng = np.random.default_rng(seed)
    quarter = rng.choice(4, n, p=[0.1, 0.2, 0.3, 0.4])
    corner = np.stack([quarter % 2, quarter // 2], axis=1)
    return (corner + rng.uniform(size=(n, 2))) / 2, np.log(0.4 * (1 + quarter))


def test_a_known_tilt_is_recovered():
    """Of a box by steps: log p is right where the rows are."""
    X, _ = stairs(4000, 0)
    new, log_density = stairs(1000, 1)
    network = partial(BoostedTrees, depth=2)
    model = EBMDensityEstimator("nce", network, None, max_iter=10, random_state=0)
    scores = model.fit(X).score_samples(new)
    # The box is a fifth wider on each side, and its rim is empty.
    assert np.abs(scores - log_density).mean() < 0.1
    drawn = model.sample(2000, random_state=0)
    share = [((drawn > 0.5).all(axis=1)).mean(), ((drawn < 0.5).all(axis=1)).mean()]
    assert share == pytest.approx([0.4, 0.1], abs=0.05)


@pytest.fixture(scope="module")
def mixed():
    """A frame of a number and two categories that say the same."""
    rng = np.random.default_rng(0)
    word = rng.choice(["a", "b", "c"], 300, p=[0.5, 0.3, 0.2])
    shift = pd.Series(word).map({"a": 0.0, "b": 3.0, "c": -3.0})
    number = rng.normal(size=300) + shift
    return pd.DataFrame({"number": number, "word": word, "same": word})


@pytest.fixture(scope="module")
def fitted(mixed):
    options = FEW | {"max_iter": 6, "reference": "gaussian", "warm_start": True}
    return EBMDensityEstimator("nce", "trees", **options).fit(mixed)


def test_categories_are_told_apart(mixed, fitted):
    """What contradicts itself is rare; within a category the energy is constant."""
    wrong = mixed.assign(same=mixed["word"].map({"a": "b", "b": "c", "c": "a"}))
    gap = fitted.score_samples(mixed).mean() - fitted.score_samples(wrong).mean()
    assert gap > 1.5
    encoder = fitted._fitted.encoder
    (low, high), _ = (one.start[1:3] for one in encoder.kinds[0].intervals())
    z = encoder.encode(np.array([[0.1, 1, 1], [0.1, 1, 1]]))
    z[:, 1] = low + 1e-3, high - 1e-3
    one, other = fitted._fitted.net_energy(z)
    assert one == other


def test_answers_are_the_same_after_a_pickle(mixed, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    scores = fitted.score_samples(mixed[:20])
    np.testing.assert_array_equal(again.score_samples(mixed[:20]), scores)
    assert again.network_.n_trees == 10 * fitted.best_epoch_


def test_training_goes_on(mixed):
    options = FEW | {"reference": "gaussian", "early_stopping": False}
    model = EBMDensityEstimator("nce", "trees", warm_start=True, **options)
    assert model.fit(mixed).network_.n_trees == 20
    assert pickle.loads(pickle.dumps(model)).fit(mixed).network_.n_trees == 40
    assert model.partial_fit(mixed).network_.n_trees == 30
    assert np.isfinite(model.score_samples(mixed[:5])).all()


def test_gaps_weights_and_questions(mixed):
    holes = mixed.mask(np.random.default_rng(1).uniform(size=mixed.shape) < 0.1)
    model = EBMDensityEstimator("nce", "trees", reference="gaussian", **FEW)
    model.set_params(ood_score="gradient_norm")
    model.fit(holes, sample_weight=np.linspace(0.5, 1.5, len(holes)))
    assert np.isfinite(model.score_samples(holes[:5])).all()
    assert np.isfinite(model.ood_scores(mixed[:5])).all()
    assert not model.impute(holes[:5]).isna().to_numpy().any()


@pytest.mark.parametrize("objective", ["vera", "sliced_score_matching", "pcd"])
def test_objectives_by_gradients_do_not_grow_trees(objective):
    model = EBMDensityEstimator(objective, "trees")
    with pytest.raises(ValueError, match=r"network BoostedTrees don't go together"):
        model.fit(np.random.default_rng(0).normal(size=(30, 2)))


def test_classes_do_not_grow_trees():
    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(ValueError, match="one output"):
        JEMClassifier(network="trees").fit(X, (X[:, 0] > 0).astype(int))
