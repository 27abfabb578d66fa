"""The entropy's gradients and the inclusive phase against a linear generator's own."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.networks import EnergyModel, GeneratorMLP
from skebm.objectives import MEG, VERAHMC, VERAArdae, WakeSleep
from skebm.objectives._chain import AdaptiveStep, ChainKernel
from skebm.objectives.amortized._meg import (
    Discriminator,
    MEGState,
    jensen_shannon_information,
)
from skebm.objectives.amortized._vera_ardae import ResidualScore
from skebm.objectives.amortized._wake_sleep import WakeSleepState, inclusive_loss
from skebm.references import GaussianMixtureDensity
from skebm.references._kernels import RoundMixture
from skebm.samplers import MALA


@pytest.fixture(scope="module")
def exact(ppca):
    """The linear generator in double precision, and its marginal density."""
    net, _, _, covariance = ppca
    net = copy.deepcopy(net).double()
    mean = net.linear.bias.detach()
    return net, MultivariateNormal(mean, covariance.double())


def score_of(marginal, x):
    return -torch.linalg.solve(marginal.covariance_matrix, (x - marginal.mean).T).T


def draw_exact_posterior(ppca, x, rng):
    net, axes, precision, _ = ppca
    noise = math.exp(net.log_noise_scale.item())
    mean = torch.linalg.solve(precision, axes.T @ (x - 0.5).T / noise**2).T
    factor = torch.linalg.cholesky(torch.linalg.inv(precision))
    return mean + torch.randn(mean.shape, generator=rng) @ factor.T


def gradients(value, parameters):
    parts = torch.autograd.grad(value, parameters)
    return torch.cat([part.flatten() for part in parts])


def linear_parameters(net):
    return [net.linear.weight, net.linear.bias, net.log_noise_scale]


def errors_in_standard_errors(draws, expected):
    """(mean - expected) / standard error, for draws along the first axis."""
    standard_error = draws.std(0) / len(draws) ** 0.5
    return (draws.mean(0) - expected) / standard_error


class TestHMC:
    def test_score_of_a_linear_generator_is_unbiased(self, ppca):
        """Mean over repeats, each from an exact draw of z given x."""
        net, _, _, covariance = ppca
        rng = torch.Generator().manual_seed(1)
        with torch.no_grad():
            x = net.sample(4, rng)[0]
        rows = x.repeat(2500, 1)
        z = draw_exact_posterior(ppca, rows, rng)
        score, _ = VERAHMC().score(net, AdaptiveStep(0.1), rows, z, rng)
        draws = score.unflatten(0, (2500, 4))
        expected = -torch.linalg.solve(covariance, (x - 0.5).T).T
        assert errors_in_standard_errors(draws, expected).abs().max() < 3.5
        assert (draws.mean(0) - expected).norm() < 0.03 * expected.norm()

    def test_the_entropys_gradient_is_unbiased_in_the_long_run(self, ppca):
        """The gradient in A, C^-1 A; chains that remember z0 miss part of it."""
        net, _, _, covariance = ppca
        rng = torch.Generator().manual_seed(1)
        step = AdaptiveStep(0.05)

        def errors(objective, n_batches):
            draws = []
            for _ in range(n_batches):
                with torch.no_grad():
                    x, z, _ = net.sample(200, rng)
                score, _ = objective.score(net, step, x, z, rng)
                exact = -torch.linalg.solve(covariance, (x - 0.5).T).T
                draws.append((exact - score).T @ z / 200)
            return errors_in_standard_errors(torch.stack(draws), 0.0).abs().max()

        assert errors(VERAHMC(n_burn_in=12, n_posterior_samples=4), 60) < 3.5
        short = VERAHMC(n_burn_in=0, n_posterior_samples=1, n_leapfrog_steps=1)
        assert errors(short, 60) > 5

    def test_moves_make_it_less_noisy(self, ppca):
        net, _, _, covariance = ppca
        rng = torch.Generator().manual_seed(1)
        with torch.no_grad():
            x, z, _ = net.sample(500, rng)
        expected = -torch.linalg.solve(covariance, (x - 0.5).T).T
        step = AdaptiveStep(0.1)

        def error(n_samples):
            score, _ = VERAHMC(n_posterior_samples=n_samples).score(
                net, step, x, z, rng
            )
            return (score - expected).square().mean().item()

        assert error(16) < 0.5 * error(2)

    def test_the_step_finds_its_acceptance(self, ppca):
        net = ppca[0]
        rng = torch.Generator().manual_seed(1)
        step = AdaptiveStep(0.05)
        for _ in range(120):
            with torch.no_grad():
                x, z, _ = net.sample(50, rng)
            _, acceptance = VERAHMC().score(net, step, x, z, rng)
        assert acceptance == pytest.approx(0.67, abs=0.1)


class ScaledScore(ResidualScore):
    """a times the exact score of the smoothed density."""

    delta = 0.5

    def __init__(self, marginal):
        super().__init__(len(marginal.mean), (4,))
        self.marginal = marginal
        self.factor = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x, level):
        sigma = self.delta * level
        values, vectors = torch.linalg.eigh(self.marginal.covariance_matrix)
        along = (x - self.marginal.mean) @ vectors / (values + sigma.square())
        return -self.factor * along @ vectors.T


class TestDenoising:
    def test_the_exact_score_is_its_optimum(self, exact, seeded):
        """d loss / d a is zero at a times the exact score only at a = 1."""
        _, marginal = exact
        rng = torch.Generator().manual_seed(0)
        model = ScaledScore(marginal)

        def slopes(factor):
            with torch.no_grad():
                model.factor.fill_(factor)
                noise = torch.randn(4000, 8, generator=rng, dtype=torch.float64)
                x = marginal.mean + noise @ marginal.scale_tril.T
            losses = [
                gradients(model.denoising_loss(rows, model.delta, rng), [model.factor])
                for rows in x.split(100)
            ]
            return errors_in_standard_errors(torch.stack(losses), 0.0).item()

        assert abs(slopes(1.0)) < 3
        assert slopes(0.9) < -5 and slopes(1.1) > 5

    @pytest.mark.parametrize("width", [1.0, 0.01])
    def test_untrained_it_drives_apart_rows_that_have_come_together(
        self, width, seeded
    ):
        """It begins as the score of independent columns, however narrow they are."""
        rng = torch.Generator().manual_seed(0)
        x = 3 + width * torch.tensor([1.0, 2.0]) * torch.randn(4000, 2, generator=rng)
        score_net = ResidualScore(2, (8,))
        torch.nn.init.zeros_(list(score_net.parameters())[-2])
        torch.nn.init.zeros_(list(score_net.parameters())[-1])
        score_net.see(x, torch.tensor(0.001))
        with torch.no_grad():
            found = score_net(x, torch.zeros(4000, 1))
        exact = -(x - 3) / (width * torch.tensor([1.0, 2.0])).square()
        assert (found - exact).norm() < 0.06 * exact.norm()

    def test_it_learns_the_score_of_a_linear_generator(self, seeded):
        """Within 10 % of the closed form after some seconds of training."""
        rng = torch.Generator().manual_seed(0)
        net = GeneratorMLP(2, 2, noise_scale=0.3)
        with torch.no_grad():
            net.linear.weight.copy_(torch.tensor([[1.0, 0.0], [0.8, 0.4]]))
        axes, bias = net.linear.weight.detach(), net.linear.bias.detach()
        covariance = axes @ axes.T + 0.09 * torch.eye(2)
        score_net = ResidualScore(2, (32, 32))
        optimizer = torch.optim.Adam(score_net.parameters(), 1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
        for _ in range(600):
            with torch.no_grad():
                x = net.sample(512, rng)[0]
            loss = score_net.denoising_loss(x, 0.15, rng)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            x = net.sample(500, rng)[0]
            learnt = score_net(x, torch.zeros(500, 1))
        closed = -torch.linalg.solve(covariance, (x - bias).T).T
        assert (learnt - closed).norm() < 0.1 * closed.norm()
        assert (-x - closed).norm() > 0.5 * closed.norm()  # where it started


class LogRatio(torch.nn.Module):
    """a times log q(x, z) - log q(x) p(z), the discriminator's optimum."""

    def __init__(self, net, marginal):
        super().__init__()
        self.weight, self.bias, log_scale = (
            p.detach().clone() for p in linear_parameters(net)
        )
        self.scale = log_scale.exp()
        self.marginal = marginal
        self.factor = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x, z):
        residual = (x - z @ self.weight.T - self.bias) / self.scale
        log_conditional = -0.5 * residual.square().sum(1)
        constant = x.shape[1] * (self.scale.log() + 0.5 * math.log(2 * math.pi))
        return self.factor * (log_conditional - constant - self.marginal.log_prob(x))


