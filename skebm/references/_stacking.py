"""Stacked Gaussian mixtures, whose sizes and shrinkage are chosen by likelihood."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from skebm.references._apart import apart_reference
from skebm.references._base import Density, Folds, Reference
from skebm.references._mixture import GaussianMixtureDensity as Mixture
from skebm.references._mixture import make_mixture
from skebm.utils import VARIANCE_FLOOR, check_range, column_units, is_count

Array = NDArray[np.float64]
#: Training rows and held-out rows.
Split = tuple[Array, Array]

SHRINKAGES = (1 / 16, 1 / 4, 1.0)
FEW_ROWS = 1000
N_FOLDS = 5
MANY_COLUMNS = 32
#: Most multiplications of a pass of EM; fifteen passes take some ten seconds.
MAX_PASS = 1e10
MIN_STACK_WEIGHT = 0.02
#: Sizes of the coarser reference.
COARSE_SIZES = (2, 4, 8)
NEGLIGIBLE_MASS = 1e-3


@dataclass(frozen=True, eq=False)
class Components:
    """Weights (k,), means (k, d) and covariances (k, d, d) of a mixture.

    Diagonal covariances are their diagonals, (k, d).
    """

    weights: Array
    means: Array
    covariances: Array

    def shrunk(self, n_rows: int, strength: float) -> Components:
        r"""Shrink each covariance towards the mean covariance W, as pseudo-rows would.

        .. math:: C_k \leftarrow \frac{n_k C_k + \nu d W}{n_k + \nu d}
        """
        if len(self.weights) == 1:
            return self
        n_k = n_rows * self.weights
        n_k = n_k.reshape(-1, *[1] * (self.covariances.ndim - 1))
        pooled = np.tensordot(self.weights, self.covariances, 1)
        prior = strength * self.means.shape[1]
        covariances = (n_k * self.covariances + prior * pooled) / (n_k + prior)
        return Components(self.weights, self.means, covariances)

    def factors(self) -> Array:
        """Return Cholesky factors, (k, d, d), or roots of diagonals, (k, d)."""
        if self.covariances.ndim == 2:
            return np.sqrt(self.covariances)
        return np.asarray(np.linalg.cholesky(self.covariances), np.float64)

    def log_prob(self, x: Array) -> Array:
        """Return the log density of the rows, shape (n,)."""
        log_kernels = np.empty((len(self.weights), len(x)))
        for k, factor in enumerate(self.factors()):
            centred = (x - self.means[k]).T
            if factor.ndim == 1:
                white, scale = centred / factor[:, None], factor
            else:
                white = solve_triangular(factor, centred, lower=True)
                scale = factor.diagonal()
            log_kernels[k] = -0.5 * (white**2).sum(axis=0) - np.log(scale).sum()
        log_kernels += np.log(self.weights)[:, None]
        constant = 0.5 * x.shape[1] * np.log(2 * np.pi)
        return np.asarray(logsumexp(log_kernels, axis=0) - constant)


@dataclass(frozen=True)
class Candidate:
    """Options of one fit of a mixture; `strength` is that of the shrinkage."""

    kind: str
    n_components: int
    seed: int
    strength: float = 0.0

    @property
    def unshrunk(self) -> Candidate:
        """The candidate without shrinkage."""
        return Candidate(self.kind, self.n_components, self.seed)


@dataclass(frozen=True, eq=False)
class Stack:
    """A stacked mixture, and what its cross-validation made.

    Attributes
    ----------
    mixture : GaussianMixtureDensity
        Of all rows.
    held_out_log_prob : ndarray of shape (n_held_out,)
        Log densities of the held-out rows, split by split.
    without_fold : tuple of GaussianMixtureDensity
        The same mixture of the training rows of each split.
    """

    mixture: Mixture
    held_out_log_prob: Array
    without_fold: tuple[Mixture, ...]


class GaussianMixtureReference(Reference):
    r"""Stacked mixtures of Gaussians with shrunken covariances.

    .. math:: q_0 = \sum_m a_m \sum_k \pi_{mk} N(\mu_{mk}, C_{mk}), \qquad
              a = \arg\max_a \sum_i \log \sum_m a_m q_m(x_i), \; x_i \text{ held out}

    The members :math:`q_m` are scikit-learn's `GaussianMixture` at several sizes and
    seeds, each at several strengths of shrinkage of its covariances towards their mean,
    a Ledoit-Wolf Gaussian, and diagonal mixtures where rows are few. With fewer rows
    than columns the mixtures are all diagonal. Stacking them by held-out likelihood
    is better than choosing one by BIC or by validation (``docs/notes/references.md``).
    The result is one ordinary mixture.

    Parameters
    ----------
    n_components : tuple of int, default=(2, 4, 8, 16, 32, 64)
        Sizes to try, in this order, until two in a row gain nothing. Sizes for which a
        pass of EM takes over 1e10 multiplications (size times rows times columns
        squared) are left out, such as 64 with 10 000 rows of 125 columns.
    n_repeats : int or None, default=None
        Seeds for each size; None takes two for up to 32 columns and one above, where
        components are costly.
    max_rows : int, default=10_000
        Rows used, chosen at random where there are more.

    References
    ----------
    Smyth, Wolpert. Linearly combining density estimators via stacking. Machine
    Learning 36, 1999.

    Examples
    --------
    >>> import torch
    >>> from skebm.references import GaussianMixtureReference
    >>> rng = torch.Generator().manual_seed(0)
    >>> x = torch.randn(100, 2, generator=rng)
    >>> density = GaussianMixtureReference().fit(x, weight=None, generator=rng)
    >>> density.log_prob(x).shape
    torch.Size([100])
    """

    def __init__(
        self,
        n_components: tuple[int, ...] = (2, 4, 8, 16, 32, 64),
        n_repeats: int | None = None,
        max_rows: int = 10_000,
    ) -> None:
        self.n_components = n_components
        self.n_repeats = n_repeats
        self.max_rows = max_rows

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        sizes = self.n_components
        right = isinstance(sizes, tuple | list)
        right = right and all(is_count(size, 1) for size in sizes)
        expected = "a tuple of integers, each at least 1"
        check_range(self, "n_components", right, expected)
        right = self.n_repeats is None or is_count(self.n_repeats, 1)
        check_range(self, "n_repeats", right, "None or an integer, at least 1")
        right = is_count(self.max_rows, 2)
        check_range(self, "max_rows", right, "an integer, at least 2")

    def apart(self, low: Array, high: Array) -> Reference:
        """Return the reference for rows of which some stand apart from the rest."""
        return apart_reference(self, low, high)

    def coarser(self) -> GaussianMixtureReference | None:
        """Return a mixture of at most eight components, or None if this is one."""
        if max(self.n_components, default=1) <= max(COARSE_SIZES):
            return None
        return GaussianMixtureReference(COARSE_SIZES)

    def fit(
        self, x: Tensor, *, weight: Tensor | None, generator: torch.Generator
    ) -> Mixture:
        """Return the mixture of the rows, which are resampled by their weights."""
        chosen, folds, seed = self.choose_rows(x, weight, generator)
        rows = x.double().numpy()[chosen]
        stack = self.fit_stack(rows, split_rows(rows, folds), seed)
        without_fold = stack.without_fold
        stack.mixture.folds = as_folds(
            len(x), chosen, folds, without_fold, stack.mixture
        )
        return stack.mixture

    def choose_rows(
        self, x: Tensor, weight: Tensor | None, generator: torch.Generator
    ) -> tuple[NDArray[np.int64], list[NDArray[np.int64]], int]:
        """Return numbers of rows to fit to, the folds among them, and a seed.

        The folds are left out in turn; there is none where one row has nearly all of
        the weight.
        """
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
        rng = np.random.RandomState(seed)
        order = rng.permutation(len(x))
        if weight is not None and (weight != weight[0]).any():
            share = weight.double().numpy() / weight.double().sum().item()
            order = rng.choice(len(x), size=len(x), p=share)
        order = order[: self.max_rows]
        # Copies of one row go to one fold.
        fold_of_row = rng.permutation(len(x)) % N_FOLDS
        folds = [np.flatnonzero(fold_of_row[order] == k) for k in range(N_FOLDS)]
        # A fold that holds most rows, copies of one of great weight, is not left out.
        folds = [fold for fold in folds if 0 < len(fold) <= len(order) / 2]
        return order, folds if len(order) < FEW_ROWS else folds[:1], seed

    def fit_stack(self, x: Array, splits: list[Split], seed: int) -> Stack:
        """Return the stacked members as one mixture, beside those of the splits.

        The members are fitted to x, and stacked by the rows that the splits hold out;
        without splits there is one member, the Ledoit-Wolf Gaussian.
        """
        unit = column_units(x)
        if not splits:
            only = _fit_components(x / unit, Candidate("ledoit-wolf", 1, 0), seed)
            return Stack(_merge([(1.0, only)], unit), np.empty(0), ())
        splits = [(train / unit, held_out / unit) for train, held_out in splits]
        held_out, split_fits = self._score_candidates(splits, x.shape)
        log_densities = np.array(list(held_out.values()))
        stack_weights = stacking_weights(log_densities)
        chosen = [
            (candidate, share)
            for candidate, share in zip(held_out, stack_weights, strict=True)
            if share > 0
        ]
        fitted: dict[Candidate, Components] = {}
        for key in dict.fromkeys(candidate.unshrunk for candidate, _ in chosen):
            start = split_fits[key][-1] if len(splits) == 1 else None
            fitted[key] = _fit_components(x / unit, key, seed, start)

        def merged(fits: Callable[[Candidate], Components], n_rows: int) -> Mixture:
            members = [
                (share, fits(one.unshrunk).shrunk(n_rows, one.strength))
                for one, share in chosen
            ]
            return _merge(members, unit)

        def of_split(i: int) -> Mixture:
            return merged(lambda key: split_fits[key][i], len(splits[i][0]))

        stacked = logsumexp(log_densities, b=stack_weights[:, None], axis=0)
        return Stack(
            merged(fitted.__getitem__, len(x)),
            np.asarray(stacked - np.log(unit).sum()),
            tuple(of_split(i) for i in range(len(splits))),
        )

    def _score_candidates(
        self, splits: list[Split], shape: tuple[int, ...]
    ) -> tuple[dict[Candidate, Array], dict[Candidate, list[Components]]]:
        """Return held-out log densities and the fits of the splits, by candidate."""
        held_out: dict[Candidate, Array] = {}
        fits: dict[Candidate, list[Components]] = {}
        best, n_without_gain = -np.inf, 0
        for group in self._plan(*shape):
            level = -np.inf
            for base in group:
                scores, fits[base] = _cross_validate(splits, base)
                held_out |= scores
                level = max(level, *(values.mean() for values in scores.values()))
            if group[0].kind == "full":
                n_without_gain = 0 if level > best else n_without_gain + 1
                best = max(best, level)
            if n_without_gain == 2:
                break
        return held_out, fits

    def _plan(self, n_rows: int, n_features: int) -> list[list[Candidate]]:
        """Return groups of candidates; a group counts by its best candidate."""
        groups = [[Candidate("ledoit-wolf", 1, 0)], [Candidate("full", 1, 0)]]
        sizes = [k for k in self.n_components if k <= 0.16 * n_rows]
        if n_rows < 10 * n_features:
            groups += [[Candidate("diag", k, 0)] for k in (1, *sizes[:4])]
        if n_rows < n_features:
            return groups  # too few rows for several full covariances
        pass_of_one = n_rows * n_features**2
        sizes = [k for k in sizes if k * pass_of_one <= MAX_PASS]
        repeats = range(self.n_repeats or (2 if n_features <= MANY_COLUMNS else 1))
        return groups + [[Candidate("full", k, r) for r in repeats] for k in sizes]


def as_folds(
    n_rows: int,
    chosen: NDArray[np.int64],
    folds: list[NDArray[np.int64]],
    densities: Iterable[Density],
    whole: Density,
) -> Folds:
    """Return the rows of each fold of the chosen ones, beside the density of others.

    Of rows that were not chosen, as with little weight, that is the whole density.
    """
    of_folds = tuple(
        (torch.from_numpy(np.unique(chosen[fold])), density)
        for fold, density in zip(folds, densities, strict=True)
    )
    others = np.setdiff1d(np.arange(n_rows), chosen)
    if not len(others):
        return of_folds
    copy = type(whole)(**whole.arrays())  # a density does not hold itself
    return (*of_folds, (torch.from_numpy(others), copy))


def split_rows(x: Array, folds: list[NDArray[np.int64]]) -> list[Split]:
    """Return for each fold the rows outside it and the rows in it."""
    return [(np.delete(x, fold, axis=0), x[fold]) for fold in folds]


def _cross_validate(
    splits: list[Split], base: Candidate
) -> tuple[dict[Candidate, Array], list[Components]]:
    """Return held-out log densities at each strength, and the fit of each split."""
    strengths = SHRINKAGES if base.n_components > 1 else (0.0,)
    parts: dict[float, list[Array]] = {strength: [] for strength in strengths}
    fits = [_fit_components(train, base, i) for i, (train, _) in enumerate(splits)]
    for fit, (train, held_out) in zip(fits, splits, strict=True):
        for strength in strengths:
            shrunk = fit.shrunk(len(train), strength)
            parts[strength].append(shrunk.log_prob(held_out))
    scores = {
        Candidate(base.kind, base.n_components, base.seed, strength): np.concatenate(p)
        for strength, p in parts.items()
    }
    return scores, fits


def _fit_components(
    x: Array, candidate: Candidate, seed: int, start: Components | None = None
) -> Components:
    """Fit one candidate; from a start, EM makes only a few steps."""
    floor = VARIANCE_FLOOR * np.eye(x.shape[1])
    if candidate.kind == "ledoit-wolf":
        covariance = ledoit_wolf(x)[0] + floor
        return Components(np.ones(1), x.mean(axis=0)[None], covariance[None])
    warm = start is not None and candidate.kind == "full"
    mixture = GaussianMixture(
        candidate.n_components,
        covariance_type=candidate.kind,
        reg_covar=VARIANCE_FLOOR,
        max_iter=5 if warm else 15,
        random_state=(seed + 1000 * candidate.seed) % 2**31,
    )
    if warm:
        assert start is not None
        mixture.set_params(
            weights_init=start.weights / start.weights.sum(),
            means_init=start.means,
            precisions_init=np.linalg.inv(start.covariances),
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few steps are intended
        mixture.fit(x)
    return Components(mixture.weights_, mixture.means_, mixture.covariances_)


def stacking_weights(held_out: Array) -> Array:
    """Return stacking weights of m members, by EM on held-out log densities (m, n)."""
    weights = np.full(len(held_out), 1 / len(held_out))
    for _ in range(200):
        log_joint = held_out + np.log(weights + 1e-300)[:, None]
        weights = np.exp(log_joint - logsumexp(log_joint, axis=0)).mean(axis=1)
    weights[weights < min(MIN_STACK_WEIGHT, weights.max())] = 0.0
    return np.asarray(weights / weights.sum())


def _merge(members: list[tuple[float, Components]], unit: Array) -> Mixture:
    """Return the mixture of mixtures, of columns that were divided by a unit.

    The lightest components, a thousandth of the mass together, are left out, since they
    cost as much as the others.
    """
    weights = np.concatenate([share * c.weights for share, c in members])
    means = np.concatenate([c.means for _, c in members])
    factors = np.concatenate([_triangles(c.factors()) for _, c in members])
    order = np.argsort(weights)
    light = order[np.cumsum(weights[order]) < NEGLIGIBLE_MASS]
    kept = np.setdiff1d(order, light)
    weights = weights[kept] / weights[kept].sum()
    return make_mixture(weights, means[kept] * unit, factors[kept] * unit[:, None])


def _triangles(factors: Array) -> Array:
    return factors if factors.ndim == 3 else np.stack([np.diag(f) for f in factors])
