"""Which functions of scikit-learn called the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator

#: Packages whose frames are looked through; any other frame ends the search.
_LOOKED_THROUGH = ("contextlib", "functools", "joblib", "skebm", "sklearn", "torch")
#: What starts a call of its own, so that what lies beyond it does not matter.
_ENDS = ("skebm.model_selection._with_unlabeled",)


def sklearn_callers() -> Iterator[tuple[str, str]]:
    """Yield module and name of the functions of scikit-learn that led here.

    The nearest comes first. Some meta-estimators handle labels in a way that only the
    name of the caller tells.
    """
    frame = sys._getframe().f_back
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module in _ENDS or module.split(".")[0] not in _LOOKED_THROUGH:
            return
        if module.startswith("sklearn."):
            yield module, frame.f_code.co_name
        frame = frame.f_back
