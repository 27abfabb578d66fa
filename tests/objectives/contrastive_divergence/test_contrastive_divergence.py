"""Contrastive divergence: gradients and chains against what is known exactly."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from torch import nn

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.exceptions import NonFiniteChainError
from skebm.networks import EnergyModel
from skebm.objectives import CD, PCD, Batch, ImprovedCD, ShortRun
from skebm.objectives._chain import ChainKernel, jump
from skebm.objectives.contrastive_divergence._improved_cd import neighbor_entropy
from skebm.references import GaussianMixtureDensity, UniformBox
from skebm.samplers import HMC, MALA, BlockGibbs, Langevin


class Ridges(nn.Module):
    """A critic that is linear in its parameters: two modes and a slope."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.2, -0.8, 0.5], dtype=torch.float64))

    def features(self, x):
        waves = [torch.cos(3 * x[:, 0]), torch.sin(2 * x[:, 1]), torch.sin(x.sum(1))]
        return torch.stack(waves, dim=1)

    def forward(self, x):
        return self.features(x) @ self.weight[:, None]


def gaussian(n_features=2):
    return GaussianMixtureDensity(
        torch.ones(1, dtype=torch.float64),
        torch.full((1, n_features), 0.3, dtype=torch.float64),
        torch.eye(n_features, dtype=torch.float64)[None] / 0.8,
    )


def box():
    side = torch.ones(2, dtype=torch.float64)
    return UniformBox(-2 * side, 1.5 * side)


REFERENCES = {"gaussian": gaussian, "box": box}


