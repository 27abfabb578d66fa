"""Columns of categories: probabilities that add up to one, and tables of all kinds."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skebm import EBMDensityEstimator
from skebm.networks import MLP
from skebm.tables._point_masses import PointMasses

TINY = partial(MLP, hidden_features=(16,))
SHARES = np.array([0.5, 0.3, 0.15, 0.05])
SKIES = np.array(["sun", "cloud", "rain", "snow"])


def make(**options):
    defaults = {
        "objective": "nce",
        "network": TINY,
        "reference": "gaussian",
        "normalizer": "importance",
        "max_iter": 5,
        "random_state": 0,
    }
    return EBMDensityEstimator(**(defaults | options))


def weather(n_rows, random_state=0):
    """A category, a number whose mean it decides, and a boolean."""
    rng = np.random.RandomState(random_state)
    sky = rng.choice(4, size=n_rows, p=SHARES)
    return pd.DataFrame(
        {
            "sky": pd.Categorical(SKIES[sky], categories=SKIES),
            "warmth": rng.normal(20 - 5 * sky, 3),
            "wet": rng.uniform(size=n_rows) < 0.1 + 0.25 * sky,
        }
    )


@pytest.fixture(scope="module")
def rows():
    return weather(1500)


@pytest.fixture(scope="module")
def trained(rows):
    return make(max_iter=60, learning_rate=5e-3).fit(rows)


def point_masses(model):
    """Return the kind of the columns with atoms."""
    kinds = model._fitted.encoder.kinds
    return next(kind for kind in kinds if isinstance(kind, PointMasses))


def every_row(n_points=60):
    """Return each category with each boolean on a grid of numbers, and its step."""
    warmth = np.linspace(-20, 50, n_points)
    index = pd.MultiIndex.from_product([SKIES, warmth, [False, True]])
    X = index.to_frame(index=False, name=["sky", "warmth", "wet"])
    return X.astype({"sky": pd.CategoricalDtype(SKIES)}), warmth[1] - warmth[0]


# ------------------------------------------------------------------ mathematics


def test_probabilities_of_a_category_are_its_frequencies(rows):
    X = rows[["sky"]]
    model = make(max_iter=40).fit(X)
    every = pd.DataFrame({"sky": pd.Categorical(SKIES, categories=SKIES)})
    probability = np.exp(model.score_samples(every))
    error = 4 * model.log_normalizer_se_
    assert probability.sum() == pytest.approx(1, abs=0.005 + error)
    frequencies = X["sky"].value_counts(normalize=True)[SKIES]
    np.testing.assert_allclose(probability, frequencies, atol=0.02)


def test_the_mass_of_a_mixed_table_is_one(trained):
    every, step = every_row()
    mass = np.exp(trained.score_samples(every)).sum() * step
    error = 4 * trained.log_normalizer_se_
    assert mass == pytest.approx(1, abs=0.01 + error)
    assert error < 0.05


def test_what_categories_say_of_numbers_is_learnt(trained):
    fresh = weather(3000, random_state=1)
    sky = fresh["sky"].cat.codes.to_numpy()
    chance = 0.1 + 0.25 * sky
    truth = np.log(SHARES[sky]) + norm.logpdf(fresh["warmth"], 20 - 5 * sky, 3)
    truth += np.log(np.where(fresh["wet"], chance, 1 - chance))
    apart = np.log(SHARES[sky]) + norm.logpdf(
        fresh["warmth"], fresh["warmth"].mean(), fresh["warmth"].std()
    )
    wet = fresh["wet"].mean()
    apart += np.log(np.where(fresh["wet"], wet, 1 - wet))
    assert truth.mean() - apart.mean() > 0.4
    assert truth.mean() - 0.2 < trained.score(fresh) < truth.mean() + 0.03


def test_energy_and_score_add_up_over_cells(trained, rows):
    """log P = log Q0 - E - log Z, with Q0 the mass under the reference."""
    X = rows[:20]
    encoder = trained._fitted.encoder
    z = torch.from_numpy(encoder.encode(trained._reader.read(trained, X)))
    log_reference = encoder.log_mass(trained.reference_.log_prob)(z).numpy()
    expected = log_reference - trained.energy(X) - trained.log_normalizer_
    scale = encoder.scale[1]
    np.testing.assert_allclose(
        trained.score_samples(X), expected - np.log(scale), atol=1e-5
    )
    assert rows["warmth"].std(ddof=0) == pytest.approx(scale)


def test_scores_are_deterministic_and_independent_of_the_company(trained, rows):
    scores = trained.score_samples(rows)
    np.testing.assert_array_equal(trained.score_samples(rows), scores)
    np.testing.assert_array_equal(trained.score_samples(rows[7:8]), scores[7:8])


def test_predict_keeps_the_share_of_the_rows(trained, rows):
    assert 0.9 < (trained.predict(rows) == 1).mean() < 1


# ------------------------------------------------------------------ samples


def test_samples_follow_the_scores(trained, rows):
    drawn = trained.sample(4000, random_state=0)
    assert list(drawn.columns) == list(rows.columns)
    assert (drawn.dtypes == rows.dtypes).all()
    every, step = every_row()
    mass = np.exp(trained.score_samples(every)) * step
    for sky in SKIES:
        for wet in (False, True):
            chosen = (every["sky"] == sky) & (every["wet"] == wet)
            share = ((drawn["sky"] == sky) & (drawn["wet"] == wet)).mean()
            assert share == pytest.approx(mass[chosen].sum(), abs=0.04)


# ------------------------------------------------------------------ atoms


def rainfall(n_rows, random_state=0):
    """Three dry days in five, else skewed amounts up to a gauge's end; and a number."""
    rng = np.random.RandomState(random_state)
    dry, warmth = rng.uniform(size=n_rows) < 0.6, rng.normal(10, 5, n_rows)
    amount = np.minimum(rng.gamma(2.0, 3.0, n_rows), 6.0)
    return np.stack([np.where(dry, 0.0, amount), warmth + 10 * dry], axis=1)


