"""Columns with wild values: scaled by the others, exact there and back."""

import numpy as np
import pytest
import torch

from skebm.exceptions import DataWarning
from skebm.tables import TableEncoder
from skebm.tables._tails import find_wild

#: Of single values; tests below are about the warning.
pytestmark = pytest.mark.filterwarnings(
    "ignore:X holds values far beyond:skebm.exceptions.DataWarning"
)
N_ROWS = 400


def numbers(seed=0, shape=(N_ROWS,)):
    return np.random.RandomState(seed).normal(size=shape)


def with_sentinel(value=-9999.0, share=0.05):
    x = numbers()
    x[: round(share * N_ROWS)] = value
    return x


def fit(x, **options):
    return TableEncoder.fit(np.asarray(x)[:, None], **options)


@pytest.fixture
def sentinel():
    with pytest.warns(DataWarning, match="-9999 in 5.0%"):
        yield


# ------------------------------------------------------------------ which are wild


@pytest.mark.parametrize(
    "x",
    [
        numbers(),
        numbers() * 1e-6 + 1e6,
        np.exp(numbers()),
        np.where(numbers() > 0, 0.0, np.exp(numbers(1))),
        np.where(np.arange(N_ROWS) == 3, 1.0, 0.0),
        np.where(np.arange(N_ROWS) < 40, 1000.0, 0.0),
        np.r_[numbers()[:200], numbers()[200:] + 1000],
        np.zeros(N_ROWS),
        np.array([0.0, 1.0, 1e6]),
    ],
    ids="normal shifted log-normal zeros rare binary clusters constant few".split(),
)
def test_ordinary_columns_have_no_wild_values(x):
    assert find_wild(x) is None
    encoder = fit(x)
    expected = (x - encoder.location) / encoder.scale
    np.testing.assert_array_equal(
        encoder.encode(x[:, None])[:, 0], np.float32(expected)
    )
    np.testing.assert_allclose(encoder.scale, x.std() or 1.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("wild", "strays"),
    [
        ([1e6, 1e6, 1e6], ((1e6, 3),)),
        ([-1e6, 1e6], ((-1e6, 1), (1e6, 1))),
        ([1e6, 300.0], ((1e6, 1),)),  # 300 is about 220 quartile distances away
        ([30.0, 100.0, 300.0], ()),  # a tail
        (np.linspace(1e6, 2e6, 30), ()),  # a second kind of rows
        ([1e6] * 10, ()),  # a sentinel, which has a warning of its own
    ],
)
def test_few_values_far_beyond_all_others_are_strays(wild, strays):
    x = numbers()
    x[: len(wild)] = wild
    assert sorted(find_wild(x).strays) == sorted(strays)


def test_weights_count_no_rows_of_strays():
    x, weight = numbers(), np.full(N_ROWS, 2.0)
    x[0] = 1e6
    assert find_wild(x, weight).strays == ((1e6, 1),)


@pytest.mark.parametrize("value", [1000.0, -1e5, 1e12])
def test_one_wild_value_leaves_the_others_where_they_are(value):
    x = numbers()
    clean = fit(x).encode(x[:, None])
    x[7] = value
    z = fit(x).encode(x[:, None])
    others = np.arange(N_ROWS) != 7
    np.testing.assert_allclose(z[others], clean[others], atol=0.02)
    assert 6 < z[7, 0] * np.sign(value) < 13
    assert len(np.unique(z)) == len(np.unique(x))


@pytest.mark.parametrize("share", [0.02, 0.05, 0.3, 0.9])
def test_the_core_is_that_without_the_sentinel(share):
    x = with_sentinel(-9999.0, share)
    wild, core = find_wild(x), x[x > -9999]
    assert wild.sentinels == {-9999.0: pytest.approx(share)}
    assert wild.mean == pytest.approx(core.mean())
    assert wild.spread == pytest.approx(core.std())
    assert wild.share == pytest.approx(1 - share)


def test_a_code_that_most_rows_have():
    """Days since the last call, 999 for never, as in a bank's table."""
    x = np.where(np.arange(N_ROWS) % 10 > 0, 999.0, np.abs(np.round(5 * numbers())))
    wild = find_wild(x)
    assert wild.sentinels == {999.0: pytest.approx(0.9)}
    assert wild.spread == pytest.approx(x[x < 999].std())
    z = fit(x, sentinels="atom").encode(x[:, None])
    assert np.abs(z.mean()) < 0.1 and np.std(z[x < 999]) > 0.2


