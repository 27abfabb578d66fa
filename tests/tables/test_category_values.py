"""Which values a column of categories knows again."""

import numpy as np
import pandas as pd
import pytest

from skebm.tables import CategoricalColumns


def columns(values):
    return CategoricalColumns(pd.DataFrame({"flag": values}), np.array([True]))


@pytest.mark.parametrize("later", [[1, 0], [1.0, np.nan], [True, False]])
def test_booleans_that_come_back_as_numbers(later):
    found = columns([False, True, True]).encode(pd.DataFrame({"flag": later}))
    np.testing.assert_array_equal(found[:, 0], np.asarray(later, dtype=float))


def test_other_numbers_are_no_booleans():
    with pytest.raises(ValueError, match="Found unknown categories 0, 2 in column"):
        columns([False, True]).encode(pd.DataFrame({"flag": [0, 2]}))


def test_half_precision_numbers_are_categories():
    X = pd.DataFrame({"flag": np.array([0.5, 0.1, 0.5], dtype=np.float16)})
    known = columns(X["flag"])
    assert known.encode(X)[:, 0].tolist() == [1, 0, 1]