def moments(model, half_width=6.0, n=600):
    """Return mean and variance of the features under the model, by quadrature."""
    side = torch.linspace(-half_width, half_width, n, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        weight = torch.softmax(model.log_prob_unnormalized(grid), dim=0)
        features = model.network.features(grid)
    mean = weight @ features
    return mean, weight @ (features - mean) ** 2


N_CHAINS = 4000
LONG = {"sampler": MALA(step_size=0.7), "n_steps": 80}
MIXING = {
    "cd": CD(**LONG),
    "pcd": PCD(**LONG, n_chains=N_CHAINS, buffer_size=N_CHAINS, reinit_probability=0.1),
    "short_run": ShortRun(**LONG, n_chains=N_CHAINS),
    "short_run by HMC alone": ShortRun(
        HMC(step_size=0.4), n_steps=60, n_reference_tries=0, n_chains=N_CHAINS
    ),
    "improved_cd": ImprovedCD(
        **LONG, n_chains=N_CHAINS, buffer_size=N_CHAINS, kl_weight=0.0
    ),
}


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("name", MIXING)
def test_chains_that_mix_give_the_gradient_of_the_likelihood(name, reference):
    """d/dw E_data[E] - d/dw E_p[E], here -E_data[features] + E_p[features]."""
    objective = MIXING[name]
    rng = torch.Generator().manual_seed(1)
    model = EnergyModel(Ridges(), REFERENCES[reference]())
    x = model.reference.sample(N_CHAINS, rng)
    state = objective.init(model, model.reference, rng)
    (loss,) = objective.step(model, Batch(x), state, rng)
    (gradient,) = torch.autograd.grad(loss.value, model.network.weight)
    mean, variance = moments(model)
    exact = mean - model.network.features(x).mean(0)
    standard_error = (variance / N_CHAINS).sqrt()
    assert ((gradient - exact).abs() < 3 * standard_error).all()
    # The start alone would not do: the chains have had to move.
    start = model.network.features(x).mean(0)
    assert ((start - mean).abs() > 6 * standard_error).any()


def test_weights_carry_over_to_chains_from_the_data():
    rng = torch.Generator().manual_seed(0)
    model = EnergyModel(Ridges(), gaussian())
    x, weight = torch.randn(8, 2, generator=rng).double(), torch.arange(8.0).double()
    objective = CD(n_steps=2)
    state = objective.init(model, model.reference, rng)
    negatives = objective.negatives(model, Batch(x, weight=weight), state, rng)
    assert torch.equal(negatives.rows.weight, weight)


class Flat(nn.Module):
    """A critic of zero."""

    def forward(self, x):
        return torch.zeros_like(x[:, :1])


class Quadratic(nn.Module):
    """Critic of E(x) = x' A x / 2."""

    def __init__(self, n_features, rng):
        super().__init__()
        root = torch.randn(n_features, n_features, generator=rng, dtype=torch.float64)
        self.matrix = nn.Parameter(root @ root.T / n_features)

    def forward(self, x):
        return -0.5 * ((x @ self.matrix) * x).sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("sampler", "noise_scale", "clip"),
    [
        (MALA(), 0.4, 1e9),
        (HMC(), 0.4, 1e9),
        (Langevin(0.4), 0.4, 1e9),
        (Langevin(0.4, noise_scale=0.05), 0.05, 1e9),
        (Langevin(0.4, noise_scale=0.05, gradient_clip=0.8), 0.05, 0.8),
    ],
    ids=["MALA", "HMC", "Langevin", "decoupled noise", "clipped"],
)
@pytest.mark.parametrize("n_kl_steps", [1, 3])
def test_the_divergence_passes_through_the_last_steps_only(
    n_kl_steps, sampler, noise_scale, clip
):
    """For a quadratic energy the last steps are known maps, and so is U."""
    rng = torch.Generator().manual_seed(0)
    n, d = 40, 3
    reference = gaussian(d)
    model = EnergyModel(Quadratic(d, rng), reference)
    objective = ImprovedCD(
        sampler, n_kl_steps=n_kl_steps, neighbor_entropy_weight=0.7, n_neighbors=50
    )
    state = objective.init(model, reference, rng)
    start, places = state.buffer.rows[:n].clone(), torch.arange(n)
    step_size = torch.tensor(0.4, dtype=torch.float64)
    saved = rng.get_state()
    value = objective._divergence(model, start, places, step_size, state, rng)
    (gradient,) = torch.autograd.grad(value, model.network.matrix)

    rng.set_state(saved)
    free = model.network.matrix.detach().clone().requires_grad_()
    precision = 0.8**2 * torch.eye(d, dtype=torch.float64)  # of the reference
    mean = 0.3

    def potential(x, matrix):
        centred = x - mean
        tilt = ((x @ matrix) * x).sum(1) / 2
        log_q0 = -((centred @ precision) * centred).sum(1) / 2
        constant = 0.5 * torch.logdet(precision) - d / 2 * math.log(2 * math.pi)
        return tilt - log_q0 - constant

    def exact(matrix_of_energy):
        rng.set_state(saved)
        x = start
        for _ in range(n_kl_steps):
            slope = x @ (free + free.T) / 2 + (x - mean) @ precision
            lengths = slope.norm(dim=1, keepdim=True)
            slope = torch.where(lengths > clip, slope * clip / lengths, slope)
            noise = torch.randn(n, d, generator=rng, dtype=torch.float64)
            x = x - step_size**2 / 2 * slope + noise_scale * noise
        order = torch.randperm(len(state.buffer), generator=rng)[:50]
        distances = (x[:, None] - state.buffer.rows[order]).norm(dim=2)
        distances = distances + 1e9 * (order == places[:, None])
        entropy = d * distances.amin(1).log().mean()
        return potential(x, matrix_of_energy).mean() - 0.7 * entropy

    expected = exact(free.detach())
    (expected_gradient,) = torch.autograd.grad(expected, free)
    assert value.item() == pytest.approx(expected.item(), rel=1e-10)
    scale = expected_gradient.abs().max()
    assert (gradient - expected_gradient).abs().max() < 1e-4 * scale
    # With the energy's own parameters free, too, it would be another gradient.
    (unstopped,) = torch.autograd.grad(exact(free), free)
    assert (unstopped - expected_gradient).abs().max() > 0.1 * scale


def test_all_terms_of_improved_cd_add_up():
    rng = torch.Generator().manual_seed(0)
    model = EnergyModel(Quadratic(2, rng), gaussian())
    x = torch.randn(50, 2, generator=rng, dtype=torch.float64)
    objective = ImprovedCD(n_steps=1, kl_weight=0.3, energy_regularization=0.2)
    state = objective.init(model, model.reference, rng)
    saved = {k: v.clone() for k, v in state.state_dict().items()}, rng.get_state()
    (loss,) = objective.step(model, Batch(x), state, rng)
    state.load_state_dict(saved[0])
    rng.set_state(saved[1])
    negatives = objective.negatives(model, Batch(x), state, rng)
    energy, chains = model.energy(x), model.energy(negatives.rows.x)
    expected = energy.mean() - chains.mean() + 0.3 * loss.figures["kl_loss"]
    expected = expected + 0.2 * ((energy**2).mean() + (chains**2).mean())
    assert loss.value.item() == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize("n_features", [1, 2, 5])
