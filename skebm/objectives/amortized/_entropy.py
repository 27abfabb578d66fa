"""Gradient of a latent-variable generator's entropy, by draws from its posterior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skebm.networks import GeneratorMLP


@dataclass(frozen=True, eq=False)
class PosteriorDraws:
    """Draws of latents from N(z0, diag(eta^2)), where z0 generated the rows x.

    Attributes
    ----------
    noise : Tensor of shape (m, n, latent_dim)
        (z - z0) / eta.
    residual : Tensor of shape (m, n, n_features)
        x - g(z).
    log_joint : Tensor of shape (m, n)
        log q(x, z) up to a constant.
    inverse_variance : Tensor
        1 / s^2.
    """

    noise: Tensor
    residual: Tensor
    log_joint: Tensor
    inverse_variance: Tensor


@torch.no_grad()
def draw_posterior(
    generator_net: GeneratorMLP,
    x: Tensor,
    z: Tensor,
    posterior_scale: Tensor,
    n_importance_samples: int,
    generator: torch.Generator,
) -> PosteriorDraws:
    r"""Draw latents around those that generated x, in antithetic pairs.

    .. math:: \log q(x, z) = -\frac{|z|^2}{2} - \frac{|x - g(z)|^2}{2 s^2} + const,
              \qquad z = z_0 \pm \eta \varepsilon

    Parameters
    ----------
    generator_net : GeneratorMLP
        g and s.
    x, z : Tensor of shape (n, n_features) and (n, latent_dim)
        Generated rows and the latents z0 that generated them.
    posterior_scale : Tensor of shape (latent_dim,)
        eta.
    n_importance_samples : int
        m; an odd one leaves the last draw without its mirror image.
    generator : torch.Generator
        Source of randomness.
    """
    n_pairs = (n_importance_samples + 1) // 2
    half = torch.randn(
        (n_pairs, *z.shape), generator=generator, device=z.device, dtype=z.dtype
    )
    noise = torch.cat([half, -half])[:n_importance_samples]
    draws = z + posterior_scale * noise
    means = generator_net.mean(draws.flatten(0, 1)).unflatten(0, noise.shape[:2])
    residual = x - means
    inverse_variance = torch.exp(-2 * generator_net.log_noise_scale)
    squares = draws.square().sum(-1) + inverse_variance * residual.square().sum(-1)
    return PosteriorDraws(noise, residual, -0.5 * squares, inverse_variance)


@torch.no_grad()
def importance_sampled_score(draws: PosteriorDraws) -> Tensor:
    r"""Estimate the score of the generator's marginal density, shape (n, n_features).

    .. math:: \nabla_x \log q(x) = -E_{q(z|x)}\left[\frac{x - g(z)}{s^2}\right]
              \approx -\sum_i w_i \frac{x - g(z_i)}{s^2}, \qquad
              w_i \propto \frac{q(x, z_i)}{N(z_i; z_0, \mathrm{diag}(\eta^2))}

    Self-normalised: biased by O(1 / number of draws).

    References
    ----------
    Grathwohl et al. No MCMC for me. ICLR 2021, section 3.1.
    """
    log_weight = draws.log_joint + 0.5 * draws.noise.square().sum(-1)
    # Weights are at least e^-40: denormal numbers are slow.
    weight = (log_weight - log_weight.amax(0)).clamp_(min=-40.0).exp_()
    weight = weight / weight.sum(0)
    score = torch.einsum("in,ind->nd", weight, draws.residual)
    return -draws.inverse_variance * score


@torch.no_grad()
def elbo_gradient(draws: PosteriorDraws) -> Tensor:
    r"""Estimate the gradient of the posterior's ELBO in log eta, shape (latent_dim,).

    .. math:: \mathrm{ELBO} = E_{z \sim N(z_0, \mathrm{diag}(\eta^2))}[\log q(x, z)]
              + \sum_j \log \eta_j, \qquad
              \frac{\partial}{\partial \log \eta_j}
              = E[(\log q(x, z) - b)(\varepsilon_j^2 - 1)] + 1

    By the likelihood ratio, with the mean over a row's draws for baseline b, so that
    the draws at hand serve twice. For a linear generator it is zero at
    :math:`\eta_j = 1/\sqrt{P_{jj}}`, P the posterior precision.
    """
    # A pair of mirror images counts once: both have the same noise squared.
    n_pairs = (len(draws.noise) + 1) // 2
    centred = draws.log_joint - draws.log_joint.mean(0)
    moment = centred.unsqueeze(-1) * (draws.noise.square() - 1)
    return moment.mean((0, 1)) * n_pairs / max(n_pairs - 1, 1) + 1
