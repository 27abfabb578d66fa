"""Categories as points: distances, tails, and rows made wrong."""

import numpy as np
import pytest
import torch

from skebm.evaluation import ScoredModel
from skebm.evaluation.outliers._auto import MEMBERS
from skebm.evaluation.outliers._category_points import MAX_LEVELS, CategoryPoints
from skebm.evaluation.outliers._member import RowsMember
from skebm.evaluation.outliers._violations import VIOLATIONS, violate
from skebm.utils import make_generator

BY_ROWS = [name for name, (kind, _) in MEMBERS.items() if issubclass(kind, RowsMember)]
#: Two columns of numbers about one of categories, which has number 1.
TABLE = ScoredModel(None, None, None, categories=(1,))


def rows_of(categories, seed=0):
    x = torch.randn(len(categories), 3, generator=make_generator(seed))
    x[:, 1] = torch.as_tensor(categories, dtype=torch.float32)
    return x


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)
    return rows_of(rng.choice(4, n, p=[0.5, 0.3, 0.19, 0.01]), seed)


def test_distances_are_chi_square_ones():
    rows = rows_of([0] * 6 + [1] * 3 + [2])
    points = CategoryPoints(rows, [1])
    x = rows_of([0, 0, 1, 2, 9])
    found = points.beside(points.numbers(x)[:, :0], x)
    share = torch.tensor([0.6, 0.6, 0.3, 0.1, 0.05])  # one without rows has half a row
    expected = ((1 / share[:, None] + 1 / share) / 2).sqrt()
    expected[0, 1] = expected[1, 0] = 0
    expected.fill_diagonal_(0)
    torch.testing.assert_close(torch.cdist(found, found), expected)
    torch.testing.assert_close(points.numbers(x), x[:, [0, 2]])


def test_a_column_has_variance_one_whatever_its_categories():
    rows = drawn(200)
    points = CategoryPoints(rows, [1])
    found = points.beside(rows[:, :0], rows)
    assert float(found.var(dim=0, correction=0).sum()) == pytest.approx(1)


def test_of_many_categories_the_rare_ones_share_a_coordinate():
    counts = range(3 * MAX_LEVELS, MAX_LEVELS, -1)
    rows = rows_of([k for k, count in enumerate(counts) for _ in range(count)])
    points = CategoryPoints(rows, [1])
    x = rows_of([0, 1, 2 * MAX_LEVELS - 1, 500])
    found = points.beside(x[:, :0], x)
    assert found.shape == (4, MAX_LEVELS + 1)
    assert torch.equal(found[2], found[3]) and not torch.equal(found[0], found[1])


def test_tails_count_the_rows_of_categories_as_rare():
    """By brute force, with each row left out in turn, for each category."""
    rows = rows_of([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4])
    points = CategoryPoints(rows, [1])
    for left_out in range(-1, len(rows)):
        others = [x for i, x in enumerate(rows[:, 1].tolist()) if i != left_out]
        own = torch.full((6, 3), torch.nan)
        if left_out >= 0:
            own = rows[left_out].expand(6, 3)
        found = points.tails(rows_of(range(6)), own)[:, 0].tolist()
        for category in range(6):
            count = others.count(category)
            assert found[category] == sum(others.count(o) <= count for o in others)


@pytest.mark.parametrize("name", BY_ROWS)
def test_a_rare_category_scores_low_wherever_it_is_on_the_line(name):
    train, new = drawn(300), drawn(100, 1)
    kind = MEMBERS[name][0]
    member = kind.fit(TABLE, train, train, make_generator(0), 1)
    usual, rare = new.clone(), new.clone()
    usual[:, 1], rare[:, 1] = 0, 3
    again = kind.from_arrays(member.arrays())
    assert torch.equal(again(TABLE, new), member(TABLE, new))
    if name != "local_density":  # that compares with neighbours of the category
        assert member(TABLE, rare).median() < member(TABLE, usual).quantile(0.2)
    unknown = torch.where(torch.tensor([False, True, False]), 7.0, usual)
    assert member(TABLE, unknown).median() < member(TABLE, usual).quantile(0.2)


def test_wrong_rows_have_categories_of_the_table():
    x, generator = drawn(300), make_generator(1)
    made = {
        name: violate(make, x, x, generator, (1,)) for name, make in VIOLATIONS.items()
    }
    for wrong in made.values():
        assert torch.isin(wrong[:, 1], x[:, 1]).all()
    assert torch.equal(made["extrapolated"][:, 1], x[:, 1])
    moved = made["jittered"][made["jittered"][:, 1] != x[:, 1], 1]
    shares = [float((moved == k).double().mean()) for k in range(4)]
    assert len(moved) > 80 and min(shares) > 0.1  # all with the same chance
