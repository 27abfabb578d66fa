"""Estimates of log Z from the model's side, and what they notice."""

import math

import pytest
import torch

from skebm.evaluation import NORMALIZED, AnnealedImportanceSampling
from skebm.evaluation.normalizers._log_weights import LogNormalizer, bracket

LOG_Z = -1.5


class Normal:
    """The reference N(0, I) in two columns."""

    def log_prob(self, x):
        return -(x.square() + math.log(2 * math.pi)).sum(1) / 2

    def sample(self, n_samples, generator):
        return torch.randn(n_samples, 2, generator=generator)


def spike(x):
    """Log density of N((12, 0), 0.01 I), where no reference draw comes near."""
    squares = (x - torch.tensor([12.0, 0.0])).square().sum(1)
    return -50 * squares - math.log(2 * math.pi * 0.01)


def estimate(normalizer, target, rows, seed=0):
    reference = Normal()
    return normalizer.estimate(
        lambda x: reference.log_prob(x) - target(x) - LOG_Z,
        reference,
        generator=torch.Generator().manual_seed(seed),
        rows=rows,
    )


def narrow(x):
    """Log density of N((1, 1), 0.09 I)."""
    return -(x - 1).square().sum(1) / 0.18 - math.log(2 * math.pi * 0.09)


@pytest.mark.parametrize("rows", ["none", "exact", "wide, with an outlier"])
def test_reverse_chains_find_log_z(rows):
    # Burn-in brings home what is too wide, and the outlier is dropped.
    noise = torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    starts = {"none": None, "exact": 1 + 0.3 * noise}.get(rows, 1 + noise)
    if rows == "wide, with an outlier":
        starts[0] = torch.tensor([1e4, -1e15])
    normalizer = AnnealedImportanceSampling(n_temperatures=150)
    for seed in range(2):
        result = estimate(normalizer, narrow, starts, seed)
        assert result.trusted
        error = abs(result.reverse_log_normalizer - LOG_Z)
        assert error < 4 * result.reverse_standard_error < 0.4


def test_rows_betray_a_mode_that_forward_chains_miss():
    def target(x):
        return torch.logaddexp(Normal().log_prob(x), spike(x)) - math.log(2)

    generator = torch.Generator().manual_seed(0)
    rows = Normal().sample(1000, generator)
    rows[:500] = 0.1 * rows[:500] + torch.tensor([12.0, 0.0])
    for normalizer in (AnnealedImportanceSampling(),):
        blind = estimate(normalizer, target, None)
        assert blind.trusted  # its own particles can't know
        assert blind.log_normalizer == pytest.approx(LOG_Z - math.log(2), abs=0.1)
        result = estimate(normalizer, target, rows)
        assert not result.trusted
        assert "reverse chains" in result.reason
        assert result.log_normalizer == pytest.approx(LOG_Z - math.log(2), abs=0.1)
        assert result.reverse_log_normalizer == pytest.approx(LOG_Z, abs=0.15)
        assert result.upper == result.reverse_log_normalizer


def test_upper():
    def result(error, reverse):
        return LogNormalizer(1.0, error, 0.5, 100, "", True, "", reverse, 0.1)

    assert result(0.1, math.nan).upper == pytest.approx(1.2)
    assert result(0.1, 1.1).upper == pytest.approx(1.2)
    assert result(0.1, 1.3).upper == 1.3
    assert NORMALIZED.upper == 0.0


def test_bracket_weighs_the_gap_by_both_errors():
    def joined(reverse, error):
        return bracket(
            LogNormalizer(0.0, 0.1, 0.5, 200, "", True),
            LogNormalizer(-reverse, error, 0.5, 200, "", True),
        )

    assert joined(0.6, 0.1).trusted
    assert not joined(0.75, 0.1).trusted
    assert not joined(-0.75, 0.1).trusted
    assert joined(1.5, 1.0).trusted
