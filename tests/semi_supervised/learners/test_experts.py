"""Simple learners, which teach on unlabelled rows."""

import warnings

import numpy as np
import pytest

from skebm.semi_supervised.labels._held_out_labels import HeldOutLabels
from skebm.semi_supervised.learners._experts import EXPERTS, Expertise, Lessons


def lessons(n_rows=60, seed=0, **changes):
    rng = np.random.RandomState(seed)
    y = np.arange(n_rows) % 3
    x = (rng.normal(size=(n_rows, 4)) + 2 * np.eye(3, 4)[y]).astype(np.float32)
    few = np.where(np.arange(n_rows) < 30, y, -1)
    options = {"x": x, "y": few, "n_classes": 3, "weight": np.ones(n_rows), "seed": 0}
    return Lessons(**(options | changes)), y


def test_learners_predict_all_classes_of_all_rows():
    given, y = lessons()
    rows = np.arange(30, 60)
    for probability in given.predict(given.y, rows).values():
        assert probability.shape == (30, 3)
        np.testing.assert_allclose(probability.sum(axis=1), 1)
        assert (probability.argmax(axis=1) == y[rows]).mean() > 0.6
    without = np.where(given.y == 1, -1, given.y)
    for probability in given.predict(without, rows).values():
        assert probability[:, 1].max() < 1e-6
    only = np.where(given.y == 1, 1, -1)
    for probability in given.predict(only, rows).values():
        np.testing.assert_allclose(probability[:, 1], 1, atol=1e-6)


def test_a_held_out_label_has_no_say_in_its_own_prediction():
    given, _ = lessons()
    held_out = HeldOutLabels.choose(given.y, 3, np.random.RandomState(0))
    before = given.predict_held_out(held_out)
    wrong = given.y.copy()
    fold = held_out.rows[held_out.folds == 0]
    wrong[fold] = (wrong[fold] + 1) % 3
    after = lessons(y=wrong)[0].predict_held_out(held_out)
    mine = held_out.folds == 0
    np.testing.assert_array_equal(before[:, mine], after[:, mine])
    assert np.abs(before[:, ~mine] - after[:, ~mine]).max() > 0.01


def test_a_wild_value_among_the_labels_does_not_turn_the_linear_model():
    given, _ = lessons()
    rows = np.arange(30, 60)
    x = given.x.copy()
    x[0, 3] = 1e3  # the column says nothing about the class
    before = given.predict(given.y, rows)["linear"]
    after = lessons(x=x)[0].predict(given.y, rows)["linear"]
    assert np.abs(after - before).max() < 0.2
    assert (after.argmax(axis=1) == before.argmax(axis=1)).mean() > 0.9


def test_a_row_of_weight_zero_is_no_label():
    given, _ = lessons()
    weight = np.where(np.arange(60) < 15, 1.0, 0.0)
    fewer = np.where(np.arange(60) < 15, given.y, -1)
    rows = np.arange(30, 60)
    weighted = lessons(weight=weight)[0].predict(given.y, rows)
    hidden = given.predict(fewer, rows)
    for name in EXPERTS:
        np.testing.assert_allclose(weighted[name], hidden[name], atol=1e-6)


def test_as_many_classes_as_labels_give_no_warning():
    rng = np.random.RandomState(0)
    y = np.where(np.arange(80) < 25, np.arange(80), -1)
    given, _ = lessons(80, x=rng.normal(size=(80, 3)), y=y, n_classes=25)
    names = ("linear", "forest", "extra trees", "clusters")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = given.predict(y, np.arange(25), names)
    assert tuple(found) == names
    assert (found["forest"].argmax(axis=1) == y[:25]).mean() > 0.5


def test_a_mixture_is_of_tempered_predictions():
    names = ("net", *EXPERTS)
    weights = dict(zip(names, [0.4, 0.3, 0.1, 0.1, 0.05, 0.05], strict=True))
    expertise = Expertise(weights, dict.fromkeys(names, 2.0), 20)
    p = np.array([[0.9, 0.1]])
    by_name = dict.fromkeys(names, np.array([[0.5, 0.5]])) | {"net": p}
    sharp = 0.9**0.5 / (0.9**0.5 + 0.1**0.5)
    assert expertise.mix(by_name)[0, 0] == pytest.approx(0.4 * sharp + 0.6 * 0.5)
    # Without the net the others share its weight.
    del by_name["net"]
    np.testing.assert_allclose(expertise.mix(by_name), [[0.5, 0.5]])
