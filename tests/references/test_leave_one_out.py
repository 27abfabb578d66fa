"""Log densities of left-out rows against fits without them."""

import numpy as np
import pytest
import torch

from skebm.references import (
    CopulaMixtureDensity,
    CopulaMixtureReference,
    GaussianMixtureReference,
    GaussianReference,
    KernelDensity,
    KernelDensityReference,
    UniformBox,
)
from skebm.references._mixture import GaussianMixtureDensity
from skebm.utils import make_generator


def draw(n_rows, n_columns=2, seed=0):
    return torch.randn(n_rows, n_columns, generator=make_generator(seed))


def fit(reference, x):
    return reference.fit(x, weight=None, generator=make_generator(0))


def moments(x):
    """Return the Gaussian with the rows' mean and covariance."""
    x = x.double()
    factor = torch.linalg.cholesky(torch.cov(x.T, correction=0))
    return GaussianMixtureDensity(
        torch.ones(1).double(), x.mean(dim=0)[None], factor[None]
    )


@pytest.mark.parametrize("n_columns", [2, 5])
def test_of_a_gaussian_it_is_exact(n_columns):
    x = draw(30, n_columns) @ draw(n_columns, n_columns, seed=1)
    found = moments(x).left_out_log_prob(x)
    expected = [
        moments(torch.cat([x[:i], x[i + 1 :]])).log_prob(x[i : i + 1].double())
        for i in range(len(x))
    ]
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-4, rtol=1e-4)
    # And so is the gradient: that of the Gaussian of the other rows.
    z = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(moments(x).left_out_log_prob(z).sum(), z)
    row = x[:1].double().requires_grad_()
    (of_others,) = torch.autograd.grad(moments(x[1:]).log_prob(row).sum(), row)
    torch.testing.assert_close(slope[:1].double(), of_others, atol=1e-3, rtol=1e-3)


def test_of_separate_gaussians_it_is_exact():
    """Rows of one blob say nothing about the other, its weight excepted."""
    blobs = [draw(20), draw(30, seed=1) + 100]
    parts = [moments(blob) for blob in blobs]
    mixture = GaussianMixtureDensity(
        torch.tensor([0.4, 0.6]).double(),
        torch.cat([part.means for part in parts]),
        torch.cat([part.cholesky for part in parts]),
    )
    found = mixture.left_out_log_prob(torch.cat(blobs))
    expected = parts[0].left_out_log_prob(blobs[0]) + np.log(19 / 49)
    torch.testing.assert_close(found[:20], expected, atol=1e-4, rtol=1e-4)


def test_of_kernels_it_is_exact():
    x = draw(40)
    x[7] = x[3]  # a repeated row leaves its twin behind
    density = fit(KernelDensityReference(), x)
    weights = torch.full((39,), 1 / 39)
    for i in (0, 3, 39):
        points = torch.cat([x[:i], x[i + 1 :]])
        without = KernelDensity(points, weights, density.bandwidth)
        torch.testing.assert_close(
            density.left_out_log_prob(x)[i : i + 1],
            without.log_prob(x[i : i + 1]).double(),
            atol=1e-4,
            rtol=1e-4,
        )


@pytest.mark.parametrize(
    "reference", [GaussianReference(), GaussianMixtureReference((2, 4), 1)]
)
@pytest.mark.parametrize("n_columns", [1, 3])
def test_left_out_rows_score_as_new_ones(reference, n_columns):
    """On average over 5 tables of 40 rows, where training rows score far higher."""
    gaps = []
    for seed in range(5):
        x, new = draw(40, n_columns, seed), draw(2000, n_columns, seed + 100)
        density = fit(reference, x.exp())
        scores = density.log_prob(x.exp()), density.left_out_log_prob(x.exp())
        # Medians: few new rows lie far off.
        gaps.append(
            [s.double().median() - density.log_prob(new.exp()).median() for s in scores]
        )
    fitted, left_out = np.mean(gaps, axis=0)
    assert abs(left_out) < max(0.2, fitted)
    assert left_out < fitted


def test_rows_that_are_alike_or_few_have_finite_values():
    for x in (torch.zeros(10, 2), torch.zeros(1, 2), draw(3)):
        for reference in (GaussianReference(), KernelDensityReference()):
            density = fit(reference, x)
            assert torch.isfinite(density.left_out_log_prob(x)).all()


def test_stacks_leave_rows_out_of_both_parts_and_others_of_none():
    x = draw(60).exp()
    plain = fit(GaussianReference(), x)
    knots = torch.linspace(-9, 9, 5).expand(2, 5).contiguous()
    mapped = CopulaMixtureDensity.part_types["mapped"](
        **plain.arrays(), knots=knots, values=knots, slopes=torch.ones(2, 5)
    )
    both = CopulaMixtureDensity.of(torch.tensor(0.3), mapped, plain)
    torch.testing.assert_close(
        both.left_out_log_prob(x), plain.left_out_log_prob(x), atol=1e-3, rtol=1e-3
    )
    box = UniformBox(torch.full((2,), -9.0), torch.full((2,), 90.0))
    torch.testing.assert_close(box.left_out_log_prob(x), box.log_prob(x))


# ------------------------------------------------------------------ folds


def test_the_density_of_a_fold_is_that_of_the_other_rows():
    """Each row is in one fold; a Gaussian's mean tells which rows it was fitted to."""
    x = draw(53, 3)
    density = fit(GaussianMixtureReference(n_components=()), x)
    assert len(density.folds) == 5
    rows = torch.cat([rows for rows, _ in density.folds])
    assert sorted(rows.tolist()) == list(range(53))
    for rows, other in density.folds:
        rest = np.delete(x.numpy(), rows, axis=0)
        assert other.means.shape == density.means.shape
        for mean in other.means:
            np.testing.assert_allclose(mean, rest.mean(axis=0), atol=1e-5)
    copied = type(density)(**density.arrays())
    assert copied.folds == ()


def test_copies_of_a_row_are_left_out_together_and_rows_not_drawn_are_not():
    x, weight = draw(40), torch.ones(40)
    weight[3], weight[5] = 10, 0
    density = GaussianMixtureReference(n_components=()).fit(
        x, weight=weight, generator=make_generator(0)
    )
    rows = torch.cat([rows for rows, _ in density.folds]).tolist()
    assert sorted(rows) == list(range(40))
    not_drawn, whole = density.folds[-1]
    assert 5 in not_drawn
    assert 3 not in not_drawn
    assert torch.equal(whole.log_prob(x), density.log_prob(x))


def test_the_maps_of_a_fold_are_those_of_the_other_rows():
    """An entry far out bends the maps, but not of the fold that leaves it out."""
    x = draw(200).exp()
    mixture = GaussianMixtureReference(n_components=(2,), n_repeats=1)
    density = fit(CopulaMixtureReference(mixture), x)
    assert isinstance(density, CopulaMixtureDensity)
    last = int(x[:, 0].argmax())
    for rows, other in density.folds:
        assert isinstance(other, CopulaMixtureDensity)
        assert other.share == density.share
        seen = float(other.maps.knots[0].max())
        assert (seen < float(density.maps.knots[0].max())) == (last in rows)
