"""The members of the automatic score: the same promises for each, and known values."""

import copy
import math

import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from skebm.evaluation import ScoredModel
from skebm.evaluation.outliers._auto import MEMBERS
from skebm.evaluation.outliers._member import MAX_ROWS, RowsMember
from skebm.evaluation.outliers._neighbors import NearestNeighbor
from skebm.evaluation.outliers._ranks import ColumnRanks
from skebm.networks import MLP, EnergyModel
from skebm.references import GaussianMixtureReference
from skebm.utils import make_generator

#: No model: for scores that ask none.
PLAIN = ScoredModel(None, None, None)
BY_ROWS = [name for name, (kind, _) in MEMBERS.items() if issubclass(kind, RowsMember)]
#: Of these the score of a row left out is that of a fit to the others, exactly.
EXACT = ["nearest_neighbor", "tails"]


def draws(n, seed=0, n_columns=3):
    return torch.randn(n, n_columns, generator=make_generator(seed))


def with_ties(n, seed=0):
    return torch.cat([draws(n, seed, 2), draws(n, seed + 1, 2).round()], dim=1)


def model_of(train):
    """Return a model with a mixture of these rows, and its folds."""
    reference = GaussianMixtureReference().fit(
        train, weight=None, generator=make_generator(0)
    )
    with torch.random.fork_rng():
        model = EnergyModel(MLP(train.shape[1], 1, hidden_features=(4,)), reference)
    return ScoredModel(
        model, model.log_prob_unnormalized, model.energy, True, reference.folds
    )


@pytest.fixture(scope="module", params=[draws, with_ties])
def table(request):
    train, new = request.param(90), request.param(3000, 5)
    return model_of(train), train, new


def fit(name, scored, train):
    with torch.no_grad():
        return MEMBERS[name][0].fit(scored, train, train, make_generator(3), 5)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_row_left_out_scores_as_a_new_one(name, table):
    """The share of new rows below a quantile of the training rows is about as meant."""
    scored, train, new = table
    member = fit(name, scored, train)
    with torch.no_grad():
        scores, left_out = member(scored, new), member.left_out(scored, train, train)
    for share in (0.1, 0.3):
        below = float((scores < left_out.quantile(share)).double().mean())
        assert abs(below - share) < 3 * math.sqrt(share * (1 - share) / len(train))


