"""log Z of tilts with a known one, and the flag on estimates not to be trusted."""

import math

import pytest
import torch
from sklearn.base import clone

import skebm.evaluation
from skebm.evaluation import (
    NORMALIZERS,
    AnnealedImportanceSampling,
    AutoNormalizer,
    ImportanceSampling,
)
from skebm.evaluation.normalizers._log_weights import summarize

LOG_Z = -1.5


class Normal:
    """The reference N(0, I)."""

    def __init__(self, n_features, dtype=torch.float32):
        self.n_features, self.dtype = n_features, dtype

    def log_prob(self, x):
        return -(x.square() + math.log(2 * math.pi)).sum(1) / 2

    def sample(self, n_samples, generator):
        shape = (n_samples, self.n_features)
        return torch.randn(shape, generator=generator, dtype=self.dtype)


class Box:
    """The uniform density on [-4, 4]^d."""

    def __init__(self, n_features):
        self.n_features = n_features

    def log_prob(self, x):
        inside = (x.abs() <= 4).all(1)
        return torch.where(inside, -self.n_features * math.log(8.0), -math.inf)

    def sample(self, n_samples, generator):
        shape = (n_samples, self.n_features)
        return 8 * torch.rand(shape, generator=generator) - 4


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


def tilt(reference, target):
    """Return the energy with q0 exp(-E) = exp(LOG_Z) target."""
    return lambda x: reference.log_prob(x) - target(x) - LOG_Z


def estimate(normalizer, reference, target, seed=0):
    generator = torch.Generator().manual_seed(seed)
    energy = tilt(reference, target)
    return normalizer.estimate(energy, reference, generator=generator)


@pytest.mark.parametrize("target", [gaussian, mixture])
@pytest.mark.parametrize("n_features", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_known_log_z_and_honest_standard_error(n_features, target):
    # benchmarks/log_normalizer.py runs 50 seeds and asserts the tighter bounds.
    z_values = []
    for seed in range(10):
        result = estimate(
            AutoNormalizer(), Normal(n_features), target(n_features), seed
        )
        assert result.trusted and result.reason == ""
        assert result.standard_error < 0.05
        z_values.append((result.log_normalizer - LOG_Z) / result.standard_error)
    z = torch.tensor(z_values)
    assert (z.abs() < 2).sum() >= 8
    assert 0.4 < z.square().mean().sqrt() < 1.6


@pytest.mark.parametrize("sampler", ["mala", "hmc"])
def test_annealing_by_each_sampler(sampler):
    normalizer = AnnealedImportanceSampling(256, sampler, n_temperatures=60)
    result = estimate(normalizer, Normal(5), mixture(5))
    assert result.n_samples == 256
    assert abs(result.log_normalizer - LOG_Z) < 3 * result.standard_error < 0.3


def test_box_reference():
    # The box cuts off 1e-6 of this mixture.
    result = estimate(AnnealedImportanceSampling(), Box(3), mixture(3))
    assert abs(result.log_normalizer - LOG_Z) < 3 * result.standard_error < 0.3


def test_energy_infinite_on_half_of_the_reference():
    def energy(x):
        return torch.where(x[:, 0] > 0, 2 * x.square().sum(1), torch.inf)

    for normalizer in (ImportanceSampling(), AnnealedImportanceSampling()):
        result = normalizer.estimate(
            energy, Normal(4), generator=torch.Generator().manual_seed(0)
        )
        log_z = -math.log(2) - 2 * math.log(5)
        assert abs(result.log_normalizer - log_z) < 4 * result.standard_error < 0.6


def test_importance_sampling_is_kept_where_it_suffices():
    result = estimate(AutoNormalizer(), Normal(4), Normal(4).log_prob)
    assert result.method == "ImportanceSampling"
    assert result.log_normalizer == pytest.approx(LOG_Z, abs=1e-5)
    assert result.effective_sample_size == pytest.approx(1.0)


def test_collapsed_importance_sampling_is_flagged():
    def far(x):
        return Normal(50).log_prob(x - 1.2)

    result = estimate(ImportanceSampling(), Normal(50), far)
    assert not result.trusted
    assert "effective sample size" in result.reason
    assert result.effective_sample_size < 0.01
    annealed = estimate(AutoNormalizer(), Normal(50), far)
    assert annealed.trusted
    assert abs(annealed.log_normalizer - LOG_Z) < 0.2


def test_flags():
    assert "is -inf" in summarize(torch.full((200,), -math.inf), "").reason
    assert "effective" in summarize(torch.zeros(50), "").reason
    assert summarize(torch.zeros(200), "").trusted


def test_energy_of_wrong_shape():
    with pytest.raises(ValueError, match="energy must return shape"):
        ImportanceSampling().estimate(
            torch.square, Normal(2), generator=torch.Generator().manual_seed(0)
        )


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
@pytest.mark.parametrize("name", sorted(NORMALIZERS))
def test_impossible_energies_raise(name, bad):
    with pytest.raises(FloatingPointError, match="NaN or -inf at"):
        NORMALIZERS[name]().estimate(
            lambda x: torch.where(x[:, 0] > 0, bad, 0.0),
            Normal(2),
            generator=torch.Generator().manual_seed(0),
        )


@pytest.mark.parametrize("name", sorted(NORMALIZERS))
def test_contract(name):
    normalizer = clone(NORMALIZERS[name]())
    reference = Normal(3, torch.float64)
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    results = [
        normalizer.estimate(
            lambda x: 3 * x @ weight,
            reference,
            generator=torch.Generator().manual_seed(0),
        )
        for _ in range(2)
    ]
    assert results[0] == results[1]  # one seed, one result
    assert weight.grad is None
    if name != "importance":
        assert results[0].log_normalizer == pytest.approx(13.5, abs=0.3)


def test_names_are_sorted():
    assert list(NORMALIZERS) == sorted(NORMALIZERS)
    assert set(skebm.evaluation.__all__) > {
        kind.__name__ for kind in NORMALIZERS.values()
    }


@pytest.mark.parametrize("sampler", ["gibbs", object()])
def test_unknown_sampler(sampler):
    with pytest.raises(ValueError, match="'sampler' parameter"):
        estimate(AnnealedImportanceSampling(sampler=sampler), Normal(2), gaussian(2))


@pytest.mark.parametrize(
    ("normalizer", "message"),
    [
        (ImportanceSampling(0), "'n_samples'"),
        (AnnealedImportanceSampling(n_temperatures=0), "'n_temperatures'"),
        (AnnealedImportanceSampling(n_temperatures="many"), "'n_temperatures'"),
    ],
)
def test_settings_out_of_range(normalizer, message):
    with pytest.raises(ValueError, match=message):
        estimate(normalizer, Normal(2), gaussian(2))
