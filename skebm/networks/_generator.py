"""Generators with a Gaussian output, for objectives such as VERA."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skebm.networks._mlp import MLP
from skebm.utils import check_argument, check_sizes, is_positive, is_sequence


class GeneratorMLP(nn.Module):
    r"""Latent-variable generator with Gaussian noise on its output.

    .. math:: z \sim N(0, I), \qquad x = g(z) + s \varepsilon, \qquad
              \varepsilon \sim N(0, I), \qquad g(z) = A z + b + h(z)

    with a multi-layer perceptron h beside the linear part, which `match` fits to rows
    so that the generator covers them from the first step.

    Parameters
    ----------
    latent_dim : int
        Dimension of z.
    n_features : int
        Columns out.
    hidden_features : sequence of int, default=(64, 64)
        Width of the hidden layers of h.
    activation : {"silu", "softplus", "gelu", "tanh"}, default="silu"
        Activation of h.
    noise_scale : float, default=0.1
        Initial s, learnt through its logarithm.
    noise_bounds : tuple of float, default=(0.01, 0.3)
        Bounds of s, enforced by `clamp_noise`.

    References
    ----------
    Grathwohl, Kelly, Hashemi, Norouzi, Swersky, Duvenaud. No MCMC for me: Amortized
    sampling for fast and stable training of energy-based models. ICLR 2021.

    Examples
    --------
    >>> import torch
    >>> generator_net = GeneratorMLP(2, 5)
    >>> rng = torch.Generator().manual_seed(0)
    >>> generator_net.sample(3, rng)[0].shape
    torch.Size([3, 5])
    """

    def __init__(
        self,
        latent_dim: int,
        n_features: int,
        hidden_features: Sequence[int] = (64, 64),
        activation: str = "silu",
        noise_scale: float = 0.1,
        noise_bounds: tuple[float, float] = (0.01, 0.3),
    ) -> None:
        super().__init__()
        check_sizes(self, "hidden_features", hidden_features)
        right = is_positive(noise_scale)
        check_argument(self, "noise_scale", noise_scale, right, "a number above 0")
        right = is_sequence(noise_bounds, is_positive) and len(noise_bounds) == 2
        right = right and noise_bounds[0] <= noise_bounds[1]
        expected = "two numbers, 0 < least <= largest"
        check_argument(self, "noise_bounds", noise_bounds, right, expected)
        self.latent_dim = latent_dim
        self.noise_bounds = noise_bounds
        self.linear = nn.Linear(latent_dim, n_features)
        self.nonlinear = MLP(latent_dim, n_features, hidden_features, activation)
        self.log_noise_scale = nn.Parameter(torch.tensor(math.log(noise_scale)))

    def mean(self, z: Tensor) -> Tensor:
        """Return g(z), shape (n, n_features)."""
        return self.linear(z) + self.nonlinear(z)

    @torch.no_grad()
    def match(self, x: Tensor) -> None:
        """Set A and b to the leading principal axes and the mean of rows x."""
        mean = x.mean(dim=0)
        _, spread, axes = torch.linalg.svd(x - mean, full_matrices=False)
        n_axes = min(self.latent_dim, len(spread))
        scaled = axes[:n_axes] * spread[:n_axes, None] / len(x) ** 0.5
        self.linear.weight.zero_()
        self.linear.weight[:, :n_axes] = scaled.T
        self.linear.bias.copy_(mean)

    def draw_latent(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return z of shape (n_samples, latent_dim)."""
        return torch.randn(
            n_samples,
            self.latent_dim,
            generator=generator,
            device=self.log_noise_scale.device,
            dtype=self.log_noise_scale.dtype,
        )

    def sample(
        self, n_samples: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return x of shape (n_samples, n_features), its z and its mean g(z)."""
        z = self.draw_latent(n_samples, generator)
        mean = self.mean(z)
        noise = torch.randn(
            mean.shape, generator=generator, device=mean.device, dtype=mean.dtype
        )
        return mean + self.log_noise_scale.exp() * noise, z, mean

    @torch.no_grad()
    def clamp_noise(self) -> None:
        """Bring s back between its bounds."""
        low, high = self.noise_bounds
        self.log_noise_scale.clamp_(math.log(low), math.log(high))
