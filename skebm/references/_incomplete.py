"""Rows with missing entries: conditionals of a mixture, and fits of references."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skebm.references._base import Density, Reference
from skebm.references._mixture import GaussianMixtureDensity, GaussianReference
from skebm.references._stacking import GaussianMixtureReference
from skebm.utils import dequantization_scale, normal_like, pick, uniform_like

#: Most elements of the matrices of a chunk of rows.
CHUNK_ELEMENTS = 2**22
#: Components that are drawn and cached for each row.
N_CACHED = 64
#: Rounds in which a Gaussian, a mixture and the reference are fitted.
N_GAUSSIAN_ROUNDS, N_MIXTURE_ROUNDS, N_LAST_ROUNDS = 30, 8, 1
#: Components of the mixture of those rounds.
ROUND_SIZES = (16, 32)
#: Most rows that Gaussians and mixtures are fitted to in a round.
MAX_ROUND_ROWS = 5000


class MixtureConditionals:
    r"""Marginals and conditionals of many rows, each with its own missing entries.

    With :math:`P_k = C_k^{-1}` and c the row less :math:`\mu_k`, 0 at missing
    entries M,

    .. math:: N(x_M | x_O, k) = N(\mu_M - P_{MM}^{-1} b,\; P_{MM}^{-1}), \qquad
              b = (P_k c)_M, \qquad
              2 \log N(x_O | k) = \log \frac{|P_k|}{|P_{MM}|}
              - c^T P_k c + b^T P_{MM}^{-1} b - |O| \log 2 \pi

    so that only the block of M is factorised. The component of a draw is picked among
    64 that are drawn from the row's posterior at the start.

    Parameters
    ----------
    mixture : GaussianMixtureDensity
        q0.
    x : Tensor of shape (n, n_features)
        Rows, NaN where missing.
    generator : torch.Generator
        Draws the components.

    Attributes
    ----------
    log_marginal : Tensor of shape (n,)
        log q0(x_O) in nats, float64.

    Examples
    --------
    >>> normal = GaussianMixtureDensity(
    ...     torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]
    ... )
    >>> rows = torch.tensor([[0.0, torch.nan]])
    >>> given = MixtureConditionals(normal, rows, torch.Generator())
    >>> given.log_marginal.numpy().round(4)
    array([-0.9189])
    """

    def __init__(
        self, mixture: GaussianMixtureDensity, x: Tensor, generator: torch.Generator
    ) -> None:
        factors = mixture.cholesky.double()
        self._x, self._means = x, mixture.means.double()
        self._precision = torch.cholesky_inverse(factors)
        self._constant = mixture.weights.double().log()
        self._constant -= factors.diagonal(dim1=1, dim2=2).log().sum(1)
        self.log_marginal = x.new_empty(len(x), dtype=torch.float64)
        self._components = torch.empty(
            (len(x), N_CACHED), dtype=torch.int16, device=x.device
        )
        rows = x.isnan().sum(1).argsort()  # alike in size, so that blocks are small
        for part in rows.split(self._chunk_rows(len(self._means))):
            log_joint = self._log_joint(part)
            self.log_marginal[part] = log_joint.logsumexp(1)
            picked = pick(log_joint.softmax(1), generator, N_CACHED)
            self._components[part] = picked.to(torch.int16)

    def draw(self, rows: Tensor, n_draws: int, generator: torch.Generator) -> Tensor:
        """Return completions of rows by index, shape (n_rows, n_draws, n_features).

        Observed entries stay as they are.
        """
        rows = rows.repeat_interleave(n_draws)
        place = uniform_like(self.log_marginal.new_empty(len(rows)), generator)
        components = self._components[rows, (place * N_CACHED).long()].long()
        drawn = self._x[rows]
        for chunk in torch.arange(len(rows)).split(self._chunk_rows(1)):
            some, k = rows[chunk], components[chunk]
            missing, where, block, b = self._blocks(some, k[:, None])
            factor = torch.linalg.cholesky(block[:, 0])
            noise = normal_like(b[:, 0], generator) - torch.linalg.solve_triangular(
                factor, b[:, 0], upper=False
            )
            shift = torch.linalg.solve_triangular(factor.mT, noise, upper=True)
            values = self._means[k].gather(1, where) + shift[:, :, 0]
            filled = drawn[chunk].double().scatter(1, where, values).to(drawn)
            drawn[chunk] = torch.where(missing, filled, drawn[chunk])
        return drawn.unflatten(0, (-1, n_draws))

    def _log_joint(self, rows: Tensor) -> Tensor:
        """Return log pi_k N(x_O; k) of some rows, shape (n_rows, n_components)."""
        everyone = torch.arange(len(self._means), device=rows.device)
        _, _, block, b = self._blocks(rows, everyone.expand(len(rows), -1))
        factor = torch.linalg.cholesky(block)
        white = torch.linalg.solve_triangular(factor, b, upper=False)[..., 0]
        observed = ~self._x[rows].isnan()
        centred = self._x[rows].double()[:, None] - self._means
        centred = torch.where(observed[:, None], centred, 0.0)
        projected = torch.einsum("nki,kij->nkj", centred, self._precision)
        square = (projected * centred).sum(2) - white.square().sum(2)
        log_det = factor.diagonal(dim1=2, dim2=3).log().sum(2)
        units = 0.5 * math.log(2 * math.pi) * observed.sum(1, keepdim=True)
        return self._constant - log_det - 0.5 * square - units

    def _blocks(self, rows: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return masks and columns of missing entries, and P_MM and b of components k.

        Rows that miss fewer entries than others are padded with the identity.
        """
        missing = self._x[rows].isnan()
        size = int(missing.sum(1).max())
        where = missing.int().argsort(dim=1, descending=True, stable=True)[:, :size]
        real = missing.gather(1, where)
        lines = self._precision[k[:, :, None], where[:, None]]  # (n, k, size, d)
        columns = where[:, None, None].expand(*lines.shape[:3], -1)
        both = real[:, None, :, None] & real[:, None, None, :]
        identity = torch.eye(size, dtype=torch.float64, device=rows.device)
        block = torch.where(both, lines.gather(3, columns), identity)
        centred = self._x[rows].double()[:, None] - self._means[k]
        centred = centred.masked_fill(missing[:, None], 0.0)
        b = (lines @ centred.unsqueeze(3)) * real[:, None, :, None]
        return missing, where, block, b

    def _chunk_rows(self, n_components: int) -> int:
        return max(1, CHUNK_ELEMENTS // (n_components * self._x.shape[1] ** 2))


class TiedValues:
    """The values of columns on a grid, to which completed entries are rounded.

    A column of integers then remains one when its missing entries are filled.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Rows, NaN where missing.
    tied : Tensor of bool of shape (n_features,)
        Mask of the columns on a grid.
    """

    def __init__(self, x: Tensor, tied: Tensor) -> None:
        self._values: dict[int, Tensor] = {}
        for j in tied.nonzero()[:, 0].tolist():
            values = x[:, j][~x[:, j].isnan()].unique()
            if len(values):
                self._values[j] = values

    def snap(self, x: Tensor) -> Tensor:
        """Return rows with entries rounded to the nearest value of their column."""
        if not self._values:
            return x
        x = x.clone()
        for j, on_cpu in self._values.items():
            values = on_cpu.to(x.device)
            midpoints = (values[1:] + values[:-1]) / 2
            place = torch.searchsorted(midpoints, x[..., j].contiguous())
            x[..., j] = values[place]
        return x


def hot_deck(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return rows whose missing entries are drawn from the same column's values."""
    filled = x.clone()
    for j, column in enumerate(x.T):
        missing = column.isnan()
        donors = column[~missing]
        if not len(donors):
            donors = column.new_zeros(1)
        chosen = uniform_like(column[missing], generator) * len(donors)
        filled[missing, j] = donors[chosen.long().clamp(max=len(donors) - 1)]
    return filled


def fit_incomplete(
    reference: Reference,
    x: Tensor,
    *,
    weight: Tensor | None,
    generator: torch.Generator,
) -> Density:
    r"""Fit a reference to rows with missing entries, by stochastic EM.

    .. math:: \tilde x_M \sim q^{(t)}(x_M | x_O), \qquad
              q^{(t+1)} = \arg\max_q \sum_i \log q(x_{iO}, \tilde x_{iM})

    whose fixed point is, in the mean, that of EM: it maximises the likelihood of the
    observed entries. Values of other rows fill the missing entries first. Thirty rounds
    of a Gaussian follow, and, unless a Gaussian is asked for, eight of a small mixture.
    The reference asked for is fitted to the completed rows. If its density is or
    contains a mixture, that fills the missing entries again and the reference is fitted
    once more.

    Parameters
    ----------
    reference : Reference
        The reference asked for.
    x : Tensor of shape (n, n_features)
        Standardised rows, NaN where missing, on the CPU.
    weight : Tensor of shape (n,) or None
        Weights of the rows.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    density : Density

    References
    ----------
    Celeux, Diebolt. The SEM algorithm. Computational Statistics Quarterly 2, 1985.
    Wei, Tanner. A Monte Carlo implementation of the EM algorithm. JASA 85, 1990.
    """
    filled = hot_deck(x, generator)
    tied = TiedValues(x, torch.from_numpy(dequantization_scale(filled.numpy()) > 0))
    incomplete = x.isnan().any(1).nonzero()[:, 0]

    def refill(density: GaussianMixtureDensity, rows: Tensor) -> None:
        rows = rows[x[rows].isnan().any(1)]
        if not len(rows):
            return
        given = MixtureConditionals(density, x[rows], generator)
        drawn = given.draw(torch.arange(len(rows)), 1, generator)[:, 0]
        filled[rows] = torch.where(x[rows].isnan(), tied.snap(drawn), x[rows])

    def fit(reference: Reference, rows: Tensor) -> Density:
        some = None if weight is None else weight[rows]
        return reference.fit(filled[rows], weight=some, generator=generator)

    rounds: list[Reference] = [GaussianReference()] * N_GAUSSIAN_ROUNDS
    if not reference.is_gaussian:
        cheap = GaussianMixtureReference(n_components=ROUND_SIZES, n_repeats=1)
        rounds += [cheap] * N_MIXTURE_ROUNDS
    some = torch.randperm(len(x), generator=generator)[:MAX_ROUND_ROWS]
    for i, one in enumerate(rounds, 1):
        mixture = fit(one, some).as_mixture()
        assert mixture is not None
        refill(mixture, incomplete if i == len(rounds) else some)
    everyone = torch.arange(len(x))
    density = fit(reference, everyone)
    for _ in range(N_LAST_ROUNDS):
        mixture = density.as_mixture()
        if mixture is None:
            break
        refill(mixture, incomplete)
        density = fit(reference, everyone)
    return density
