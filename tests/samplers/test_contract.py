"""The contract of every sampler besides its invariant density."""

import math

import pytest
import torch
from sklearn.base import clone

import skebm.samplers
from skebm.samplers import (
    HMC,
    MALA,
    SAMPLERS,
    AbstractMetropolisSampler,
    AugmentedLangevin,
    BlockGibbs,
    Jitter,
    Langevin,
    LatentLangevin,
    ParallelTempering,
    make_sampler,
)

METROPOLIS = {
    name: kind
    for name, kind in SAMPLERS.items()
    if issubclass(kind, AbstractMetropolisSampler)
}


class Quadratic:
    """|x|^2 / 2, with conditionals for those who ask for them."""

    def __call__(self, x):
        return x.square().sum(1) / 2

    def sample_blocks(self, x, generator):
        return torch.randn(x.shape, generator=generator, dtype=x.dtype)


quadratic = Quadratic()


def identity(z):
    return z


def in_latents(sampler):
    return LatentLangevin(identity, sampler)


@pytest.fixture(params=[*sorted(SAMPLERS), "latent_langevin"])
def sampler(request):
    if request.param == "latent_langevin":
        return LatentLangevin(identity)
    return SAMPLERS[request.param]()


@pytest.fixture(params=[*sorted(METROPOLIS), "parallel_tempering", "latent_langevin"])
def rejecting(request):
    """Make a sampler that rejects impossible proposals, by its step size."""
    if request.param == "parallel_tempering":
        return lambda step_size: ParallelTempering(MALA(step_size=step_size), (1, 2))
    if request.param == "latent_langevin":
        return lambda step_size: LatentLangevin(identity, MALA(step_size=step_size))
    return lambda step_size: METROPOLIS[request.param](step_size=step_size)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_names_are_sorted_and_complete():
    names = skebm.samplers.__all__
    assert set(names) >= {kind.__name__ for kind in SAMPLERS.values()}
    assert list(SAMPLERS) == sorted(SAMPLERS)


def test_make_sampler():
    assert isinstance(make_sampler("mala"), MALA)
    sampler = HMC(step_size=0.3)
    assert make_sampler(sampler) is sampler
    with pytest.raises(ValueError, match=r"sampler must be one of .*'nuts'"):
        make_sampler("nuts")


def test_clone_and_repr(sampler):
    assert repr(clone(sampler)) == repr(sampler)
    for name, value in sampler.get_params(deep=False).items():
        assert getattr(sampler, name) is value


@pytest.mark.parametrize("kind", [MALA, HMC, Langevin])
def test_set_params(kind):
    changed = clone(kind()).set_params(step_size=0.3)
    assert changed.step_size == 0.3
    assert "step_size=0.3" in repr(changed)
    wrapped = ParallelTempering(kind()).set_params(sampler__step_size=0.3)
    assert wrapped.sampler.step_size == 0.3


def test_shapes_dtype_and_diagnostics(sampler, generator):
    x0 = torch.zeros(7, 3, dtype=torch.float64)
    x, diagnostics = sampler.run(quadratic, x0, n_steps=4, generator=generator)
    assert x.shape == (7, 3) and x.dtype == torch.float64
    assert not x.requires_grad
    assert x0.eq(0).all()
    expected = {"acceptance", "effective_sample_size", "r_hat", "step_size"}
    if isinstance(sampler, ParallelTempering):
        expected.add("swap_acceptance")
    if isinstance(sampler, BlockGibbs):
        expected.remove("step_size")
    assert set(diagnostics) == expected
    assert 0.5 < diagnostics["acceptance"] <= 1.0
    if sampler.for_run(4).n_warm_up():  # the first steps are too short
        assert diagnostics["step_size"] > 0.15
    else:
        assert diagnostics.get("step_size", 0.1) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "sampler",
    [MALA(), HMC(), LatentLangevin(identity), ParallelTempering("mala", (1, 4))],
    ids=lambda sampler: type(sampler).__name__,
)
def test_defaults_adapt_and_reach_the_density(sampler, generator):
    """From a point, with a first step far too short for the number of steps."""
    x, diagnostics = sampler.run(
        quadratic, torch.zeros(2000, 2), n_steps=100, generator=generator
    )
    # Latents have a normal density of their own beside the energy's.
    variance = 0.5 if isinstance(sampler, LatentLangevin) else 1.0
    torch.testing.assert_close(
        x.var(dim=0), torch.full((2,), variance), rtol=0.1, atol=0
    )
    assert diagnostics["r_hat"] < 1.15
    assert "auto" in repr(sampler.get_params()) or isinstance(sampler.sampler, str)


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
    class Weighted(Quadratic):
        weight = torch.ones(2, requires_grad=True)

        def __call__(self, x):
            return (x @ self.weight).square()

    with torch.no_grad():  # as a scoring method would call it
        x0 = torch.ones(5, 2)
        x, _ = sampler.run(Weighted(), x0, n_steps=2, generator=generator)
    assert Weighted.weight.grad is None
    assert Weighted.weight.requires_grad
    assert not x.requires_grad