@pytest.mark.parametrize("name", BY_ROWS)
def test_a_member_without_a_row_is_that_of_the_other_rows(name, table):
    scored, train, new = table
    changed, base = new[:20], torch.arange(0, 80, 4)
    found = fit(name, scored, train).without(scored, changed, base)
    for i, row in enumerate(base):
        others = fit(name, scored, torch.cat([train[:row], train[row + 1 :]]))
        expected = others(scored, changed[i : i + 1])
        atol = 1e-5 if name in EXACT else 0.15 * float(found.std())
        torch.testing.assert_close(found[i : i + 1], expected, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("name", BY_ROWS)
def test_rows_of_fit_are_not_compared_with_themselves(name, table):
    """In any order, among new ones, which score as ever; -0 is 0."""
    scored, train, new = table
    member = fit(name, scored, train)
    order = torch.randperm(len(train), generator=make_generator(1))
    rows = torch.where(train[order] == 0, -0.0, train[order])
    found = member.of_fitted_rows(scored, torch.cat([rows, new[:20]]))
    torch.testing.assert_close(found[: len(train)], member.without(scored, rows, order))
    torch.testing.assert_close(found[len(train) :], member(scored, new[:20]))


@pytest.mark.parametrize("name", MEMBERS)
def test_without_no_row_a_member_is_itself(name, table):
    scored, train, new = table
    member = fit(name, scored, train)
    found = member.without(scored, new[:30], torch.full((30,), -1))
    torch.testing.assert_close(found, member(scored, new[:30]))


@pytest.mark.parametrize("name", MEMBERS)
def test_far_rows_and_constant_columns_are_finite_and_far_rows_lowest(name):
    train = torch.cat([draws(60), torch.ones(60, 1)], dim=1)
    scored = model_of(train)
    member = fit(name, scored, train)
    far = torch.tensor([[40.0, 0, 0, 1], [1e6, 0, 0, 1], [0, 0, 0, 1e4]])
    scores, normal = member(scored, far), member.left_out(scored, train, train)
    assert torch.isfinite(scores).all() and torch.isfinite(normal).all()
    if name != "local_density":  # of which the middle of few rows may be as low
        assert scores.max() < normal.min()
    again = type(member).from_arrays(
        {key: value.clone() for key, value in member.arrays().items()}
    )
    torch.testing.assert_close(again(scored, far), scores, atol=0, rtol=0)


@pytest.mark.parametrize("name", BY_ROWS)
@pytest.mark.parametrize("n_rows", [1, 2, 3, 21])
def test_few_rows_have_scores(name, n_rows):
    train = draws(n_rows)
    member = fit(name, PLAIN, train)
    assert torch.isfinite(member(PLAIN, draws(5, 1))).all()
    assert not member.left_out(PLAIN, train, train).isnan().any()


@pytest.mark.parametrize("name", BY_ROWS)
def test_of_many_rows_a_part_is_kept(name):
    train = draws(MAX_ROWS + 500)
    member = fit(name, PLAIN, train)
    assert len(member.rows) == MAX_ROWS
    twin = fit(name, PLAIN, train)
    torch.testing.assert_close(twin.rows, member.rows)
    kept = member._places >= 0
    torch.testing.assert_close(train[kept], member.rows[member._places[kept]])
    some = train[::50]
    base = torch.arange(0, len(train), 50)
    new = ~kept[base]
    found = member.without(PLAIN, some, base)
    torch.testing.assert_close(found[new], member(PLAIN, some)[new])


def test_the_nearest_neighbor_is_scikit_learns(table):
    scored, train, new = table
    expected = NearestNeighbors(n_neighbors=1, metric="manhattan").fit(train)
    found = -fit("nearest_neighbor", scored, train)(scored, new[:50])
    distances = torch.from_numpy(expected.kneighbors(new[:50])[0][:, 0])
    torch.testing.assert_close(found, distances.double(), atol=1e-5, rtol=1e-5)


def test_categories_add_their_distances_without_a_column_for_each(monkeypatch):
    """Differences would be taken in as many columns as there are categories."""
    generator, cdist, widths = make_generator(0), torch.cdist, []
    codes = torch.randint(60, (300, 3), generator=generator)
    train = torch.cat([draws(300), codes], dim=1)
    member = NearestNeighbor.of_rows(train[:200], torch.tensor([3, 4, 5]))
    points = member.category_points
    placed = points.beside(points.numbers(train), train)
    expected = cdist(placed[200:], placed[:200], p=1.0).amin(dim=1)

    def noted(x, *args, **kwargs):
        widths.append(x.shape[1])
        return cdist(x, *args, **kwargs)

    monkeypatch.setattr(torch, "cdist", noted)
    none = torch.full((100,), -1)
    torch.testing.assert_close(-member.score(train[200:], none), expected)
    assert (member.score(train[:100], none) == 0).all()
    assert set(widths) == {3}


def test_tails_count_the_rows_beyond_a_value():
    train = torch.arange(9.0)[:, None]
    member = fit("tails", PLAIN, train)
    found = member(PLAIN, torch.tensor([[4.0], [0.0], [-0.5], [10.0]]))
    one, far = math.log(1 / 10), math.log(1 / 10) - 2
    expected = [math.log(6 / 10), math.log(2 / 10), one - 0.5, far]
    expected = 1.01 * torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_normal_scores_are_normal_and_go_on_beyond_the_rows():
    train = draws(4000, n_columns=1).exp()
    ranks = ColumnRanks(train)
    none = torch.full((1,), -1)
    for z in (-1.0, 0.0, 1.5):
        value = torch.tensor([[math.exp(z)]])
        assert ranks.normal_scores(value, none).item() == pytest.approx(z, abs=0.08)
    beyond = [
        ranks.normal_scores(train.max(dim=0).values[None] + step, none).item()
        for step in (1.0, 3.0)
    ]
    assert beyond[1] - beyond[0] == pytest.approx(2.0, abs=1e-5)


def test_local_density_sees_a_row_between_a_tight_and_a_wide_cluster():
    """One standard deviation off a tight cluster is more than off a wide one."""
    tight, wide = 0.05 * draws(200) - 5, draws(200, 1) + 5
    member = fit("local_density", PLAIN, torch.cat([tight, wide]))
    new = torch.tensor([[-4.4, -5, -5], [5.6, 5, 5]])
    beside_tight, beside_wide = member(PLAIN, new)
    assert beside_tight < beside_wide - 0.1


def test_a_copy_scores_equally(table):
    scored, train, new = table
    member = fit("local_density", scored, train)
    torch.testing.assert_close(
        copy.deepcopy(member)(scored, new[:9]), member(scored, new[:9])
    )