@pytest.fixture(scope="module")
def rain():
    return rainfall(1500)


@pytest.fixture(scope="module")
def with_atoms(rain):
    return make(atoms="auto", network="wave_mlp", max_iter=40, reference="gmm").fit(
        rain
    )


def test_atoms_and_density_add_up_to_one(with_atoms, rain):
    """Sums over the two atoms, integrals over the rest."""
    amount, warmth = np.linspace(-4, 12, 121)[:-1] + 16 / 240, np.linspace(-15, 45, 50)
    area = (amount[1] - amount[0]) * (warmth[1] - warmth[0])
    grid = np.stack(np.meshgrid(amount, warmth), axis=-1).reshape(-1, 2)
    between = np.exp(with_atoms.score_samples(grid)).sum() * area
    masses = []
    for atom in (0.0, 6.0):
        line = np.stack([np.full(50, atom), warmth], axis=1)
        mass = np.exp(with_atoms.score_samples(line)).sum() * (warmth[1] - warmth[0])
        assert mass == pytest.approx((rain[:, 0] == atom).mean(), abs=0.03)
        masses.append(mass)
    error = 4 * with_atoms.log_normalizer_se_
    assert between + sum(masses) == pytest.approx(1, abs=0.015 + error)
    drawn = with_atoms.sample(3000, random_state=0)
    assert (drawn[:, 0] == 0).mean() == pytest.approx(masses[0], abs=0.04)


@pytest.mark.parametrize("scale", [1e-3, 40.0])
def test_masses_of_atoms_have_no_unit(scale, rain):
    """A density takes the factor of its column's units, a mass doesn't."""
    options = {"atoms": "auto", "max_iter": 2}
    expected = make(**options).fit(rain).score_samples(rain) - np.log(scale)
    is_atom = np.isin(rain[:, 0], [0, 6])
    expected[~is_atom] -= np.log(scale)
    X = rain * scale
    np.testing.assert_allclose(
        make(**options).fit(X).score_samples(X), expected, atol=2e-3
    )


