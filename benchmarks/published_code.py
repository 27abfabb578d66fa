"""Our training steps and the public code of VERA's authors, on the same networks.

``--code`` is the folder of a clone of github.com/wgrathwohl/VERA, which also has the
authors' sampler of JEM. Energy and generator are the authors' small networks; data,
batches, learning rate, Adam's betas and the number of steps are the same for all, and
nothing else is used: no schedule, no average, no early stopping. Two further rows are
`fit` of the same networks with our own defaults. The log-likelihood on new rows is that
of the network's output normalised by quadrature over the range of the rows widened by a
fifth, for all methods. The authors' chains start on [-1, 1] in each column, ours on
that range.
"""

import functools
import importlib
import math
import sys
import time
import types
from pathlib import Path

import numpy as np
import torch
from _report import parser, report
from torch import nn

from skebm import EBMDensityEstimator
from skebm.datasets import GaussianRing, TwoRings
from skebm.networks import EnergyModel, GeneratorMLP
from skebm.objectives import PCD, VERA, Batch
from skebm.references import UniformBox
from skebm.samplers import Langevin

BATCH, RATE, WIDTH, LATENT = 200, 1e-3, 100, 2
N_SGLD_STEPS, SGLD_SCALE, BUFFER, REINIT = 20, 0.05, 10_000, 0.05


def public_modules(folder):
    """Return the authors' modules, without other imports of their packages."""
    for package in ("utils", "models"):
        module = types.ModuleType(package)
        module.__path__ = [str(Path(folder) / package)]
        sys.modules[package] = module
    names = ("models.mlp", "models.generator", "models.jem")
    return [importlib.import_module(name) for name in names]


def adam(parameters, rate=RATE):
    return torch.optim.Adam(parameters, lr=rate, betas=(0.0, 0.9))


def batches(x, n_steps, seed):
    rng = torch.Generator().manual_seed(seed)
    for _ in range(n_steps):
        yield x[torch.randint(len(x), (BATCH,), generator=rng)]


def public_vera(code, x, n_steps, seed):
    """Train energy and generator in turn, as the authors' script does."""
    mlp, generators, _ = code
    net = mlp.small_mlp_ebm(2, WIDTH)
    pair = generators.VERAGenerator(
        mlp.small_mlp_generator(LATENT, 2, WIDTH), LATENT, post_lr=0.02
    )
    own = [p for name, p in pair.named_parameters() if "post" not in name]
    energy_optimizer, generator_optimizer = adam(net.parameters()), adam(own)
    for rows in batches(x, n_steps, seed):
        drawn, latent = pair.sample(BATCH, requires_grad=True)
        loss = net(drawn.detach()).mean() - net(rows).mean()
        energy_optimizer.zero_grad()
        loss.backward()
        energy_optimizer.step()
        entropy, _ = pair.entropy_obj(drawn, latent)
        loss = -(net(drawn).mean() + entropy)
        generator_optimizer.zero_grad()
        loss.backward()
        generator_optimizer.step()
        pair.clamp_sigma(0.3, sigma_min=0.01)
    return net


def public_jem(code, x, n_steps, seed):
    """Train JEM by SGLD from a replay buffer, as the authors' baseline does."""
    mlp, _, jem = code
    net = mlp.small_mlp_ebm(2, WIDTH)
    optimizer = adam(net.parameters())
    buffer = jem.init_random(BUFFER, (2,))
    for rows in batches(x, n_steps, seed):
        drawn = jem.sample_q(
            net,
            buffer,
            BATCH,
            N_SGLD_STEPS,
            SGLD_SCALE**2 / 2,
            SGLD_SCALE,
            REINIT,
            "cpu",
        )
        loss = net(drawn).mean() - net(rows).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


class PublicGenerator(GeneratorMLP):
    """The authors' generator network, with the interface of ours."""

    def __init__(self, mlp, latent_dim, n_features):
        nn.Module.__init__(self)
        self.latent_dim, self.noise_bounds = latent_dim, (0.01, 0.3)
        self.net = mlp.small_mlp_generator(latent_dim, n_features, WIDTH)
        self.log_noise_scale = nn.Parameter(torch.tensor(math.log(0.01)))

    def mean(self, z):
        """Return g(z)."""
        return self.net(z)

    def match(self, x):
        """Keep the random initial weights, as the authors do."""


