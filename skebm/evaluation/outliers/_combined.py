"""Scores that learn beside the density: near the rows, far from them, and both."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from skebm.evaluation.outliers._score import OODScore, ScoredModel, in_chunks
from skebm.networks import MLP
from skebm.references import (
    GaussianMixtureDensity,
    GaussianMixtureReference,
    GaussianReference,
)
from skebm.utils import isolated_rng, make_generator, normal_like

#: Wide noise that rows are told from: alike in all standardised columns, and with the
#: rows' own covariance; in standard deviations.
ROUND_NOISE, ALIGNED_NOISE = 5.0, 3.0
HIDDEN_FEATURES = (128, 128, 128)
MAX_STEPS = 1500
BATCH_ROWS = 100
LEARNING_RATE = 1e-3
#: Of a score that is the same on all held-out rows.
MIN_SCALE = 1e-6


class MixtureDensity(OODScore):
    r"""Log density of a Gaussian mixture.

    .. math:: s(x) = \log \sum_k \pi_k N(z; \mu_k, C_k)

    in standardised columns: what the model's reference is or holds, else one fitted
    anew. The energy's tilt is left out.

    Parameters
    ----------
    weights, means, cholesky : Tensor
        As of `skebm.references.GaussianMixtureDensity`.
    """

    #: Standard deviation of noise that is added to the rows.
    blur: ClassVar[float] = 0.0
    is_free: ClassVar[bool] = False

    def __init__(self, weights: Tensor, means: Tensor, cholesky: Tensor) -> None:
        super().__init__()
        self.mixture = GaussianMixtureDensity(weights, means, cholesky)

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: Tensor,
        held_out: Tensor,
        generator: torch.Generator,
        max_steps: int,
    ) -> Self:
        """Take or fit the mixture; its convolution with the blur is exact."""
        del held_out, max_steps
        mixture = scored.model.reference.as_mixture()
        if mixture is None:
            recipe, rng = GaussianMixtureReference(), make_generator(_seed(generator))
            mixture = recipe.fit(train.cpu(), weight=None, generator=rng)
        if not cls.blur:
            return cls(mixture.weights, mixture.means, mixture.cholesky)
        factors = mixture.cholesky.double()
        noise = cls.blur**2 * torch.eye(factors.shape[1]).to(factors)
        cholesky = torch.linalg.cholesky(factors @ factors.mT + noise)
        blurred = mixture.weights, mixture.means, cholesky.to(mixture.means)
        return cls(*blurred).to(train.device)

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the log density, blurred if at all."""
        del scored
        return self.mixture.log_prob(x).double()

    def arrays(self) -> dict[str, Tensor]:
        """Return the mixture's arrays."""
        return self.mixture.arrays()


class BlurredDensity(MixtureDensity):
    r"""Log density of the rows with noise of four tenths of a standard deviation.

    .. math:: s(x) = \log \sum_k \pi_k N(z; \mu_k, C_k + \sigma^2 I),
              \qquad \sigma = 0.4

    How narrow a density is says little of how normal rows beside it are; but outliers
    in narrow gaps between rows are lost.
    """

    blur: ClassVar[float] = 0.4