def meg_state(net, marginal):
    state = MEGState(net, torch.nn.Module(), Discriminator(1, 1, (1,)))
    state.discriminator = LogRatio(net, marginal)
    return state


class TestInformation:
    def test_the_log_ratio_is_the_discriminators_optimum(self, exact, seeded):
        net, marginal = exact
        rng = torch.Generator().manual_seed(0)
        state = meg_state(net, marginal)

        def slope(factor):
            with torch.no_grad():
                state.discriminator.factor.fill_(factor)
            values = []
            for _ in range(40):
                x, z, _ = net.sample(100, rng)
                information = MEG().information(state, x.detach(), z, rng)
                values.append(gradients(information, [state.discriminator.factor]))
            return errors_in_standard_errors(torch.stack(values), 0.0).item()

        assert abs(slope(1.0)) < 3
        assert slope(0.5) > 5 and slope(2.0) < -3

    def test_with_it_the_entropys_gradient_is_unbiased(self, exact, seeded):
        """Against autograd of H(q) = log det(A A' + s^2 I) / 2 + const."""
        net, marginal = exact
        rng = torch.Generator().manual_seed(0)
        state = meg_state(net, marginal)
        weight, _, log_scale = parameters = linear_parameters(net)
        eye = torch.eye(len(weight), dtype=torch.float64)
        covariance = weight @ weight.T + (2 * log_scale).exp() * eye
        entropy = 0.5 * torch.logdet(covariance) + 0.0 * net.linear.bias.sum()
        expected = gradients(entropy, parameters)

        def draw(bound):
            x, z, _ = net.sample(500, rng)
            return gradients(MEG(bound=bound).entropy(state, x, z, rng), parameters)

        unbiased = torch.stack([draw("log_ratio") for _ in range(150)])
        errors = errors_in_standard_errors(unbiased, expected)
        assert errors.abs().max() < 3.5
        assert (unbiased.mean(0) - expected).norm() < 0.05 * expected.norm()
        published = torch.stack([draw("jensen_shannon") for _ in range(50)]).mean(0)
        cosine = torch.nn.functional.cosine_similarity(published, expected, dim=0)
        assert cosine > 0.5

    def test_a_trained_discriminator_knows_the_information(self, seeded):
        """I = log(1 + a^2 / s^2) / 2 for x = a z + s e, and the bound grows with it."""
        rng = torch.Generator().manual_seed(0)
        found, bounds = [], []
        for gain in (0.5, 1.0, 2.0):
            net = GeneratorMLP(1, 1, noise_scale=1.0)
            with torch.no_grad():
                net.linear.weight.fill_(gain)
            state = MEGState(net, torch.nn.Module(), Discriminator(1, 1, (32,)))
            optimizer = torch.optim.Adam(state.discriminator.parameters(), 1e-2)
            for _ in range(400):
                with torch.no_grad():
                    x, z, _ = net.sample(500, rng)
                loss = -MEG().information(state, x, z, rng)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                x, z, _ = net.sample(20_000, rng)
                found.append(MEG().entropy(state, x, z, rng).item())
                bounds.append(MEG().information(state, x, z, rng).item())
        known = 0.5 * np.log1p(np.square([0.5, 1.0, 2.0]))
        np.testing.assert_allclose(found, known, atol=0.06)
        assert -2 * math.log(2) < bounds[0] < bounds[1] < bounds[2] < 0

    def test_independence_gives_its_least_value(self):
        zeros = torch.zeros(5)
        least = jensen_shannon_information(zeros, zeros)
        assert least.item() == pytest.approx(-2 * math.log(2))


