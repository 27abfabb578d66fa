"""Whether log Z is right and its standard error honest.

Tilts of N(0, I) to a Gaussian and to a mixture, whose log Z is known, in several
dimensions and over many seeds: share of estimates within two standard errors, root
mean square of the z values, largest standard error, seconds an estimate.

    python benchmarks/log_normalizer.py --seeds 50
"""

from __future__ import annotations

import math
import time

import _report
import torch

from skebm.evaluation import AutoNormalizer, annealed_samples

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


TARGETS = {"gaussian": gaussian, "mixture": mixture}


def study(target, n_features, n_seeds):
    """Return one row of the table."""
    reference, log_prob = Normal(n_features), TARGETS[target](n_features)

    def energy(x):
        return reference.log_prob(x) - log_prob(x) - LOG_Z

    start = time.perf_counter()
    results = [
        AutoNormalizer().estimate(
            energy, reference, generator=torch.Generator().manual_seed(seed)
        )
        for seed in range(n_seeds)
    ]
    seconds = (time.perf_counter() - start) / n_seeds
    errors = torch.tensor([r.log_normalizer - LOG_Z for r in results])
    standard_errors = torch.tensor([r.standard_error for r in results])
    z = errors / standard_errors
    start = time.perf_counter()
    annealed_samples(
        energy, reference, 1000, generator=torch.Generator().manual_seed(0)
    )
    row = {
        "target": target,
        "n_features": n_features,
        "within_2_se": int((z.abs() < 2).sum()) / n_seeds,
        "rms_z": float(z.square().mean().sqrt()),
        "mean_error": float(errors.mean()),
        "max_abs_error": float(errors.abs().max()),
        "median_se": float(standard_errors.median()),
        "max_se": float(standard_errors.max()),
        "trusted": sum(r.trusted for r in results) / n_seeds,
        "seconds": seconds,
        "seconds_1000_samples": time.perf_counter() - start,
    }
    row["passed"] = (
        row["within_2_se"] >= BOUNDS["within_2_se"]
        and BOUNDS["rms_z_low"] <= row["rms_z"] <= BOUNDS["rms_z_high"]
        and row["max_se"] < BOUNDS["max_se"]
    )
    return row


def main():
    options = _report.parser(__doc__, seeds=50)
    options.add_argument("--dimensions", type=int, nargs="+", default=[2, 20, 64])
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
