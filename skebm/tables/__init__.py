"""Encodes tables as standardised rows, and labels as class indices."""

from skebm.tables._categories import (
    CategoricalColumns,
    CategoryTable,
    categorical_mask,
    category_kinds,
)
from skebm.tables._cells import Cells, Intervals
from skebm.tables._encoder import COLUMN_KINDS, TableEncoder
from skebm.tables._kinds import ColumnKind
from skebm.tables._labels import (
    UNLABELED,
    encode_known,
    encode_labels,
    split_marker,
)
from skebm.tables._value_sets import ValueSets

__all__ = [
    "COLUMN_KINDS",
    "UNLABELED",
    "CategoricalColumns",
    "CategoryTable",
    "Cells",
    "ColumnKind",
    "Intervals",
    "TableEncoder",
    "ValueSets",
    "categorical_mask",
    "category_kinds",
    "encode_known",
    "encode_labels",
    "split_marker",
]
