"""Transitions of images: shifts, scales, units, and the densities they keep."""

import pytest
import torch
from torch.nn import functional

from skebm.samplers import (
    AugmentedLangevin,
    GaussianBlur,
    RandomFlip,
    RandomRescale,
    RandomShift,
)
from skebm.samplers._augmented import in_units

SHAPE = (2, 6, 5)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_shifts_go_round_the_edge(generator):
    images = torch.randn(300, *SHAPE, generator=generator)
    moved = RandomShift(SHAPE)(images.flatten(1), generator).unflatten(1, SHAPE)
    found = torch.zeros(300)
    shares = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            same = (
                (moved == images.roll((-down, -right), dims=(2, 3))).flatten(1).all(1)
            )
            found += same
            shares.append(same.float().mean())
    assert (found == 1).all()
    assert min(shares) > 0.05 and max(shares) < 0.18


def test_scaling_about_the_centre(generator):
    """A ramp becomes a steeper or a flatter ramp, of the same value at the centre."""
    ramp = torch.arange(9.0).expand(1, 1, 9, 9)
    for _ in range(10):
        scaled = RandomRescale((1, 9, 9), 1.5)(ramp.flatten(1), generator)
        line = scaled.reshape(9, 9)
        torch.testing.assert_close(line, line[:1].expand(9, 9))
        slope = line[0, 5] - line[0, 4]
        assert 1 / 1.5 - 1e-4 < slope < 1.5 + 1e-4 and slope != 1
        torch.testing.assert_close(line[0, 3:6], 4 + slope * torch.tensor([-1.0, 0, 1]))


@pytest.mark.parametrize("transition", [RandomFlip(SHAPE), RandomShift(SHAPE, 2)])
def test_a_density_of_that_symmetry_stays(transition, generator):
    """A normal whose covariance no flip and no shift changes."""
    filters = torch.zeros(SHAPE)
    filters[:, :2, [0, 1, -1]] = torch.tensor([[1.0, 0.4, 0.4], [0.5, -0.3, -0.3]])
    spectrum = torch.fft.rfft2(filters)

    def draw(n):
        noise = torch.randn(n, *SHAPE, generator=generator)
        return torch.fft.irfft2(torch.fft.rfft2(noise) * spectrum, s=SHAPE[1:])

    x = draw(40_000).flatten(1)
    moved = transition(x, generator)
    assert not torch.equal(moved, x)
    columns = slice(0, None, 7)
    torch.testing.assert_close(
        torch.cov(moved.T)[columns, columns],
        torch.cov(draw(40_000).flatten(1).T)[columns, columns],
        atol=0.08,
        rtol=0,
    )
    assert (torch.cov(GaussianBlur(SHAPE)(x, generator).T).trace()) < 0.9 * torch.cov(
        x.T
    ).trace()


def test_transitions_act_on_pixels_of_standardised_rows(generator):
    location = torch.randn(60, generator=generator)
    scale = torch.rand(60, generator=generator) + 0.5
    scale[7] = 0.0
    x = torch.randn(30, 60, generator=generator)
    (transition,) = in_units([RandomFlip(SHAPE)], location, scale)
    saved = generator.get_state()
    moved = transition(x, generator)
    generator.set_state(saved)
    pixels = RandomFlip(SHAPE)(location + scale * x, generator)
    varies = scale > 0
    torch.testing.assert_close((location + scale * moved)[:, varies], pixels[:, varies])
    assert torch.equal(moved[:, 7], x[:, 7])


def test_a_sampler_makes_a_transition_every_few_steps(generator):
    calls = []

    def count(x, generator):
        calls.append(len(x))
        return x

    sampler = AugmentedLangevin(0.1, transitions=[count], interval=4)
    sampler = sampler.in_units(torch.zeros(3), torch.ones(3))
    x0 = torch.zeros(5, 3)
    sampler.run(lambda x: x.square().sum(1), x0, n_steps=9, generator=generator)
    assert calls == [5, 5, 5]
    assert functional.mse_loss(x0, torch.zeros(5, 3)) == 0