def test_stays_inside_the_support(rejecting, generator):
    def box(x):
        inside = ((x >= 0) & (x <= 1)).all(1)
        return torch.where(inside, quadratic(x), torch.inf)

    x0 = torch.rand(500, 2, generator=generator)
    x, diagnostics = rejecting(0.5).run(box, x0, n_steps=50, generator=generator)
    assert ((x >= 0) & (x <= 1)).all()
    assert diagnostics["acceptance"] < 0.9


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_proposals_are_rejected(rejecting, generator, bad):
    def cliff(x):
        return torch.where(x[:, 0] > 0, bad, quadratic(x))

    x0 = -torch.rand(200, 2, generator=generator)
    x, _ = rejecting(1.0).run(cliff, x0, n_steps=20, generator=generator)
    assert (x[:, 0] <= 0).all()
    assert x.isfinite().all()


def test_chains_leave_a_start_outside_the_support(rejecting, generator):
    def half_space(x):
        return torch.where(x[:, 0] > 0, quadratic(x), torch.inf)

    x0 = torch.full((100, 1), -0.1)
    x, _ = rejecting(0.5).run(half_space, x0, n_steps=50, generator=generator)
    assert (x > 0).float().mean() > 0.9


def test_constant_energy(sampler, generator):
    class Constant(Quadratic):
        def __call__(self, x):
            return torch.zeros(len(x))

    x0 = torch.zeros(5, 2)
    x, diagnostics = sampler.run(Constant(), x0, n_steps=1, generator=generator)
    assert diagnostics["acceptance"] > 0.98  # of latents, whose prior counts, too
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
    ("x0", "n_steps", "message"),
    [
        (torch.zeros(3), 1, "x0 must have shape"),
        (torch.zeros(0, 2), 1, "x0 must have shape.*neither of them 0"),
        (torch.zeros(3, 2, dtype=torch.int64), 1, "x0 .* floating dtype.*int64"),
        (torch.zeros(3, 2), -1, "n_steps must be an integer of at least 0"),
        (torch.zeros(3, 2), 2.5, "n_steps must be an integer of at least 0"),
    ],
)
def test_errors(sampler, generator, x0, n_steps, message):
    with pytest.raises(ValueError, match=message):
        sampler.run(quadratic, x0, n_steps=n_steps, generator=generator)


def test_without_a_generator(sampler):
    with pytest.raises(ValueError, match=r"generator must be a torch.Generator.*None"):
        sampler.run(quadratic, torch.zeros(3, 2), n_steps=1, generator=None)


METROPOLIS_SETTINGS = [
    *[("step_size", value) for value in (0.0, -1.0, math.nan, math.inf, "big")],
    *[("n_adapt", value) for value in (-5, 2.5)],
    *[("target_acceptance", value) for value in (0.0, 1.0, math.nan)],
]
LANGEVIN_SETTINGS = [
    *[("step_size", value) for value in (0.0, math.inf, None)],
    *[("noise_scale", value) for value in (-0.1, math.nan)],
    *[("gradient_clip", value) for value in (0.0, -1.0)],
]
OUT_OF_RANGE = [
    *[(MALA(), *setting) for setting in METROPOLIS_SETTINGS],
    *[(HMC(), *setting) for setting in METROPOLIS_SETTINGS],
    *[(HMC(), "n_leapfrog_steps", value) for value in (0, -1, 1.5)],
    *[(HMC(), "jitter", value) for value in (-1.0, 3.0, math.nan)],
    *[(Langevin(), *setting) for setting in LANGEVIN_SETTINGS],
    *[(AugmentedLangevin(), *setting) for setting in LANGEVIN_SETTINGS],
    *[(AugmentedLangevin(), "interval", value) for value in (0, 1.5)],
    *[(AugmentedLangevin(), "transitions", value) for value in ((), Jitter(), [1])],
    *[(ParallelTempering(), "temperatures", value) for value in (4, (1, math.inf))],
    (LatentLangevin(identity), "decode", None),
]


@pytest.mark.parametrize("wrap", [lambda s: s, ParallelTempering, in_latents])
@pytest.mark.parametrize(("sampler", "name", "value"), OUT_OF_RANGE)
def test_settings_out_of_range(sampler, name, value, wrap, generator):
    bad = clone(sampler).set_params(**{name: value})
    kind = type(bad).__name__
    with pytest.raises(ValueError, match=f"{name!r} parameter of {kind} must be .*Got"):
        wrap(bad).run(quadratic, torch.zeros(3, 2), n_steps=1, generator=generator)


@pytest.mark.parametrize("wrap", [ParallelTempering, in_latents])
@pytest.mark.parametrize("inner", [HMC, None, [1], "nuts"])
def test_wrapped_samplers_that_are_none(wrap, inner, generator):
    with pytest.raises(ValueError, match=r"sampler must be one of .* got"):
        wrap(inner).run(quadratic, torch.zeros(3, 2), n_steps=1, generator=generator)


def test_energy_of_wrong_shape(sampler, generator):
    class Square(Quadratic):
        def __call__(self, x):
            return x.square()

    with pytest.raises(ValueError, match="energy must return shape"):
        sampler.run(Square(), torch.zeros(3, 2), n_steps=1, generator=generator)
