"""The columns of a table as a net that classifies takes them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn

from skebm.networks._capabilities import as_boosted
from skebm.networks._one_hot import EmbeddedNetwork, OneHotColumns
from skebm.references import Density
from skebm.tables import TableEncoder
from skebm.tables._cells import Intervals

Array = NDArray[np.float64]

#: Finite stand-in for the start of the first category in a map to the latent space.
FAR = 30.0


def one_hot_columns(
    encoder: TableEncoder, reference: Density | None = None
) -> OneHotColumns | None:
    """Return the features of a table with category columns; None without any.

    Parameters
    ----------
    encoder : TableEncoder
        Of the table.
    reference : Density or None
        Features are of points in its latent space; None takes standardised rows.
    """
    columns, intervals = _category_intervals(encoder)
    if not columns:
        return None
    points = [ndtri(one.quantile + one.share / 2) for one in intervals]
    starts, shares = (
        [getattr(one, n) for one in intervals] for n in ("start", "share")
    )
    starts = [start[:-1] for start in starts]
    n_features = len(encoder.scale)
    if reference is not None:
        points = _in_latent_space(points, columns, n_features, reference)
        inner = _in_latent_space(starts, columns, n_features, reference)
        starts = [np.r_[-np.inf, start[1:]] for start in inner]
    return OneHotColumns(n_features, columns, points, starts, shares)


def n_inputs(encoder: TableEncoder, n_outputs: int) -> int:
    """Return the number of inputs of the net that an option builds."""
    embedding = one_hot_columns(encoder) if n_outputs > 1 else None
    return len(encoder.scale) if embedding is None else embedding.out_features


def above_categories(
    network: nn.Module, encoder: TableEncoder, reference: Density, n_outputs: int
) -> nn.Module:
    """Return the net of the table's columns, below which categories are one-hot."""
    boosted = as_boosted(network)
    if boosted is not None:
        boosted.given_borders = _borders(encoder, reference)
    if n_outputs == 1:
        return network
    embedding = one_hot_columns(encoder, reference)
    return network if embedding is None else EmbeddedNetwork(embedding, network)


def class_features(encoder: TableEncoder, z: Tensor) -> Tensor:
    """Return the features of standardised rows; 0 where an entry is missing."""
    embedding = one_hot_columns(encoder)
    if embedding is not None:
        return embedding.of_rows(z)
    return z.nan_to_num(0.0) if z.isnan().any() else z


def _category_intervals(encoder: TableEncoder) -> tuple[list[int], list[Intervals]]:
    """Return the category columns of a table, and the intervals of each."""
    columns: list[int] = []
    intervals: list[Intervals] = []
    for kind in encoder.kinds:
        if kind.by_mode:
            columns.extend(kind.columns.tolist())
            intervals.extend(kind.intervals())
    return columns, intervals


def _borders(encoder: TableEncoder, reference: Density) -> dict[int, Array]:
    """Return by category column the points between its categories."""
    columns, intervals = _category_intervals(encoder)
    if not columns:
        return {}
    starts = [one.start[:-1] for one in intervals]
    mapped = _in_latent_space(starts, columns, len(encoder.scale), reference)
    pairs = zip(columns, mapped, strict=True)
    return {j: of_column[1:] for j, of_column in pairs}


def _in_latent_space(
    values: list[NDArray[np.float64]],
    columns: list[int],
    n_features: int,
    reference: Density,
) -> list[NDArray[np.float64]]:
    """Return points of columns, which the reference maps each by itself."""
    device = next(iter(reference.arrays().values())).device
    rows = torch.zeros(max(map(len, values)), n_features)
    for j, of_column in zip(columns, values, strict=True):
        finite = np.maximum(of_column, -FAR)
        rows[: len(of_column), j] = torch.from_numpy(finite).float()
    with torch.no_grad():
        mapped = reference.to_latent(rows.to(device)).cpu().double().numpy()
    pairs = zip(columns, values, strict=True)
    return [mapped[: len(of_column), j] for j, of_column in pairs]
