"""Fidelity of draws where it is known: copies, new rows, shuffled columns."""

import numpy as np
import pandas as pd
import pytest

from skebm.evaluation import fidelity
from skebm.inspection import two_sample_auc


def rows(n, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=n)})
    frame["y"] = 2 * frame["x"] + 0.1 * rng.normal(size=n)
    frame["kind"] = np.where(frame["x"] > 0, "up", "down")
    return frame


TRAIN, TEST, NEW = rows(200, 0), rows(150, 1), rows(200, 2)


def test_copies_teach_as_much_as_rows():
    found = fidelity(TRAIN, TEST, TRAIN, target="kind")
    assert found.global_utility == found.local_utility == 1.0
    assert found.share_of_copies == 1.0
    assert found.nearest_of_draws == 0.0 < found.nearest_of_rows
    assert found.nearer > 0.95
    assert found.share_of_equal_rows == 0.0


def test_new_rows_are_as_good_and_no_copies():
    found = fidelity(TRAIN, TEST, NEW)
    assert found.global_utility == pytest.approx(1, abs=0.15)
    assert found.local_utility is None
    assert found.two_sample_auc == two_sample_auc(TEST, NEW)
    assert 0.4 < found.two_sample_auc < 0.6
    assert 0.4 < found.nearer < 0.6
    assert found.share_of_copies == 0.0


def test_shuffled_columns_teach_nothing():
    shuffled = NEW.apply(lambda c: np.random.default_rng(3).permutation(c))
    shuffled["x"] = np.random.default_rng(4).permutation(NEW["x"])
    found = fidelity(TRAIN, TEST, shuffled, target=1)
    assert found.local_utility == found.column_utilities["y"] < 0.5
    assert found.two_sample_auc > 0.8
    assert str(found).startswith("global utility")


def test_tables_are_checked():
    with pytest.raises(ValueError, match="draws must have at least 5 rows"):
        fidelity(TRAIN, TEST, NEW[:3])
    with pytest.raises(ValueError, match="same columns"):
        fidelity(TRAIN, TEST, NEW[["x"]])
    with pytest.raises(ValueError, match="'z'"):
        fidelity(TRAIN, TEST, NEW, target="z")
