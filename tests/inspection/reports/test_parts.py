"""The figures of a report, against closed forms and other libraries."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, multivariate_normal, spearmanr
from scipy.stats.contingency import association

from skebm.evaluation.fidelity._copies import copying
from skebm.evaluation.fidelity._table import ShownTable
from skebm.evaluation.fidelity._utility import global_utility
from skebm.inspection.reports._columns import column_findings
from skebm.inspection.reports._findings import findings
from skebm.inspection.reports._fit_of_draws import (
    associations,
    marginal_distances,
    pair_distances,
)
from skebm.inspection.reports._peers import peer_log_likelihoods


def messy(n=300, seed=0):
    """A frame of every kind of trouble."""
    rng = np.random.RandomState(seed)
    city = rng.choice(["Oslo", "Rome", "Bern"], n)
    frame = pd.DataFrame(
        {
            "flow": rng.gamma(2, size=n),
            "unit": 5.0,
            "pressure": rng.normal(10, 1, n),
            "rain": np.where(rng.uniform(size=n) < 0.4, 0.0, rng.gamma(2, size=n)),
            "city": city,
            "code": pd.Series(city).map({"Oslo": 47.0, "Rome": 39.0, "Bern": 41.0}),
            "age": rng.randint(18, 90, n),
        }
    )
    frame["liters"] = 60 * frame["flow"]
    frame.loc[::20, "pressure"] = -9999.0
    frame.loc[::10, "flow"] = np.nan
    return frame


def test_what_is_particular_about_columns_is_found():
    found = column_findings(ShownTable.of(messy()))
    assert found["unit"]["constant"] and not found["flow"]["constant"]
    assert found["flow"]["missing"] == 0.1
    assert found["pressure"]["sentinels"] == {-9999.0: pytest.approx(0.05)}
    assert list(found["rain"]["atoms"]) == [0.0]
    assert 0.3 < found["rain"]["atoms"][0.0] < 0.5
    assert found["age"]["tied"] > 0.9 and found["liters"]["tied"] == 0.0
    assert found["city"]["kind"] == "category" and found["city"]["tied"] is None
    assert found["liters"]["depends_on"] == ["flow"]
    assert found["city"]["depends_on"] == ["code"]
    assert found["age"]["depends_on"] == [] and found["age"]["n_values"] < 73


def test_distances_of_columns_are_those_of_scipy():
    rows, draws = messy(seed=1), messy(seed=2)
    tables = [ShownTable.of(frame) for frame in (rows, draws, rows)]
    found = marginal_distances(*tables)
    statistic = ks_2samp(rows["liters"], draws["liters"]).statistic
    assert found["liters"] == {"draws": pytest.approx(statistic), "rows": 0.0}
    shares = [frame["city"].value_counts(normalize=True) for frame in (rows, draws)]
    expected = (shares[0] - shares[1]).abs().sum() / 2
    assert found["city"]["draws"] == pytest.approx(expected)


def test_associations_are_those_of_scipy():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"x": rng.normal(size=200)})
    frame["y"] = frame["x"] ** 3 + rng.normal(size=200)
    frame["kind"] = np.where(frame["x"] + rng.normal(size=200) > 0, "a", "b")
    frame["sort"] = np.where(rng.uniform(size=200) < 0.7, frame["kind"], "c")
    found = associations(ShownTable.of(frame))
    assert found[0, 1] == pytest.approx(spearmanr(frame["x"], frame["y"]).statistic)
    counts = pd.crosstab(frame["kind"], frame["sort"]).to_numpy()
    assert found[2, 3] == pytest.approx(association(counts, "cramer"))
    ranks, indicator = frame["x"].rank(), frame["kind"] == "a"
    assert found[0, 2] == pytest.approx(abs(np.corrcoef(ranks, indicator)[0, 1]))


def test_the_pair_that_fits_least_is_named():
    rng = np.random.RandomState(0)
    rows = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"])
    rows["c"] = rows["a"]
    draws = rows.assign(c=rng.normal(size=200))
    found = pair_distances(*map(ShownTable.of, (rows, draws, rows)))
    assert found["rows"] == 0 and found["worst"]["columns"] == ["a", "c"]
    assert found["worst"]["rows"] == 1 and abs(found["worst"]["draws"]) < 0.2
    one = ShownTable.of(rows[["a"]])
    assert pair_distances(one, one, one)["worst"] is None


def test_a_column_that_draws_make_constant_depends_on_nothing():
    """Left out, the worst draws would have the best figures."""
    x = np.random.RandomState(0).normal(size=50)
    rows = pd.DataFrame({"a": x, "b": x})
    tables = map(ShownTable.of, (rows, rows.assign(b=0.0), rows))
    found = pair_distances(*tables)
    assert found["draws"] == pytest.approx(1) and found["rows"] == 0
    assert found["worst"] == {
        "columns": ["a", "b"],
        "rows": pytest.approx(1),
        "draws": 0.0,
    }


def test_draws_that_teach_nothing_count_as_nothing():
    kind = np.array(["up", "down"] * 30)
    rows = pd.DataFrame({"x": np.where(kind == "up", 1.0, -1.0), "kind": kind})
    mirrored = rows.assign(x=-rows["x"])  # from which all is learnt the wrong way round
    found = global_utility(*map(ShownTable.of, (rows, rows, mirrored)), 0)
    assert found["columns"]["kind"] == 0


def test_one_gaussian_has_the_density_of_scipy():
    rng = np.random.RandomState(0)
    mixing = np.array([[30.0, 0.05], [0.0, 0.1]])
    train, test = (rng.normal(size=(n, 2)) @ mixing for n in (400, 200))
    found = peer_log_likelihoods(train, test, 0)
    exact = multivariate_normal(train.mean(0), np.cov(train.T, bias=True))
    assert found["gaussian"] == pytest.approx(exact.logpdf(test).mean(), abs=0.01)
    assert found["gaussian_mixture"] == pytest.approx(found["gaussian"], abs=0.05)
    assert found["gaussian"] - 0.5 < found["kernel_density"] < found["gaussian"]


def test_copies_are_told_from_new_draws():
    frames = [messy(200, seed=s) for s in range(3)]
    train, test, fresh = map(ShownTable.of, frames)
    copies = copying(train, test, train, 0)
    assert copies["nearer"] > 0.95 and copies["exact_draws"] == 1.0
    assert copies["draws"] == 0 < copies["rows"]
    new = copying(train, test, fresh, 0)
    assert 0.4 < new["nearer"] < 0.6 and new["exact_draws"] == 0


def test_draws_teach_as_much_as_rows_or_less():
    rng = np.random.RandomState(0)

    def rows(n):
        frame = pd.DataFrame({"x": rng.normal(size=n)})
        frame["y"] = 2 * frame["x"] + 0.1 * rng.normal(size=n)
        frame["kind"] = np.where(frame["x"] > 0, "up", "down")
        return frame.assign(unit=1.0)

    train, test = ShownTable.of(rows(150)), ShownTable.of(rows(100))
    same = global_utility(train, test, train, 0)
    assert same["mean"] == 1 and same["columns"]["unit"] is None
    shuffled = train.frame.apply(lambda column: rng.permutation(column))
    noise = global_utility(train, test, ShownTable.of(shuffled), 0)
    assert noise["columns"]["y"] < 0.5 and noise["columns"]["kind"] < 0.75


VALUES = {
    "model": {
        "best_epoch": 3,
        "n_epochs": 9,
        "n_rollbacks": 0,
        "sentinels": "warn",
        "atoms": None,
    },
    "log_normalizer": None,
    "mass": None,
    "log_likelihood": {
        "model": -1.0,
        "gaussian": -2.0,
        "gaussian_mixture": None,
        "kernel_density": None,
    },
    "two_sample_auc": 0.5,
    "copying": {"nearer": 0.5},
    "global_utility": {"mean": 1.0},
    "columns": {},
}


@pytest.mark.parametrize(
    ("section", "figures", "sentence"),
    [
        ("model", {"best_epoch": 0}, "The bare reference is the model: none of 9"),
        ("model", {"n_rollbacks": 2}, "diverged 2 times"),
        ("log_likelihood", {"gaussian": -0.5}, "one Gaussian has -0.500 nats, more"),
        ("copying", {"nearer": 0.9}, "in 90% of comparisons"),
        ("global_utility", {"mean": 0.4}, "worth 0.40"),
    ],
)
def test_what_is_amiss_is_said(section, figures, sentence):
    assert findings(VALUES) == []
    (found,) = findings(VALUES | {section: VALUES[section] | figures})
    assert sentence in found


def test_more_that_is_amiss_is_said():
    mass = {"mass": 1.5, "standard_error": 0.01}
    log_z = {"trusted": False, "reason": "it is far"}
    amiss = {"mass": mass, "log_normalizer": log_z, "two_sample_auc": 0.9}
    text = " ".join(findings(VALUES | amiss))
    assert "integrates to 1.500" in text and "AUC 0.90" in text
    assert "log Z can't be trusted: it is far." in text
    columns = column_findings(ShownTable.of(messy()))
    text = " ".join(findings(VALUES | {"columns": columns}))
    assert "Constant: unit." in text and "liters follows from flow." in text
    assert "pressure repeats -9999 (5.0%)" in text and "rain has 0 (" in text
    known = VALUES["model"] | {"sentinels": "missing", "atoms": "auto"}
    text = " ".join(findings(VALUES | {"columns": columns, "model": known}))
    assert "pressure" not in text and "rain" not in text
