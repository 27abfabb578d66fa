"""What every sampler promises besides its invariant density."""

import pytest
import torch
from sklearn.base import clone

import skebm.samplers
from skebm.samplers import HMC, MALA, SAMPLERS


def quadratic(x):
    return x.square().sum(1) / 2


@pytest.fixture(params=sorted(SAMPLERS))
def sampler(request):
    return SAMPLERS[request.param]()


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_names_are_sorted_and_complete():
    names = skebm.samplers.__all__
    assert set(names) >= {kind.__name__ for kind in SAMPLERS.values()}
    assert list(SAMPLERS) == sorted(SAMPLERS)


def test_clone_and_repr(sampler):
    changed = clone(sampler).set_params(step_size=0.3)
    assert changed.step_size == 0.3
    assert "step_size=0.3" in repr(changed)


def test_shapes_dtype_and_diagnostics(sampler, generator):
    x0 = torch.zeros(7, 3, dtype=torch.float64)
    x, diagnostics = sampler.run(quadratic, x0, n_steps=4, generator=generator)
    assert x.shape == (7, 3) and x.dtype == torch.float64
    assert not x.requires_grad
    assert x0.eq(0).all()
    assert set(diagnostics) == {
        "acceptance",
        "effective_sample_size",
        "r_hat",
        "step_size",
    }
    assert 0.9 < diagnostics["acceptance"] <= 1.0
    assert diagnostics["step_size"] == pytest.approx(sampler.step_size)


def test_no_steps_leave_x(sampler, generator):
    x0 = torch.randn(5, 2, generator=generator)
    x, _ = sampler.run(quadratic, x0, n_steps=0, generator=generator)
    assert torch.equal(x, x0)


def test_one_seed_one_result(sampler):
    runs = [
        sampler.run(
            quadratic,
            torch.ones(5, 2),
            n_steps=3,
            generator=torch.Generator().manual_seed(1),
        )[0]
        for _ in range(2)
    ]
    assert torch.equal(*runs)


def test_parameters_receive_no_gradient(sampler, generator):
    weight = torch.ones(2, requires_grad=True)
    with torch.no_grad():  # as a scoring method would call it
        sampler.run(
            lambda x: (x @ weight).square(),
            torch.ones(5, 2),
            n_steps=2,
            generator=generator,
        )
    assert weight.grad is None
    assert weight.requires_grad


def test_stays_inside_the_support(sampler, generator):
    def box(x):
        inside = ((x >= 0) & (x <= 1)).all(1)
        return torch.where(inside, quadratic(x), torch.inf)

    x0 = torch.rand(500, 2, generator=generator)
    sampler.set_params(step_size=0.5)
    x, diagnostics = sampler.run(box, x0, n_steps=50, generator=generator)
    assert ((x >= 0) & (x <= 1)).all()
    assert diagnostics["acceptance"] < 0.9


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_proposals_are_rejected(sampler, generator, bad):
    def cliff(x):
        return torch.where(x[:, 0] > 0, bad, quadratic(x))

    x0 = -torch.rand(200, 2, generator=generator)
    sampler.set_params(step_size=1.0)
    x, _ = sampler.run(cliff, x0, n_steps=20, generator=generator)
    assert (x[:, 0] <= 0).all()
    assert x.isfinite().all()


def test_chains_leave_a_start_outside_the_support(sampler, generator):
    def half_space(x):
        return torch.where(x[:, 0] > 0, quadratic(x), torch.inf)

    x0 = torch.full((100, 1), -0.1)
    sampler.set_params(step_size=0.5)
    x, _ = sampler.run(half_space, x0, n_steps=50, generator=generator)
    assert (x > 0).float().mean() > 0.9


def test_constant_energy(sampler, generator):
    x, diagnostics = sampler.run(
        lambda x: torch.zeros(len(x)), torch.zeros(5, 2), n_steps=1, generator=generator
    )
    assert diagnostics["acceptance"] == 1.0
    assert x.ne(0).all()


@pytest.mark.parametrize("start", [1e-3, 20.0])
@pytest.mark.parametrize("kind", [MALA, HMC])
def test_adaptation_reaches_the_target(kind, start, generator):
    sampler = kind(step_size=start, n_adapt=60, target_acceptance=0.7)
    x0 = torch.randn(500, 10, generator=generator)
    _, diagnostics = sampler.run(quadratic, x0, n_steps=120, generator=generator)
    assert diagnostics["acceptance"] == pytest.approx(0.7, abs=0.1)
    assert 0.2 < diagnostics["step_size"] < 2.5


def test_chunks_change_nothing(monkeypatch):
    def draw():
        return HMC(step_size=0.3).run(
            quadratic,
            torch.ones(10, 2),
            n_steps=3,
            generator=torch.Generator().manual_seed(0),
        )[0]

    whole = draw()
    monkeypatch.setattr("skebm.samplers._point._CHUNK_ELEMENTS", 6)
    assert torch.allclose(draw(), whole)


@pytest.mark.parametrize(
    ("settings", "x0", "n_steps", "message"),
    [
        ({"step_size": 0.0}, torch.zeros(3, 2), 1, "step_size must be positive"),
        ({"target_acceptance": 1.0}, torch.zeros(3, 2), 1, "target_acceptance"),
        ({}, torch.zeros(3), 1, "x0 must have shape"),
        ({}, torch.zeros(3, 2), -1, "n_steps must be at least 0"),
    ],
)
def test_errors(sampler, generator, settings, x0, n_steps, message):
    sampler.set_params(**settings)
    with pytest.raises(ValueError, match=message):
        sampler.run(quadratic, x0, n_steps=n_steps, generator=generator)


def test_energy_of_wrong_shape(sampler, generator):
    with pytest.raises(ValueError, match="energy must return shape"):
        sampler.run(torch.square, torch.zeros(3, 2), n_steps=1, generator=generator)