def test_no_atoms_found_changes_nothing(rain):
    X = rain[:, 1:]
    np.testing.assert_array_equal(scores_of(X, atoms="auto"), scores_of(X))


def test_atoms_beside_categories(rows, rain):
    X = rows.assign(rain=rain[:, 0])
    model = make(atoms="auto", max_iter=2).fit(X)
    assert point_masses(model).columns.tolist() == [3]
    assert np.isfinite(model.score_samples(X)).all()
    drawn = model.sample(50, random_state=0)
    assert (drawn.dtypes == X.dtypes).all()
    assert (drawn["rain"] == 0).any()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))


# ------------------------------------------------------------------ kinds of tables


def scores_of(X, **options):
    return make(**options).fit(X).score_samples(X)


def test_all_ways_of_naming_categories_agree(rows):
    """As dtypes, mask, numbers, names; of words, booleans, numbers; frames, arrays."""
    expected = scores_of(rows)
    words = rows.astype({"sky": str})
    sky_order = pd.Index(np.sort(SKIES)).get_indexer(rows["sky"])
    numbers = rows.assign(sky=sky_order, wet=rows["wet"].astype(int))
    ordered = rows.assign(sky=rows["sky"].cat.reorder_categories(np.sort(SKIES)))
    expected_sorted = scores_of(ordered)
    assert not np.array_equal(expected, expected_sorted)
    np.testing.assert_array_equal(scores_of(words), expected_sorted)
    np.testing.assert_array_equal(
        scores_of(words.astype({"sky": object})), expected_sorted
    )
    for features in (
        [True, False, True],
        [0, 2],
        ["sky", "wet"],
        np.array(["wet", "sky"], dtype=object),
    ):
        scores = scores_of(numbers, categorical_features=features)
        np.testing.assert_array_equal(scores, expected_sorted)
    for features in ([0, 2], [True, False, True]):
        array = numbers.to_numpy()
        scores = scores_of(array, categorical_features=features)
        np.testing.assert_array_equal(scores, expected_sorted)
        array = words.to_numpy(dtype=object)
        scores = scores_of(array, categorical_features=features)
        np.testing.assert_array_equal(scores, expected_sorted)


def test_without_categories_nothing_changes(rows):
    X = rows[["warmth"]].assign(cold=-(rows["warmth"] ** 2))
    expected = scores_of(X)
    for features in (None, [], [False, False]):
        model = make(categorical_features=features).fit(X)
        assert model.is_categorical_ is None
        np.testing.assert_array_equal(model.score_samples(X), expected)
    assert list(model.sample(2, random_state=0).columns) == ["warmth", "cold"]


def test_integers_are_numbers_unless_named():
    X = np.random.RandomState(0).poisson(2.0, size=(400, 1))
    assert make().fit(X).is_categorical_ is None
    model = make(categorical_features=[0], max_iter=20).fit(X)
    values = np.unique(X)[:, None]
    assert np.exp(logsumexp(model.score_samples(values))) == pytest.approx(1, abs=0.03)
    drawn = model.sample(300, random_state=0)
    assert isinstance(drawn, np.ndarray)
    assert set(drawn.ravel()) <= set(values.ravel())
    assert np.isin(drawn, values).all()


def test_a_category_that_no_row_has_gets_little(rows):
    X = rows.assign(sky=rows["sky"].cat.add_categories("hail"))
    model = make().fit(X)
    hail = X[:1].assign(
        sky=pd.Categorical(["hail"], categories=X["sky"].dtype.categories)
    )
    assert np.isfinite(model.score_samples(hail))
    assert model.score_samples(hail) < model.score_samples(X).min()


def test_a_single_category_is_certain(rows):
    X = rows[["warmth"]].assign(one="always")
    alone = rows[["warmth"]]
    expected = make(max_iter=1).fit(alone).score(alone)
    assert make(max_iter=1).fit(X).score(X) == pytest.approx(expected, abs=0.05)


