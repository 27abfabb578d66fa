"""Visible units as arrays, and back."""

from __future__ import annotations

from typing import Any

from skebm.networks import BernoulliUnits, GaussianUnits, LabeledUnits, SoftmaxUnits
from skebm.utils import to_numpy_tree, to_tensor_tree

#: Each kind of units by its name, with the names of what it is made of.
KINDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "BernoulliUnits": (BernoulliUnits, ()),
    "SoftmaxUnits": (SoftmaxUnits, ("sizes",)),
    "GaussianUnits": (GaussianUnits, ("scale", "axes", "min_scale")),
    "LabeledUnits": (LabeledUnits, ("n_classes",)),
}


def pack_units(units: Any) -> dict[str, Any]:
    """Return units as arrays, numbers and words."""
    name = type(units).__name__
    parts = {part: getattr(units, part) for part in KINDS[name][1]}
    return {"kind": name, "parts": to_numpy_tree(parts)}


def unpack_units(packed: dict[str, Any]) -> Any:
    """Return the units that `pack_units` described."""
    return KINDS[packed["kind"]][0](**to_tensor_tree(packed["parts"]))
