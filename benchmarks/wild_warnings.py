"""False alarms of the warning of values that stand apart, on tables of others.

Columns of the tables of normal rows, as they are; and the same with three values of a
million put into a random column of some of the rows, which is to be told.
"""

import warnings
from pathlib import Path

import numpy as np
from _report import parser, report

from skebm.exceptions import DataWarning
from skebm.tables import TableEncoder
from skebm.tables._tails import wild_columns


def tables(folder):
    """Yield names and rows of tables of numbers."""
    for path in sorted(folder.glob("**/*.npz")):
        if "results" in path.parts or path.stat().st_size > 3e7:
            continue
        arrays = np.load(path)
        name = next((k for k in ("X_train", "train", "X") if k in arrays), None)
        if name is None or arrays[name].ndim != 2 or arrays[name].dtype == np.uint8:
            continue
        yield f"{path.parent.name}/{path.stem}", arrays[name][:20_000]


def warned(X):
    """Tell what the encoder warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        TableEncoder.fit(X)
    return [str(w.message) for w in caught if "far beyond all others" in str(w.message)]


#: Columns of heavy tails that are as they should be.
HEAVY = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "lognormal, sigma 1": lambda rng, n: np.exp(rng.normal(size=n)),
    "lognormal, sigma 2": lambda rng, n: np.exp(2 * rng.normal(size=n)),
    "t, 3 degrees": lambda rng, n: rng.standard_t(3, size=n),
    "Pareto, alpha 2": lambda rng, n: rng.pareto(2, size=n),
    "Pareto, alpha 1": lambda rng, n: rng.pareto(1, size=n),
    "Cauchy": lambda rng, n: rng.standard_cauchy(size=n),
}


def drawn(n_columns=500):
    """Return the share of columns with a false alarm, by distribution and size."""
    for name, draw in HEAVY.items():
        for n_rows in (220, 2000):
            rng = np.random.RandomState(0)
            alarms = [
                bool(warned(draw(rng, n_rows)[:, None])) for _ in range(n_columns)
            ]
            yield {"columns": name, "rows": n_rows, "false_alarms": np.mean(alarms)}


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--show", action="store_true")
    args = options.parse_args()
    rows = []
    for name, X in tables(args.data):
        rng = np.random.RandomState(0)
        found = wild_columns(X, None, np.flatnonzero(np.ptp(X, axis=0) > 0))
        messages = warned(X)
        planted = X[rng.permutation(len(X))[:220]].astype(np.float64)
        if len(planted) < 100:
            continue
        j = rng.randint(X.shape[1])
        planted[:3, j] = 1e6 * max(1.0, np.abs(planted[:, j]).max())
        rows.append(
            {
                "table": name,
                "columns": X.shape[1],
                "columns_with_wild_values": len(found),
                "warned": len(messages),
                "planted_told": len(warned(planted)),
            }
        )
        if args.show and messages:
            print(name, messages)
    report("wild_warnings", rows)
    report("wild_warnings_drawn", list(drawn()))


if __name__ == "__main__":
    main()
