"""Errors of log Z and of its standard error, and checks that detect a wrong estimate.

The targets are tilts of N(0, I) with known log Z, in several dimensions and over many
seeds: a Gaussian, a mixture, and a mixture with a distant mode that no forward particle
can find. Measured are the fraction of estimates within two standard errors, the root
mean square of the z values, the largest standard error; the error of the reverse
estimate, started at rows of the target; the fraction of seeds in which `upper` is over
0.1 nats too low; the integral of the density with the estimated log Z; CPU seconds per
estimate.

    python benchmarks/log_normalizer.py --seeds 50
"""

from __future__ import annotations

import math
import time

import _report
import numpy as np
import torch

from skebm.evaluation import AutoNormalizer, probability_mass

LOG_Z = -1.5
BOUNDS = {"within_2_se": 0.88, "rms_z_low": 0.6, "rms_z_high": 1.4, "max_se": 0.05}


class Normal:
    """The reference N(0, I)."""

    def __init__(self, n_features):
        self.n_features = n_features

    def log_prob(self, x):
        """Return log q0(x)."""
        return -(x.square() + math.log(2 * math.pi)).sum(1) / 2

    def sample(self, n_samples, generator):
        """Return draws."""
        return torch.randn(n_samples, self.n_features, generator=generator)


def gaussian(n_features):
    """Return log N(mu, S): |mu| = 2, eigenvalues of S from 0.1 to 1, random axes."""
    generator = torch.Generator().manual_seed(1)
    axes = torch.linalg.qr(torch.randn(n_features, n_features, generator=generator))[0]
    scales = torch.logspace(-0.5, 0, n_features)
    mean = 2 / math.sqrt(n_features)
    log_scale = float(scales.log().sum()) + n_features * math.log(2 * math.pi) / 2
    return lambda x: -(((x - mean) @ axes) / scales).square().sum(1) / 2 - log_scale


def mixture(n_features):
    """Return log of 0.8 N(2 e_1, I/4) + 0.2 N(-2 e_1, I/4)."""
    log_scale = n_features * math.log(math.pi / 2) / 2

    def log_prob(x):
        rest = x[:, 1:].square().sum(1)
        left = math.log(0.8) - 2 * ((x[:, 0] - 2).square() + rest)
        right = math.log(0.2) - 2 * ((x[:, 0] + 2).square() + rest)
        return torch.logaddexp(left, right) - log_scale

    return log_prob


def draws(target, n_features, n, generator):
    """Return n rows of a target."""
    z = torch.randn(n, n_features, generator=generator)
    if target == "gaussian":
        axes_generator = torch.Generator().manual_seed(1)
        axes = torch.randn(n_features, n_features, generator=axes_generator)
        axes = torch.linalg.qr(axes)[0]
        scales = torch.logspace(-0.5, 0, n_features)
        return 2 / math.sqrt(n_features) + (z * scales) @ axes.T
    first = torch.rand(n, generator=generator)
    if target == "mixture":
        z /= 2
        z[:, 0] += torch.where(first < 0.8, 2.0, -2.0)
        return z
    far = first < 0.5
    z[far] *= 0.1
    z[far, 0] += 12
    return z


def far_mode(n_features):
    """Return log of 0.5 N(0, I) + 0.5 N(12 e_1, I/100)."""
    log_scale = n_features * math.log(2 * math.pi) / 2

    def log_prob(x):
        rest = x[:, 1:].square().sum(1)
        near = -(x[:, 0].square() + rest) / 2 - log_scale
        far = -50 * ((x[:, 0] - 12).square() + rest) - log_scale
        far += n_features * math.log(10)
        return torch.logaddexp(near, far) - math.log(2)

    return log_prob


class Estimated:
    """An unnormalised density, normalised by an estimate of log Z."""

    def __init__(self, log_density, rows):
        self.log_density, self.rows = log_density, rows

    def score_samples(self, X):
        """Return the log density."""
        return self.log_density(torch.from_numpy(X).float()).numpy()

    def sample(self, n_samples, random_state):
        """Return rows instead of samples."""
        chosen = np.random.RandomState(random_state).randint(
            len(self.rows), size=n_samples
        )
        return self.rows[chosen]


TARGETS = {"gaussian": gaussian, "mixture": mixture, "far_mode": far_mode}


def study(target, n_features, n_seeds):
    """Return one row of the table."""
    reference, log_prob = Normal(n_features), TARGETS[target](n_features)
    rows = draws(target, n_features, 2000, torch.Generator().manual_seed(5))

    def energy(x):
        return reference.log_prob(x) - log_prob(x) - LOG_Z

    start = time.process_time()
    results = [
        AutoNormalizer().estimate(
            energy, reference, generator=torch.Generator().manual_seed(seed), rows=rows
        )
        for seed in range(n_seeds)
    ]
    seconds = (time.process_time() - start) / n_seeds
    errors = torch.tensor([r.log_normalizer - LOG_Z for r in results])
    standard_errors = torch.tensor([r.standard_error for r in results])
    reverse = torch.tensor([r.reverse_log_normalizer - LOG_Z for r in results])
    z = errors / standard_errors
    row = {
        "target": target,
        "n_features": n_features,
        "method": results[0].method,
        "within_2_se": int((z.abs() < 2).sum()) / n_seeds,
        "rms_z": float(z.square().mean().sqrt()),
        "mean_error": float(errors.mean()),
        "max_abs_error": float(errors.abs().max()),
        "median_se": float(standard_errors.median()),
        "max_se": float(standard_errors.max()),
        "upper_too_low": sum(r.upper < LOG_Z - 0.1 for r in results) / n_seeds,
        "trusted": sum(r.trusted for r in results) / n_seeds,
        "cpu_seconds": seconds,
    }
    if not reverse.isnan().any():
        row["reverse_mean_error"] = float(reverse.mean())
        row["reverse_max_abs_error"] = float(reverse.abs().max())
    if n_features <= 10:
        level = results[0].log_normalizer
        model = Estimated(lambda x: log_prob(x) + LOG_Z - level, rows.double().numpy())
        mass = probability_mass(model, rows.double().numpy(), random_state=0)
        row |= {"mass": mass.mass, "mass_se": mass.standard_error}
    if target == "far_mode":
        missed = errors < -0.1
        found = torch.tensor([not r.trusted for r in results]) | ~missed
        row["passed"] = bool(found.all()) and row["upper_too_low"] <= 0.1
        return row
    exact = results[0].method == "Quadrature"
    row["passed"] = (
        row["max_abs_error"] < 2e-3
        if exact
        else (
            row["within_2_se"] >= BOUNDS["within_2_se"]
            and BOUNDS["rms_z_low"] <= row["rms_z"] <= BOUNDS["rms_z_high"]
            and row["max_se"] < BOUNDS["max_se"]
        )
    )
    return row


def main():
    options = _report.parser(__doc__, seeds=50)
    options.add_argument("--dimensions", type=int, nargs="+", default=[2, 8, 20, 64])
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [
        study(target, n_features, arguments.seeds)
        for target in TARGETS
        for n_features in arguments.dimensions
    ]
    _report.report("log_normalizer", rows, seeds=arguments.seeds, bounds=BOUNDS)


if __name__ == "__main__":
    main()
