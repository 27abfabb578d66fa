"""Draws for rows that miss the same columns, by one factorisation for all of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skebm.references._mixture import GaussianMixtureDensity

#: Most elements of the matrices of a chunk of rows.
CHUNK_ELEMENTS = 2**22


class PatternConditionals:
    r"""Conditionals of a mixture, of many rows that miss the same columns M.

    .. math:: q_0(x_M | x_O) = \sum_k \pi_k(x_O) \,
        N(x_M; \mu_M + L_{MO} L_{OO}^{-1} (x_O - \mu_O), L_{MM} L_{MM}^T)

    as in `GaussianMixtureDensity.partition`, for all rows at once. A draw is a function
    of uniform numbers that are given, so that it depends on its own row alone.

    Parameters
    ----------
    mixture : GaussianMixtureDensity
        q0.
    observed : Tensor of bool of shape (n_features,)
        Mask of the columns O.

    Examples
    --------
    >>> normal = GaussianMixtureDensity(
    ...     torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]
    ... )
    >>> given = PatternConditionals(normal, torch.tensor([True, False]))
    >>> middle = torch.full((1, 2), 0.5, dtype=torch.float64)
    >>> x, log_marginal = given.draw(torch.zeros(1, 1), middle)
    >>> x.tolist(), log_marginal.numpy().round(4)
    ([[0.0]], array([-0.9189]))
    """

    def __init__(self, mixture: GaussianMixtureDensity, observed: Tensor) -> None:
        n = int(observed.sum())
        order = torch.argsort((~observed).int(), stable=True)
        means = mixture.means[:, order].double()
        # L' = Q R: R' is the triangle of the rows of L in the new order.
        rotated = torch.linalg.qr(mixture.cholesky[:, order].double().mT, mode="r").R
        factors = rotated.mT * rotated.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)
        self._given_mean, self._free_mean = means[:, :n], means[:, n:]
        self._given = factors[:, :n, :n]
        self._cross, self._free = factors[:, n:, :n], factors[:, n:, n:]
        log_det = self._given.diagonal(dim1=1, dim2=2).log().sum(1)
        unit = 0.5 * n * math.log(2 * math.pi)
        self._constant = mixture.weights.double().log() - log_det - unit

    def draw(self, given: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Return a draw for each row, and the log density of what is given.

        Parameters
        ----------
        given : Tensor of shape (n, n_observed)
            x_O of each row.
        uniform : Tensor of shape (n, 1 + n_missing)
            Points of the unit cube: the first picks the component.

        Returns
        -------
        x : Tensor of shape (n, n_missing)
        log_marginal : Tensor of shape (n,)
            log q0(x_O) in nats, float64.
        """
        n_elements = len(self._constant) * max(1, given.shape[1])
        size = max(1, CHUNK_ELEMENTS // n_elements)
        pairs = zip(given.split(size), uniform.split(size), strict=True)
        parts = [self._draw(*pair) for pair in pairs]
        drawn, log_marginal = zip(*parts, strict=True)
        return torch.cat(drawn), torch.cat(log_marginal)

    def _draw(self, given: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        centred = (given.double()[None] - self._given_mean[:, None]).mT
        white = torch.linalg.solve_triangular(self._given, centred, upper=False)
        log_joint = self._constant[:, None] - 0.5 * white.square().sum(1)
        log_marginal = log_joint.logsumexp(0)
        # A row so far away that all densities are zero has no posterior.
        shares = (log_joint - log_marginal).exp().nan_to_num(1 / len(log_joint))
        below = shares.cumsum(0) < uniform[:, 0] * shares.sum(0)
        component = below.sum(0).clamp(max=len(log_joint) - 1)
        noise = torch.special.ndtri(uniform[:, 1:].clamp(1e-9, 1 - 1e-9))
        x = torch.empty_like(noise)
        for k in component.unique().tolist():
            rows = component == k
            shift = white[k][:, rows].mT @ self._cross[k].mT
            x[rows] = self._free_mean[k] + shift + noise[rows] @ self._free[k].mT
        return x, log_marginal