def test_one_distribution_of_two_units_is_one_column():
    x, weight = with_sentinel(), np.random.RandomState(3).uniform(0.5, 2, N_ROWS)
    wild, scaled = find_wild(x, weight), find_wild(1e-6 * x + 1e-6, 7 * weight)
    for name in ("low", "high", "mean"):
        expected = 1e-6 * (getattr(wild, name) + 1)
        assert getattr(scaled, name) == pytest.approx(expected)
    assert scaled.spread == pytest.approx(1e-6 * wild.spread)
    assert list(scaled.sentinels.values()) == pytest.approx([*wild.sentinels.values()])


def test_a_row_of_weight_two_is_two_rows():
    x, weight = with_sentinel(), 1 + np.arange(N_ROWS) % 2
    one, other = find_wild(x, weight.astype(float)), find_wild(x.repeat(weight))
    assert one.low == pytest.approx(other.low)
    assert one.spread == pytest.approx(other.spread)


def test_values_that_repeat_among_others_are_no_sentinels():
    x = np.exp(3 * numbers())
    x[:20] = np.sort(x)[-30]
    assert not find_wild(x).sentinels
    x[:20] = 1e4
    x[20:24] = -1e4  # of too few rows
    assert list(find_wild(x).sentinels) == [1e4]


# ------------------------------------------------------------------ there and back


@pytest.mark.parametrize("options", [{}, {"range_share": 0.5}, {"find_atoms": True}])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_decoding_returns_what_was_encoded(options, dtype, sentinel):
    X = np.c_[with_sentinel(), numbers(1)].astype(dtype)
    X[40:60, 0], X[5, 1] = 1000 * numbers()[40:60], np.nan
    encoder = TableEncoder.fit(X, **options)
    z = encoder.encode(X)
    back = encoder.decode(z)
    np.testing.assert_allclose(back, X, rtol=3e-5, atol=1e-5)
    again = TableEncoder.from_arrays(encoder.to_arrays())
    np.testing.assert_array_equal(again.encode(X), z)
    np.testing.assert_array_equal(again.decode(z), back)
    if "find_atoms" in options:
        np.testing.assert_array_equal(back[:20, 0], -9999)


def test_a_kept_range_is_that_of_the_core():
    x = numbers()
    clean = fit(x, range_share=0.5).scale
    x[7] = 1000.0
    assert fit(x, range_share=0.5).scale == pytest.approx(clean, rel=0.01)


# ------------------------------------------------------------------ density and mass


def standard_normal(z):
    return -0.5 * (z.double().square() + np.log(2 * np.pi)).sum(dim=1)


def scores(encoder, x):
    z = torch.from_numpy(encoder.encode(np.asarray(x)[:, None]))
    return (encoder.log_mass(standard_normal)(z) + encoder.log_jacobian(z)).numpy()


@pytest.mark.parametrize("find_atoms", [False, True])
def test_a_density_of_z_is_one_of_x(find_atoms, sentinel):
    """By quadrature in x, and the mass of the atom: z standard normal by -+ 15."""
    encoder = fit(with_sentinel(), find_atoms=find_atoms)
    scale, location = encoder.scale[0], encoder.location[0]
    ends = encoder.decode(np.array([[-6.0], [6.0]]))[:, 0]
    x = location + scale * np.sinh(np.linspace(-9, 9, 40_001))
    x = x[(x > ends[0]) & (x < ends[1])]
    values = np.exp(scores(encoder, x))
    mass = np.sum(np.diff(x) * (values[1:] + values[:-1]) / 2)
    if find_atoms:
        atom = np.exp(scores(encoder, np.array([-9999.0])))[0]
        assert atom > 1e-3
        mass += atom
    assert mass == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("find_atoms", [False, True])
def test_the_jacobian_is_the_slope(find_atoms, sentinel):
    encoder = fit(with_sentinel(), find_atoms=find_atoms)
    for x in (-9e4, -5000.0, -8.0, 0.3, 7.0, 300.0):
        step = 1e-3 * max(1.0, abs(x))
        low, high = (encoder.encode(np.array([[x + d]])) for d in (-step, step))
        slope = (float(high[0, 0]) - float(low[0, 0])) / (2 * step)
        z = torch.from_numpy(encoder.encode(np.array([[x]])))
        assert encoder.log_jacobian(z).item() == pytest.approx(np.log(slope), abs=5e-3)