def test_arrays_of_words_come_back_as_such(rows):
    X = rows.astype(object).to_numpy()
    model = make(categorical_features=[0, 2]).fit(X)
    drawn = model.sample(50, random_state=0)
    assert drawn.dtype == object
    assert set(drawn[:, 0]) <= set(SKIES)
    assert set(drawn[:, 2]) <= {False, True}
    model.score_samples(drawn)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"sky": "fog"},
            ValueError,
            r"unknown categories 'fog' in column 'sky'.*list all",
        ),
        ({"warmth": np.inf}, ValueError, "contains infinity in column 'warmth'"),
        ({"warmth": "warm"}, ValueError, "must hold numbers. Got column 'warmth'"),
        ({"wet": 0.5}, ValueError, "unknown categories 0.5 in column 'wet'"),
    ],
)
def test_rows_of_another_kind_are_refused_by_name(change, error, message, trained):
    X = weather(5).assign(**change)
    with pytest.raises(error, match=message):
        trained.score_samples(X)


def test_other_columns_are_refused(trained, rows):
    with pytest.raises(ValueError, match="feature names should match"):
        trained.score_samples(rows[["wet", "sky", "warmth"]])
    with pytest.raises(ValueError, match=r"has 2 features|feature names should match"):
        trained.score_samples(rows[["sky", "warmth"]])
    with pytest.raises(ValueError, match=r"must hold numbers. Got column 'sky'"):
        make().fit(rows.assign(sky=1)).score_samples(rows)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["clouds"], r"names of columns of X. Got 'clouds' instead"),
        ([3], r"numbers from 0 to 2 or names .* Got 3 instead"),
        ([-1], "Got -1 instead"),
        ([True, False], "a mask of 3 booleans"),
        ([0.5], "Got 0.5 instead"),
        ("auto", "'categorical_features' parameter"),
    ],
)
def test_bad_categorical_features(features, message, rows):
    with pytest.raises(ValueError, match=message):
        make(categorical_features=features).fit(rows)


def test_dates_are_no_categories(rows):
    X = rows.assign(day=pd.date_range("2020", periods=len(rows)))
    with pytest.raises(ValueError, match=r"must hold numbers. Got column 'day'"):
        make().fit(X)


# ------------------------------------------------------------------ good citizens


def test_pickles_and_clones(trained, rows):
    again = pickle.loads(pickle.dumps(trained))
    np.testing.assert_array_equal(
        again.score_samples(rows), trained.score_samples(rows)
    )
    assert again.sample(3, random_state=0).equals(trained.sample(3, random_state=0))
    np.testing.assert_array_equal(
        clone(make(categorical_features=["sky"])).categorical_features, ["sky"]
    )


def test_in_a_pipeline_and_in_folds(rows):
    shift = FunctionTransformer(lambda X: X.assign(warmth=X["warmth"] + 1))
    shift.set_output(transform="pandas")
    pipeline = make_pipeline(shift, make())
    pipeline.fit(rows)
    expected = make().fit(rows).score(rows)
    assert pipeline.score(rows) == pytest.approx(expected, abs=1e-3)
    scores = cross_val_score(make(), rows, cv=3)
    assert np.isfinite(scores).all()


def test_partial_fit_and_warm_start_go_on(rows):
    model = make()
    for part in (rows[:700], rows[700:]):
        model.partial_fit(part)
    assert np.isfinite(model.score(rows))
    with pytest.raises(ValueError, match="unknown categories 'fog'"):
        model.partial_fit(rows.assign(sky="fog"))
    warm = make(warm_start=True).fit(rows)
    assert np.isfinite(warm.fit(rows).score(rows))


def test_rows_of_weight_zero_count_nowhere(rows):
    weight = np.r_[np.ones(700), np.zeros(800)]
    few = make().fit(rows[:700], sample_weight=np.ones(700))
    all_rows = make().fit(rows, sample_weight=weight)
    np.testing.assert_array_equal(all_rows.score_samples(rows), few.score_samples(rows))


@pytest.mark.parametrize("objective", ["vera", "pcd", "score_matching", "mle"])
def test_other_objectives_take_categories(objective, rows):
    model = make(objective=objective, max_iter=2).fit(rows[:300])
    assert np.isfinite(model.score(rows))