class StandardizedMean(OODScore):
    """A mean of scores, each less its location and over its scale on held-out rows."""

    is_free: ClassVar[bool] = False

    def __init__(self, location: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.location: Tensor
        self.scale: Tensor
        self.register_buffer("location", location)
        self.register_buffer("scale", scale)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of scores (n, n_scores), shape (n,)."""
        return ((values - self.location) / self.scale).mean(dim=1)


class NoiseContrast(StandardizedMean):
    r"""Log odds that a row is one of the data, and not of wide noise.

    .. math:: f_j(x) \approx \log \frac{p(z)}{N(z; m_j, \Sigma_j)}, \qquad
              s(x) = \frac12 \sum_{j=1}^2 \frac{f_j(x) - l_j}{\sigma_j}

    Nets :math:`f_j` are trained to tell the training rows from as many draws of noise:
    five standard deviations wide in all columns (:math:`\Sigma_1 = 25 I`), and three
    times as wide as the rows along all directions (:math:`\Sigma_2 = 9 C`). Such nets
    are smooth: they judge by what many columns have in common, where a density judges
    by each narrow direction. Location and scale are those of held-out rows.

    Parameters
    ----------
    networks : list of nn.Module
        f.
    location, scale : Tensor of shape (2,)
        l and sigma.

    References
    ----------
    Gutmann, Hyvarinen. Noise-contrastive estimation. AISTATS 2010. Steinwart, Hush,
    Scovel. A classification framework for anomaly detection. JMLR 6, 2005.
    """

    def __init__(
        self, networks: list[nn.Module], location: Tensor, scale: Tensor
    ) -> None:
        super().__init__(location, scale)
        self.networks = nn.ModuleList(networks).requires_grad_(False).eval()

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: Tensor,
        held_out: Tensor,
        generator: torch.Generator,
        max_steps: int,
    ) -> Self:
        """Train the nets by the logistic loss."""
        del scored
        n_steps, identity = min(MAX_STEPS, max_steps), torch.eye(train.shape[1])
        reference = GaussianReference().fit(
            train.cpu(), weight=None, generator=make_generator(0)
        )
        networks = []
        for mean, factor in (
            (torch.zeros_like(reference.means[0]), ROUND_NOISE * identity),
            (reference.means[0], ALIGNED_NOISE * reference.cholesky[0]),
        ):
            with isolated_rng(_seed(generator), train.device):
                network = _make_network(train.shape[1]).to(train.device)
            noise = mean.to(train), factor.T.to(train)
            _train_contrast(network, train, noise, generator, n_steps)
            networks.append(network)
        values = torch.stack([in_chunks(network, held_out) for network in networks])
        return cls(networks, *_moments(values[:, :, 0].double()))

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the mean of the standardised log odds."""
        del scored
        odds = torch.cat([network(x) for network in self.networks], dim=1).double()
        return self.mean(odds)

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> Self:
        """Return a copy."""
        n_features = next(a.shape[1] for a in arrays.values() if a.ndim == 2)
        with isolated_rng(0, torch.device("cpu")):
            networks = [_make_network(n_features) for _ in arrays["location"]]
        score = cls(networks, arrays["location"], arrays["scale"])
        score.load_state_dict(arrays)
        return score


def _make_network(n_features: int) -> nn.Module:
    return MLP(n_features, 1, hidden_features=HIDDEN_FEATURES).float()


def _train_contrast(
    network: nn.Module,
    train: Tensor,
    noise: tuple[Tensor, Tensor],
    generator: torch.Generator,
    n_steps: int,
) -> None:
    """Train a net to tell rows from normal noise of a mean and a factor."""
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, n_steps))
    mean, factor = noise
    for _ in range(n_steps):
        chosen = torch.randint(
            len(train), (BATCH_ROWS,), generator=generator, device=train.device
        )
        rows = train[chosen]
        draws = torch.addmm(mean, normal_like(rows, generator), factor)
        with torch.enable_grad():
            odds = network(torch.cat([rows, draws]))[:, 0]
            signed = torch.cat([-odds[:BATCH_ROWS], odds[BATCH_ROWS:]])
            loss = nn.functional.softplus(signed).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and standard deviations of the scores, (n_scores, n)."""
    scale = values.std(dim=1, correction=0).clamp(min=MIN_SCALE)
    return values.mean(dim=1), scale


class Combined(StandardizedMean):
    r"""Mean of a mixture's log density and the noise contrast, each standardised.

    .. math:: s(x) = \tfrac12 \sum_{j=1}^2 \frac{s_j(x) - m_j}{\sigma_j}

    with mean and standard deviation over held-out rows. Where one is blind the other
    often sees.

    Parameters
    ----------
    density : MixtureDensity
        The first score.
    contrast : NoiseContrast
        The second one.
    location, scale : Tensor of shape (2,)
        m and sigma.
    """

    def __init__(
        self,
        density: MixtureDensity,
        contrast: NoiseContrast,
        location: Tensor,
        scale: Tensor,
    ) -> None:
        super().__init__(location, scale)
        self.density, self.contrast = density, contrast

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: Tensor,
        held_out: Tensor,
        generator: torch.Generator,
        max_steps: int,
    ) -> Self:
        """Fit both and standardise them."""
        given = scored, train, held_out, generator, max_steps
        density, contrast = MixtureDensity.fit(*given), NoiseContrast.fit(*given)
        values = torch.stack(
            [in_chunks(partial(s, scored), held_out) for s in (density, contrast)]
        )
        return cls(density, contrast, *_moments(values))

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the mean of the standardised scores."""
        values = torch.stack([self.density(scored, x), self.contrast(scored, x)], dim=1)
        return self.mean(values)

    def arrays(self) -> dict[str, Tensor]:
        """Return the arrays of both under their names, location and scale."""
        named = {"location": self.location, "scale": self.scale}
        for name in ("density", "contrast"):
            own = getattr(self, name).arrays()
            named |= {f"{name}.{key}": array for key, array in own.items()}
        return named

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> Self:
        """Return a copy."""

        def under(prefix: str) -> dict[str, Tensor]:
            own = [key for key in arrays if key.startswith(prefix)]
            return {key.removeprefix(prefix): arrays[key] for key in own}

        return cls(
            MixtureDensity.from_arrays(under("density.")),
            NoiseContrast.from_arrays(under("contrast.")),
            arrays["location"],
            arrays["scale"],
        )


def _seed(generator: torch.Generator) -> int:
    """Draw a seed for another generator."""
    device = generator.device
    return int(torch.randint(2**31 - 1, (1,), generator=generator, device=device))
