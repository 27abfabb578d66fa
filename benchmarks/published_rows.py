"""Published joint energy-based models beside the package's, and under attack.

Each method is fitted to at most ``--rows`` rows with ``--labels`` labels a class, all
of them with ``--labels all``. The figures: accuracy, calibration error (15 bins of
equal mass), wall and CPU seconds of the fit, and how often the training went back to an
earlier state because it diverged (-1: it could not be finished). Test rows are 30 % of
the table, or its official test part, of which ``--test`` count.

With all labels, ``--attacked`` test rows are moved within several radii
(`skebm.evaluation.adversarial_accuracy`): MNIST in units of a pixel's range, other
tables in standard deviations of their columns. The supervised twin of a published
method is the same net by the same steps, trained by the labels alone.

``--data`` names a folder of tables, not part of the project. Rows of earlier runs are
kept unless this run repeats them.

    python benchmarks/published_rows.py --data DATA --labels 10 --seeds 3
    python benchmarks/published_rows.py --data DATA --labels all --seeds 3
"""

from __future__ import annotations

import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _few_labels_methods import ONE_HEAD, SUPERVISED, jem_by_sgld, vat_net, vera_jem
from _few_labels_tables import PIXELS, load, make_task
from _report import earlier_rows, parser, report
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skebm import JEMClassifier
from skebm.evaluation import adversarial_accuracy, expected_calibration_error
from skebm.exceptions import DivergenceError

NAME = "published_rows"
KEY = ("table", "labels", "method", "seed")
TABLES = ("sklearn/digits", "keel/segment", "keel/phoneme", "usps", "mnist")
#: Radii of attacks by norm: of pixels in [0, 1], and of standardised columns.
PIXEL_RADII = {"inf": (0.01, 0.02, 0.04, 0.06, 0.1), "2": (0.25, 0.5, 0.75, 1.0, 1.5)}
COLUMN_RADII = {"inf": (0.02, 0.05, 0.1, 0.2, 0.3), "2": (0.05, 0.1, 0.2, 0.3, 0.5)}


def one_head(seed, objective, alpha=1.0, **options):
    """Return the single net that the published methods train, by some objective."""
    options = SUPERVISED | {"objective": objective, "reference": None} | options
    return JEMClassifier(
        network=ONE_HEAD,
        normalizer=None,
        classification_weight=alpha,
        random_state=seed,
        **options,
    )


#: Functions of the seed. "labels x 10" gives the labels ten times the published weight.
METHODS = {
    "default": lambda seed: JEMClassifier(normalizer=None, random_state=seed),
    "supervised twin": lambda seed: one_head(seed, None),
    "VAT": lambda seed: vat_net(seed).set_params(network=ONE_HEAD, reference=None),
    "VERA-JEM": vera_jem,
    "JEM-SGLD": jem_by_sgld,
    "HDGE": lambda seed: one_head(seed, "hdge"),
    "JEM-NCE": lambda seed: one_head(seed, "nce", reference="gmm"),
    "JEM-NCE, density x 10": lambda seed: one_head(
        seed, "nce", alpha=0.1, reference="gmm"
    ),
    "JEM-SGLD, labels x 3": lambda seed: jem_by_sgld(seed).set_params(
        classification_weight=3.0
    ),
    "JEM-SGLD, labels x 10": lambda seed: jem_by_sgld(seed).set_params(
        classification_weight=10.0
    ),
    "JEM-SGLD, labels x 100": lambda seed: jem_by_sgld(seed).set_params(
        classification_weight=100.0
    ),
    "JEM-SGLD, labels x 10, VAT": lambda seed: jem_by_sgld(seed).set_params(
        classification_weight=10.0, vat_weight=10.0, vat_radius=2.0
    ),
    "VAT, no entropy": lambda seed: vat_net(seed).set_params(
        network=ONE_HEAD, reference=None, prediction_entropy_weight=0.0
    ),
}
FEW_LABELS = tuple(METHODS)[:6]
ALL_LABELS = tuple(METHODS)[1:]


def standardized(table, X, *others):
    """Return tables in the units that the attack's radii are in."""
    if table in PIXELS:
        low, high = X.min(), X.max()
        return [(rows - low) / (high - low) for rows in (X, *others)]
    scaler = StandardScaler().fit(X)
    return [scaler.transform(rows) for rows in (X, *others)]


