"""Properties of answers, by tiny fits to tables of many shapes and units."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import ESTIMATORS, draw_labels, draw_rows, fit, n_rows, seeds

pytestmark = pytest.mark.filterwarnings("ignore::skebm.exceptions.SkebmWarning")

columns = st.integers(1, 4)


@given(st.sampled_from(sorted(ESTIMATORS)), seeds, n_rows, columns)
def test_scores_are_finite_and_each_row_has_its_own(name, seed, n, d):
    X = draw_rows(name, seed, n, d)
    before = X.copy()
    model = fit(name, ESTIMATORS[name](), X)
    scores = model.score_samples(X)
    assert scores.shape == (n,) and scores.dtype == np.float64
    assert np.isfinite(scores).all()
    order = np.random.default_rng(seed).permutation(n)
    np.testing.assert_array_equal(model.score_samples(X[order]), scores[order])
    np.testing.assert_array_equal(model.score_samples(X[:1]), scores[:1])
    np.testing.assert_array_equal(X, before)


@given(st.sampled_from(["classifier", "labelled"]), seeds, n_rows, st.integers(2, 3))
def test_probabilities_sum_to_one_and_the_largest_is_predicted(name, seed, n, k):
    X, y = draw_rows(name, seed, n, 2), draw_labels(seed, n, k)
    model = fit(name, ESTIMATORS[name](), X, y)
    proba = model.predict_proba(X)
    assert model.classes_.tolist() == list(range(k)) and proba.shape == (n, k)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, atol=1e-12)
    top = proba[np.arange(n), model.predict(X)]
    assert (top >= proba.max(axis=1) - 1e-12).all()
    labeled = y >= 0
    expected = np.mean(model.predict(X)[labeled] == y[labeled])
    assert model.score(X, y) == pytest.approx(expected)


@given(seeds, n_rows, st.integers(2, 4))
@settings(max_examples=max(1, settings().max_examples // 2))
def test_imputation_keeps_what_was_observed(seed, n, d):
    X = draw_rows("density", seed, n, d)
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(d)])
    model = ESTIMATORS["density"]().fit(frame)
    gaps = np.random.default_rng([seed, 2]).random((4, d)) < 0.5
    filled = model.impute(frame.head(4).mask(gaps), random_state=0)
    assert list(filled.columns) == list(frame.columns)
    values = filled.to_numpy()
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(values[~gaps], X[:4][~gaps])


@given(seeds, st.sampled_from([np.float32, np.int64, object, "list", "frame"]))
def test_numbers_of_every_type_are_the_same_table(seed, kind):
    X = np.random.default_rng(seed).integers(-4, 5, (30, 2)).astype(float)
    if kind == "list":
        other = X.tolist()
    elif kind == "frame":
        other = pd.DataFrame(X).convert_dtypes().to_numpy()
    else:
        other = X.astype(kind)
    scores = [
        ESTIMATORS["density"]().fit(table).score_samples(table) for table in (X, other)
    ]
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-4)


@given(seeds, st.integers(-6, 6), st.integers(-3, 3))
@settings(max_examples=max(1, settings().max_examples // 2))
def test_units_change_a_density_by_their_jacobian(seed, exponent, shift):
    X = np.random.default_rng(seed).normal(size=(30, 2))
    unit = 10.0**exponent
    scores = ESTIMATORS["density"]().fit(X).score_samples(X)
    other = unit * (X + shift)
    moved = ESTIMATORS["density"]().fit(other).score_samples(other)
    np.testing.assert_allclose(moved + 2 * np.log(unit), scores, atol=1e-2)
