"""Properties of tables and weights: reading, encoding, writing; no fit."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from strategies import n_rows, odd_values, seeds

from skebm.estimators._input import TableReader
from skebm.estimators._weights import check_weights
from skebm.evaluation import conformal_p_values
from skebm.evaluation.outliers._detector import threshold
from skebm.tables import TableEncoder


def draw_table(seed, n, d):
    """Return columns of ordinary numbers: normal, integer, skewed, with ties."""
    rng = np.random.default_rng(seed)
    makers = [
        lambda: rng.normal(size=n),
        lambda: rng.integers(-5, 6, n).astype(float),
        lambda: rng.exponential(size=n),
        lambda: rng.normal(size=n).round(1),
        lambda: (rng.random(n) < 0.5).astype(float),
    ]
    return np.column_stack([makers[rng.integers(len(makers))]() for _ in range(d)])


def fit_encoder(X, weight=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that repeat far away
        return TableEncoder.fit(X, weight, **options)


@given(seeds, n_rows, st.integers(1, 4), st.booleans())
def test_decoding_undoes_encoding_and_keeps_gaps(seed, n, d, has_gaps):
    X = draw_table(seed, n, d)
    if has_gaps:
        X[np.random.default_rng(seed).random(X.shape) < 0.2] = np.nan
        X[:2] = draw_table(seed, n, d)[:2]
    encoder = fit_encoder(X)
    z = encoder.encode(X)
    assert z.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(z), np.isnan(X))
    scale = np.nanmax(np.abs(X), axis=0) + 1e-3
    np.testing.assert_allclose(encoder.decode(z) / scale, X / scale, atol=1e-5)


@given(seeds, n_rows, st.integers(-6, 6), st.integers(-3, 3))
def test_units_of_columns_change_no_encoded_row(seed, n, exponent, shift):
    X = draw_table(seed, n, 3)
    z = fit_encoder(X).encode(X)
    unit = 10.0**exponent
    other = unit * (X + shift)
    np.testing.assert_allclose(
        fit_encoder(other).encode(other), z, rtol=1e-3, atol=1e-3
    )


@given(seeds, n_rows)
def test_a_weight_is_a_number_of_copies(seed, n):
    X = draw_table(seed, n, 2)
    weight = np.random.default_rng(seed).integers(1, 4, n)
    copies = np.repeat(X, weight, axis=0)
    weighted, repeated = fit_encoder(X, weight.astype(float)), fit_encoder(copies)
    np.testing.assert_allclose(
        weighted.encode(X), repeated.encode(X), rtol=1e-3, atol=1e-3
    )


@given(seeds, n_rows)
def test_a_stored_encoder_is_the_same(seed, n):
    X = draw_table(seed, n, 3)
    encoder = fit_encoder(X, find_atoms=True)
    state = pickle.loads(pickle.dumps(encoder.to_arrays()))
    stored = TableEncoder.from_arrays(state)
    np.testing.assert_array_equal(stored.encode(X), encoder.encode(X))


def as_frame(library, X, names):
    if library == "pandas":
        return pd.DataFrame(X, columns=names)
    if library == "nullable":
        return pd.DataFrame(X, columns=names).convert_dtypes()
    module = pytest.importorskip(library)
    columns = {name: X[:, j] for j, name in enumerate(names)}
    return module.DataFrame(columns) if library == "polars" else module.table(columns)


@given(
    seeds,
    n_rows,
    st.lists(
        st.text("abcé ", min_size=1, max_size=3), min_size=1, max_size=3, unique=True
    ),
    st.sampled_from(["pandas", "nullable", "polars", "pyarrow"]),
)
def test_frames_of_every_library_are_read_alike(seed, n, names, library):
    X = draw_table(seed, n, len(names))
    reader, table = TableReader.learn(BaseEstimator(), as_frame(library, X, names))
    np.testing.assert_array_equal(table, X)
    np.testing.assert_array_equal(reader.read(BaseEstimator(), X), X)


@given(
    seeds, n_rows, st.lists(st.text(max_size=3), min_size=2, max_size=4, unique=True)
)
def test_categories_are_written_as_they_were_read(seed, n, words):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "word": pd.Categorical.from_codes(rng.integers(0, len(words), n), words),
            "number": rng.normal(size=n),
        },
        index=rng.permutation(n),
    )
    shell = BaseEstimator()
    reader, table = TableReader.learn(shell, frame, categorical_features="from_dtype")
    assert reader.is_categorical.tolist() == [True, False]
    assert set(table[:, 0]) <= set(range(len(words)))
    written = reader.write(table)
    assert written["word"].astype(str).tolist() == frame["word"].astype(str).tolist()
    np.testing.assert_allclose(written["number"], frame["number"])


# ------------------------------------------------------------------------- weights


@given(st.lists(st.floats(0, 1e300), min_size=2, max_size=8), st.integers(-200, 200))
def test_only_the_ratios_of_weights_matter(weight, exponent):
    weight = np.array(weight)
    with np.errstate(over="ignore"):
        scaled = weight * 2.0**exponent
    if not (weight.any() and scaled.any() and np.isfinite(scaled).all()):
        return
    shares = [w / w.sum() for w in (check_weights(v, v) for v in (weight, scaled))]
    np.testing.assert_allclose(*shares, rtol=1e-6, atol=1e-12)


@given(st.one_of(odd_values, st.lists(odd_values, min_size=3, max_size=3)))
def test_weights_of_any_type_are_numbers_or_refused_by_name(weight):
    X = np.zeros((3, 1))
    try:
        checked = check_weights(weight, X)
    except ValueError as error:
        assert any(word in str(error).lower() for word in ("weight", "negative"))
        return
    if weight is not None:
        assert checked.shape == (3,) and checked.min() >= 0
        assert np.isfinite(checked).all()


# ---------------------------------------------------------------------- thresholds

scores = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40)


@given(scores, st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_a_threshold_rises_with_the_share_of_outliers(calibration, first, second):
    low, high = sorted((first, second))
    values = np.array(calibration)
    assert threshold(values, low) <= threshold(values, high)
    flagged = np.mean(values < threshold(values, low))
    assert flagged <= low + 1 / len(values)


@given(scores, scores)
def test_p_values_are_shares_that_rise_with_the_score(new, calibration):
    p = conformal_p_values(new, calibration)
    assert 1 / (len(calibration) + 1) <= p.min() and p.max() <= 1
    order = np.argsort(new, kind="stable")
    assert (np.diff(p[order]) >= 0).all()
    own = conformal_p_values(calibration, calibration)
    for level in (0.05, 0.2, 0.5):  # valid: no larger share is as low
        assert np.mean(own <= level) <= level
