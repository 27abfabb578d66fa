"""Nets of a table: those that see rows as images get the units of the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from skebm.models._class_features import n_inputs
from skebm.networks._build import build_network, constructor_of, takes_image_shape
from skebm.networks._capabilities import as_image_network
from skebm.tables import TableEncoder


def build_for_table(network: Any, encoder: TableEncoder, n_outputs: int) -> nn.Module:
    """Build the net of the option ``network`` for the standardised rows of a table.

    Raises
    ------
    ValueError
        Where a net for images is asked for, and the table is none of numbers.
    """
    check_pixels(network, encoder)
    built = build_network(network, n_inputs(encoder, n_outputs), n_outputs)
    images = as_image_network(built)
    if images is not None:
        scale = encoder.scale.copy()
        for kind in encoder.kinds:
            if not kind.varies:
                scale[kind.columns] = 0.0
        images.set_units(torch.from_numpy(encoder.location), torch.from_numpy(scale))
    return built


def check_pixels(network: Any, encoder: TableEncoder) -> None:
    """Raise ValueError where a net takes images, and values have probabilities."""
    if encoder.cells is None or not takes_image_shape(network):
        return
    numbers = np.sort(encoder.cells.columns).tolist()
    some = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    raise ValueError(
        f"network {constructor_of(network).__name__} takes rows as images, whose pixels"
        f" are numbers. X has columns of categories or atoms (number {some}): drop or "
        "encode them, or take a network such as 'mlp'."
    )
