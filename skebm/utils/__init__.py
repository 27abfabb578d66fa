"""Helpers for checks, options, random numbers, tensors and warnings."""

from skebm.utils._callers import sklearn_callers
from skebm.utils._checks import (
    check_argument,
    check_builder,
    check_choice,
    check_count,
    check_flag,
    check_number,
    check_positive,
    check_range,
    check_sizes,
    is_count,
    is_number,
    is_positive,
    is_sequence,
)
from skebm.utils._columns import VARIANCE_FLOOR, column_units, dequantization_scale
from skebm.utils._options import plain, resolve_option
from skebm.utils._progress import Phase, phase, reporting
from skebm.utils._torch import (
    draw_seed,
    in_padded_batches,
    isolated_rng,
    make_generator,
    nearest_device,
    normal_like,
    pick,
    resolve_device,
    to_numpy_tree,
    to_tensor_tree,
    uniform_like,
    warming_average,
)
from skebm.utils._warnings import warn_user

__all__ = [
    "VARIANCE_FLOOR",
    "Phase",
    "check_argument",
    "check_builder",
    "check_choice",
    "check_count",
    "check_flag",
    "check_number",
    "check_positive",
    "check_range",
    "check_sizes",
    "column_units",
    "dequantization_scale",
    "draw_seed",
    "in_padded_batches",
    "is_count",
    "is_number",
    "is_positive",
    "is_sequence",
    "isolated_rng",
    "make_generator",
    "nearest_device",
    "normal_like",
    "phase",
    "pick",
    "plain",
    "reporting",
    "resolve_device",
    "resolve_option",
    "sklearn_callers",
    "to_numpy_tree",
    "to_tensor_tree",
    "uniform_like",
    "warming_average",
    "warn_user",
]
