"""Rows of a mixed table that miss entries: one integral over gaps and over cells."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from skebm.evaluation import incomplete_rows
from skebm.references import Density


class BesideCells(Density):
    r"""Noise in the cells that a row has, beside a density of what it misses.

    .. math:: r(z_C, z_M) = \prod_{j \in C} b_j(z_j) \; q(z_M)

    Parameters
    ----------
    in_cell : Tensor of bool of shape (n_free,)
        Which of the columns, those of C and M in their order, are of C.
    noise : CellNoise
        The product of the b, each zero outside its cell.
    rest : Density
        q.
    """

    has_walls = True

    def __init__(self, in_cell, noise, rest):
        super().__init__()
        self.register_buffer("in_cell", in_cell)
        self.noise, self.rest = noise, rest
        self.has_transitions = rest.has_transitions

    def log_prob(self, x):
        """Return log r(x) in nats, -inf outside the cells."""
        return self.noise.log_prob(x[:, self.in_cell]) + self.rest.log_prob(
            x[:, ~self.in_cell]
        )

    def extended_log_prob(self, x):
        """Return log r(x) as if the cells had no ends."""
        return self.noise.extended_log_prob(
            x[:, self.in_cell]
        ) + self.rest.extended_log_prob(x[:, ~self.in_cell])

    def sample(self, n_samples, generator):
        """Return draws of shape (n_samples, n_free)."""
        return self._join(
            self.noise.sample(n_samples, generator),
            self.rest.sample(n_samples, generator),
        )

    def transition(self, x, scale, generator):
        """Return rows after a step in the cells and one of the rest."""
        return self._join(
            self.noise.transition(x[:, self.in_cell], scale, generator),
            self.rest.transition(x[:, ~self.in_cell], scale, generator),
        )

    def _join(self, in_cells, others):
        x = others.new_empty(len(others), len(self.in_cell))
        x[:, self.in_cell], x[:, ~self.in_cell] = in_cells.to(others), others
        return x


def incomplete_mixed_rows(cells, z, energy, reference):
    r"""Yield rows as `incomplete_rows` does, the points in their cells left free too.

    .. math:: \int_C \int p(z_O, z_C, z_M) \, dz_M \, dz_C
              = E_r \Big[ \frac{p(z_O, z_C, z_M)}{r(z_C, z_M)} \Big], \qquad
              r = b(z_C) \, q_0(z_M | z_O, \bar z_C)

    with the noise b by which points are drawn in the cells, and the reference's
    conditional at their middles. So a mass is summed over what else the row may be.

    Parameters
    ----------
    cells : Cells
        Of the table.
    z, energy, reference
        As for `incomplete_rows`; observed cells are given by their middles.
    """
    for row in incomplete_rows(z, energy, reference):
        columns, noise, log_unit = cells.noise(row.x)
        # Where the reference is zero, so is the model: cells change nothing.
        if len(columns) and math.isfinite(row.log_reference):
            row = _beside_cells(row, columns, noise, log_unit, reference)
        yield row


def _beside_cells(row, columns, noise, log_unit, reference):
    """Return the row with its points in those columns free, and their noise."""
    in_cell = torch.zeros_like(row.x, dtype=torch.bool)
    in_cell[columns] = True
    free = in_cell | row.x.isnan()
    start = BesideCells(in_cell[free], noise, row.conditional)
    energy = row.full_energy

    def mixed_energy(z):
        # Without walls: where r is zero, so is the tempered density, whatever this is.
        return start.extended_log_prob(z[:, free]) - reference.log_prob(z) + energy(z)

    return replace(
        row,
        x=row.x.masked_fill(in_cell, torch.nan),
        log_reference=log_unit,
        conditional=start,
        full_energy=mixed_energy,
    )
