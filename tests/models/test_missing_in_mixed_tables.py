"""Categories, atoms and missing entries in one table: sums and integrals of p."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp

from skebm import EBMDensityEstimator
from skebm.evaluation import IncompleteRow
from skebm.evaluation.conditionals._mixed import DiscreteContinuousMixture
from skebm.models._conditioning import conditionals
from skebm.networks import MLP
from skebm.references import UniformBox
from skebm.tables._point_masses import PointMasses, find_atoms

SMALL = partial(MLP, hidden_features=(32, 32))
SKIES = np.array(["sun", "cloud", "rain"])
SHARES = np.array([0.5, 0.3, 0.2])
AMOUNTS = np.linspace(-3, 9, 121)


def make(**options):
    defaults = {
        "network": SMALL,
        "reference": "gaussian",
        "atoms": "auto",
        "ood_score": "log_density",
        "max_iter": 10,
        "random_state": 0,
    }
    return EBMDensityEstimator(**(defaults | options))


def weather(n_rows, seed=0):
    """A category, on which depend an amount, often nothing, and a temperature."""
    rng = np.random.default_rng(seed)
    sky = rng.choice(3, size=n_rows, p=SHARES)
    dry = rng.uniform(size=n_rows) < np.array([0.8, 0.4, 0.1])[sky]
    return pd.DataFrame(
        {
            "sky": pd.Categorical(SKIES[sky], categories=SKIES),
            "amount": np.where(dry, 0.0, rng.normal(3 + sky, 1, n_rows)),
            "warmth": rng.normal(20 - 5 * sky, 3),
        }
    )


def with_gaps(X, seed=9):
    """Return rows of which two thirds miss an entry where the day was warm."""
    place = np.random.default_rng(seed).choice(3, size=len(X))
    warm, X = X["warmth"] > 16, X.copy()
    X.loc[warm & (place == 0), "sky"] = np.nan
    X.loc[warm & (place == 1), "amount"] = np.nan
    return X


@pytest.fixture(scope="module")
def rows():
    return weather(1500)


@pytest.fixture(scope="module")
def fitted(rows):
    return make(reference="gmm").fit(rows)


def point_masses(model):
    """Return the kind of the columns with atoms."""
    kinds = model._fitted.encoder.kinds
    return next(kind for kind in kinds if isinstance(kind, PointMasses))


def skies(row):
    """Return the row under each sky."""
    X = pd.concat([row] * 3, ignore_index=True)
    return X.assign(sky=pd.Categorical(SKIES, categories=SKIES))


def amounts(row, grid=AMOUNTS):
    """Return the row with an amount of nothing, then on a grid, and their weights."""
    X = pd.concat([row] * (1 + len(grid)), ignore_index=True)
    X["amount"] = np.r_[0.0, grid + 1e-3]  # the grid goes past the atom
    return X, np.log(np.r_[1.0, np.full(len(grid), grid[1] - grid[0])])


def exact_marginal(model, row):
    """Sum p over what the row lacks."""
    rows = [skies(row)] if row["sky"].isna().any() else [row]
    rows = pd.concat(rows, ignore_index=True)
    if not row["amount"].isna().any():
        return logsumexp(model.score_samples(rows))
    terms = []
    for i in range(len(rows)):
        X, log_weight = amounts(rows.iloc[[i]])
        terms.append(logsumexp(model.score_samples(X) + log_weight))
    return logsumexp(terms)


# ------------------------------------------------------------------ marginals


@pytest.mark.parametrize("missing", [["sky"], ["amount"], ["sky", "amount"]])
def test_marginals_are_sums_over_what_a_row_may_be(missing, fitted):
    X = weather(5, seed=1)
    X[missing] = np.nan
    expected = [exact_marginal(fitted, X.iloc[[i]]) for i in range(len(X))]
    found = fitted.score_samples(X)
    np.testing.assert_allclose(found, expected, atol=0.2)  # four standard errors
    assert abs(np.mean(found - expected)) < 0.06
    np.testing.assert_array_equal(fitted.score_samples(X), found)


def test_probabilities_of_a_category_alone_add_up_to_one(fitted, rows):
    X = skies(rows.iloc[[0]])
    X[["amount", "warmth"]] = np.nan
    probability = np.exp(fitted.score_samples(X))
    np.testing.assert_allclose(probability, SHARES, atol=0.04)
    assert probability.sum() == pytest.approx(1, abs=0.05)


def test_by_annealing_where_draws_do_not_suffice(fitted, monkeypatch):
    monkeypatch.setattr(IncompleteRow, "_importance_draws", lambda *_: None)
    X = weather(4, seed=2)
    X["amount"] = np.nan
    expected = [exact_marginal(fitted, X.iloc[[i]]) for i in range(len(X))]
    np.testing.assert_allclose(fitted.score_samples(X), expected, atol=0.2)
    row = X.iloc[[0]].assign(sky=None)
    drawn = fitted.sample(3000, random_state=0, given=row)
    posterior = skies(row)
    log_mass = [exact_marginal(fitted, posterior.iloc[[k]]) for k in range(3)]
    share = drawn["sky"].value_counts(normalize=True)[SKIES]
    np.testing.assert_allclose(share, np.exp(log_mass - logsumexp(log_mass)), atol=0.05)


def test_rows_with_gaps_are_seldom_outliers(fitted):
    X = with_gaps(weather(80, seed=6))
    assert (fitted.predict(X[X.isna().any(axis=1)]) == 1).mean() > 0.85


# ------------------------------------------------------------------ conditionals


def test_draws_given_the_rest_follow_the_scores(fitted, rows):
    row = rows.iloc[[3]].assign(sky=None)
    log_mass = fitted.score_samples(skies(row))
    drawn = fitted.sample(4000, random_state=0, given=row)
    assert (drawn["amount"] == row["amount"].item()).all()
    assert (drawn["warmth"] == row["warmth"].item()).all()
    share = drawn["sky"].value_counts(normalize=True)[SKIES]
    np.testing.assert_allclose(share, np.exp(log_mass - logsumexp(log_mass)), atol=0.04)


def test_imputed_categories_are_the_most_likely_amounts_the_mean(fitted):
    X = weather(15, seed=3)
    unknown = X.assign(sky=pd.Series(dtype=X.dtypes["sky"]))
    log_mass = [fitted.score_samples(skies(X.iloc[[i]])) for i in range(len(X))]
    order = np.sort(log_mass, axis=1)
    clear = order[:, 2] - order[:, 1] > 0.3
    filled = fitted.impute(unknown)
    assert (filled["sky"] == SKIES[np.argmax(log_mass, axis=1)])[clear].all()
    assert clear.sum() > 7
    assert filled.dtypes["sky"] == X.dtypes["sky"]
    pd.testing.assert_frame_equal(filled.drop(columns="sky"), X.drop(columns="sky"))

    filled = fitted.impute(X.assign(amount=np.nan))
    for i in range(5):
        points, log_weight = amounts(X.iloc[[i]])
        mass = np.exp(fitted.score_samples(points) + log_weight)
        mean = mass @ points["amount"] / mass.sum()
        assert filled["amount"][i] == pytest.approx(mean, abs=0.3)


def test_imputed_draws_keep_the_atom(fitted):
    X = weather(60, seed=4)
    drawn = fitted.impute(X.assign(amount=np.nan), strategy="draw", random_state=0)
    share, expected = (drawn["amount"] == 0).mean(), (X["amount"] == 0).mean()
    assert share == pytest.approx(expected, abs=0.2)
    medians = fitted.impute(X.assign(amount=np.nan), strategy="median")["amount"]
    assert (medians[X["sky"] == "sun"] == 0).mean() > 0.9


# ------------------------------------------------------------------ fits


def test_what_is_missing_at_random_does_not_bias_the_fit(rows):
    fresh, gappy = weather(2000, seed=5), with_gaps(rows)
    filled = gappy.fillna({"sky": "sun", "amount": gappy["amount"].mean()})
    learnt, *worse, best = (
        make(reference="gmm").fit(X).score(fresh)
        for X in (gappy, gappy.dropna(), filled, rows)
    )
    assert learnt > max(worse) + 0.05
    assert learnt > best - 0.06


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "vera"},
        {"reference": None},
        {"reference": "copula", "atoms": None},
    ],
)
def test_other_options_take_mixed_tables_with_gaps(options):
    X = with_gaps(weather(60))
    model = make(max_iter=2, normalizer="importance", **options).fit(X)
    some = X[X.isna().any(axis=1)].head(5)
    assert np.isfinite(model.score_samples(some)).all()
    assert not model.impute(some).isna().any(axis=None)


def test_atoms_without_categories_take_gaps():
    X = with_gaps(weather(150))[["amount", "warmth"]].to_numpy()
    model = make(reference="gmm", max_iter=2, normalizer="importance").fit(X)
    assert point_masses(model).columns.tolist() == [0]
    filled = model.impute(X, strategy="draw", random_state=0)
    was_missing = np.isnan(X[:, 0])
    assert 0.5 < (filled[was_missing, 0] == 0).mean() < 0.95
    assert np.isfinite(model.score_samples(X[was_missing])).all()


def test_pickles_warm_starts_and_passes_go_on():
    X = with_gaps(weather(300))
    model = make(max_iter=2, normalizer="importance", warm_start=True).fit(X)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        again.score_samples(X[:9]), model.score_samples(X[:9])
    )
    assert np.isfinite(model.fit(X).partial_fit(X).score_samples(X[:9])).all()


def test_missing_marks_of_pandas_are_read():
    """None among words, NA among nullable numbers and booleans."""
    X = with_gaps(weather(200)).astype({"amount": "Float64"})
    X = X.assign(sky=X["sky"].astype(str).where(X["sky"].notna(), None))
    X["dry"] = (weather(200)["amount"] == 0).astype("boolean")
    X.loc[:20, "dry"] = pd.NA
    model = make(max_iter=2, normalizer="importance", atoms=None).fit(X)
    assert model.is_categorical_.tolist() == [True, False, False, True]
    filled = model.impute(X.head(30))
    assert not filled.isna().any(axis=None)
    assert set(filled["dry"]) <= {True, False}


def test_missing_marks_among_objects_are_read():
    """NA among numbers, None among booleans, NaN among the words of a list."""
    X = weather(80)[["amount", "warmth"]].astype(object)
    X.loc[3, "amount"] = pd.NA
    array = make(max_iter=1, normalizer=None, atoms=None).fit(X.to_numpy())
    assert np.isfinite(array.score_samples(X.to_numpy())).all()
    model = make(max_iter=1, normalizer=None, atoms=None).fit(X)
    assert model.is_categorical_ is None
    X["dry"] = (X["amount"] == 0).astype(object).mask(X.index < 5, None)
    model = make(max_iter=1, normalizer=None, atoms=None).fit(X)
    assert model.is_categorical_.tolist() == [False, False, True]
    words = [["a" if i % 2 else "b", float(i)] for i in range(60)]
    words[3][0] = np.nan
    options = {"max_iter": 1, "normalizer": None, "atoms": None}
    filled = make(categorical_features=[0], **options).fit(words).impute(words)
    assert set(filled[:, 0]) == {"a", "b"}


def test_weights_count_where_entries_are_missing():
    """A row of weight two is two rows, to cells and atoms and moments."""
    X = with_gaps(weather(200))
    weight = 1 + np.arange(200) % 2
    fits = [
        make(max_iter=1, normalizer=None).fit(X, sample_weight=weight),
        make(max_iter=1, normalizer=None).fit(X.loc[X.index.repeat(weight)]),
    ]
    for fit in fits:
        assert point_masses(fit).columns.tolist() == [1]
    one, other = (fit._fitted.encoder for fit in fits)
    np.testing.assert_allclose(one.location, other.location)
    np.testing.assert_allclose(one.scale, other.scale)
    np.testing.assert_allclose(one.cells._start, other.cells._start, atol=1e-6)


def test_where_the_reference_is_zero_so_is_the_model():
    model = make(max_iter=1, reference=None, normalizer="importance").fit(weather(200))
    row = weather(1).assign(amount=np.nan, warmth=500.0)
    assert model.score_samples(row).tolist() == [-np.inf]
    assert np.isfinite(model.impute(row)["amount"]).all()


def test_rows_that_differ_in_a_category_have_different_draws(fitted):
    X = skies(weather(1)).assign(amount=np.nan)
    table = fitted._reader.read(fitted, X, allow_nan=True)
    rows = conditionals(fitted._fitted, fitted._fitted.encoder.encode(table))
    assert len({row.seed for row in rows}) == 3


def test_atoms_are_read_in_double_precision():
    X = weather(300)[["amount", "warmth"]].to_numpy()
    X = np.add(X, [0.1, 0.0])  # the atom is no longer a round number
    model = make(max_iter=1, normalizer="importance").fit(X)
    holes = X[:20].astype(np.float32)
    holes[:, 0] = np.nan
    drawn = model.impute(holes, strategy="draw", random_state=0)
    assert set(drawn[:, 0]) & set(point_masses(model).atoms[0])


def test_columns_of_nothing():
    X = weather(50)
    with pytest.raises(ValueError, match="NaN only in column 'amount'"):
        make().fit(X.assign(amount=np.nan))
    with pytest.raises(ValueError, match="NaN only in column 'sky'"):
        make().fit(X.assign(sky=pd.Categorical([None] * 50, categories=SKIES)))


def test_the_energy_without_a_category_is_between_those_with_one(fitted):
    X = weather(5, seed=8)
    with_one = [fitted.energy(skies(X.iloc[[i]])) for i in range(len(X))]
    without = fitted.energy(X.assign(sky=None))
    assert (without > np.min(with_one, axis=1) - 1e-6).all()
    assert (without < np.max(with_one, axis=1) + 1e-6).all()


def test_atoms_are_shares_of_what_is_observed():
    x = np.r_[np.zeros(30), np.linspace(1, 2, 70), np.full(400, np.nan)]
    assert find_atoms(x).tolist() == [0.0]
    assert find_atoms(x, np.ones(500)).tolist() == [0.0]


# ------------------------------------------------------------------ nodes


def test_steps_at_nodes_are_reversible():
    """They keep the law, and a pair of rows is as likely the other way round."""
    generator = torch.Generator().manual_seed(0)
    boxes = [UniformBox(torch.zeros(1) - k, torch.ones(1) + k) for k in range(2)]
    nodes, shares = torch.tensor([[0.0, 1.0], [0.5, -1.0]]), torch.tensor([0.3, 0.7])
    start = DiscreteContinuousMixture(
        torch.tensor([True, False, True]), nodes, shares, boxes
    )
    x = start.sample(20_000, generator)
    at_first = (x[:, [0, 2]] == nodes[0]).all(dim=1)
    assert (x[~at_first][:, [0, 2]] == nodes[1]).all()
    assert at_first.float().mean().item() == pytest.approx(0.3, abs=0.02)
    expected = np.log(np.where(at_first, 0.3, 0.7 / 3))
    np.testing.assert_allclose(start.log_prob(x), expected, rtol=1e-5)
    y = start.transition(x, torch.full((20_000,), 0.3), generator)
    assert torch.equal(x[:, [0, 2]], y[:, [0, 2]]) and (x[:, 1] != y[:, 1]).all()
    assert stats.ks_2samp(x[:, 1], y[:, 1]).pvalue > 1e-3
    gap = x[:, 1].square() * y[:, 1] - y[:, 1].square() * x[:, 1]
    assert abs(gap.mean()) < 4 * gap.std() / len(x) ** 0.5
    assert 0.3 < np.corrcoef(x[:, 1], y[:, 1])[0, 1] < 0.97


@pytest.mark.parametrize("warmth", [60.0, 1e3, 1e6])
def test_outliers_with_gaps_are_scored_as_others(warmth, fitted, monkeypatch):
    """By a few draws: nothing is annealed."""
    monkeypatch.delattr(
        "skebm.evaluation.conditionals._incomplete.AnnealedImportanceSampling"
    )
    row = weather(1).assign(warmth=warmth, amount=np.nan)
    score = fitted.score_samples(row)[0]
    assert -np.inf < score < -20
    assert fitted.predict(row) == [-1]
    if warmth == 60:
        points, log_weight = amounts(row, np.linspace(-60, 60, 601))
        expected = logsumexp(fitted.score_samples(points) + log_weight)
        assert score == pytest.approx(expected, abs=0.2)
