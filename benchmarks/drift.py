"""Drift of tables: the power of `drift_test` beside other two-sample tests.

Rows of a table are drawn without replacement as the old and the new table, and the new
one is changed:

- null: not at all,
- mean of one: the mean of a column moves,
- mean of all: the means of all columns, in a random direction,
- spread: the deviation of a column grows,
- rotation: two standardised columns are rotated,
- dependence: in some rows a column's values are shuffled, its distribution stays,
- classes: the share of one class grows, which no column holds,
- category: the share of one category grows, which a column holds (the class in tables
  of numbers),
- gaps: entries of a column go missing.

The strength is halved where rows are four times as many. Changed columns are numbers of
at least 20 values, and whole numbers stay whole.

Beside it: a classifier test by a logistic regression (five folds) and by a forest
(out-of-bag), with the Mann-Whitney test of their scores, which is not exact; a test of
each column with Bonferroni's correction, by Kolmogorov-Smirnov or of a table of
categories; the maximum mean discrepancy of standardised columns with a Gaussian kernel
of the median distance, by permutations. Shares of rejections at 5 %.

``--data`` names a folder as in references.py; the data are not part of the project.

    python benchmarks/drift.py --data DATA --role choose
    python benchmarks/drift.py --data DATA --role confirm
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from _adult_frame import load_frame
from _report import earlier_rows, parser, save
from scipy.spatial.distance import cdist
from scipy.stats import chi2_contingency, ks_2samp, mannwhitneyu
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skebm.evaluation import drift_test

ROLES = {
    "choose": (
        "keel/phoneme",
        "keel/magic",
        "keel/segment",
        "keel/vehicle",
        "adult",
    ),
    "confirm": (
        "keel/banana",
        "keel/texture",
        "keel/spambase",
        "uci/satimage",
        "adbench/28_pendigits",
        "adbench/2_annthyroid",
        "higgs_lgbm",
    ),
}
STRENGTH = {
    "null": 0.0,
    "mean of one": 0.15,
    "mean of all": 0.15,
    "spread": 0.2,
    "rotation": 0.2,
    "dependence": 0.7,
    "classes": 0.35,
    "category": 0.35,
    "gaps": 0.05,
}
N_PERMUTATIONS = 199
LEVEL = 0.05
MIN_VALUES = 20


def load(folder, name):
    """Return a table as a frame, and its classes."""
    if name == "adult":
        return load_frame(folder)
    with np.load(folder / f"{name}.npz") as arrays:
        parts = ("",) if "X" in arrays else ("_train", "_test")
        X = np.concatenate([arrays[f"X{part}"] for part in parts]).astype(float)
        y = np.concatenate([arrays[f"y{part}"] for part in parts])
    X = X[:, np.ptp(X, axis=0) > 0]
    return pd.DataFrame(X).rename(columns=str), y


def numbers_of(X):
    """Return the names of the columns of numbers with many values."""
    return [
        name
        for name in X
        if pd.api.types.is_numeric_dtype(X[name]) and X[name].nunique() >= MIN_VALUES
    ]


def resampled(X, labels, n, strength, rng):
    """Return two tables, in the second of which one label is more frequent."""
    order = rng.permutation(len(X))
    old, rest = order[:n], order[n:]
    values, counts = np.unique(labels[rest], return_counts=True)
    hit = labels[rest] == rng.choice(values, p=counts / counts.sum())
    share = hit.mean()
    more = min(share + strength * np.sqrt(share * (1 - share)), 0.98)
    k = min(rng.binomial(n, more), hit.sum())
    k = max(k, n - (~hit).sum())
    return X.iloc[old], X.iloc[np.r_[rest[hit][:k], rest[~hit][: n - k]]]


def changed(X, kind, strength, rng):
    """Return a changed copy of a table."""
    X, names = X.copy(), numbers_of(X)
    whole = [name for name in names if (X[name] == X[name].round()).all()]
    X[names] = X[names].astype(float)
    spread = X[names].std().to_numpy()
    one, other = rng.choice(names, 2, replace=False)
    if kind == "mean of one":
        X[one] += strength * X[one].std()
    elif kind == "mean of all":
        direction = rng.normal(size=len(names))
        X[names] += strength * spread * direction / np.linalg.norm(direction)
    elif kind == "spread":
        X[one] += strength * (X[one] - X[one].mean())
    elif kind == "rotation":
        pair = X[[one, other]]
        z = ((pair - pair.mean()) / pair.std()).to_numpy()
        c, s = np.cos(strength), np.sin(strength)
        turned = z @ np.array([[c, s], [-s, c]])
        X[[one, other]] = pair.mean().to_numpy() + pair.std().to_numpy() * turned
    elif kind == "dependence":
        rows = np.flatnonzero(rng.uniform(size=len(X)) < strength)
        X.iloc[rows, X.columns.get_loc(one)] = X[one].to_numpy()[rng.permutation(rows)]
    elif kind == "gaps":
        X.loc[rng.uniform(size=len(X)) < strength, one] = np.nan
    X[whole] = X[whole].round()
    return X


def draw(X, y, kind, n, strength, rng):
    """Return an old and a new table."""
    if kind == "classes":
        return resampled(X, y, n, strength, rng)
    if kind == "category":
        words = [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]
        if not words:
            X, words = X.assign(label=[f"class {k}" for k in y]), ["label"]
        labels = X[rng.choice(words)].to_numpy()
        return resampled(X, labels, n, strength, rng)
    order = rng.permutation(len(X))
    old, new = X.iloc[order[:n]], X.iloc[order[n : 2 * n]].reset_index(drop=True)
    return old, changed(new, kind, strength, rng)


def pooled(old, new):
    """Return both tables as numbers, standardised, with indicators of words."""
    both = pd.get_dummies(pd.concat([old, new], ignore_index=True)).astype(float)
    gaps = both.isna()
    both = both.fillna(both.mean())
    for name in both.columns[gaps.any()]:
        both[f"{name} missing"] = gaps[name].astype(float)
    z = StandardScaler().fit_transform(both)
    return z, np.repeat([0, 1], [len(old), len(new)])


def ours(old, new, seed):
    options = {"n_permutations": N_PERMUTATIONS, "n_splits": 0}
    return drift_test(old, new, random_state=seed, **options).p_value


def by_scores(scores, y):
    return mannwhitneyu(scores[y == 1], scores[y == 0], alternative="greater").pvalue


def logistic(old, new, seed):
    z, y = pooled(old, new)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    given = {"cv": folds, "method": "decision_function"}
    return by_scores(cross_val_predict(model, z, y, **given), y)


def forest(old, new, seed):
    z, y = pooled(old, new)
    model = RandomForestClassifier(
        100, min_samples_leaf=3, oob_score=True, random_state=seed
    )
    return by_scores(model.fit(z, y).oob_decision_function_[:, 1], y)


def by_columns(old, new, seed):
    del seed
    least = 1.0
    for name in old:
        if pd.api.types.is_numeric_dtype(old[name]):
            p = ks_2samp(old[name].dropna(), new[name].dropna()).pvalue
        else:
            label = np.repeat([0, 1], [len(old), len(new)])
            values = pd.concat([old[name], new[name]]).to_numpy()
            counts = pd.crosstab(values, label)
            p = chi2_contingency(counts).pvalue if len(counts) > 1 else 1.0
        least = min(least, p)
    return min(1.0, least * old.shape[1])


def discrepancy(old, new, seed):
    z, y = pooled(old, new)
    rng = np.random.RandomState(seed)
    squared = cdist(z, z, "sqeuclidean")
    kernel = np.exp(-squared / np.median(squared)).astype(np.float32)
    own = np.where(y == 1, 1 / len(new), -1 / len(old))
    signs = np.stack([own, *(rng.permutation(own) for _ in range(N_PERMUTATIONS))])
    signs = signs.astype(np.float32)
    values = ((signs @ kernel) * signs).sum(axis=1)
    return float(np.mean(values >= values[0]))


METHODS = {
    "drift_test": ours,
    "logistic regression": logistic,
    "forest": forest,
    "columns, Bonferroni": by_columns,
    "MMD": discrepancy,
}


def measure(X, y, kind, n, n_draws, methods):
    """Return the share of rejections of each method."""
    strength = STRENGTH[kind] * np.sqrt(200 / n)
    rejected = dict.fromkeys(methods, 0)
    for seed in range(n_draws):
        rng = np.random.RandomState(seed)
        old, new = draw(X, y, kind, n, strength, rng)
        for method in methods:
            p_value = METHODS[method](old, new, seed)
            rejected[method] += int(p_value <= LEVEL)
    return {method: count / n_draws for method, count in rejected.items()}


def main():
    options = parser(__doc__)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--role", default="confirm", choices=ROLES)
    options.add_argument("--tables", nargs="+")
    options.add_argument("--kinds", nargs="+", default=[*STRENGTH][1:])
    options.add_argument("--rows", nargs="+", type=int, default=[200, 1000])
    options.add_argument("--draws", type=int, default=20)
    options.add_argument("--methods", nargs="+", default=[*METHODS])
    arguments = options.parse_args()
    if arguments.data is None:
        print("drift.py: no --data, nothing measured")
        return
    warnings.simplefilter("ignore")
    rows = []
    for table in arguments.tables or ROLES[arguments.role]:
        X, y = load(arguments.data, table)
        for n in arguments.rows:
            if len(X) < 2.5 * n:
                continue
            for kind in arguments.kinds:
                shares = measure(X, y, kind, n, arguments.draws, arguments.methods)
                about = {"table": table, "n": n, "kind": kind}
                about |= {"draws": arguments.draws, "role": arguments.role}
                rows += [
                    about | {"method": method, "rejected": share}
                    for method, share in shares.items()
                ]
                print(about, shares, flush=True)
        known = earlier_rows("drift", rows, ("table", "n", "kind", "method"))
        save("drift", known + rows, permutations=N_PERMUTATIONS, strengths=STRENGTH)


if __name__ == "__main__":
    main()
