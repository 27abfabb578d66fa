"""Rows that stand apart: Gaussians of their own beside a mixture of the others."""

import numpy as np
import pytest
import torch

from skebm.references import CopulaMixtureReference, GaussianMixtureReference

N_ROWS, N_FAR = 200, 10
FEW = GaussianMixtureReference(n_components=(2,), n_repeats=1)
REFERENCES = [FEW, CopulaMixtureReference(FEW)]
LOW, HIGH = np.array([-6.0, -np.inf]), np.array([6.0, np.inf])


def rows():
    """Return rows, the last of which lie far away on both sides of one column."""
    rng = np.random.RandomState(0)
    x = rng.normal(size=(N_ROWS, 2))
    x[:, 1] = np.exp(1.5 * x[:, 1])
    x[-N_FAR:, 0] = np.where(np.arange(N_FAR) % 2, 1, -1) * rng.uniform(7, 9, N_FAR)
    return torch.from_numpy(x).float()


def fit(reference, x, weight=None):
    generator = torch.Generator().manual_seed(0)
    return reference.fit(x, weight=weight, generator=generator)


@pytest.mark.parametrize("reference", REFERENCES, ids=["mixture", "copula"])
def test_the_others_lose_only_the_share_of_the_far_rows(reference):
    x = rows()
    near = x[:-N_FAR]
    found, expected = fit(reference.apart(LOW, HIGH), x), fit(reference, near)
    assert type(found) is type(expected)
    lost = found.log_prob(near) - expected.log_prob(near)
    share = np.log(1 - N_FAR / N_ROWS)
    np.testing.assert_allclose(lost.numpy(), share, atol=1e-3)
    drawn = found.sample(4000, torch.Generator().manual_seed(0))
    assert (drawn[:, 0].abs() > 6).float().mean() == pytest.approx(0.05, abs=0.015)
    for (fold, other), (same, alone) in zip(found.folds, expected.folds, strict=True):
        assert torch.equal(fold, same)
        lost = other.log_prob(near) - alone.log_prob(near)
        np.testing.assert_allclose(lost.numpy(), share, atol=1e-3)
    copy = type(found)(**found.arrays())
    torch.testing.assert_close(copy.log_prob(x), found.log_prob(x))


def test_a_density_beside_another_adds_up():
    first, second = (fit(FEW, rows()[part]) for part in (slice(90), slice(90, 190)))
    for density in (first, fit(REFERENCES[1], rows()[:-N_FAR])):
        both = density.beside(second, 0.3).log_prob(rows()).exp()
        expected = 0.7 * density.log_prob(rows()).exp()
        expected += 0.3 * second.log_prob(rows()).exp()
        torch.testing.assert_close(both, expected, rtol=1e-4, atol=1e-9)


def test_far_gaussians_keep_their_weight_where_the_plain_part_stands_alone():
    x = rows()
    near = fit(REFERENCES[1], x[:-N_FAR])
    density = near.beside(fit(FEW, x[:90]), 0.05)
    assert density.share > 0.5
    for found in (density, type(density)(**density.arrays())):
        mixture = found.as_mixture()
        n_near = len(near.plain.weights)
        torch.testing.assert_close(mixture.weights[:n_near], 0.95 * near.plain.weights)
        assert mixture.weights[n_near:].sum() == pytest.approx(0.05, abs=1e-6)


def test_without_far_rows_it_is_the_same():
    x = rows()[:-N_FAR]
    expected = fit(FEW, x).log_prob(x)
    assert torch.equal(fit(FEW.apart(LOW, HIGH), x).log_prob(x), expected)
    none = np.array([-np.inf, -np.inf]), np.array([np.inf, np.inf])
    assert FEW.apart(*none) is FEW


def test_rows_of_no_weight_are_not_far():
    x, weight = rows(), torch.ones(N_ROWS)
    weight[-N_FAR:] = 0
    expected = fit(FEW, x, weight).log_prob(x)
    assert torch.equal(fit(FEW.apart(LOW, HIGH), x, weight).log_prob(x), expected)


def test_a_group_of_no_weight_beside_one_of_weight():
    x, weight = rows(), torch.ones(N_ROWS)
    upper = x[:, 0] > 6
    weight[upper] = 0
    density = fit(FEW.apart(LOW, HIGH), x, weight)
    alone = fit(FEW, x[x[:, 0].abs() < 6])
    assert torch.isfinite(density.log_prob(x)).all()
    assert len(density.weights) == len(alone.weights) + 1
    assert density.weights[-1] == pytest.approx(5 / 195, rel=1e-4)
    assert density.means[-1, 0] < -6


def test_folds_number_the_rows_of_the_table():
    """The folds are of the near rows, which far ones precede."""
    x = rows().flip(0)
    found, alone = fit(FEW.apart(LOW, HIGH), x), fit(FEW, x[N_FAR:])
    for (fold, _), (expected, _) in zip(found.folds, alone.folds, strict=True):
        assert torch.equal(fold, expected + N_FAR)


def test_one_far_row_is_no_spike():
    x = rows()[: 1 - N_FAR]
    density = fit(FEW.apart(LOW, HIGH), x)
    assert density.weights[-1] == pytest.approx(1 / len(x), rel=1e-4)
    assert density.cholesky[-1].diagonal().min() > 0.15


def test_where_most_rows_are_far_none_is():
    x = rows()
    x[:100, 0] += 10
    assert torch.equal(
        fit(FEW.apart(LOW, HIGH), x).log_prob(x), fit(FEW, x).log_prob(x)
    )
