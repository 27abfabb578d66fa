"""Boosted trees as an energy, beside the default net: held-out nats, columns predicted.

Numerical tables are prepared as in ``density.py``, adult as in ``columns.py``; the nats
of its rows are probabilities of the categories times densities of the numbers. Scores
use the larger of the estimate of log Z plus two standard errors and the reverse
estimate. On adult each categorical column is also predicted from the other ones: by the
category at which the density of the row is largest, and by scikit-learn's
HistGradientBoostingClassifier fitted to that column alone.

``--data`` names a folder as in ``references.py``. Rows of earlier runs are kept in the
results, unless this run repeats their table, method and seed.

    python benchmarks/trees.py --data DATA --tables keel/phoneme adult
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _report import earlier_rows, parser, report
from columns import NUMBERS, load_adult
from density import Clock, load_table, ours
from references import load_protocol
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from skebm import EBMDensityEstimator
from skebm.exceptions import NormalizerWarning

CHOSEN_ON = ("adult", "keel/phoneme", "keel/vehicle", "keel/magic")
KEPT_BACK = (
    "keel/banana",
    "keel/segment",
    "uci/letter",
    "uci/satimage",
    "keel/texture",
    "keel/spambase",
)
METHODS = {
    "default net": ours(),
    "trees": ours(network="trees"),
}
KEY = ("table", "method", "seed")
N_PREDICTED = 300


def rows_of(table, arguments, seed):
    """Return training and test rows of a table."""
    if table == "adult":
        return load_adult(arguments.data, arguments.adult_rows, seed)
    rows = load_table(arguments.data, table)
    return load_protocol(arguments.data)(rows, arguments.max_rows, seed)


def boosting(train, column):
    """Return scikit-learn's boosted trees for a column, given the others."""
    others = [name for name in train if name != column]
    words = [name for name in others if name not in NUMBERS]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    coded = make_column_transformer((encoder, words), remainder="passthrough")
    model = HistGradientBoostingClassifier(
        categorical_features=list(range(len(words))),
        early_stopping=True,
        random_state=0,
    )
    return make_pipeline(coded, model).fit(train[others], train[column].astype(str))


def predictions(train, test, seed):
    """Yield a row of accuracies for each categorical column and method."""
    models = {
        "trees": EBMDensityEstimator(
            network="trees", normalizer=None, random_state=seed
        ).fit(train),
        "default net": EBMDensityEstimator(normalizer=None, random_state=seed).fit(
            train
        ),
    }
    test = test[:N_PREDICTED]
    for column in [name for name in train if name not in NUMBERS]:
        truth = test[column].astype(str).to_numpy()
        kinds = train[column].unique()
        found = {"boosting": boosting(train, column).predict(test)}
        for name, model in models.items():
            scores = [
                model.score_samples(with_value(test, train, column, kind))
                for kind in kinds
            ]
            best = np.argmax(scores, axis=0)
            found[name] = np.array([str(kinds[k]) for k in best])
        for name, values in found.items():
            accuracy = float((values == truth).mean())
            row = {"table": f"adult: {column}", "method": name, "seed": seed}
            yield row | {"accuracy": accuracy, "n_test": len(test)}


def with_value(test, train, column, kind):
    """Return test rows with one value in a column."""
    values = pd.Series([kind] * len(test), index=test.index).astype(train[column].dtype)
    return test.assign(**{column: values})


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--tables", nargs="+", default=CHOSEN_ON + KEPT_BACK)
    options.add_argument("--methods", nargs="+", default=list(METHODS))
    options.add_argument("--max-rows", type=int, default=4000)
    options.add_argument("--adult-rows", type=int, default=25_000)
    options.add_argument("--predict", action="store_true", help="columns of adult")
    arguments = options.parse_args()
    if arguments.data is None:
        print("trees.py: no --data, nothing measured")
        return
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", NormalizerWarning)  # its metrics are in the rows
    rows = []
    for seed in range(arguments.seeds):
        for table in arguments.tables:
            train, test = rows_of(table, arguments, seed)
            for name in arguments.methods:
                clock = Clock()
                scores, figures = METHODS[name](train, test, seed)
                row = {"table": table, "method": name, "seed": seed}
                row |= {"n_train": len(train), "n_features": train.shape[1]}
                row["held_out_nats"] = float(scores.mean())
                row["standard_error"] = float(scores.std() / len(scores) ** 0.5)
                row |= {k: figures[k] for k in ("reference_nats", "best_epoch")}
                row |= {k: figures[k] for k in ("log_normalizer_se", "effective_share")}
                rows.append(row | clock.read())
                print(rows[-1], flush=True)
        if arguments.predict:
            train, test = rows_of("adult", arguments, seed)
            rows.extend(predictions(train, test, seed))
    rows = earlier_rows("trees", rows, KEY) + rows
    report("trees", rows, seeds=arguments.seeds, max_rows=arguments.max_rows)


if __name__ == "__main__":
    main()
