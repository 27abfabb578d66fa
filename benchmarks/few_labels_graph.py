"""Labels by a graph alone: methods, features, trust by stability, nearest rows.

Accuracy on the unlabelled rows, with as many labels of each class and with the class
shares of these labels. ``--parts`` chooses what is measured:

- methods: digits, odd or even seeds; harmonic labels, the same scaled to the class
  shares, Poisson learning with the class shares, PoissonMBO;
- stability: tables of at most 1200 rows; the graph, a linear model and extra trees,
  their means, and the stability of the graph's labels;
- outliers: the same as AUC on tasks cut from outlier tables, one label a class;
- mnist: all 60 000 rows against 5000, columns and first components;
- neighbors: recall and seconds of the search for nearest rows.

    python benchmarks/few_labels_graph.py --data DATA --parts methods stability
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _few_labels_tables import load, make_task, outlier_tables
from _report import earlier_rows, parser, report
from digits_few_labels import hide_labels
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from skebm.semi_supervised.graph._graph import Edges, build, principal_features
from skebm.semi_supervised.graph._neighbors import find_nearest
from skebm.semi_supervised.graph._propagation import (
    match_priors,
    propagate_labels,
    solve,
)
from skebm.semi_supervised.graph._stability import measure_stability

NAME = "few_labels_graph"
PARTS = ("methods", "stability", "outliers", "mnist", "neighbors")
TABLES = (
    "sklearn/digits",
    "usps",
    "mnist",
    "fashion_mnist",
    "keel/segment",
    "keel/texture",
    "keel/vehicle",
    "keel/phoneme",
    "keel/magic",
    "keel/spambase",
    "uci/satimage",
    "uci/letter",
    "ssl_book/digit1",
    "ssl_book/coil2",
    "ssl_book/g241c",
    "adult",
)
MAX_ROWS = 1200
MEANS = (0.25, 0.5, 0.75)


def scaled(X):
    """Return columns over the larger of their deviation and half their range."""
    scale = np.maximum(X.std(axis=0), np.ptp(X, axis=0) / 2)
    return ((X - X.mean(axis=0)) / np.where(scale > 0, scale, 1)).astype(np.float32)


def poisson(affinities, y, n_classes):
    """Return the potentials of Poisson learning, their source, and the degrees."""
    degree = np.asarray(affinities.sum(axis=1)).ravel()
    one_hot = np.eye(n_classes)[y[y >= 0]]
    source = np.zeros((len(y), n_classes))
    source[y >= 0] = one_hot - one_hot.mean(axis=0)
    # The constant vector, which the equations leave open, is taken out afterwards.
    diagonal = degree * (1 + 1e-9) + 1e-8 * degree.mean()
    potential = solve(sparse.diags_array(diagonal) - affinities, source)
    return potential - degree @ potential / degree.sum(), source, degree


def with_shares(potential, shares, n_steps=300):
    """Return one-hot labels by shifted potentials, of nearly the given shares."""
    scale, target = np.std(potential) + 1e-12, shares * len(potential)
    shift, best, least = np.zeros(len(shares)), None, np.inf
    for step in range(n_steps):
        found = (potential + shift).argmax(axis=1)
        counts = np.bincount(found, minlength=len(shares))
        wrong = np.abs(counts - target).sum()
        if wrong < least:
            best, least = found, wrong
        if wrong < len(shares):
            break
        shift += 0.1 * scale * (target - counts) / target / (1 + step / 50)
    return np.eye(len(shares))[best]


def poisson_mbo(affinities, y, shares, n_outer=20, n_inner=40):
    """Return one-hot labels by heat steps from the labels, and thresholds, by turns."""
    potential, source, degree = poisson(affinities, y, len(shares))
    laplacian = sparse.diags_array(degree) - affinities
    soft = with_shares(potential, shares)
    for _ in range(n_outer):
        for _ in range(n_inner):
            soft = soft + (source - laplacian @ soft) / degree.max()
        soft = with_shares(soft, shares)
    return soft


def label_methods(affinities, y, shares):
    """Return the labels of each method by name."""
    harmonic = propagate_labels(affinities, y, len(shares))
    return {
        "harmonic": harmonic,
        "harmonic, shares": match_priors(harmonic, y, shares),
        "Poisson, shares": with_shares(poisson(affinities, y, len(shares))[0], shares),
        "PoissonMBO": poisson_mbo(affinities, y, shares),
    }


def accuracy(soft, y, truth):
    return np.mean(soft.argmax(axis=1)[y < 0] == truth[y < 0])


def measure_methods(seeds):
    X, y = load_digits(return_X_y=True)
    for seed in seeds:
        X_train, _, truth, _ = train_test_split(
            X, y, test_size=0.3, stratify=y, random_state=seed
        )
        nearest = NearestNeighbors(n_neighbors=5).fit(scaled(X_train)).kneighbors()
        affinities = Edges.of(*nearest).affinities
        for n_labels in (1, 2, 5, 10):
            few = hide_labels(truth, n_labels, np.random.RandomState(seed))
            found = label_methods(affinities, few, np.full(10, 0.1))
            row = {"part": "methods", "table": "sklearn/digits", "labels": n_labels}
            yield row | {
                "seed": seed,
                **{name: accuracy(soft, few, truth) for name, soft in found.items()},
            }


def by_simple_learners(Z, few):
    labeled, total = few >= 0, 0
    clipped = Z.clip(-3, 3)
    linear = LogisticRegression(C=0.1, max_iter=300).fit(clipped[labeled], few[labeled])
    trees = ExtraTreesClassifier(100, random_state=0).fit(Z[labeled], few[labeled])
    total = linear.predict_proba(clipped) + trees.predict_proba(Z)
    return total / 2


def compare(X, few, n_classes, seed, score):
    """Return the scores of graph, simple learners and their means; the stability."""
    Z, rng = scaled(X), np.random.RandomState(seed)
    graph = build(Z, few, np.arange(len(Z)), n_classes, rng)
    graph = graph.with_class_priors(graph.labeled_shares)
    soft = graph.of_versions([few]).soft_labels[:, 0].double().numpy()
    simple = by_simple_learners(Z, few)
    row = {"stability": measure_stability(graph, rng), "graph": score(soft)}
    row["simple"] = score(simple)
    return row | {f"{w} graph": score(w * soft + (1 - w) * simple) for w in MEANS}


def measure_stability_of_tables(folder, seeds):
    for table in TABLES:
        for n_labels in (1, 2, 5):
            for seed in seeds:
                rng = np.random.RandomState(seed)
                X, y = load(folder, table)[0]
                rows = rng.permutation(len(X))[:MAX_ROWS]
                X, y = X[rows], y[rows]
                few = hide_labels(y, n_labels, np.random.RandomState(seed))
                found = compare(
                    X, few, y.max() + 1, seed, lambda p, f=few, t=y: accuracy(p, f, t)
                )
                row = {"part": "stability", "table": table, "labels": n_labels}
                yield row | {"seed": seed} | found


def measure_outliers(folder, seeds):
    for table in outlier_tables(folder):
        for seed in seeds:
            task = make_task(folder, table, 1, seed, MAX_ROWS)
            if task is None:
                continue
            found = compare(
                task.X,
                task.y,
                2,
                seed,
                lambda p, t=task: roc_auc_score(t.y_test, p[t.hidden, 1]),
            )
            row = {"part": "outliers", "table": table, "labels": 1, "seed": seed}
            yield row | found


def measure_mnist(folder, seeds):
    X, y = load(folder, "mnist")[0]
    X = (X / 255).astype(np.float32)
    rng = np.random.RandomState(0)
    some = rng.permutation(len(X))[:5000]
    tables = {
        "mnist 5000": (X[some], y[some]),
        "mnist 5000 components": (principal_features(X[some], rng), y[some]),
        "mnist 60000 components": (principal_features(X, rng), y),
    }
    for name, (Z, truth) in tables.items():
        affinities = Edges.of(*find_nearest(Z, 5, rng)).affinities
        for n_labels in (1, 5, 10):
            for seed in seeds:
                few = hide_labels(truth, n_labels, np.random.RandomState(seed))
                soft = propagate_labels(affinities, few, 10)
                soft = match_priors(soft, few, np.full(10, 0.1))
                found = accuracy(soft, few, truth)
                row = {"part": "mnist", "table": name, "labels": n_labels}
                yield row | {"seed": seed, "harmonic, shares": found}


def drawn(n_rows, n_features, rng):
    centres = rng.normal(size=(50, n_features)).astype(np.float32)
    rows = centres[rng.randint(50, size=n_rows)]
    return rows + 0.5 * rng.normal(size=(n_rows, n_features)).astype(np.float32)


def measure_neighbors(folder):
    rng = np.random.RandomState(0)
    tables = {
        "drawn 60000 x 20": drawn(60_000, 20, rng),
        "drawn 1000000 x 10": drawn(1_000_000, 10, rng),
    }
    if folder is not None:
        pixels = (load(folder, "mnist")[0][0] / 255).astype(np.float32)
        tables["mnist, 50 components"] = principal_features(pixels, rng)
    for name, Z in tables.items():
        started = time.process_time()
        _, neighbors = find_nearest(Z, 10, rng)
        seconds = time.process_time() - started
        sample = rng.permutation(len(Z))[:500]
        exact = NearestNeighbors(n_neighbors=11, algorithm="brute").fit(Z)
        nearest = exact.kneighbors(Z[sample], return_distance=False)[:, 1:]
        recall = (nearest[:, :, None] == neighbors[sample][:, None]).any(2).mean()
        row = {"part": "neighbors", "table": name, "seed": 0, "labels": 0}
        yield row | {"recall": recall, "cpu_seconds": round(seconds, 1)}


def main():
    options = parser(__doc__, seeds=3)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    options.add_argument("--first-seed", type=int, default=1)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore", message="The number of unique classes")
    seeds = range(args.first_seed, args.first_seed + 2 * args.seeds, 2)
    measures = {
        "methods": lambda: measure_methods(seeds),
        "stability": lambda: measure_stability_of_tables(args.data, seeds),
        "outliers": lambda: measure_outliers(args.data, seeds),
        "mnist": lambda: measure_mnist(args.data, seeds),
        "neighbors": lambda: measure_neighbors(args.data),
    }
    needs_data = ("stability", "outliers", "mnist")
    rows = []
    for part in args.parts:
        if args.data is None and part in needs_data:
            print(f"few_labels_graph.py: no --data, {part} not measured")
            continue
        for row in measures[part]():
            print(row, flush=True)
            rows.append(row)
    key = ("part", "table", "labels", "seed")
    report(NAME, earlier_rows(NAME, rows, key) + rows)


if __name__ == "__main__":
    main()
