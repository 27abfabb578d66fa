"""Visible units and devices in a stored state, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from skebm.networks import (
    BernoulliUnits,
    GaussianUnits,
    LabeledUnits,
    SoftmaxUnits,
    TreeUnits,
)
from skebm.tables import TableEncoder
from skebm.utils import nearest_device, to_numpy_tree, to_tensor_tree

#: Each kind of units by its name, with the names of what it is made of.
KINDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "BernoulliUnits": (BernoulliUnits, ()),
    "SoftmaxUnits": (SoftmaxUnits, ("sizes",)),
    "GaussianUnits": (GaussianUnits, ("scale", "axes", "min_scale")),
    "LabeledUnits": (LabeledUnits, ("n_classes",)),
    "TreeUnits": (TreeUnits, ("log_weights", "parents", "log_tables", "sizes")),
}


def pack_units(units: Any) -> dict[str, Any]:
    """Return units as arrays, numbers and words."""
    name = type(units).__name__
    parts = {part: getattr(units, part) for part in KINDS[name][1]}
    return {"kind": name, "parts": to_numpy_tree(parts)}


def unpack_units(packed: dict[str, Any]) -> Any:
    """Return the units that `pack_units` described."""
    return KINDS[packed["kind"]][0](**to_tensor_tree(packed["parts"]))


def pack_device(device: Any) -> str | None:
    """Return the name of a device, as the option of an estimator has it."""
    return None if device is None else str(device)


def unpack_device(name: str | None) -> str | None:
    """Return a stored device; the CPU where that device is not on this machine."""
    return name if name in (None, "auto") else nearest_device(name)


def standardizer(mean: Any, scale: Any) -> TableEncoder:
    """Return the encoder of columns of numbers with these means and scales."""
    numbers = {"columns": np.arange(len(mean)), "range_share": 0.0}
    numbers |= {"location": mean, "scale": scale}
    return TableEncoder.from_arrays({"numbers": numbers})