def test_neighbor_entropy_of_a_gaussian(n_features):
    rng = torch.Generator().manual_seed(0)
    m, d, scale = 2000, n_features, 1.7
    x, rows = scale * torch.randn(2, m, d, generator=rng, dtype=torch.float64)
    log_ball = d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
    constant = math.log(m) + log_ball + np.euler_gamma
    exact = d / 2 * math.log(2 * math.pi * math.e * scale**2)
    # The variance of ln(distance^d) is about pi^2 / 6; nearest rows are shared.
    tolerance = 0.15 if d == 5 else 4 * math.sqrt(math.pi**2 / 6 / m)
    estimate = neighbor_entropy(x, rows).item() + constant
    assert estimate == pytest.approx(exact, abs=tolerance)


def test_neighbor_entropy_ignores_pairs():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    ignored = torch.eye(2, dtype=torch.bool)
    assert neighbor_entropy(x, x, ignored) == pytest.approx(2 * math.log(5))


@pytest.mark.parametrize("n_tries", [1, 8])
def test_jumps_leave_the_model_invariant_and_find_its_modes(n_tries):
    rng = torch.Generator().manual_seed(0)
    model = EnergyModel(Ridges(), gaussian())
    x = torch.full((N_CHAINS, 2), -1.0, dtype=torch.float64)
    for _ in range(60):
        x, share = jump(model, x, n_tries, rng)
    mean, variance = moments(model)
    error = model.network.features(x).mean(0) - mean
    assert (error.abs() < 3 * (variance / N_CHAINS).sqrt()).all()
    assert 0.1 < share < 1


def test_walls_are_mirrors():
    walls = UniformBox(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 3.0]))
    x = torch.tensor([[0.5, 1.0], [1.25, -0.5], [-1.5, 3.5], [5.25, 6.5]])
    folded = torch.tensor([[0.5, 1.0], [0.75, 0.5], [-0.5, 2.5], [0.75, 0.5]])
    assert torch.allclose(walls.reflect(x), folded)
    rng = torch.Generator().manual_seed(0)
    flat = EnergyModel(Flat(), walls)
    start = walls.sample(4000, rng)
    kernel = ChainKernel(Langevin(step_size=0.8), 0)
    x, _ = kernel.move(flat, start, 20, rng)
    assert walls.log_prob(x).isfinite().all()
    middle = (walls.low + walls.high) / 2
    standard_error = (walls.high - walls.low) / math.sqrt(12 * 4000)
    assert ((x.mean(0) - middle).abs() < 3 * standard_error).all()


@pytest.mark.parametrize("first", [0.01, 5.0])
def test_the_step_size_follows_its_acceptance(first):
    rng = torch.Generator().manual_seed(0)
    model = EnergyModel(Ridges(), gaussian())
    kernel = ChainKernel(MALA(step_size=first, n_adapt=50), 0)
    x = model.reference.sample(200, rng)
    for _ in range(150):
        x, metrics = kernel.move(model, x, 2, rng)
    assert metrics["acceptance"] == pytest.approx(0.574, abs=0.1)
    restored = ChainKernel(MALA(), 0)
    restored.load_state_dict(kernel.state_dict())
    _, metrics = restored.move(model, x, 1, rng)
    assert metrics["step_size"] == pytest.approx(
        kernel.adaptive_step.log_size.exp().item()
    )


def test_lost_chains_are_reported_with_their_step_size():
    rng = torch.Generator().manual_seed(0)
    model = EnergyModel(Ridges(), gaussian())
    objective = PCD(Langevin(step_size=1e30), n_steps=3, n_chains=20, buffer_size=20)
    state = objective.init(model, model.reference, rng)
    with pytest.raises(NonFiniteChainError, match=r"step_size=1e\+30"):
        next(objective.step(model, Batch(model.reference.sample(9, rng)), state, rng))


def test_chains_persist_and_restart():
    rng = torch.Generator().manual_seed(0)
    model = EnergyModel(Ridges(), gaussian())
    data = Batch(torch.zeros(10, 2, dtype=torch.float64))
    sampler = Langevin(step_size=1e-9, noise_scale=0.0)
    objective = PCD(
        sampler,
        n_steps=1,
        n_reference_tries=0,
        n_chains=None,
        buffer_size=30,
        data_reinit_probability=0.0,
    )
    state = objective.init(model, model.reference, rng)
    before = state.buffer.rows.clone()
    for _ in range(5):
        negatives = objective.negatives(model, data, state, rng)
    assert torch.allclose(state.buffer.rows, before)
    assert torch.cdist(negatives.rows.x, before).amin(1).max() < 1e-6
    state.buffer.reinit_probability = 1.0
    objective.negatives(model, data, state, rng)
    moved = (state.buffer.rows - before).abs().amax(1) > 1e-6
    assert moved.sum() == 10


