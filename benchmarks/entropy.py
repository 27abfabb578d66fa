"""Bias and variance of the gradient of a generator's entropy.

The generator is linear, probabilistic PCA of digits, so the gradient of its entropy in
its axes A is known: d H / d A = C^-1 A, C = A A' + s^2 I. Each method estimates it
from a batch x = A z + b + s e as -mean(score(x) z'): VERA by self-normalised importance
sampling (eta at its optimum), HMC by chains from z, the information bound (MEG) and the
denoising autoencoder (AR-DAE) by networks trained on samples of the fixed generator.

bias: |mean over repeats - exact|, from differences to the estimate that the exact score
gives on the same batch, so that the noise of that estimate cancels; bias_error: the
standard error of bias; deviation: root mean squared deviation of one batch's estimate
from its mean. All are divided by |d H / d A|. An estimate of zero has a bias of 1.
Milliseconds are CPU time per batch.
"""

import time
from functools import partial

import torch
from _report import parser, report
from sklearn.datasets import load_digits

from skebm.networks import GeneratorMLP
from skebm.objectives import MEG, VERAHMC
from skebm.objectives._chain import AdaptiveStep
from skebm.objectives.amortized._entropy import (
    draw_posterior,
    importance_sampled_score,
)
from skebm.objectives.amortized._meg import Discriminator, MEGState
from skebm.objectives.amortized._vera_ardae import ResidualScore


class PPCA:
    """Maximum likelihood PPCA as a generator network with exact score and entropy."""

    def __init__(self, x, latent_dim):
        covariance = torch.cov(x.T)
        values, vectors = torch.linalg.eigh(covariance)
        variance = values[:-latent_dim].mean()
        spread = (values[-latent_dim:] - variance).sqrt()
        self.axes = vectors[:, -latent_dim:] * spread
        self.noise_scale = float(variance.sqrt())
        self.net = GeneratorMLP(latent_dim, x.shape[1], noise_scale=self.noise_scale)
        with torch.no_grad():
            self.net.linear.weight.copy_(self.axes)
            self.net.linear.bias.copy_(x.mean(0))
        eye = torch.eye(latent_dim)
        self.precision = eye + self.axes.T @ self.axes / variance
        self.covariance = self.axes @ self.axes.T + variance * torch.eye(x.shape[1])
        self.mean = x.mean(0)

    def score(self, x):
        """Return the gradient of log q at x."""
        return -torch.linalg.solve(self.covariance, (x - self.mean).T).T

    def entropy_gradient(self):
        """Return d H / d A of H = log det(A A' + s^2 I) / 2 + const."""
        return torch.linalg.solve(self.covariance, self.axes)


def importance_sampling(ppca, n_samples, x, z, rng):
    width = ppca.precision.diagonal().rsqrt()
    draws = draw_posterior(ppca.net, x, z, width, n_samples, rng)
    return importance_sampled_score(draws)


def hamiltonian(ppca, step, n_samples, x, z, rng):
    objective = VERAHMC(n_posterior_samples=n_samples)
    return objective.score(ppca.net, step, x, z, rng)[0]


def information(discriminator, x, z, rng):
    """Return minus MEG's gradient in x; log q(x|z) adds nothing to that in A."""
    del rng
    leaf = x.clone().requires_grad_()
    return -torch.autograd.grad(discriminator(leaf, z).sum(), leaf)[0]


def denoising(score_net, x, z, rng):
    del z, rng
    return score_net(x, torch.zeros(len(x), 1))


def train(parameters, draw_loss, n_steps):
    """Train by Adam, with a rate from 1e-3 to zero by a cosine schedule."""
    optimizer = torch.optim.Adam(parameters, 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(n_steps):
        loss = draw_loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def trained_discriminator(ppca, n_rows, n_steps, rng):
    n_features, latent_dim = ppca.axes.shape
    discriminator = Discriminator(n_features, latent_dim, MEG().hidden_features)
    state = MEGState(ppca.net, torch.nn.Module(), discriminator)

    def draw_loss():
        with torch.no_grad():
            x, z, _ = ppca.net.sample(n_rows, rng)
        return -MEG().information(state, x, z, rng)

    train(discriminator.parameters(), draw_loss, n_steps)
    return discriminator


def trained_score(ppca, n_rows, n_steps, rng):
    score_net = ResidualScore(len(ppca.axes), (128, 128))
    delta = 0.5 * ppca.noise_scale

    def draw_loss():
        with torch.no_grad():
            x = ppca.net.sample(n_rows, rng)[0]
            score_net.see(x, torch.as_tensor(ppca.noise_scale))
        return score_net.denoising_loss(x, delta, rng)

    train(score_net.parameters(), draw_loss, n_steps)
    return score_net


def measure(ppca, estimate, batch, n_repeats, rng):
    """Return the bias, its error and the deviation of the gradient of H(q) in A."""
    exact = ppca.entropy_gradient()
    estimates, differences, seconds = [], [], 0.0
    for _ in range(n_repeats):
        with torch.no_grad():
            x, z, _ = ppca.net.sample(batch, rng)
        started = time.process_time()
        score = estimate(x, z, rng).detach()
        seconds += time.process_time() - started
        estimates.append(-score.T @ z / batch)
        differences.append((ppca.score(x) - score).T @ z / batch)
    differences = torch.stack(differences)
    estimates = torch.stack(estimates)

    def spread(draws):
        return draws.var(0).sum().sqrt() / exact.norm()

    return {
        "bias": float(differences.mean(0).norm() / exact.norm()),
        "bias_error": float(spread(differences)) / n_repeats**0.5,
        "deviation": float(spread(estimates)),
        "milliseconds": 1e3 * seconds / n_repeats,
    }


def main():
    options = parser(__doc__, seeds=3)
    options.add_argument("--latent-dim", type=int, default=16)
    options.add_argument("--batch", type=int, default=200)
    options.add_argument("--repeats", type=int, default=200)
    options.add_argument("--net-steps", type=int, default=4000)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    digits = torch.as_tensor(load_digits().data / 16, dtype=torch.float32)
    digits = (digits - digits.mean(0)) / digits.std()
    ppca, rows = PPCA(digits, args.latent_dim), []
    for seed in range(args.seeds):
        rng = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        discriminator = trained_discriminator(ppca, args.batch, args.net_steps, rng)
        score_net = trained_score(ppca, args.batch, args.net_steps, rng)
        step = AdaptiveStep(0.1)
        methods = {"exact score": lambda x, z, rng: ppca.score(x)}
        methods["vera, 20 draws"] = partial(importance_sampling, ppca, 20)
        methods["vera, 200 draws"] = partial(importance_sampling, ppca, 200)
        methods["hmc, 2 draws"] = partial(hamiltonian, ppca, step, 2)
        methods["hmc, 10 draws"] = partial(hamiltonian, ppca, step, 10)
        methods["meg"] = partial(information, discriminator)
        methods["ar-dae"] = partial(denoising, score_net)
        for name, estimate in methods.items():
            figures = measure(ppca, estimate, args.batch, args.repeats, rng)
            rows.append({"method": name, "seed": seed} | figures)
    report(
        "entropy",
        rows,
        latent_dim=args.latent_dim,
        batch=args.batch,
        repeats=args.repeats,
        net_steps=args.net_steps,
        noise_scale=ppca.noise_scale,
    )


if __name__ == "__main__":
    main()
