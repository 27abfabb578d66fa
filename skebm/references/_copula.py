"""Mixtures of Gaussians after monotone maps of the columns, and without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from skebm.references._apart import apart_reference
from skebm.references._base import Conditional, Density, Line, Reference
from skebm.references._marginals import MarginalMaps, fit_marginals, tied_columns
from skebm.references._mixture import GaussianMixtureDensity
from skebm.references._stacked import StackedDensity
from skebm.references._stacking import (
    GaussianMixtureReference,
    Split,
    as_folds,
    split_rows,
    stacking_weights,
)
from skebm.utils import check_range

Array = NDArray[np.float64]

#: Held-out gain of the maps, in nats per row, below which the plain mixture is
#: returned: it costs a third as much.
MIN_GAIN = 0.05
#: Largest share of the mapped part; the other part covers rows between narrow peaks.
MAX_SHARE = 0.99


class MappedMixtureDensity(Density):
    r"""Mixture of Gaussians of mapped columns, each with a monotone map of its own.

    .. math:: q_0(x) = \sum_k \pi_k N(T(x); \mu_k, L_k L_k^T) \prod_j T_j'(x_j)

    Parameters
    ----------
    weights, means, cholesky : Tensor
        Shares (K,), means (K, d) and Cholesky factors of the covariances (K, d, d).
    knots, values, slopes : Tensor
        Of the maps T, each (d, n_knots): see `MarginalMaps`.
    """

    has_conditionals: ClassVar[bool] = True
    has_transitions: ClassVar[bool] = True

    def __init__(
        self,
        weights: Tensor,
        means: Tensor,
        cholesky: Tensor,
        knots: Tensor,
        values: Tensor,
        slopes: Tensor,
    ) -> None:
        super().__init__()
        self.mixture = GaussianMixtureDensity(weights, means, cholesky)
        self.maps = MarginalMaps(knots, values, slopes)

    def arrays(self) -> dict[str, Tensor]:
        """Return the tensors that `__init__` takes, by name."""
        return self.mixture.arrays() | dict(self.maps.state_dict())

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,)."""
        z, log_slope = self.maps(x)
        return self.mixture.log_prob(z) + log_slope

    def along(self, x: Tensor, j: int) -> Line:
        """Return log q0 of rows as a function of column j; the others stay mapped."""
        z, log_slope = self.maps(x)
        own = self.maps.of_columns(torch.tensor([j], device=x.device))
        rest = log_slope - own(x[:, j : j + 1])[1]
        mixture = self.mixture.along(z, j)

        def line(points: Tensor) -> Tensor:
            mapped, slope = own(points.reshape(-1, 1))
            shape = points.shape
            return mixture(mapped.reshape(shape)) + slope.reshape(shape) + rest[:, None]

        return line

    def left_out_log_prob(self, x: Tensor) -> Tensor:
        """Return log q0 of rows as if left out of the mixture; the maps are kept."""
        z, log_slope = self.maps(x)
        return self.mixture.left_out_log_prob(z) + log_slope

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""
        return self.maps.inverse(self.mixture.sample(n_samples, generator))

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return rows after a step of the mixture in the space of mapped columns."""
        z = self.mixture.transition(self.maps(x)[0], scale, generator)
        return self.maps.inverse(z)

    def partition(self, observed: Tensor) -> tuple[Density, Conditional]:
        """Return the marginal of some columns and the conditional of the others."""
        marginal, conditional = self.mixture.partition(observed)
        given, rest = (self.maps.of_columns(part) for part in (observed, ~observed))
        given = given.double()

        def mapped(x: Tensor) -> Density:
            z, _ = given(x.double()[None])
            return _mapped(conditional(z[0]), rest)

        return _mapped(marginal, given), mapped

    @property
    def narrowest_scale(self) -> float:
        """The smallest standard deviation of a component, where maps are steepest."""
        return self.mixture.narrowest_scale / float(self.maps.slopes.max())


def _mapped(mixture: Density, maps: MarginalMaps) -> MappedMixtureDensity:
    return MappedMixtureDensity(**mixture.arrays(), **dict(maps.state_dict()))


class CopulaMixtureDensity(StackedDensity):
    r"""Mixture of a Gaussian mixture and of one whose columns are mapped first.

    .. math:: q_0(x) = a \, q_{mapped}(x) + (1 - a) \, q_{plain}(x)

    Parameters
    ----------
    share : Tensor of shape ()
        a.
    n_beside : Tensor of int64 of shape () or None, default=None
        So many of the last components of the plain part were put `beside` the stacked
        density; None where there are none.
    **state : Tensor
        The tensors of a `MappedMixtureDensity`, named ``mapped.*``, and those of a
        `GaussianMixtureDensity`, ``plain.*``.
    """

    mapped: MappedMixtureDensity
    plain: GaussianMixtureDensity
    n_beside: Tensor | None
    has_conditionals: ClassVar[bool] = True
    has_transitions: ClassVar[bool] = True
    part_types: ClassVar[dict[str, type[Density]]] = {
        "mapped": MappedMixtureDensity,
        "plain": GaussianMixtureDensity,
    }

    def __init__(
        self, share: Tensor, n_beside: Tensor | None = None, **state: Tensor
    ) -> None:
        super().__init__(share, **state)
        self.register_buffer("n_beside", n_beside)

    def arrays(self) -> dict[str, Tensor]:
        """Return the tensors that `__init__` takes, by name."""
        own = {} if self.n_beside is None else {"n_beside": self.n_beside}
        return super().arrays() | own

    def to_latent(self, x: Tensor) -> Tensor:
        """Return the mapped rows."""
        return self.maps(x)[0]

    def latent_column(self, j: int) -> Callable[[Tensor], Tensor]:
        """Return the map of column j, of values of any shape."""
        own = self.maps.of_columns(torch.tensor([j], device=self.maps.knots.device))
        return lambda points: own(points.reshape(-1, 1))[0].reshape(points.shape)

    def from_latent(self, z: Tensor) -> Tensor:
        """Return the rows that are mapped to z."""
        return self.maps.inverse(z)

    def in_latent_space(self) -> Density:
        """Return the density of mapped rows if the mapped part has the larger share."""
        return _MappedRowsDensity(self) if self.share >= 0.5 else self

    def beside(
        self, mixture: GaussianMixtureDensity, share: float
    ) -> CopulaMixtureDensity:
        """Return 1 - share of this, and a mixture in the part that is not mapped."""
        mapped = (1 - share) * self.share
        plain = self.plain.beside(mixture, share / (1 - float(mapped)))
        density = CopulaMixtureDensity.of(mapped, self.mapped, plain)
        before = 0 if self.n_beside is None else int(self.n_beside)
        density.n_beside = torch.tensor(before + len(mixture.weights))
        return density

    def as_mixture(self) -> GaussianMixtureDensity:
        """Return the part whose columns are not mapped, in place of the mapped one.

        What was put `beside` both has the weight there that it has in the density.
        """
        if self.n_beside is None:
            return self.plain
        weights = self.plain.weights.clone()
        n_near = len(weights) - int(self.n_beside)
        weights[n_near:] *= 1 - self.share
        weights[:n_near] *= (1 - weights[n_near:].sum()) / weights[:n_near].sum()
        return GaussianMixtureDensity(weights, self.plain.means, self.plain.cholesky)

    @property
    def maps(self) -> MarginalMaps:
        """The maps of the columns."""
        return self.mapped.maps

    def partition(self, observed: Tensor) -> tuple[Density, Conditional]:
        """Return the marginal of some columns and the conditional of the others."""
        marginals, conditionals = zip(
            *(part.partition(observed) for part in self.parts), strict=True
        )
        marginal = CopulaMixtureDensity.of(self.share.double(), *marginals)
        marginal.n_beside = self.n_beside

        def conditional(x: Tensor) -> Density:
            first, second = (part.log_prob(x.double()[None])[0] for part in marginals)
            odds = torch.logit(self.share.double()) + first - second
            share = odds.sigmoid().to(self.share)
            parts = (conditional(x) for conditional in conditionals)
            return CopulaMixtureDensity.of(share, *parts)

        return marginal, conditional


def plain_mixture(density: Density) -> GaussianMixtureDensity | None:
    """Return ``density.as_mixture()``, of which this is an alias."""
    return density.as_mixture()


class _MappedRowsDensity(Density):
    """Density of mapped rows z = T(x), where x follows a `CopulaMixtureDensity`."""

    has_transitions: ClassVar[bool] = True

    def __init__(self, density: CopulaMixtureDensity) -> None:
        super().__init__()
        self.density = density

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density of z in nats, shape (n,)."""
        log_prob = self.density.mapped.mixture.log_prob(x)
        rows = self.density.maps.inverse(x)
        second = self.density.plain.log_prob(rows) - self.density.maps(rows)[1]
        return self.density.stack(log_prob, second)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""
        return self.density.to_latent(self.density.sample(n_samples, generator))

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return mapped rows after a step in the space of rows."""
        rows = self.density.from_latent(x)
        moved = self.density.transition(rows, scale, generator)
        return self.density.to_latent(moved)

    @property
    def narrowest_scale(self) -> float:
        """The smallest standard deviation of a component of the mapped part."""
        return self.density.mapped.mixture.narrowest_scale


class CopulaMixtureReference(Reference):
    r"""Stacked mixtures of Gaussians, with and without monotone maps of the columns.

    .. math:: q_0(x) = (1 - a) \sum_k \pi_k N(x; \mu_k, C_k)
              + a \, \Big[ \sum_k \rho_k N(T(x); \nu_k, D_k) \Big] \prod_j T_j'(x_j)

    Each map :math:`T_j` takes its column's estimated distribution to a standard normal
    one (`fit_marginals`), so that one curve models
    long tails, sharp edges and narrow peaks, and the mixture only has to model how
    columns depend on each other. Elsewhere the
    plain mixture is better; both are what `GaussianMixtureReference` fits, and the
    share a is the best for rows held out from maps and mixtures alike, at most 0.99.
    Where that gains less than 0.05 nats the plain mixture is returned.

    Parameters
    ----------
    mixture : GaussianMixtureReference or None, default=None
        How both mixtures are fitted; None takes a `GaussianMixtureReference`.

    References
    ----------
    Tewari, Giering, Raghunathan. Parametric characterization of multimodal
    distributions with non-Gaussian modes. ICDM Workshops 2011.

    Examples
    --------
    >>> import torch
    >>> from skebm.references import CopulaMixtureReference, GaussianMixtureReference
    >>> rng = torch.Generator().manual_seed(0)
    >>> x = torch.randn(200, 2, generator=rng).exp()
    >>> mixture = GaussianMixtureReference(n_components=(2,))
    >>> reference = CopulaMixtureReference(mixture)
    >>> density = reference.fit(x, weight=None, generator=rng)
    >>> density.log_prob(x).shape
    torch.Size([200])
    """

    def __init__(self, mixture: GaussianMixtureReference | None = None) -> None:
        self.mixture = mixture

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        right = self.mixture is None
        right = right or isinstance(self.mixture, GaussianMixtureReference)
        check_range(self, "mixture", right, "a GaussianMixtureReference or None")
        if self.mixture is not None:
            self.mixture.check_options()

    def apart(self, low: Array, high: Array) -> Reference:
        """Return the reference for rows of which some stand apart from the rest."""
        return apart_reference(self, low, high)

    def coarser(self) -> GaussianMixtureReference | None:
        """Return a mixture of fewer components, without maps."""
        return (self.mixture or GaussianMixtureReference()).coarser()

    def fit(
        self, x: Tensor, *, weight: Tensor | None, generator: torch.Generator
    ) -> Density:
        """Return the stacked mixtures, fitted to the rows."""
        mixture = self.mixture or GaussianMixtureReference()
        chosen, folds, seed = mixture.choose_rows(x, weight, generator)
        rows = x.double().numpy()[chosen]
        splits = split_rows(rows, folds)
        plain_stack = mixture.fit_stack(rows, splits, seed)
        plain, plain_scores = plain_stack.mixture, plain_stack.held_out_log_prob
        plain.folds = as_folds(len(x), chosen, folds, plain_stack.without_fold, plain)
        tied = tied_columns(x.numpy())  # rows drawn by their weights are repeated
        if tied.all() or not splits:
            return plain
        maps = fit_marginals(rows, tied)
        maps_of_split = [fit_marginals(train, tied) for train, _ in splits]
        mapped_splits, log_slopes = zip(
            *(_map_split(*given) for given in zip(splits, maps_of_split, strict=True)),
            strict=True,
        )
        z = _map(maps, rows)[0]
        mapped_stack = mixture.fit_stack(z, list(mapped_splits), seed)
        mapped_scores = mapped_stack.held_out_log_prob + np.concatenate(log_slopes)
        scores = np.stack([mapped_scores, plain_scores])
        share = min(stacking_weights(scores)[0], MAX_SHARE)
        stacked = logsumexp(scores, b=[[share], [1 - share]], axis=0)
        if np.mean(stacked - plain_scores) < MIN_GAIN:
            return plain
        density = _stacked(share, mapped_stack.mixture, plain, maps)
        parts_of_split = zip(
            mapped_stack.without_fold,
            plain_stack.without_fold,
            maps_of_split,
            strict=True,
        )
        without_fold = [_stacked(share, *parts) for parts in parts_of_split]
        density.folds = as_folds(len(x), chosen, folds, without_fold, density)
        return density


def _stacked(
    share: float,
    mapped: GaussianMixtureDensity,
    plain: GaussianMixtureDensity,
    maps: MarginalMaps,
) -> CopulaMixtureDensity:
    parts = _mapped(mapped, maps), plain
    return CopulaMixtureDensity.of(torch.tensor(share).float(), *parts)


def _map(maps: MarginalMaps, x: Array) -> tuple[Array, Array]:
    """Return the mapped rows and their log slopes."""
    z, log_slope = maps.double()(torch.from_numpy(x))
    maps.float()
    return z.numpy(), log_slope.numpy()


def _map_split(split: Split, maps: MarginalMaps) -> tuple[Split, Array]:
    """Return a split after the maps of its training rows, and held-out log slopes."""
    train, held_out = split
    z, log_slope = _map(maps, held_out)
    return (_map(maps, train)[0], z), log_slope
