"""Optional and private parts of scikit-learn, imported nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.utils import _param_validation, column_or_1d
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in


class Interval(_param_validation.Interval):
    """Numbers of an interval; True and False are none, as scikit-learn has them."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Tell whether a value is a number in the interval."""
        return type(val).__name__ != "bool" and super().is_satisfied_by(val)


InvalidParameterError = _param_validation.InvalidParameterError
StrOptions = _param_validation.StrOptions
validate_parameter_constraints = _param_validation.validate_parameter_constraints
HasMethods = _param_validation.HasMethods

try:  # scikit-learn >= 1.9
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Empty class for versions of scikit-learn without callbacks."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method as it is."""
        return method


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "StrOptions",
    "check_feature_names_in",
    "column_or_1d",
    "validate_parameter_constraints",
    "with_callbacks",
]
