"""Mixture of Gaussians that is trained by gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skebm.networks._normalized import NormalizedNetwork, standard_normal_log_prob
from skebm.references import GaussianMixtureDensity
from skebm.utils import check_argument, check_choice, is_count

INITIAL_SCALE = 0.5


class MixtureOfGaussians(NormalizedNetwork):
    r"""Mixture of Gaussians with learnt weights, means and factors, normalised.

    .. math:: p(x) = \sum_k \pi_k N(x; \mu_k, L_k L_k^T)

    The means start at random such that the whole has about unit variance. (For a
    mixture fitted by expectation-maximisation that serves as a reference, see
    `skebm.references.GaussianMixtureReference`.)

    Parameters
    ----------
    n_features : int
        Columns in.
    n_outputs : int, default=1
        One.
    n_components : int, default=10
        Components.
    covariance : {"full", "diagonal"}, default="full"
        Whether L is a lower triangle or a diagonal.

    Raises
    ------
    ValueError
        Where an option is out of its range, or n_outputs is not one.

    References
    ----------
    Bishop. Pattern recognition and machine learning (2006), section 9.2.

    Examples
    --------
    >>> import torch
    >>> network = MixtureOfGaussians(4, n_components=3)
    >>> network(torch.zeros(7, 4)).shape
    torch.Size([7, 1])
    >>> network.sample(3, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int = 1,
        n_components: int = 10,
        covariance: str = "full",
    ) -> None:
        super().__init__(n_features, n_outputs)
        right = is_count(n_components, 1)
        expected = "an integer, at least 1"
        check_argument(self, "n_components", n_components, right, expected)
        check_choice(self, "covariance", covariance, ("full", "diagonal"))
        self.logits = nn.Parameter(torch.zeros(n_components))
        spread = (1 - INITIAL_SCALE**2) ** 0.5
        self.means = nn.Parameter(spread * torch.randn(n_components, n_features))
        initial = torch.full((n_components, n_features), INITIAL_SCALE).log()
        self.log_scales = nn.Parameter(initial)
        self.lower: nn.Parameter | None = None
        if covariance == "full":
            n_below = n_features * (n_features - 1) // 2
            self.lower = nn.Parameter(torch.zeros(n_components, n_below))

    @property
    def cholesky(self) -> Tensor:
        """The factors L, shape (n_components, n_features, n_features)."""
        factors = torch.diag_embed(self.log_scales.exp())
        if self.lower is None:
            return factors
        row, column = torch.tril_indices(
            self.n_features, self.n_features, -1, device=factors.device
        )
        below = torch.zeros_like(factors)
        below[:, row, column] = self.lower
        return factors + below

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, shape (n,)."""
        centered = x - self.means[:, None]
        if self.lower is None:
            white = centered / self.log_scales.exp()[:, None]
        else:
            white = torch.linalg.solve_triangular(
                self.cholesky, centered.mT, upper=False
            ).mT
        log_prob = standard_normal_log_prob(white) - self.log_scales.sum(dim=1)[:, None]
        log_weight = torch.log_softmax(self.logits, dim=0)[:, None]
        return torch.logsumexp(log_weight + log_prob, dim=0)

    @torch.no_grad()
    def closed_form(self) -> GaussianMixtureDensity:
        """Return the mixture as a density of closed conditionals."""
        return GaussianMixtureDensity(
            self.logits.softmax(0), self.means.detach(), self.cholesky
        )

    @torch.no_grad()
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return independent draws from p, of shape (n_samples, n_features)."""
        component = torch.multinomial(
            self.logits.softmax(0), n_samples, replacement=True, generator=generator
        )
        x = self._randn(n_samples, self.n_features, generator=generator)
        for k, factor in enumerate(self.cholesky):
            rows = component == k
            x[rows] = self.means[k] + x[rows] @ factor.T
        return x
