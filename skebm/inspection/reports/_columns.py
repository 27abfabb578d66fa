"""What is particular about the columns of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skebm.evaluation.fidelity._table import ShownTable
from skebm.tables import TableEncoder

#: Share of a number's variance that others explain linearly where it depends on them.
DEPENDENT = 0.999


def column_findings(table: ShownTable) -> dict[str, dict[str, Any]]:
    """Return what is particular about each column, by its name.

    Returns
    -------
    findings : dict of str to dict
        Of each column "kind", "number" or "category"; "n_values"; "missing", the share
        of the rows without an entry; "constant"; "tied", the share of the rows whose
        number is not theirs alone; "atoms", values of numbers that are far more
        frequent than all others, and their shares; "sentinels", values far away from
        all others that repeat; and "depends_on", names of columns that say its value.
    """
    X = table.as_numbers()
    is_categorical = table.is_categorical
    sizes = [
        (j, max(1, len(table.categories(j))))
        for j in np.flatnonzero(is_categorical).tolist()
    ]
    encoder = TableEncoder.fit(
        X, categories=sizes, find_atoms=True, sentinels="missing"
    )
    depends = {pair.column: [pair.by] for pair in encoder.determined.pairs}
    depends |= linear_dependences(X, np.flatnonzero(~is_categorical))
    atoms = atoms_of(encoder)
    findings = {}
    for j, name in enumerate(table.names):
        x = X[~np.isnan(X[:, j]), j]
        values, counts = np.unique(x, return_counts=True)
        share = dict(zip(values.tolist(), counts / max(1, len(x)), strict=True))
        findings[name] = {
            "kind": "category" if is_categorical[j] else "number",
            "n_values": len(values),
            "missing": float(np.isnan(X[:, j]).mean()),
            "constant": len(values) == 1,
            "tied": None if is_categorical[j] else tied_share(counts),
            "atoms": {v: float(share[v]) for v in atoms.get(j, []) if v in share},
            "sentinels": {
                v: float(share[v]) for v in encoder.codes.get(j, []) if v in share
            },
            "depends_on": [table.names[k] for k in depends.get(j, [])],
        }
    return findings


def tied_share(counts: NDArray[np.int64]) -> float:
    """Return the share of the rows whose value other rows have, too."""
    return float(counts[counts > 1].sum() / max(1, counts.sum()))


def atoms_of(encoder: TableEncoder) -> dict[int, list[float]]:
    """Return the atoms of the columns of numbers that have some."""
    found: dict[int, list[float]] = {}
    for kind in encoder.kinds:
        for j, values in zip(kind.columns, getattr(kind, "atoms", []), strict=False):
            found[int(j)] = np.asarray(values).tolist()
    return found


def linear_dependences(
    X: NDArray[np.float64], numbers: NDArray[np.int64]
) -> dict[int, list[int]]:
    """Return the columns of numbers that others explain linearly, and by which.

    By all rows without gaps. Columns come one after another, so that of two that
    repeat each other the second depends on the first.
    """
    rows = X[~np.isnan(X[:, numbers]).any(axis=1)][:, numbers]
    spread = rows.std(axis=0) if len(rows) else np.zeros(len(numbers))
    found: dict[int, list[int]] = {}
    free: list[int] = []
    for k in range(len(numbers)):
        if not spread[k] > 0:
            continue
        if free and len(rows) > 2 * (len(free) + 1):
            z = (rows - rows.mean(axis=0))[:, [*free, k]] / spread[[*free, k]]
            weights, *_ = np.linalg.lstsq(z[:, :-1], z[:, -1], rcond=None)
            rest = z[:, -1] - z[:, :-1] @ weights
            if 1 - rest.var() > DEPENDENT:
                # Those that matter: a tenth of the largest weight.
                large = np.abs(weights) > 0.1 * np.abs(weights).max()
                by = [f for f, counts in zip(free, large, strict=True) if counts]
                found[int(numbers[k])] = [int(numbers[f]) for f in by]
                continue
        free.append(k)
    return found