def our_steps(objective, mlp, x, n_steps, seed):
    """Minimise the losses of our objective in a bare loop."""
    rng = torch.Generator().manual_seed(seed)
    model = EnergyModel(mlp.small_mlp_ebm(2, WIDTH), box_of(x))
    state = objective.init(model, model.reference, rng)
    optimizers = {
        name: adam(group.parameters, RATE * group.rate)
        for name, group in objective.parameter_groups(model, state).items()
    }
    for rows in batches(x, n_steps, seed):
        for loss in objective.step(model, Batch(rows), state, rng):
            optimizer = optimizers[loss.group]
            optimizer.zero_grad()
            loss.value.backward(inputs=optimizer.param_groups[0]["params"])
            optimizer.step()
    return model.network


def our_vera(code, x, n_steps, seed):
    objective = VERA(
        importance_weights=False,
        latent_dim=LATENT,
        generator=functools.partial(PublicGenerator, code[0]),
        posterior_rate=0.02 / RATE,
    )
    return our_steps(objective, code[0], x, n_steps, seed)


def our_jem(code, x, n_steps, seed):
    objective = PCD(
        sampler=Langevin(step_size=SGLD_SCALE),
        n_steps=N_SGLD_STEPS,
        n_reference_tries=0,
        n_chains=None,
        buffer_size=BUFFER,
        reinit_probability=REINIT,
        data_reinit_probability=0.0,
    )
    return our_steps(objective, code[0], x, n_steps, seed)


def our_fit(objective, code, x, n_steps, seed):
    """Train the same energy network by `fit`; only the number of steps is set."""
    model = EBMDensityEstimator(
        objective,
        network=functools.partial(small_net, code[0]),
        reference=None,
        normalizer=None,
        max_iter=math.ceil(n_steps / (len(x) // BATCH)),
        batch_size=BATCH,
        learning_rate=1e-3,
        random_state=seed,
    )
    return model.fit(x.numpy()).network_


def small_net(mlp, n_features, n_outputs):
    return mlp.small_mlp_ebm(n_features, WIDTH, n_outputs)


def box_of(x):
    low, high = x.amin(0), x.amax(0)
    margin = 0.2 * (high - low)
    return UniformBox(low - margin, high + margin)


@torch.no_grad()
def log_likelihood(net, x, fresh, n=500):
    """Return the mean log density of fresh rows, normalised over the box of x."""
    box = box_of(x)
    lines = [
        torch.linspace(float(a), float(b), n)
        for a, b in zip(box.low, box.high, strict=True)
    ]
    cell = (box.high - box.low).log().sum() - 2 * math.log(n - 1)
    grid = torch.cartesian_prod(*lines)
    log_normalizer = torch.logsumexp(net(grid)[:, 0].double(), 0) + cell
    inside = torch.isfinite(box.log_prob(fresh))
    return float(net(fresh[inside])[:, 0].double().mean() - log_normalizer)


def untrained(code, x, n_steps, seed):
    """Return a network of zeros: the uniform density over the box."""
    return lambda rows: torch.zeros(len(rows), 1)


METHODS = {
    "untrained": untrained,
    "VERA, authors' code": public_vera,
    "VERA, our step as published": our_vera,
    "VERA, our fit": functools.partial(our_fit, "vera"),
    "JEM by SGLD, authors' code": public_jem,
    "JEM by SGLD, our step as published": our_jem,
    "pcd, our fit": functools.partial(our_fit, "pcd"),
}
TOYS = {"eight Gaussians": GaussianRing(8, (0, 0), 2.0, 0.2), "rings": TwoRings()}


def main():
    options = parser(__doc__)
    options.add_argument("--code", required=True, help="clone of the authors' code")
    options.add_argument("--steps", type=int, default=5000)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    code = public_modules(args.code)
    rows = []
    for toy, truth in TOYS.items():
        for seed in range(args.seeds):
            X = truth.sample(2000, random_state=seed)
            scale, fresh = X.std(axis=0), truth.sample(20_000, random_state=1000 + seed)
            best = truth.score_samples(fresh).mean() + np.log(scale).sum()
            x, z = (
                torch.tensor((a - X.mean(axis=0)) / scale).float() for a in (X, fresh)
            )
            for method, train in METHODS.items():
                torch.manual_seed(seed)
                started = time.perf_counter()
                net = train(code, x, args.steps, seed)
                seconds = time.perf_counter() - started
                row = {"toy": toy, "method": method, "seed": seed}
                row["gap"] = float(best - log_likelihood(net, x, z))
                row["milliseconds_a_step"] = 1000 * seconds / args.steps
                rows.append(row)
                print(row, flush=True)
    report("published_code", rows, n_steps=args.steps, batch_size=BATCH)


if __name__ == "__main__":
    main()
