"""The replay buffer, and random transitions."""

import pickle

import pytest
import torch

from skebm.samplers import (
    AugmentedLangevin,
    ColorJitter,
    GaussianBlur,
    Jitter,
    Langevin,
    RandomCrop,
    RandomFlip,
    RandomRescale,
    RandomShift,
    ReplayBuffer,
    SwapCoordinates,
)

SHAPE = (3, 6, 5)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def numbered(n, first=0):
    return torch.arange(first, first + n).float()[:, None]


def test_chains_stay_in_their_places(generator):
    buffer = ReplayBuffer(numbered(50), reinit_probability=0.0)
    for _ in range(20):
        rows, places = buffer.draw(torch.full((10, 1), -1.0), generator)
        assert len(set(places.tolist())) == 10
        assert torch.equal(rows[:, 0] % 100, places.float())
        buffer.put(rows + 100, places, generator)
    assert buffer.rows.sum() == numbered(50).sum() + 20 * 10 * 100


def test_the_share_of_restarts(generator):
    buffer = ReplayBuffer(numbered(4000), reinit_probability=0.25)
    rows, _ = buffer.draw(torch.full((4000, 1), -1.0), generator)
    share = (rows < 0).float().mean().item()
    assert share == pytest.approx(0.25, abs=3 * (0.25 * 0.75 / 4000) ** 0.5)


def test_first_in_first_out(generator):
    buffer = ReplayBuffer(numbered(5), replacement="fifo")
    for first in (5, 8):
        buffer.put(numbered(3, first), torch.arange(3), generator)
    assert sorted(buffer.rows[:, 0].tolist()) == [6, 7, 8, 9, 10]


