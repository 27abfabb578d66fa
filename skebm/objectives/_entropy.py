"""Gradients of the entropy of a latent-variable generator."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.networks import GeneratorMLP


def log_joint(generator_net: GeneratorMLP, x: Tensor, z: Tensor) -> Tensor:
    r"""Return log q(x, z) up to the constants of the two normals, shape (...,).

    .. math:: \log q(x, z) = -\frac{|z|^2}{2} - \frac{|x - g(z)|^2}{2 s^2}
              - d \log s + \text{const}
    """
    log_scale = generator_net.log_noise_scale
    residual = (x - generator_net.mean(z)) / log_scale.exp()
    squares = z.square().sum(-1) + residual.square().sum(-1)
    return -0.5 * squares - x.shape[-1] * log_scale


@torch.no_grad()
def importance_sampled_score(
    generator_net: GeneratorMLP,
    x: Tensor,
    z: Tensor,
    posterior_scale: Tensor,
    n_importance_samples: int,
    generator: torch.Generator,
) -> Tensor:
    r"""Estimate the score of the generator's marginal density.

    .. math:: \nabla_x \log q(x) = -E_{q(z|x)}\left[\frac{x - g(z)}{s^2}\right]
              \approx -\sum_i w_i \frac{x - g(z_i)}{s^2}, \qquad
              w_i \propto \frac{q(x, z_i)}{N(z_i; z_0, \mathrm{diag}(\eta^2))}

    with :math:`z_i \sim N(z_0, \mathrm{diag}(\eta^2))` around the latent that made x.
    Self-normalised: biased by O(1 / n_importance_samples).

    Parameters
    ----------
    generator_net : GeneratorMLP
        g and s.
    x, z : Tensor of shape (n, n_features) and (n, latent_dim)
        Generated rows and the latents z0 that made them.
    posterior_scale : Tensor of shape (latent_dim,)
        eta.
    n_importance_samples : int
        Draws a row.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    score : Tensor of shape (n, n_features)

    References
    ----------
    Grathwohl et al. No MCMC for me. ICLR 2021, section 3.1.
    """
    shape = (n_importance_samples, *z.shape)
    noise = torch.randn(shape, generator=generator, device=z.device, dtype=z.dtype)
    draws = z + posterior_scale * noise
    means = generator_net.mean(draws.flatten(0, 1)).unflatten(0, shape[:2])
    inverse_variance = torch.exp(-2 * generator_net.log_noise_scale)
    residual = x - means
    log_weight = 0.5 * (
        noise.square().sum(-1)
        - draws.square().sum(-1)
        - inverse_variance * residual.square().sum(-1)
    )
    weight = torch.softmax(log_weight, dim=0)
    return -inverse_variance * torch.einsum("in,ind->nd", weight, residual)


def negative_elbo(
    generator_net: GeneratorMLP,
    x: Tensor,
    z: Tensor,
    log_posterior_scale: Tensor,
    generator: torch.Generator,
) -> Tensor:
    r"""Return minus the ELBO of the posterior's width, by one reparametrised draw.

    .. math:: -E_{z \sim N(z_0, \mathrm{diag}(\eta^2))}[\log q(x, z)]
              - \sum_j \log \eta_j + \text{const}

    Shapes as in `importance_sampled_score`; a scalar. For a linear generator it is
    least at :math:`\eta_j = 1/\sqrt{P_{jj}}`, P the posterior precision.
    """
    noise = torch.randn(z.shape, generator=generator, device=z.device, dtype=z.dtype)
    draws = z + log_posterior_scale.exp() * noise
    expected = log_joint(generator_net, x, draws).mean()
    return -expected - log_posterior_scale.sum()
