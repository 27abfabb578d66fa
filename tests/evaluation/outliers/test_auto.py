"""The automatic outlier score: its curve, its violations and its weights."""

import math

import pytest
import torch

from skebm.evaluation import ScoredModel
from skebm.evaluation.outliers._auto import MEMBERS, Auto, area_under_roc
from skebm.evaluation.outliers._surprisal import N_KNOTS, Surprisal
from skebm.evaluation.outliers._violations import VIOLATIONS
from skebm.networks import MLP, EnergyModel
from skebm.references import GaussianReference
from skebm.utils import make_generator


def draws(n, seed=0, n_columns=3):
    return torch.randn(n, n_columns, generator=make_generator(seed))


def model_of(train):
    reference = GaussianReference().fit(train, weight=None, generator=make_generator(0))
    with torch.random.fork_rng():
        model = EnergyModel(MLP(train.shape[1], 1, hidden_features=(4,)), reference)
    return ScoredModel(model, model.log_prob_unnormalized, model.energy, True)


def fit(train, held_out=None, scored=None):
    held_out = train if held_out is None else held_out
    scored = model_of(train) if scored is None else scored
    with torch.no_grad():
        return Auto.fit(scored, train, held_out, make_generator(0), 5), scored


# ------------------------------------------------------------------------ the curve


