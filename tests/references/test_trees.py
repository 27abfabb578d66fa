"""Chow-Liu trees and their mixtures, against enumeration and brute force."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, norm

from skebm.references import ChowLiuReference, TreeDensity
from skebm.references._chow_liu import best_tree, em_steps

SIZES = [2, 3, 2, 4]
STATES = torch.tensor(list(itertools.product(*map(range, SIZES))))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def make_rows(n=300, seed=0):
    draw = np.random.RandomState(seed)
    x = np.stack([draw.randint(0, size, n) for size in SIZES], axis=1)
    x[:, 2] = (x[:, 0] + (draw.rand(n) < 0.1)) % 2
    x[:, 3] = np.where(draw.rand(n) < 0.7, x[:, 1], x[:, 3])
    return x


def fitted(n_components=1, x=None, **options):
    x = make_rows() if x is None else x
    reference = ChowLiuReference(n_components, **options)
    return reference.fit_masses(x, SIZES, weight=None, generator=rng())


def joint(trees, fields):
    """Return log q(x) + u(x) of all states."""
    columns = range(len(SIZES))
    return trees.log_prob(STATES) + sum(fields[j][STATES[:, j]] for j in columns)


@pytest.mark.parametrize("n_components", [1, 3, (1, 2, 4)])
def test_masses_sums_and_draws_are_exact(n_components):
    trees = fitted(n_components)
    assert trees.log_prob(STATES).exp().sum().item() == pytest.approx(1, abs=1e-12)
    fields = torch.randn(4, 4, generator=rng()).double()
    fields[2, 1] = -torch.inf  # a value that is forbidden
    log_mass = joint(trees, fields)
    total = trees.log_partition(fields[None]).item()
    assert total == pytest.approx(log_mass.logsumexp(0).item(), abs=1e-12)
    drawn = trees.draw(fields.expand(50_000, -1, -1), rng())
    code = torch.tensor([24, 8, 4, 1])
    counts = torch.bincount(drawn @ code, minlength=48)[STATES @ code]
    possible = log_mass.isfinite()
    expected = 50_000 * log_mass.softmax(0)[possible]
    assert counts[~possible].sum() == 0
    assert chisquare(counts[possible], expected).pvalue > 1e-3


def test_the_tree_is_the_best_of_all():
    """Of the 16 trees on four columns, by likelihood; smoothing next to nothing."""
    x = make_rows(200, seed=3)
    found = fitted(x=x, pseudo_rows=1e-9).log_prob(torch.tensor(x)).sum().item()
    scores = []
    pairs = list(itertools.combinations(range(4), 2))
    for edges in itertools.combinations(pairs, 3):
        if len({j for edge in edges for j in edge}) < 4:
            continue  # a triangle
        score, degree = 0.0, np.zeros(4)
        for edge in edges:
            score += log_frequency(x[:, list(edge)])
            degree[list(edge)] += 1
        score -= sum((degree[j] - 1) * log_frequency(x[:, [j]]) for j in range(4))
        scores.append(score)
    assert len(scores) == 16
    assert found == pytest.approx(max(scores), abs=1e-4)


def log_frequency(x):
    """Return the log likelihood of columns under their own frequencies."""
    counts = np.unique(x, axis=0, return_counts=True)[1]
    return (counts * np.log(counts / len(x))).sum()


def test_a_tree_is_rooted_in_its_middle():
    gain = np.zeros((9, 9))
    for j in range(8):  # a chain
        gain[j, j + 1] = gain[j + 1, j] = 1.0
    parents = best_tree(gain)
    assert parents.tolist() == [1, 2, 3, 4, 4, 4, 5, 6, 7]
    assert best_tree(np.zeros((1, 1))).tolist() == [0]


@pytest.mark.parametrize("n_components", [2, 5])
def test_each_step_of_em_raises_its_objective(n_components):
    x = make_rows()
    steps = em_steps(x, SIZES, None, n_components, 1.0, np.random.RandomState(1))
    objective = [value for _, (_, value) in zip(range(25), steps, strict=False)]
    assert np.diff(objective).min() > -1e-9
    assert objective[-1] > objective[0] + 1


def test_a_mixture_is_found_where_one_tree_is_not_enough():
    draw = np.random.RandomState(0)
    group, noise = draw.randint(0, 2, 2000), draw.rand(2000, 6) < 0.1
    x = ((group[:, None] * [1, 0, 1, 0, 1, 1] + noise) % 2).astype(int)
    x[:, :3] = np.where(group[:, None] > 0, x[:, :3], x[:, [0]])  # other edges
    new = torch.tensor(x[1000:])
    options = {"weight": None, "generator": rng()}
    one, some = (
        ChowLiuReference(n).fit_masses(x[:1000], [2] * 6, **options)
        for n in (1, (1, 2, 4))
    )
    assert len(some.log_weights) > 1
    assert some.log_prob(new).mean() > one.log_prob(new).mean() + 0.02


def test_weights_count_as_rows_and_missing_entries_are_left_out():
    x = make_rows()
    weight = np.random.RandomState(0).randint(1, 3, len(x)).astype(float)
    repeated = np.repeat(x, weight.astype(int), axis=0)
    reference = ChowLiuReference(pseudo_rows=1e-9)
    weighted = reference.fit_masses(x, SIZES, weight=weight, generator=rng())
    plain = reference.fit_masses(repeated, SIZES, weight=None, generator=rng())
    gap = weighted.log_prob(STATES) - plain.log_prob(STATES)
    assert gap.exp().sub(1).abs().median() < 0.01
    gaps = x.copy()
    gaps[np.random.RandomState(1).rand(*x.shape) < 0.2] = -1
    complete, incomplete = fitted(2, x), fitted(2, gaps)
    assert incomplete.log_prob(STATES).exp().sum().item() == pytest.approx(1)
    new = torch.tensor(make_rows(500, seed=9))
    lost = complete.log_prob(new).mean() - incomplete.log_prob(new).mean()
    assert lost < 0.1


def test_the_density_has_the_masses_of_its_cells():
    x = torch.tensor(norm.ppf((make_rows() + 0.5) / SIZES)).float()
    edges = [norm.ppf(np.arange(1, size) / size) for size in SIZES]
    density = ChowLiuReference(2).in_cells(edges).fit(x, weight=None, generator=rng())
    assert torch.equal(density.cells_of(x), torch.tensor(make_rows()))
    trees = density.trees
    draws = density.sample(20_000, rng(1))
    shares = density.cells_of(draws)
    assert (shares == 0).float().mean(0).sub(
        (torch.tensor(make_rows()) == 0).float().mean(0)
    ).abs().max() < 0.03
    # Importance weights against independent normal columns have mean one.
    z = torch.randn(40_000, 4, generator=rng(2))
    log_normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    ratio = (density.log_prob(z) - log_normal).exp()
    error = ratio.std().item() / len(z) ** 0.5
    assert abs(ratio.mean().item() - 1) < 4 * error
    cell = density.cells_of(z[:1])
    log_width = density.width.log().gather(1, cell.T).sum()
    expected = trees.log_prob(cell) - log_width
    found = density.log_prob(z[:1]) - log_normal[:1]
    assert found.item() == pytest.approx(expected.item(), abs=1e-4)
    copy = TreeDensity(**density.arrays())
    assert torch.equal(copy.log_prob(z[:9]), density.log_prob(z[:9]))


def test_a_step_leaves_the_density_as_it_is():
    x = torch.randn(300, 3, generator=rng()).cumsum(1)
    density = ChowLiuReference(2).fit(x, weight=None, generator=rng())
    before = density.sample(20_000, rng(3))
    moved = density.transition(before, torch.full((20_000,), 0.5), rng(4))
    stayed = (moved == before).float().mean().item()
    assert stayed == pytest.approx(0.5, abs=0.02)
    for one, other in ((before, moved), (before**2, moved**2)):
        error = one.std(0) * (2 / 20_000) ** 0.5
        assert ((one.mean(0) - other.mean(0)).abs() < 4 * error).all()
    products = [(x[:, 0] * x[:, 1]).mean().item() for x in (before, moved)]
    assert products[0] == pytest.approx(products[1], abs=0.06)


@pytest.mark.parametrize(
    ("option", "value"),
    [("n_components", 0), ("n_components", ()), ("pseudo_rows", 0.0)],
)
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(ValueError, match=option):
        ChowLiuReference(**{option: value}).check_options()
