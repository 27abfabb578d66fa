"""Products of stacked matrices and vectors."""

import pytest
import torch

from skebm.utils._stacks import stacked_products


@pytest.mark.parametrize("shape", [(3, 5, 4), (2, 21, 64), (4, 20, 100), (1, 1, 1)])
@pytest.mark.parametrize("transposed", [False, True])
def test_each_product_is_that_of_one_matrix_to_the_last_bit(shape, transposed):
    generator = torch.Generator().manual_seed(1)
    m = torch.randn(shape, generator=generator)
    m = m.mT if transposed else m
    x = torch.randn(m.shape[0], m.shape[2], generator=generator)
    starts = torch.randn(m.shape[:2], generator=generator)
    plain = torch.stack([torch.mv(a, b) for a, b in zip(m, x, strict=True)])
    assert torch.equal(stacked_products(m, x), plain)
    torch.testing.assert_close(plain, (m @ x[..., None])[..., 0])
    own = [torch.addmv(s, a, b, alpha=-1) for s, a, b in zip(starts, m, x, strict=True)]
    assert torch.equal(stacked_products(m, x, starts), torch.stack(own))
    one = [torch.addmv(starts[0], a, b, alpha=-1) for a, b in zip(m, x, strict=True)]
    assert torch.equal(stacked_products(m, x, starts[0]), torch.stack(one))