def test_missing_entries_have_no_jacobian(sentinel):
    X = np.c_[with_sentinel(), 3 * numbers(1)]
    encoder = TableEncoder.fit(X)
    rows = np.array([[-50.0, np.nan], [np.nan, 1.0], [-50.0, 1.0], [np.nan, np.nan]])
    one, other, both, none = encoder.log_jacobian(
        torch.from_numpy(encoder.encode(rows))
    ).tolist()
    assert one + other == pytest.approx(both)
    assert other == pytest.approx(-np.log(encoder.scale[1]))
    assert none == 0


# ------------------------------------------------------------------ options


def test_a_sentinel_is_an_atom_where_asked_for():
    x = with_sentinel(999.0)
    encoder = fit(x, sentinels="atom")
    drawn = encoder.cells.redraw(
        torch.from_numpy(encoder.encode(x[:, None])), torch.Generator().manual_seed(0)
    )
    np.testing.assert_array_equal(encoder.decode(drawn.numpy())[:20], 999.0)
    assert len(np.unique(drawn[:20])) == 20


def test_a_sentinel_is_missing_where_asked_for():
    """The encoder is that of the table with NaN, and knows the code later."""
    x = with_sentinel()
    encoder, expected = (
        fit(table, sentinels="missing")
        for table in (x, np.where(x == -9999, np.nan, x))
    )
    np.testing.assert_array_equal(encoder.scale, expected.scale)
    again = TableEncoder.from_arrays(encoder.to_arrays())
    for one in (encoder, again):
        z = one.encode(np.array([[-9999.0], [-9998.0], [np.nan]]))[:, 0]
        np.testing.assert_array_equal(np.isnan(z), [True, False, True])
    assert expected.codes == {}


def test_a_linear_encoder_scales_alone(sentinel):
    x = with_sentinel()
    encoder = fit(x, linear=True)
    assert encoder.scale == pytest.approx([x.std()])


def test_the_warning_names_the_columns():
    X = np.stack([with_sentinel(), numbers(1), with_sentinel(999.0, 0.02)], axis=1)
    expected = r"'a' \(-9999 in 5.0% of the rows\) and column 'c' \(999 in 2.0%"
    with pytest.warns(DataWarning, match=expected):
        TableEncoder.fit(X, names=["a", "b", "c"])


# ------------------------------------------------------------------ constants


@pytest.mark.parametrize("constant", [0.0, 5.0, -1e-9, 1e12, 1e17, -1e100])
def test_a_constant_that_moves_is_far_away_whatever_its_unit(constant):
    encoder = fit(np.full(20, constant))
    unit = abs(constant) or 1.0
    moved = constant + unit * np.array([0.5, -0.5, 1e-9, -1e9, 0.0, np.nan])
    z = encoder.encode(moved[:, None])[:, 0]
    np.testing.assert_array_equal(z, [5, -5, 5, -5, 0, np.nan])
    np.testing.assert_array_equal(
        encoder.decode(z[:, None])[:, 0], [*[constant] * 5, np.nan]
    )


def test_rounding_moves_no_constant():
    values = [0.1, np.float32(0.1), np.float64(np.float32(0.1)), np.nextafter(0.1, 1)]
    for fitted in values:
        encoder = fit(np.full(20, fitted))
        for value in values:
            if fitted == values[2] and value in (values[0], values[3]):
                continue  # seen in float64, it is another number
            assert encoder.encode(np.array([[value]]))[0, 0] == 0


def test_a_constant_is_stored_by_its_value():
    encoder = fit(np.full(20, 3.0))
    arrays = encoder.to_arrays()
    np.testing.assert_array_equal(arrays["constants"]["values"], [3.0])
    encoder = TableEncoder.from_arrays(arrays)
    assert encoder.location == 3.0
    np.testing.assert_array_equal(encoder.encode(np.array([[3.0], [4.0]])), [[0], [5]])


# ------------------------------------------------------------------ options, weights


def test_linear_columns_have_no_sentinels_of_a_probability():
    X = with_sentinel()[:, None]
    with pytest.raises(ValueError, match=r"sentinels='atom'.*'reference'"):
        TableEncoder.fit(X, sentinels="atom", linear=True)


