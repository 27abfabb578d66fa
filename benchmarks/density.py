"""Held-out log density of real tables: EBMDensityEstimator and common alternatives.

scikit-learn's GaussianMixture (size chosen on a fifth of the training rows) and
KernelDensity (bandwidth by five-fold cross-validation), each refitted on all training
rows; zuko's neural spline flow, stopped early on a tenth of them; one Gaussian; and
EBMDensityEstimator with its defaults, with ``reference="flow"``, and so on. All methods
use the same prepared rows. The published result of EBMDensityEstimator,
``held_out_nats``, uses the larger of the estimate of log Z plus two standard errors and
the reverse estimate, if there is one, because an estimate of Z that is too low makes a
model look better than it is. ``reference_nats`` is the untrained model; ``mass`` is the
integral of the density, by a check that does not use log Z. Times include fit and
scoring.

``--data`` names a folder as in ``references.py``. Rows of earlier runs are kept in the
results, unless this run repeats their table, method and seed.

    python benchmarks/density.py --data DATA --tables keel/phoneme --methods skebm NSF
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _report import earlier_rows, parser, reference_scores, report
from references import (
    VARIANCE_FLOOR,
    gaussian,
    kernel_density,
    load_protocol,
    load_rows,
    mixture_by_validation,
)
from sklearn.exceptions import ConvergenceWarning

from skebm import EBMDensityEstimator
from skebm.evaluation import probability_mass
from skebm.exceptions import NormalizerWarning

DEVELOPMENT = (
    "keel/phoneme",
    "uci/letter",
    "keel/vehicle",
    "uci/satimage",
    "keel/spambase",
)
KEPT_BACK = (
    "keel/magic",
    "keel/segment",
    "keel/texture",
    "keel/banana",
    "bsds300_patches_u8",
)
#: Largest number of columns for which the integral of the density is checked.
MAX_CHECKED = 10
KEY = ("table", "method", "seed")
PATIENCE, MAX_EPOCHS, BATCH = 20, 500, 256


def load_table(folder, table):
    """Return the rows of a table; image patches, made as usual, have 63 columns."""
    if not table.startswith("bsds300"):
        return load_rows(folder, table)
    with np.load(folder / f"{table}.npz") as arrays:
        patches = arrays["X_train"][:20_000].astype(np.float64)
    rng = np.random.default_rng(0)
    patches = (patches + rng.uniform(size=patches.shape)) / 256
    return (patches - patches.mean(axis=1, keepdims=True))[:, :-1]


def spline_flow(train, test, seed):
    """Train zuko's NSF by Adam on 90 %, keep the best state on the rest."""
    import zuko

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        flow = zuko.flows.NSF(train.shape[1], transforms=3, hidden_features=(128, 128))
        rows = torch.from_numpy(train).float()[torch.randperm(len(train))]
        n_held_out = len(rows) // 10
        held_out, rows = rows[:n_held_out], rows[n_held_out:]
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
        best, state, n_epochs, since = -np.inf, None, 0, 0
        while n_epochs < MAX_EPOCHS and since < PATIENCE:
            for batch in rows[torch.randperm(len(rows))].split(BATCH):
                optimizer.zero_grad()
                (-flow().log_prob(batch).mean()).backward()
                optimizer.step()
            with torch.no_grad():
                score = float(flow().log_prob(held_out).mean())
            n_epochs, since = n_epochs + 1, since + 1
            if score > best:
                best, since = score, 0
                state = {k: v.clone() for k, v in flow.state_dict().items()}
        flow.load_state_dict(state)
    with torch.no_grad():
        scores = flow().log_prob(torch.from_numpy(test).float())
    return scores.double().numpy(), f"{n_epochs} epochs"


class Clock:
    """A clock of wall seconds and CPU seconds of this process since it was made."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self):
        """Return the wall seconds and the CPU seconds."""
        return {
            "seconds": time.perf_counter() - self.wall,
            "cpu_seconds": time.process_time() - self.cpu,
        }


def peer(method):
    """Return a function that measures (train, test, seed) -> scores, choice."""

    def measure(train, test, seed):
        clock = Clock()
        scores, choice = method(train, test, seed)
        return scores, clock.read() | {"choice": choice}

    return measure


def ours(**options):
    """Return a function that measures EBMDensityEstimator with these options."""

    def measure(train, test, seed):
        clock = Clock()
        model = EBMDensityEstimator(random_state=seed, **options).fit(train)
        scores = model.score_samples(test)
        figures = clock.read()
        result = model.normalizer_result_
        bare = float(reference_scores(model, test).mean())
        figures |= {
            "held_out_forward": float(scores.mean()),
            "reference_nats": bare,
            "log_normalizer_se": result.standard_error,
            "reverse_less_forward": result.reverse_log_normalizer
            - result.log_normalizer,
            "effective_share": result.effective_sample_size,
            "log_normalizer_by": result.method,
            "trusted": result.trusted,
            "n_iter": model.n_iter_,
            "best_epoch": model.best_epoch_,  # 0: fell back to the reference
        }
        if train.shape[1] <= MAX_CHECKED:
            mass = probability_mass(model, train, n_samples=20_000, random_state=seed)
            figures |= {"mass": mass.mass, "mass_se": mass.standard_error}
        return scores - (result.upper - result.log_normalizer), figures

    return measure


METHODS = {
    "skebm": ours(),
    "skebm, flow": ours(reference="flow"),
    "skebm, vera": ours(objective="vera"),
    "Gaussian": peer(gaussian),
    "GaussianMixture": peer(mixture_by_validation),
    "KernelDensity": peer(kernel_density),
    "NSF": peer(spline_flow),
}


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--tables", nargs="+", default=DEVELOPMENT + KEPT_BACK)
    options.add_argument("--methods", nargs="+", default=list(METHODS))
    options.add_argument("--max-rows", type=int, default=6000)
    arguments = options.parse_args()
    if arguments.data is None:
        print("density.py: no --data, nothing measured")
        return
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", NormalizerWarning)  # its metrics are in the rows
    density_table = load_protocol(arguments.data)
    rows = []
    for table in arguments.tables:
        X = load_table(arguments.data, table)
        for seed in range(arguments.seeds):
            train, test = density_table(X, arguments.max_rows, seed)
            for name in arguments.methods:
                scores, figures = METHODS[name](train, test, seed)
                row = {
                    "table": table,
                    "n_train": len(train),
                    "n_features": train.shape[1],
                    "seed": seed,
                    "method": name,
                    "held_out_nats": float(scores.mean()),
                    "standard_error": float(scores.std() / len(scores) ** 0.5),
                }
                rows.append(row | figures)
                print(rows[-1], flush=True)
    rows = earlier_rows("density", rows, KEY) + rows
    rows.sort(key=lambda row: [row[name] for name in KEY])
    report("density", rows, variance_floor=VARIANCE_FLOOR)


if __name__ == "__main__":
    main()