def all_labels(folder, table, seed, max_rows):
    """Return training and test rows with all labels."""
    parts = load(folder, table)
    if len(parts) == 1:
        X, y = parts[0]
        split = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
        X, X_test, y, y_test = split
    else:
        (X, y), (X_test, y_test) = parts
    if len(X) > max_rows:
        X, _, y, _ = train_test_split(
            X, y, train_size=max_rows, stratify=y, random_state=seed
        )
    return X, y, X_test, y_test


def few_labels(folder, table, seed, max_rows, n_labels):
    """Return training and test rows with some labels."""
    task = make_task(folder, table, n_labels, seed, max_rows)
    return task.X, task.y, task.X_test, task.y_test


def fitted(model, X, y):
    """Return the figures of a fit; the model is None where it can't be finished."""
    wall, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = model.fit(X, y)
            n_rollbacks = int(max(model.history_["n_rollbacks"], default=0))
        except DivergenceError:
            model, n_rollbacks = None, -1
    return model, {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "divergences": n_rollbacks,
    }


def measure(model, rows, table, args, seed):
    """Return the figures of one method."""
    X, y, X_test, y_test = rows
    X, X_test = standardized(table, X, X_test)
    chosen = np.random.RandomState(seed).permutation(len(X_test))[: args.test]
    X_test, y_test = X_test[chosen], y_test[chosen]
    model, figures = fitted(model, X, y)
    if model is None:
        return figures
    probability = model.predict_proba(X_test)
    figures["accuracy"] = 100 * model.score(X_test, y_test)
    figures["ece"] = expected_calibration_error(
        y_test, probability, classes=model.classes_
    )
    if args.labels != "all":
        return figures
    X_test, y_test = X_test[: args.attacked], y_test[: args.attacked]
    radii = PIXEL_RADII if table in PIXELS else COLUMN_RADII
    for norm, radius in radii.items():
        found = adversarial_accuracy(
            model,
            X_test,
            y_test,
            radius=radius,
            norm=norm,
            bounds=(0.0, 1.0) if table in PIXELS else None,
            n_steps=args.attack_steps,
            n_targets=args.targets,
            n_queries=args.queries,
            random_state=seed,
        )
        figures["clean"] = 100 * np.mean(found.found_by != "row")
        for r, accuracy in zip(radius, found.accuracy, strict=True):
            figures[f"L{norm} {r:g}"] = 100 * accuracy
        figures[f"L{norm} by search"] = int(np.sum(found.found_by == "search"))
    return figures


def options():
    """Return the parser of the options."""
    options = parser(__doc__)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--tables", nargs="+", default=TABLES)
    options.add_argument("--methods", nargs="+", choices=tuple(METHODS))
    options.add_argument("--labels", default="10", help="a class, or all")
    options.add_argument("--rows", type=int, default=1000)
    options.add_argument("--test", type=int, default=2000)
    options.add_argument("--steps", type=int, help="instead of the default's 1200")
    options.add_argument("--attacked", type=int, default=100)
    options.add_argument("--attack-steps", type=int, default=50)
    options.add_argument("--targets", type=int, default=9)
    options.add_argument("--queries", type=int, default=100)
    return options


def main():
    args = options().parse_args()
    torch.set_num_threads(args.threads)
    if args.data is None:
        print("published_rows.py: no --data, nothing measured")
        return
    is_full = args.labels == "all"
    read = all_labels if is_full else partial(few_labels, n_labels=int(args.labels))
    settings = {"rows": args.rows, "steps": args.steps}
    done = []
    for seed in range(args.seeds):
        for table in args.tables:
            rows = read(args.data, table, seed, args.rows)
            for name in args.methods or (ALL_LABELS if is_full else FEW_LABELS):
                model = METHODS[name](seed)
                if args.steps is not None:
                    n_steps = max(1, len(rows[0]) // model.batch_size)
                    model.set_params(max_iter=max(1, args.steps // n_steps))
                labels = args.labels
                key = {"table": table, "labels": labels, "method": name, "seed": seed}
                done.append(key | settings | measure(model, rows, table, args, seed))
                report(NAME, earlier_rows(NAME, done, KEY) + done)


if __name__ == "__main__":
    main()