@pytest.mark.parametrize("heavy", [1e10, 1e30])
def test_two_rows_with_all_of_the_weight_are_refused(heavy):
    X, weight = numbers(1)[:, None], np.ones(len(numbers(1)))
    weight[[3, 5]] = heavy
    weight /= heavy
    with pytest.raises(ValueError, match="'sample_weight' parameter gives two rows"):
        TableEncoder.fit(X, weight)
    weight[[3, 5]] = 1e3 * weight[0]
    TableEncoder.fit(X, weight)


def test_rows_of_codes_alone_are_rows_of_nan_alone():
    X = np.stack([with_sentinel(), with_sentinel()], axis=1)
    X[:, 1] = np.where(X[:, 0] == X[:, 0].min(), X[:, 0], np.cos(X[:, 0]))
    coded = TableEncoder.fit(X, sentinels="missing")
    kept = X[~np.isnan(coded.without_codes(X)).all(axis=1)]
    assert len(kept) < len(X)
    expected = TableEncoder.fit(kept)
    np.testing.assert_array_equal(coded.location, expected.location)
    np.testing.assert_array_equal(coded.scale, expected.scale)


# ------------------------------------------------------------------ values apart


def test_values_that_stand_apart_have_a_bound_before_them():
    x = numbers()
    x[:4] = 100.0, -2000.0, 7000.0, 7.0
    low, high = find_wild(x).reach
    assert -2000 < low < x[4:].min() and 7 < high < 100
    encoder = fit(x)
    (low,), (high,) = encoder.apart()
    z = encoder.encode(x[:, None])[:, 0]
    np.testing.assert_array_equal((z < low) | (z > high), np.arange(N_ROWS) < 3)
    again = TableEncoder.from_arrays(encoder.to_arrays())
    np.testing.assert_array_equal(again.apart(), encoder.apart())


def test_heavy_tails_do_not_stand_apart():
    x = np.sinh(3 * np.random.RandomState(0).normal(size=N_ROWS))
    assert np.isinf(find_wild(x).reach).all()
    assert np.isinf(fit(numbers()).apart()).all()


@pytest.mark.parametrize("codes", [(-9999.0,), (-9999.0, -999.0), (-9999.0, 9999.0)])
def test_a_sentinel_is_next_to_the_core(codes):
    """A standard normal density gives it a probability, and masses add up to one."""
    x = numbers()
    for i, code in enumerate(codes):
        x[20 * i : 20 * i + 20] = code
    x[-1] = -400.0  # between core and code: beyond the gap
    encoder = fit(x, sentinels="atom")
    z = encoder.encode(x[:, None])
    near = np.abs(z[np.isin(x, codes)])
    assert near.max() < np.abs(z[~np.isin(x, codes)][:-1]).max() + 2.5
    np.testing.assert_allclose(encoder.decode(z)[:, 0], x, rtol=3e-5, atol=1e-5)
    assert encoder.apart()[0, 0] < z[np.isin(x, codes)].min()
    again = TableEncoder.from_arrays(encoder.to_arrays())
    np.testing.assert_array_equal(again.encode(x[:, None]), z)
    # The draws of a Gaussian fitted to z take the code.
    gaussian = np.random.RandomState(0).normal(z.mean(), z.std(), (20_000, 1))
    drawn = encoder.decode(np.float32(gaussian))[:, 0]
    for code in codes:
        assert 0.001 < np.mean(drawn == code) < 0.1
    # What is drawn beside the code is the mass of its cell.
    masses = np.exp(scores(encoder, np.array(codes)))
    drawn = encoder.decode(np.random.RandomState(1).normal(size=(50_000, 1)))[:, 0]
    for code, mass in zip(codes, masses, strict=True):
        assert np.mean(drawn == code) == pytest.approx(mass, abs=2e-3)


def test_a_heavy_tail_without_gaps_stays_linear():
    core = np.random.default_rng(0).normal(size=200)
    tail = np.geomspace(3, 60, 30)  # up to 45 interquartile ranges, each near the last
    assert find_wild(np.r_[core, tail]) is None
    assert find_wild(np.r_[core, tail, 10 * tail[-3:]]) is not None
    assert find_wild(np.r_[core, tail[-1]]) is not None  # it stands apart