def test_restarts_at_data_and_at_the_reference_have_their_shares():
    rng = torch.Generator().manual_seed(0)
    model = EnergyModel(Ridges(), gaussian())
    x = torch.tensor([[50.0, 0.0], [60.0, 0.0], [70.0, 0.0]], dtype=torch.float64)
    data = Batch(x, weight=torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64))
    objective = PCD(
        n_chains=4000,
        buffer_size=4000,
        reinit_probability=0.1,
        data_reinit_probability=0.4,
    )
    state = objective.init(model, model.reference, rng)
    before = state.buffer.rows.clone()
    start, places = objective.draw(model, data, state, rng)
    kept = (start == before[places]).all(1).double().mean().item()
    shares = [(start == row).all(1).double().mean().item() for row in x]
    expected = [0.5, 0.3, 0.1, 0.0]
    assert [kept, *shares] == pytest.approx(expected, abs=4 * 0.5 / 4000**0.5)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (CD("no_such"), "'sampler' parameter of CD"),
        (CD(n_steps=0), "'n_steps' parameter of CD"),
        (ShortRun(n_chains=0), "'n_chains' parameter of ShortRun"),
        (PCD(n_chains=300), "'n_chains' parameter of PCD"),
        (PCD(n_reference_tries=-1), "'n_reference_tries' parameter of PCD"),
        (PCD(data_reinit_probability=-1.0), "'data_reinit_probability' parameter"),
        (PCD(reinit_probability=2.0), "'reinit_probability' parameter of PCD"),
        (ImprovedCD(replacement="none"), "'replacement' parameter of ImprovedCD"),
        (ImprovedCD(transitions=()), "'transitions' parameter of ImprovedCD"),
        (ImprovedCD(n_kl_steps=0), "'n_kl_steps' parameter of ImprovedCD"),
        (ImprovedCD(kl_weight=-1.0), "'kl_weight' parameter of ImprovedCD"),
        (PCD(BlockGibbs()), "BlockGibbs and energy"),
    ],
)
def test_errors_come_before_training(objective, message):
    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(ValueError, match=message):
        EBMDensityEstimator(objective, max_iter=1).fit(X)


@pytest.mark.parametrize("objective", ["pcd", "improved_cd", "jem"])
def test_in_the_classifier(objective):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 3)) + 3 * y[:, None]
    options = {"reference": None, "max_iter": 2, "random_state": 0}
    model = JEMClassifier(objective, **options).fit(X, y)
    assert np.isfinite(model.score_samples(X)).all()
    assert len(model.history_["energy_gap"]) == 2


@pytest.mark.parametrize("load", [load_iris, load_digits])
def test_the_published_jem_trains_on_a_box(load):
    X, y = load(return_X_y=True)
    options = {"max_iter": 4, "random_state": 0, "normalizer": None}
    model = JEMClassifier("jem", reference=None, **options).fit(X, y)
    assert repr(model.objective_) == repr(PCD.jem())
    assert model.history_["n_rollbacks"][-1] == 0
    assert model.score(X, y) > 0.75


@pytest.mark.parametrize("reference", ["gaussian", "gmm"])
def test_steps_that_diverge_in_the_reference_are_refused(reference):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(
        ValueError,
        match=r"Langevin\(.*PCD, and reference GaussianMixtureDensity don't go "
        r"together: steps of step_size=1.41 diverge .* Take reference=None",
    ):
        JEMClassifier("jem", reference=reference, max_iter=1).fit(X, y)


@pytest.mark.parametrize(("share", "stable"), [(0.98, True), (1.02, False)])
def test_where_steps_diverge(share, stable):
    """What is refused does diverge on the reference alone, and nothing else is."""
    rng = torch.Generator().manual_seed(0)
    model = EnergyModel(Flat(), gaussian())  # a standard deviation of 1 / 0.8
    sampler = Langevin(share * 2 / 0.8, noise_scale=0.01)
    x, _ = ChainKernel(sampler, 0).move(model, torch.zeros(50, 2).double(), 200, rng)
    assert (x.abs().max() < 2) == stable
    if stable:
        CD(sampler).check_model(model, 2)
    else:
        with pytest.raises(ValueError, match="don't go together"):
            CD(sampler).check_model(model, 2)


def test_the_published_improved_cd_trains():
    X = np.random.default_rng(0).normal(size=(100, 2))
    options = {"learning_rate": 2e-4, "gradient_clip": 0.5, "random_state": 0}
    model = EBMDensityEstimator(
        ImprovedCD.published(), reference=None, max_iter=5, **options
    )
    history = model.fit(X).history_
    assert history["n_rollbacks"][-1] == 0
    assert np.abs(history["kl_loss"]).max() < 20
    assert np.isfinite(model.score_samples(X)).all()
    assert history["step_size"][-1] == pytest.approx(200**0.5)
