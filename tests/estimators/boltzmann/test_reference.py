"""RBMs that tilt a tree, against enumeration."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from skebm import BernoulliRBM, SoftmaxRBM
from skebm.references import ChowLiuReference

STATES = np.array(list(itertools.product([0.0, 1.0], repeat=5)))


def make_rows(n=400, seed=0):
    draw = np.random.RandomState(seed)
    z = draw.randint(0, 2, n)
    return np.stack(
        [(z + (draw.rand(n) < p)) % 2 for p in (0.1, 0.05, 0.2, 0.3, 0.5)], 1
    )


@pytest.fixture(scope="module", params=["chow_liu", ChowLiuReference(2)])
def machine(request):
    model = BernoulliRBM(
        4, n_iter=8, batch_size=50, random_state=0, reference=request.param
    )
    return model.fit(make_rows())


def completed(model, row):
    """Return the states that agree with a row, and their probabilities."""
    known = ~np.isnan(row)
    states = STATES[(STATES[:, known] == row[known]).all(axis=1)]
    return states, np.exp(model.score_samples(states))


def test_probabilities_sum_to_one_and_draws_follow_them(machine):
    p = np.exp(machine.score_samples(STATES))
    assert p.sum() == pytest.approx(1, abs=1e-9)
    drawn = machine.sample(4000, random_state=0, n_steps=40)
    code = 2 ** np.arange(5)
    counts = np.bincount((drawn @ code).astype(int), minlength=32)
    frequency = counts[(STATES @ code).astype(int)] / len(drawn)
    assert np.abs(frequency - p).max() < 4 * np.sqrt(p.max() / len(drawn))


def test_missing_entries_are_summed_out(machine):
    row = make_rows()[0].astype(float)
    row[[1, 3]] = np.nan
    states, p = completed(machine, row)
    assert machine.score_samples(row[None])[0] == pytest.approx(np.log(p.sum()))
    mean = p @ states / p.sum()
    np.testing.assert_allclose(machine.impute(row[None])[0], mean, atol=1e-9)
    drawn = machine.sample(3000, given=row[None], random_state=0, n_steps=40)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.04)


def test_conditionals_of_single_columns(machine):
    rows = make_rows()[:4].astype(float)
    expected = np.zeros(4)
    for j in range(5):
        other = rows.copy()
        other[:, j] = 1 - other[:, j]
        own, flipped = machine.score_samples(rows), machine.score_samples(other)
        expected += own - np.logaddexp(own, flipped)
    np.testing.assert_allclose(machine.pseudo_likelihood(rows), expected)
    explained = machine.explain(rows).log_p.to_numpy().reshape(4, 5).sum(axis=1)
    np.testing.assert_allclose(explained, expected)


def test_a_stored_machine_scores_alike(machine):
    copy = pickle.loads(pickle.dumps(machine))
    assert np.array_equal(copy.score_samples(STATES), machine.score_samples(STATES))
    copy.partial_fit(make_rows(seed=1))
    assert np.exp(copy.score_samples(STATES)).sum() == pytest.approx(1, abs=1e-9)


def test_without_epochs_it_is_the_reference():
    model = BernoulliRBM(3, n_iter=0, reference="chow_liu", random_state=0)
    X = make_rows()
    scores = model.fit(X).score_samples(STATES)
    tree = model._fitted.units.trees
    expected = tree.log_prob(torch.tensor(STATES).long())
    np.testing.assert_allclose(scores, expected, atol=0.05)


def test_columns_that_determine_each_other_need_no_hidden_units():
    """A copy and its opposite: the tree has them, independent columns do not."""
    x = np.random.RandomState(0).randint(0, 2, (300, 3))
    X = np.c_[x, 1 - x]
    options = {"n_iter": 3, "batch_size": 50, "random_state": 0}
    with_tree = BernoulliRBM(2, reference="chow_liu", **options).fit(X)
    plain = BernoulliRBM(2, **options).fit(X)
    assert with_tree.score(X) > plain.score(X) + 1.5
    assert with_tree.score(X) == pytest.approx(-3 * np.log(2), abs=0.1)


@pytest.mark.parametrize("method", ["cd", "tempering"])
def test_other_methods_and_gaps(method):
    X = make_rows().astype(float)
    X[np.random.RandomState(1).rand(*X.shape) < 0.1] = np.nan
    options = {"n_iter": 2, "batch_size": 50, "random_state": 0}
    model = BernoulliRBM(3, method=method, reference="chow_liu", **options).fit(X)
    assert np.exp(model.score_samples(STATES)).sum() == pytest.approx(1, abs=1e-9)
    drawn = model.sample(64, random_state=0, n_steps=20, method="tempering")
    assert set(np.unique(drawn)) <= {0.0, 1.0}


def test_categories():
    draw = np.random.RandomState(0)
    X = pd.DataFrame(
        {"a": draw.choice(list("xyz"), 300), "b": draw.choice([1, 2], 300)}
    )
    X["c"] = np.where(draw.rand(300) < 0.8, X.a, "w")
    model = SoftmaxRBM(3, n_iter=3, random_state=0, reference="chow_liu").fit(X)
    states = list(itertools.product("xyz", [1, 2], "wxyz"))
    states = pd.DataFrame(states, columns=list("abc"))
    assert np.exp(model.score_samples(states)).sum() == pytest.approx(1, abs=1e-9)
    gap = pd.DataFrame({"a": ["x"], "b": [1], "c": [None]})
    assert model.impute(gap).c[0] == "x"
    known = states[(states.a == "x") & (states.b == 1)]
    expected = np.logaddexp.reduce(model.score_samples(known))
    assert model.score_samples(gap)[0] == pytest.approx(expected)


def test_what_a_reference_can_not_do_is_said():
    X = make_rows()
    with pytest.raises(ValueError, match=r"columns 0, 1.*reference=None"):
        BernoulliRBM(reference="chow_liu").fit(X / 2)
    with pytest.raises(ValueError, match=r"method='ratio_matching'.*reference=None"):
        BernoulliRBM(reference="chow_liu", method="ratio_matching").fit(X)
    with pytest.raises(ValueError, match="pseudo_rows"):
        BernoulliRBM(reference=ChowLiuReference(pseudo_rows=-1)).fit(X)
