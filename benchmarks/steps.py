"""Steps a second of training, beside ebmkit, torchebm and a bare loop.

One net for all, an MLP of two layers of 256 units with SiLU, 128 rows of 20 columns a
step, Adam. Contrastive divergence runs ten Langevin steps from the rows without jumps;
persistent chains do so from a buffer of 10 000. Ours are the steps of `fit` with all
its checks, averages and schedule; of the others their loss and trainer, or the loop of
their README. The parties take turns, a hundred steps each, in one process; the ratio is
of the medians. ``--peers`` names a folder with both packages; without it there is the
bare loop alone.

    pip install --no-deps --target PEERS ebmkit torchebm
    python benchmarks/steps.py --peers PEERS --threads 1
"""

import sys
import time
from collections import defaultdict

import numpy as np
import torch
from _report import parser, report
from torch import nn

from skebm.networks import MLP, EnergyModel
from skebm.objectives import CD, NCE, PCD, DenoisingScoreMatching
from skebm.references import GaussianReference, UniformBox
from skebm.samplers import Langevin
from skebm.training import GradientRun, Schedule, TableBatches
from skebm.training._schedule import EpochSpan

N_ROWS, N_COLUMNS, BATCH = 12_800, 20, 128
STEP, N_LANGEVIN, NOISE = 0.1, 10, 0.1
METHODS = ("cd", "pcd", "denoising", "nce")


def make_net():
    """Return the net, its last layer not zero."""
    net = MLP(N_COLUMNS, 1, hidden_features=(256, 256))
    nn.init.normal_(net.layers[-1].weight, std=0.01)
    return net


class Energy(nn.Module):
    """The net as an energy of shape (n,), as the others take it."""

    def __init__(self):
        super().__init__()
        self.net = make_net()

    def forward(self, x):
        """Return the energies of rows."""
        return self.net(x)[:, 0]


def ours(method, x):
    """Return a function that trains a hundred steps."""
    langevin = Langevin(STEP)
    chains = {"sampler": langevin, "n_steps": N_LANGEVIN, "n_reference_tries": 0}
    objective = {
        "cd": CD(**chains),
        "pcd": PCD(**chains, n_chains=BATCH, buffer_size=10_000),
        "denoising": DenoisingScoreMatching([NOISE], reference_share=0.0),
        "nce": NCE(noise_ratio=1),
    }[method]
    generator = torch.Generator().manual_seed(0)
    if method == "nce":
        reference = GaussianReference().fit(x, weight=None, generator=generator)
    else:
        reference = UniformBox(x.amin(0) - 3, x.amax(0) + 3)
    model = EnergyModel(make_net(), reference)
    run = GradientRun(model, objective, generator, averaging_decay=0.99)
    run.configure(objective, Schedule(1e-3, batch_size=BATCH))
    rows = torch.arange(len(x))
    batches = TableBatches(x, None, None, rows, device=torch.device("cpu"))
    return lambda: run.epoch(batches, EpochSpan(1, 2, 0.0, 1.0))


def bare(method, x):
    """Return a function that trains a hundred steps by as little code as possible."""
    energy = Energy()
    adam = torch.optim.Adam(energy.parameters(), 1e-3)
    buffer = torch.randn(10_000, N_COLUMNS)

    def langevin(x):
        for _ in range(N_LANGEVIN):
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(energy(x).sum(), x)
            x = x - STEP**2 / 2 * slope + STEP * torch.randn_like(x)
        return x.detach()

    def denoising(rows):
        noise = torch.randn_like(rows)
        noisy = (rows + NOISE * noise).requires_grad_()
        total = energy(noisy).sum()
        (slope,) = torch.autograd.grad(total, noisy, create_graph=True)
        return (noise / NOISE - slope).square().sum(1).mean() / 2

    def loss(rows):
        if method == "denoising":
            return denoising(rows)
        if method == "nce":
            noise = torch.randn_like(rows)
            own, others = energy(torch.cat([rows, noise])).split(len(rows))
            softplus = nn.functional.softplus
            return softplus(own).mean() + softplus(-others).mean()
        places = torch.randint(len(buffer), (len(rows),))
        ends = langevin(rows if method == "cd" else buffer[places])
        buffer[places] = ends
        own, others = energy(torch.cat([rows, ends])).split(len(rows))
        return own.mean() - others.mean()

    def train():
        for _ in range(100):
            value = loss(x[torch.randint(len(x), (BATCH,))])
            adam.zero_grad()
            value.backward()
            adam.step()

    return train


