"""How a table came, and tables that are written like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from skebm.tables import _arrow_frames, _narwhals_frames, _pandas_frames


@dataclass(frozen=True, eq=False)
class TableFormat:
    """How a table came, so that one like it can be written.

    Attributes
    ----------
    library : str, default="numpy"
        "numpy" for arrays and lists, "pandas", or what narwhals calls the library.
    names : sequence, default=()
        Names of the columns of a data frame.
    dtypes : sequence, default=()
        Their dtypes: the library's, or words; None where it doesn't matter.
    labels : Index or None, default=None
        Labels of the rows of a pandas frame.
    """

    library: str = "numpy"
    names: Any = ()
    dtypes: Sequence[Any] = ()
    labels: pd.Index | None = None

    @classmethod
    def of_pandas(cls, X: pd.DataFrame) -> Self:
        """Return the format of a pandas frame."""
        return cls("pandas", X.columns, list(X.dtypes), X.index)

    @classmethod
    def of_arrow(cls, X: Any) -> Self:
        """Return the format of a pyarrow table."""
        return cls("pyarrow", X.column_names, X.schema.types)

    @classmethod
    def of_narwhals(cls, X: Any) -> Self:
        """Return the format of a narwhals frame."""
        return cls(X.implementation.value, X.columns, list(X.schema.values()))

    def to_arrays(self) -> dict[str, Any]:
        """Return library, names and dtypes as lists and words."""
        return {
            "library": self.library,
            "names": list(self.names),
            "dtypes": [self._word(dtype) for dtype in self.dtypes],
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the format that `to_arrays` described."""
        return cls(**arrays)

    def without_labels(self) -> Self:
        """Return the format without labels of rows."""
        return replace(self, labels=None)

    def like(self, dtype: Any) -> str | None:
        """Return the library's word for another one's booleans or whole numbers.

        None for other dtypes.
        """
        word = str(dtype).lower()
        if word.startswith("bool"):
            return "bool" if self.library in ("pandas", "pyarrow") else "Boolean"
        if word.startswith(("int", "uint")):
            return "int64" if self.library in ("pandas", "pyarrow") else "Int64"
        return None

    def _word(self, dtype: Any) -> str | None:
        """Return a dtype as a word."""
        if dtype is None or self.library in ("pandas", "pyarrow"):
            return dtype if dtype is None else str(dtype)
        return _narwhals_frames.word(dtype)

    def write(self, X: pd.DataFrame) -> Any:
        """Return an array or a frame of this format with the values of X.

        Where X has more rows than the format has labels, each label stands for as many
        rows that follow each other. Columns get the dtypes of the format where these
        hold their values.
        """
        if self.library == "numpy":
            return X.infer_objects().to_numpy()
        if self.library == "pandas":
            return _pandas_frames.write(X, self.names, self.dtypes, self.labels)
        if self.library == "pyarrow":
            return _arrow_frames.write(X, self.names, self.dtypes)
        return _narwhals_frames.write(self.library, X, self.names, self.dtypes)

    def write_numbers(self, table: np.ndarray) -> Any:
        """Return an array of numbers as it is, or as a frame of this format."""
        return table if self.library == "numpy" else self.write(pd.DataFrame(table))


#: The format of arrays and lists.
ARRAYS = TableFormat()
