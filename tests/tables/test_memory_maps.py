"""Tables on disk are read where they are."""

import numpy as np

from skebm import EBMDensityEstimator
from skebm.estimators._input import TableReader
from skebm.estimators._published import shell_of


def test_a_memory_map_of_floats_is_not_copied_by_reading(tmp_path):
    X = np.random.RandomState(0).normal(size=(60, 3)).astype(np.float32)
    np.save(tmp_path / "rows.npy", X)
    on_disk = np.load(tmp_path / "rows.npy", mmap_mode="r")
    options = {"categorical_features": "from_dtype", "sentinels": "warn"}
    _, table = TableReader.learn(shell_of(EBMDensityEstimator()), on_disk, **options)
    assert np.shares_memory(table, on_disk)