def test_the_surprise_is_the_log_share_of_rows_that_score_as_low():
    curve = Surprisal.of(torch.tensor([3.0, 1.0, 2.0, 2.0]))
    found = curve(torch.tensor([1.0, 2.0, 3.0, 2.5, 9.0]))
    heights = [-math.log(share / 5) for share in (1.0, 2.5, 4.0)]
    expected = [*heights, (heights[1] + heights[2]) / 2, heights[2]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    beyond = curve(torch.tensor([-1.0])) - heights[0]  # the lower quartile is 2
    assert beyond.item() == pytest.approx(math.log1p(2))


@pytest.mark.parametrize("scores", [torch.zeros(9), draws(9)[:, 0], draws(3000)[:, 0]])
def test_the_curve_is_monotone_and_finite(scores):
    curve = Surprisal.of(scores)
    assert len(curve.knots) <= N_KNOTS
    ends = torch.tensor([-torch.inf, -1e30, 1e30, torch.inf, torch.nan])
    x = torch.cat([ends, torch.linspace(-5, 5, 500)])
    found = curve(x)
    assert torch.isfinite(found).all()
    assert (found[5:].diff() <= 0).all()
    if len(scores) == 3000:  # thinned, it is nearly as before
        share = (torch.searchsorted(scores.sort().values, x[5:]) + 0.5) / 3001
        inside = (x[5:] > scores.min()) & (x[5:] < scores.max())
        assert (found[5:] + share.log())[inside].abs().max() < 0.75
        assert (found[5:] + share.log())[inside].abs().mean() < 0.03


def test_the_curve_is_the_same_in_other_units():
    scores = draws(300)[:, 0].double()
    new = draws(50, 1)[:, 0].double()
    found = Surprisal.of(1e6 * scores + 1e6)(1e6 * new + 1e6)
    torch.testing.assert_close(found, Surprisal.of(scores)(new))


def test_a_wild_row_of_the_table_leaves_the_scale_as_it_is():
    """A lowest score that is wild stretches the scale to twice an exponential tail."""
    clean = draws(500)[:, 0].double().sort().values
    wild = torch.cat([clean[:1] - 1e6, clean[1:]])
    new = clean[:1] - torch.tensor([0.5, 3.0, 1000.0])
    usual, found = (Surprisal.of(scores)(new) for scores in (clean, wild))
    assert (found.diff() > 0).all() and found[0] > -math.log(3 / 501)
    assert found[2] - found[0] > 3
    torch.testing.assert_close(found, usual, atol=2.5, rtol=0)
    quarter, eighth = clean[125], clean[62]
    start = quarter - 2 * math.log2(500) * (quarter - eighth)
    torch.testing.assert_close(Surprisal.of(wild).start, start)
    assert Surprisal.of(clean).start == clean[0]


def test_areas_count_ties_as_halves():
    normal = torch.tensor([1.0, 2.0, 2.0, 3.0])
    assert area_under_roc(normal, torch.tensor([0.0])) == 1
    assert area_under_roc(normal, torch.tensor([2.0])) == 0.5
    assert area_under_roc(normal, torch.tensor([2.0, 9.0])) == 0.25


# ---------------------------------------------------------------------- violations


def test_violations_are_what_they_are_called():
    x, generator = draws(400, n_columns=4), make_generator(1)
    made = {name: make(x, x, generator) for name, make in VIOLATIONS.items()}
    center = x.median(dim=0).values
    apart = (x - center).abs().min(dim=1).values > 0.1
    factor = ((made["extrapolated"] - center) / (x - center))[apart]
    assert (factor >= 1.199).all() and (factor <= 2.001).all()
    torch.testing.assert_close(factor[:, 1], factor[:, 0], atol=1e-4, rtol=0)
    for name in ("jittered", "shuffled", "replaced"):
        changed = made[name] != x
        assert changed.double().mean() == pytest.approx(0.5, abs=0.06)
    assert (made["jittered"] != x).any(dim=1).all()
    for j in range(4):  # values of the rows, if not of the same row
        for name in ("shuffled", "replaced"):
            assert torch.isin(made[name][:, j], x[:, j]).all()
    assert (made["jittered"] - x)[made["jittered"] != x].std() == pytest.approx(
        1.5 * 1.35, rel=0.15
    )


@pytest.mark.parametrize("make", VIOLATIONS.values())
def test_constant_columns_stay_as_they_are(make):
    x = torch.ones(20, 2)
    torch.testing.assert_close(make(x, x, make_generator(0)), x)


# ------------------------------------------------------------------- the whole score


def test_it_is_the_weighted_mean_of_its_members_surprise():
    train, new = draws(80), draws(30, 1)
    score, scored = fit(train)
    expected = 0
    for name, weight in zip(MEMBERS, score.weights, strict=True):
        member = score.members[name]
        left_out = member.left_out(scored, train, train)
        curve = Surprisal.of(left_out)
        expected = expected - weight * curve(member(scored, new))
    torch.testing.assert_close(score(scored, new), expected)


def test_scores_that_tell_more_weigh_more():
    """Points on a thin line: distances and density tell them, tails do not."""
    x = draws(400, n_columns=1)
    train = torch.cat([x, x + 0.01 * draws(400, 2, 1)], dim=1)
    report = fit(train)[0].report()
    assert set(report) == set(MEMBERS)
    tails, mixture = report["tails"], report["mixture_density"]
    assert tails["jittered"] < mixture["jittered"] - 0.1
    assert tails["shuffled"] < 0.7 < 0.85 < mixture["shuffled"]
    assert tails["weight"] < 0.1 < mixture["weight"]
    assert list(tails) == ["weight", *VIOLATIONS]


@pytest.mark.parametrize("n_held_out", [0, 30, 300])
def test_new_rows_fall_below_the_threshold_as_often_as_meant(n_held_out):
    train, held_out = draws(150), draws(n_held_out, 7) if n_held_out else None
    score, scored = fit(train, held_out)
    with torch.no_grad():
        known = score.left_out(scored, train, train if held_out is None else held_out)
        if n_held_out:
            known = torch.cat([known, score(scored, held_out)])
        new = score(scored, draws(4000, 9))
    for share in (0.05, 0.2):
        below = float((new < known.quantile(share)).double().mean())
        assert abs(below - share) < 3 * math.sqrt(share * (1 - share) / len(known))


def test_copies_of_the_rows_that_a_table_repeats_score_highest():
    """How much the one row is more frequent than the other says nothing."""
    train = draws(200)
    train[:80], train[80:86] = train[80].clone(), train[86].clone()
    score, scored = fit(train)
    new = draws(100, 1)
    assert (score(scored, train[[0, 80, 86]]) == 0).all()
    assert (score(scored, new) < 0).all()
    assert (score.left_out(scored, train, train)[:87] == 0).all()
    train[80:82] = draws(2, 3)  # five copies are no longer more than five
    score, scored = fit(train)
    found = score(scored, train[[0, 86]])
    assert found[0] == 0 and found[1] < 0


def test_rows_of_fit_score_as_if_left_out():
    train = torch.cat([draws(60), 20 * draws(3, 1)])
    score, scored = fit(train)
    order = torch.randperm(len(train), generator=make_generator(1))
    left_out = score.left_out(scored, train, train)
    found = score.of_fitted_rows(scored, torch.cat([train[order], draws(9, 2)]))
    torch.testing.assert_close(found[:63], left_out[order])
    torch.testing.assert_close(found[63:], score(scored, draws(9, 2)))


def test_scores_left_out_are_of_the_rows_asked_for():
    """Those that `fit` found are of its own rows only."""
    train = draws(60)
    score, scored = fit(train)
    expected = score.of_fitted_rows(scored, train)
    for _ in range(2):
        found = score.left_out(scored, train, train)
        torch.testing.assert_close(found, expected)
    score, scored = fit(train)
    moved = train[:20] + 0.5
    found = score.left_out(scored, moved, moved)
    assert len(found) == 20
    assert (found - expected[:20]).abs().max() > 0.01


def test_earlier_states_score_as_they_did():
    """They lack the rows that repeat and the scores of the rows of fit."""
    train = draws(60)
    score, scored = fit(train)
    lacking = {"usual", "of_rows"} | {f"surprisals.{name}.start" for name in MEMBERS}
    arrays = {k: a for k, a in score.arrays().items() if k not in lacking}
    assert len(arrays) + len(lacking) == len(score.arrays())
    again, new = Auto.from_arrays(arrays), draws(20, 1)
    torch.testing.assert_close(again(scored, new), score(scored, new))


def test_its_arrays_hold_the_rows_once():
    train = draws(60)
    score, scored = fit(train)
    arrays = score.arrays()
    assert sum(a.numel() == train.numel() for a in arrays.values()) == 1
    again = Auto.from_arrays({key: a.clone() for key, a in arrays.items()})
    new = torch.cat([draws(9, 1), 1e6 * draws(3, 2)])
    torch.testing.assert_close(again(scored, new), score(scored, new), atol=0, rtol=0)
    assert again.report() == score.report()