class TestInclusivePhase:
    def test_its_gradient_is_that_of_the_complete_likelihood(self, exact, seeded):
        """Of a generator that isn't linear, weights and all, to rounding."""
        net = GeneratorMLP(3, 8, noise_scale=0.2).double()
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in net.nonlinear.parameters():
                parameter += 0.3 * torch.randn(parameter.shape, generator=rng)
            x, z, _ = net.sample(50, rng)
            x += 0.3
        weights = torch.rand(50, generator=rng, dtype=torch.float64)
        parameters = list(net.parameters())
        eye = torch.eye(8, dtype=torch.float64)
        conditional = MultivariateNormal(
            net.mean(z), (2 * net.log_noise_scale).exp() * eye
        )
        expected = gradients(-(weights @ conditional.log_prob(x)), parameters)
        found = gradients(inclusive_loss(net, x, z, weights), parameters)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)

    def test_with_latents_it_is_that_of_the_marginal_likelihood(self, exact):
        """Fisher's identity: picked and moved latents follow q(z|x)."""
        net, _ = exact
        rng = torch.Generator().manual_seed(0)
        parameters = linear_parameters(net)
        with torch.no_grad():
            x = (net.sample(6, rng)[0] * 1.2).repeat(20, 1)
        weight, bias, log_scale = parameters
        eye = torch.eye(len(weight), dtype=torch.float64)
        covariance = weight @ weight.T + (2 * log_scale).exp() * eye
        log_prob = MultivariateNormal(bias, covariance).log_prob(x)
        expected = gradients(-log_prob.mean(), parameters)
        state = WakeSleepState(net, torch.nn.Module(), ChainKernel(MALA(), 0))
        weights = torch.full((120,), 1 / 120, dtype=torch.float64)
        objective = WakeSleep(n_posterior_steps=12)
        found = []
        for _ in range(60):
            z = net.draw_latent(500, rng)
            latents = objective.posterior_latents(state, x, z, rng)
            found.append(
                gradients(inclusive_loss(net, x, latents, weights), parameters)
            )
        found = torch.stack(found[10:])  # the step size has settled
        assert errors_in_standard_errors(found, expected).abs().max() < 3.5
        assert (found.mean(0) - expected).norm() < 0.06 * expected.norm()

    @pytest.mark.parametrize("n_steps", [1, 4])
    def test_moved_rows_keep_their_weights(self, n_steps, seeded):
        """E_p[x] and E_p[x^2] of a Gaussian tilt, from a generator that is neither."""
        rng = torch.Generator().manual_seed(0)
        reference = GaussianMixtureDensity(
            torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]
        )
        tilt = torch.nn.Linear(2, 1)
        with torch.no_grad():
            tilt.weight.fill_(1.0)  # tilts N(0, I) to N(1, I)
            tilt.bias.zero_()
        model = EnergyModel(tilt, reference)
        objective = WakeSleep(n_steps=n_steps)
        state = objective.init(model, reference, rng)
        with torch.no_grad():
            state.generator_net.linear.weight.mul_(0.8)
        moments = []
        for _ in range(300):
            with torch.no_grad():
                x, _, means = state.generator_net.sample(100, rng)
            local = RoundMixture.about(x + 1, 0.5)
            rows, weights, _ = objective.model_rows(model, state, x, means, local, rng)
            moments.append([weights.sum(), weights @ rows, weights @ rows.square()])
        total, first, second = (
            torch.stack([torch.as_tensor(m[i]) for m in moments[60:]]).mean(0).mean()
            for i in range(3)
        )
        assert total == pytest.approx(1, abs=0.06)
        assert first / total == pytest.approx(1, abs=0.06)
        assert second / total == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("objective", "option", "value"),
    [
        (VERAHMC(), "n_burn_in", -1),
        (VERAHMC(), "n_leapfrog_steps", 0),
        (VERAArdae(), "denoising_scale", 0.0),
        (VERAArdae(), "n_score_steps", 0),
        (MEG(), "bound", "exact"),
        (MEG(), "discriminator_rate", 0.0),
        (WakeSleep(), "n_steps", 0),
        (WakeSleep(), "sampler", "annealing"),
        (WakeSleep(), "reference_share", 1.0),
        (MEG(), "local_share", 0.41),
        (VERAHMC(), "local_scale", 0.0),
    ],
)
def test_options_out_of_range_are_named_before_training(objective, option, value):
    name = type(objective).__name__
    objective = objective.set_params(**{option: value})
    with pytest.raises(ValueError, match=f"'{option}' parameter of {name} must be"):
        EBMDensityEstimator(objective).fit(np.random.RandomState(0).normal(size=(9, 2)))


@pytest.mark.parametrize("name", ["vera_hmc", "vera_ardae", "meg", "wake_sleep"])
def test_they_train_a_classifiers_density_too(name, blobs):
    X, y = blobs
    y = np.where(np.arange(len(y)) < 120, -1, y)
    model = JEMClassifier(name, max_iter=2, random_state=0).fit(X, y)
    assert np.isfinite(model.score_samples(X)).all()