def test_a_reservoir_keeps_all_rows_ever_seen_alike(generator):
    capacity, batch, n_batches = 400, 40, 90
    buffer = ReplayBuffer(numbered(capacity), replacement="reservoir")
    for i in range(n_batches):
        rows = numbered(batch, capacity + i * batch)
        buffer.put(rows, torch.arange(batch), generator)
    # Uniform on 0 to 3999: each quarter has a quarter of the rows.
    quarters = torch.bincount((buffer.rows[:, 0] // 1000).long(), minlength=4)
    assert quarters.sum() == capacity
    assert (quarters - 100).abs().max() < 3 * (400 * 0.25 * 0.75) ** 0.5


def test_a_buffer_travels_in_its_state(generator):
    buffer = ReplayBuffer(numbered(5), replacement="fifo")
    buffer.put(numbered(3, 5), torch.arange(3), generator)
    other = ReplayBuffer(numbered(5), replacement="fifo")
    other.load_state_dict(buffer.state_dict())
    for each in (buffer, other):
        each.put(numbered(1, 9), torch.arange(1), generator)
    assert torch.equal(buffer.rows, other.rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replacement": "lifo"}, "replacement must be one of"),
        ({"reinit_probability": 1.5}, "reinit_probability must be in"),
    ],
)
def test_errors_of_the_buffer(options, message):
    with pytest.raises(ValueError, match=message):
        ReplayBuffer(numbered(5), **options)


def test_no_more_rows_than_the_buffer_has(generator):
    buffer = ReplayBuffer(numbered(5))
    with pytest.raises(ValueError, match="buffer of 5 rows can't draw or keep 9"):
        buffer.draw(numbered(9), generator)
    with pytest.raises(ValueError, match="buffer of 5 rows can't draw or keep 6"):
        buffer.put(numbered(6), torch.arange(6), generator)


TRANSITIONS = [
    Jitter(),
    SwapCoordinates(),
    RandomFlip(SHAPE),
    RandomCrop(SHAPE),
    RandomShift(SHAPE),
    RandomRescale(SHAPE),
    ColorJitter(SHAPE),
    GaussianBlur(SHAPE),
]


@pytest.mark.parametrize("transition", TRANSITIONS, ids=lambda t: type(t).__name__)
def test_transitions_keep_shape_and_kind_and_pickle(transition, generator):
    x = torch.randn(20, 90, generator=generator, dtype=torch.float64)
    before, saved = x.clone(), generator.get_state()
    moved = transition(x, generator)
    assert moved.shape == x.shape and moved.dtype == x.dtype
    assert torch.equal(x, before) and not torch.equal(moved, x)
    generator.set_state(saved)
    again = pickle.loads(pickle.dumps(transition))(x, generator)
    assert torch.equal(again, moved)


def test_jitter_has_its_scale(generator):
    moved = Jitter(0.5)(torch.zeros(2000, 2), generator)
    assert moved.std().item() == pytest.approx(0.5, rel=0.05)


def test_swaps_stay_in_their_column(generator):
    x = torch.randn(500, 3, generator=generator)
    moved = SwapCoordinates(0.4)(x, generator)
    share = (moved != x).float().mean().item()
    assert share == pytest.approx(0.4, abs=0.05)
    for old, new in zip(x.T, moved.T, strict=True):
        assert torch.isin(new, old).all()


def test_flips_mirror_half_of_the_images(generator):
    images = torch.randn(400, *SHAPE, generator=generator)
    moved = RandomFlip(SHAPE)(images.flatten(1), generator).unflatten(1, SHAPE)
    flipped = (moved == images.flip(3)).flatten(1).all(1)
    same = (moved == images).flatten(1).all(1)
    assert (flipped | same).all() and not (flipped & same).any()
    assert 0.4 < flipped.float().mean() < 0.6


def test_crops_move_all_channels_alike(generator):
    image = torch.arange(30.0).reshape(1, 1, 6, 5).expand(300, 3, 6, 5)
    moved = RandomCrop(SHAPE, 1)(image.flatten(1), generator).unflatten(1, SHAPE)
    assert (moved[:, 0] == moved[:, 2]).all()
    shift = moved[:, 0, 2, 2] - image[:, 0, 2, 2]  # 5 a row, 1 a column
    shifts = {-6, -5, -4, -1, 0, 1, 4, 5, 6}
    assert set(shift.int().tolist()) == shifts
    down = moved[shift == 5][0, 0]
    assert torch.equal(down[:5], image[0, 0, 1:]) and torch.equal(down[5], down[4])


def test_colour_is_one_factor_and_one_shift_a_channel(generator):
    images = torch.randn(50, *SHAPE, generator=generator)
    moved = ColorJitter(SHAPE)(images.flatten(1), generator).unflatten(1, SHAPE)
    pixels, changed = images.flatten(2), moved.flatten(2)
    factor = changed.std(2) / pixels.std(2)
    shift = changed.mean(2) - factor * pixels.mean(2)
    fitted = factor[..., None] * pixels + shift[..., None]
    assert torch.allclose(fitted, changed, atol=1e-4)
    assert factor.std().item() == pytest.approx(0.1, rel=0.3)


def test_blur_keeps_flat_images_and_smooths_others(generator):
    blur = GaussianBlur(SHAPE)
    flat = torch.full((3, 90), 0.7)
    assert torch.allclose(blur(flat, generator), flat)
    rough = torch.randn(50, 90, generator=generator)
    assert (
        GaussianBlur(SHAPE, 2.0)(rough, generator).var(1) < 0.8 * rough.var(1)
    ).all()


def test_augmented_steps_are_langevin_steps_but_every_nth(generator):
    def add_hundred(x, generator):
        return x + 100

    sampler = AugmentedLangevin(0.1, transitions=[add_hundred], interval=4)
    x, _ = sampler.run(
        lambda x: 0.0 * x.sum(1), torch.zeros(50, 2), n_steps=9, generator=generator
    )
    assert ((x - 300).abs() < 3).all()  # before the steps 1, 5 and 9


def test_clipped_gradients(generator):
    sampler = Langevin(1.0, noise_scale=0.0, gradient_clip=0.2)
    x0 = torch.tensor([[3.0, 4.0], [0.03, 0.04]])
    x, _ = sampler.run(
        lambda x: x.square().sum(1) / 2, x0, n_steps=1, generator=generator
    )
    expected = torch.tensor([[3.0 - 0.06, 4.0 - 0.08], [0.015, 0.02]])
    assert torch.allclose(x, expected)