def ebmkit(method, x):
    """Return a function that trains a hundred steps by ebmkit's trainer."""
    from ebm import losses
    from ebm.buffer import ReplayBuffer
    from ebm.samplers.langevin import LangevinDynamics
    from ebm.training import Trainer

    sampler = LangevinDynamics(STEP**2 / 2, N_LANGEVIN)

    class FromRows(losses.ContrastiveDivergence):
        """Chains from the rows, where ebmkit has chains from noise."""

        def forward(self, energy, x):
            self.init_fn = lambda shape: x
            return super().forward(energy, x)

    loss = {
        "cd": lambda: FromRows(sampler),
        "pcd": lambda: losses.ContrastiveDivergence(
            sampler, ReplayBuffer(10_000, (N_COLUMNS,), 0.05)
        ),
        "denoising": lambda: losses.DenoisingScoreMatching(NOISE),
        "nce": lambda: losses.NoiseContrastiveEstimation(),
    }[method]()
    trainer = Trainer(Energy(), loss, device="cpu", ema_decay=0.99)
    return lambda: trainer.fit(x, steps=100, batch_size=BATCH, verbose=False)


def torchebm(method, x):
    """Return a function that trains a hundred steps by torchebm's losses, if it can."""
    from torchebm.core import BaseModel
    from torchebm.losses import ContrastiveDivergence, DenoisingScoreMatching
    from torchebm.samplers import LangevinDynamics

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.net = make_net()

        def forward(self, x):
            return self.net(x)[:, 0]

    if method == "nce":
        return None
    model = Model()
    if method == "denoising":
        loss = DenoisingScoreMatching(model, noise_scale=NOISE)
    else:
        sampler = LangevinDynamics(model, step_size=STEP**2 / 2)
        loss = ContrastiveDivergence(
            model, sampler, N_LANGEVIN, persistent=method == "pcd", init_steps=0
        )
    adam = torch.optim.Adam(model.parameters(), 1e-3)

    def train():
        for _ in range(100):
            value = loss(x[torch.randint(len(x), (BATCH,))])
            value = value[0] if isinstance(value, tuple) else value
            adam.zero_grad()
            value.backward()
            adam.step()

    return train


def main():
    options = parser(__doc__, seeds=7)
    options.add_argument("--peers", help="folder of ebmkit and torchebm")
    options.add_argument("--methods", nargs="+", default=METHODS)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    parties = {"skebm": ours, "bare loop": bare}
    if args.peers:
        sys.path.append(args.peers)
        parties |= {"ebmkit": ebmkit, "torchebm": torchebm}
    x, rows = torch.randn(N_ROWS, N_COLUMNS), []
    for method in args.methods:
        made = {name: make(method, x) for name, make in parties.items()}
        made = {name: train for name, train in made.items() if train is not None}
        seconds = defaultdict(list)
        for turn in range(args.seeds + 1):
            for name, train in made.items():
                started = time.perf_counter()
                train()
                if turn:  # the first turn warms up
                    seconds[name].append(time.perf_counter() - started)
        median = {name: np.median(values) for name, values in seconds.items()}
        row = {"method": method, "steps_a_second": 100 / median.pop("skebm")}
        ours_a_step = 1 / row["steps_a_second"]
        row |= {f"over_{n}": m / 100 / ours_a_step for n, m in median.items()}
        rows.append(row)
    report("steps", rows, batch=BATCH, columns=N_COLUMNS, units=256)


if __name__ == "__main__":
    main()
