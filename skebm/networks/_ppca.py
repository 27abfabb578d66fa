"""Probabilistic principal component analysis."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skebm.networks._normalized import NormalizedNetwork
from skebm.references import GaussianMixtureDensity
from skebm.utils import check_argument, is_count


class PPCA(NormalizedNetwork):
    r"""Probabilistic principal component analysis, normalised.

    .. math:: p(x) = N(x; \mu, W W^T + s^2 I)

    W, the mean and log s are learnt by gradient. With :math:`M = W^T W + s^2 I` and the
    posterior mean :math:`m = M^{-1} W^T (x - \mu)` of the latent variable,

    .. math:: -2 \log p(x) = |x - \mu - W m|^2 / s^2 + |m|^2 + \log \det M
              + (d - q) \log s^2 + d \log 2 \pi

    which never takes the difference of two large terms.

    Parameters
    ----------
    n_features : int
        d, columns in.
    n_outputs : int, default=1
        One.
    n_components : int or None, default=None
        q, columns of W; None takes half of d, at least one.

    Raises
    ------
    ValueError
        Where n_components is not in 1 to n_features, or n_outputs is not one.

    References
    ----------
    Tipping, Bishop. Probabilistic principal component analysis. JRSS B 61 (1999).

    Examples
    --------
    >>> import torch
    >>> network = PPCA(4, n_components=2)
    >>> network(torch.zeros(7, 4)).shape
    torch.Size([7, 1])
    >>> network.sample(3, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self, n_features: int, n_outputs: int = 1, n_components: int | None = None
    ) -> None:
        super().__init__(n_features, n_outputs)
        if n_components is None:
            n_components = max(1, n_features // 2)
        right = is_count(n_components, 1, n_features)
        expected = f"None or an integer from 1 to n_features={n_features}"
        check_argument(self, "n_components", n_components, right, expected)
        self.mean = nn.Parameter(torch.zeros(n_features))
        self.weight = nn.Parameter(0.1 * torch.randn(n_features, n_components))
        self.log_noise_scale = nn.Parameter(torch.zeros(()))

    @property
    def covariance(self) -> Tensor:
        """W W' + s^2 I, shape (n_features, n_features)."""
        noise = (2 * self.log_noise_scale).exp() * torch.eye(
            self.n_features, device=self.weight.device, dtype=self.weight.dtype
        )
        return self.weight @ self.weight.T + noise

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, shape (n,)."""
        d, q = self.weight.shape
        variance = (2 * self.log_noise_scale).exp()
        centered = x - self.mean
        identity = torch.eye(q, device=x.device, dtype=self.weight.dtype)
        factor = torch.linalg.cholesky(
            self.weight.T @ self.weight + variance * identity
        )
        latent = torch.cholesky_solve((centered @ self.weight).T, factor).T
        residual = centered - latent @ self.weight.T
        squares = residual.square().sum(dim=1) / variance + latent.square().sum(dim=1)
        log_det = 2 * factor.diagonal().log().sum()
        log_det = log_det + 2 * (d - q) * self.log_noise_scale
        return -0.5 * (squares + log_det + d * math.log(2 * math.pi))

    @torch.no_grad()
    def closed_form(self) -> GaussianMixtureDensity:
        """Return the Gaussian as a density of closed conditionals."""
        factor = torch.linalg.cholesky(self.covariance.double())
        parts = self.mean.new_ones(1), self.mean.detach()[None], factor[None]
        return GaussianMixtureDensity(*(part.to(self.mean) for part in parts))

    @torch.no_grad()
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return independent draws from p, of shape (n_samples, n_features)."""
        d, q = self.weight.shape
        latent = self._randn(n_samples, q, generator=generator)
        noise = self._randn(n_samples, d, generator=generator)
        scale = self.log_noise_scale.exp()
        return self.mean + latent @ self.weight.T + scale * noise
