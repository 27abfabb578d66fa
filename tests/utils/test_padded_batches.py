"""Functions of rows, applied in batches of one size."""

import numpy as np
import pytest
import torch

from skebm.utils import in_padded_batches


@pytest.mark.parametrize("n_rows", [1, 4, 10])
@pytest.mark.parametrize("one_number", [True, False])
def test_batches_are_of_one_size_and_rows_keep_their_order(n_rows, one_number):
    x = np.arange(3 * n_rows, dtype=np.float32).reshape(n_rows, 3)
    sizes = []

    def double(batch):
        sizes.append(len(batch))
        return 2 * (batch[:, 0] if one_number else batch)

    result = in_padded_batches(double, x, torch.from_numpy, batch_size=4)
    assert set(sizes) == {4}
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, 2 * (x[:, 0] if one_number else x))
