"""Contrastive divergence and its improved form, on a standard normal.

The common test of improved contrastive divergence: N(0, I) in n columns, 1000 rows,
batches of 10, 10 epochs, learning rate 0.01. The loss of a method with chains does not
measure its progress. So the model is one whose distance to the truth is always known: a
quadratic energy on a Gaussian reference that is three times too wide and off centre,

    p(x) proportional to N(x; 1, 9 I) exp(-|L'x|^2 / 2 - b'x),

which is a normal density again. KL(truth || model) is exact, is computed after every
epoch, and is that of the averaged weights, as the training loop returns them. All
methods have the same sampler and seeds, and one step of the sampler per training step
unless stated otherwise; none jumps to the reference. Contrastive divergence has as many
chains as a batch has rows, 10, since they start there; the improved method has its
default, 100, and one row of the table has 10.
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _report import parser, report
from torch import nn

from skebm.networks import EnergyModel
from skebm.objectives import CD, ImprovedCD
from skebm.references import GaussianMixtureDensity
from skebm.training import (
    Evaluation,
    GradientRun,
    Loop,
    Monitor,
    Schedule,
    TableBatches,
)
from skebm.utils import make_generator

N_ROWS, BATCH_SIZE, N_EPOCHS, LEARNING_RATE = 1000, 10, 10, 0.01
CENTRE, WIDTH = 1.0, 3.0
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "improved_cd.png"


class QuadraticCritic(nn.Module):
    """The critic -|L'x|^2 / 2 - b'x."""

    def __init__(self, n_features):
        super().__init__()
        self.factor = nn.Parameter(0.1 * torch.eye(n_features))
        self.slope = nn.Parameter(torch.zeros(n_features))

    def forward(self, x):
        """Return minus the energy, shape (n, 1)."""
        curved = 0.5 * (x @ self.factor).square().sum(1, keepdim=True)
        return -curved - (x @ self.slope)[:, None]


class ExactDivergence(Monitor):
    """A monitor of -KL(N(0, I) || model); higher is better."""

    def evaluate(self, model):
        """Return minus the exact divergence."""
        net = model.network
        with torch.no_grad():
            factor, slope = net.factor.double(), net.slope.double()
            n = len(slope)
            precision = torch.eye(n) / WIDTH**2 + factor @ factor.T
            mean = torch.linalg.solve(precision, CENTRE / WIDTH**2 - slope)
            divergence = 0.5 * (
                precision.trace()
                + mean @ precision @ mean
                - n
                - torch.logdet(precision)
            )
        return Evaluation({"divergence": -float(divergence)})

    def metric(self, new, best):
        """Return the name of the only metric."""
        return "divergence"


def methods():
    """Return the objectives by name; the others are compared with the first."""
    alike = {"n_steps": 1, "n_reference_tries": 0}
    return {
        "cd": CD(**alike),
        "cd, 5 steps": CD(n_steps=5, n_reference_tries=0),
        "improved_cd": ImprovedCD(**alike),
        "kl_weight=0": ImprovedCD(**alike, kl_weight=0.0),
        "kl_weight=1": ImprovedCD(**alike, kl_weight=1.0),
        "no entropy": ImprovedCD(**alike, neighbor_entropy_weight=0.0),
        "10 chains": ImprovedCD(**alike, n_chains=10, buffer_size=10),
        "10 of 1000 chains": ImprovedCD(**alike, n_chains=10, buffer_size=1000),
    }


def curve(objective, n_features, seed):
    """Train; return the KL at the start and after every epoch, and the seconds."""
    generator = make_generator(seed)
    reference = GaussianMixtureDensity(
        torch.ones(1),
        torch.full((1, n_features), CENTRE),
        WIDTH * torch.eye(n_features)[None],
    )
    model = EnergyModel(QuadraticCritic(n_features), reference)
    x = torch.randn(N_ROWS, n_features, generator=generator)
    device = torch.device("cpu")
    batches = TableBatches(x, None, None, torch.arange(N_ROWS), device=device)
    schedule = Schedule(
        LEARNING_RATE, warmup=0.0, final_rate=1.0, batch_size=BATCH_SIZE
    )
    monitor = ExactDivergence()
    loop = Loop(monitor=monitor, n_iter_no_change=N_EPOCHS)
    run = GradientRun(model, objective, generator, 0.99)
    first = -monitor.evaluate(model).scores["divergence"]
    started = time.perf_counter()
    loop.fit(run.configure(objective, schedule), batches, N_EPOCHS)
    seconds = time.perf_counter() - started
    later = [-score for score in loop.history["validation_divergence"]]
    # An epoch that diverged has no score; training then returns to an earlier state.
    divergence = pd.Series([first, *later]).ffill()
    return divergence.tolist(), seconds


def steps_to(curve, level):
    """Return the number of steps after which the curve reaches the level, or None."""
    reached = np.flatnonzero(np.asarray(curve) <= level)
    return int(reached[0]) * N_ROWS // BATCH_SIZE if len(reached) else None


def draw(rows):
    """Draw the KL by epoch, with one panel for each number of columns."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = sorted({row["n_features"] for row in rows})
    figure, panels = plt.subplots(1, len(columns), figsize=(11, 3.6))
    for row in rows:
        panel = panels[columns.index(row["n_features"])]
        panel.semilogy(row["divergence"], label=row["method"])
        panel.set_title(f"{row['n_features']} columns")
        panel.set_xlabel("epochs of 100 steps")
    panels[0].set_ylabel("KL to the truth, nats")
    panels[-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=90)


def main():
    args = parser(__doc__).parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for n_features in (2, 8, 32):
        level = None
        for name, objective in methods().items():
            runs = [curve(objective, n_features, s) for s in range(args.seeds)]
            median = np.median([run[0] for run in runs], axis=0).tolist()
            level = median[-1] if level is None else level
            rows.append(
                {
                    "n_features": n_features,
                    "method": name,
                    "first": median[0],
                    "final": median[-1],
                    "steps_to_final_of_cd": steps_to(median, level),
                    "seconds": float(np.median([run[1] for run in runs])),
                    "divergence": median,
                }
            )
            print({k: v for k, v in rows[-1].items() if k != "divergence"}, flush=True)
    draw(rows)
    settings = {"n_rows": N_ROWS, "batch_size": BATCH_SIZE, "n_epochs": N_EPOCHS}
    settings |= {"learning_rate": LEARNING_RATE, "seeds": args.seeds}
    report("improved_cd", rows, **settings)


if __name__ == "__main__":
    main()
