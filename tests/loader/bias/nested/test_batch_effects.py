# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Design effects of batches of a nested order: against all coins and turns, and against orders of the product."""

import numpy as np
import pytest

from loader import SamplingError
from loader.bias.nested import (
    levels_of_run,
    mixed_design_effect,
    nested_design_effect,
    pair_distances,
    shares_left,
    shares_left_of_arcs,
    weighted_nested_effect,
)
from loader.sampling.orders import epoch_keys, spread_points
from tests.support.statistics.enumeration import SUMMED, assert_equal, assert_rejected
from tests.support.statistics.nested_populations import (
    enumerated_effect,
    nested_epoch,
    runs_of_every_order,
    some_frames,
    videos_and_walks,
)


@pytest.mark.parametrize("num_frames", range(2, 9))
def test_S65_all_batches_of_an_epoch(num_frames):
    frames = some_frames(num_frames)
    for batch_size in range(1, num_frames + 1):
        num_batches = num_frames // batch_size
        expected = np.mean(
            [enumerated_effect(frames, batch_size, batch * batch_size) for batch in range(num_batches)]
        )
        found = nested_design_effect(frames, batch_size=batch_size, num_batches=num_batches)
        assert_equal(found.design_effect, expected)
        assert (found.standard_error, found.batches_summed) == (0, num_batches)
        if 1 < batch_size < num_frames - 1:  # all orders leave one frame out alike
            of_permutation = (num_frames - batch_size) / (num_frames - 1)
            assert_rejected(of_permutation, expected)


@pytest.mark.parametrize(("num_frames", "batch_size"), [(5, 3), (6, 4), (7, 5), (8, 3), (8, 5)])
def test_S65_a_batch_that_pad_fills_goes_on_at_the_first_position(num_frames, batch_size):
    frames = some_frames(num_frames)
    num_batches = -(-num_frames // batch_size)
    expected = np.mean(
        [
            enumerated_effect(frames, batch_size, batch * batch_size % num_frames)
            for batch in range(num_batches)
        ]
    )
    found = nested_design_effect(frames, batch_size=batch_size, num_batches=num_batches)
    assert_equal(found.design_effect, expected)


def measured(frames, batch_size, num_orders, *, part=None):
    """Mean design effect of the batches of `num_orders` orders of the product, and its standard error over orders.

    `part` is a rank and a number of ranks: its own part of each global batch.
    """
    centred = frames - frames.mean(0)
    rank, num_ranks = part or (0, 1)
    step = batch_size * num_ranks
    num_steps = len(frames) // step
    by_order = []
    for seed in range(num_orders):
        places = nested_epoch(len(frames), seed=seed)[: num_steps * step]
        of_rank = places.reshape(num_steps, num_ranks, batch_size)[:, rank]
        by_order.append((centred[of_rank].mean(1) ** 2).sum(1).mean())
    scale = batch_size / (centred**2).sum(1).mean()
    return scale * np.mean(by_order), scale * np.std(by_order, ddof=1) / num_orders**0.5


@pytest.mark.parametrize(
    ("num_frames", "batch_size"), [(1024, 16), (1024, 48), (1000, 48), (1000, 100), (1013, 24)]
)
def test_S65_orders_of_the_product_have_this_design_effect(num_frames, batch_size):
    """Predicted against measured; `tests/campaigns/bench_design_effects` does it to 0.7 % for many more."""
    frames = videos_and_walks(num_frames, num_videos=24)
    predicted = nested_design_effect(frames, batch_size=batch_size, num_batches=num_frames // batch_size)
    found, error = measured(frames, batch_size, 150)
    assert error < 0.03 * found
    assert abs(found - predicted.design_effect) < 4.9 * error
    assert found < 0.8  # a permutation has (N - B) / (N - 1)
    levels = levels_of_run(batch_size)
    shares = shares_left_of_arcs(np.full(num_frames, 1 / num_frames), frames, num_levels=levels)
    if batch_size != 16:  # the next power of two does not stand for the batch
        assert abs(found - shares[-1]) > 4.9 * error


@pytest.mark.parametrize(("rank", "num_ranks"), [(0, 3), (2, 3)])
def test_S65_a_rank_s_part_is_a_run_of_its_own(rank, num_ranks):
    frames = videos_and_walks(1000, num_videos=24)
    predicted = nested_design_effect(frames, batch_size=24, num_batches=1000 // 24)
    found, error = measured(frames, 24, 150, part=(rank, num_ranks))
    assert abs(found - predicted.design_effect) < 0.02 * found + 4.9 * error
    of_all = nested_design_effect(frames, batch_size=72, num_batches=13).design_effect
    assert of_all < 0.75 * predicted.design_effect  # the global batch gains more than its parts


def test_S65_some_batches_stand_for_all_with_their_error(monkeypatch):
    frames = videos_and_walks(1500, num_videos=24)
    options = {"batch_size": 20, "num_batches": 75}
    exact = nested_design_effect(frames, **options)
    monkeypatch.setattr(pair_distances, "MAX_PLACES_SUMMED", 1)
    some = nested_design_effect(frames, **options)
    assert exact.standard_error == 0 < some.standard_error < 0.001 * some.design_effect
    assert (exact.batches_summed, some.batches_summed, some.num_batches) == (75, 16, 75)
    assert abs(some.design_effect - exact.design_effect) < 4 * some.standard_error


def test_S64_for_other_numbers_of_frames_equal_halves_are_nearly_right():
    frames = videos_and_walks(3001, num_videos=30)
    for batch_size in (16, 100):
        exact = nested_design_effect(frames, batch_size=batch_size, num_batches=3001 // batch_size)
        shares = shares_left_of_arcs(np.full(3001, 1 / 3001), frames, num_levels=levels_of_run(batch_size))
        nearly = mixed_design_effect(shares, num_positions=batch_size)
        assert nearly == pytest.approx(exact.design_effect, rel=0.003)


def spread_draws(target, num_positions, seed):
    """Frames of the first positions of an epoch of spread draws, by the running sums of the target."""
    key, turn = epoch_keys(seed=seed, epoch=0, num_keys=2)
    counters = np.arange(num_positions)
    points = spread_points(key, counters, num_counters=len(target)) + turn
    return np.minimum(np.searchsorted(np.cumsum(target), points / 2.0**64, side="right"), len(target) - 1)


@pytest.mark.parametrize("batch_size", [8, 12])
def test_S67_spread_draws_of_the_product_have_this_design_effect(batch_size):
    frames = videos_and_walks(200, num_videos=8)
    target = np.random.default_rng(2).dirichlet(np.repeat([0.05, 1, 0.02], [80, 20, 100]))
    predicted = weighted_nested_effect(target, frames, batch_size=batch_size)
    centred = frames - target @ frames
    means = np.array([centred[spread_draws(target, batch_size, seed)].mean(0) for seed in range(3000)])
    squares = batch_size * (means**2).sum(1) / (target @ (centred**2).sum(1))
    error = squares.std() / 3000**0.5
    assert abs(squares.mean() - predicted) < 4.9 * error < 0.2 * predicted
    unweighted = nested_design_effect(frames, batch_size=batch_size, num_batches=1).design_effect
    assert abs(unweighted - squares.mean()) > 4.9 * error


def test_S67_equal_weights_of_a_power_of_two_are_nearly_the_order_without_weights():
    frames = videos_and_walks(4096, num_videos=30)
    target = np.full(4096, 1 / 4096)
    with_weights = weighted_nested_effect(target, frames, batch_size=24)
    without = nested_design_effect(frames, batch_size=24, num_batches=170).design_effect
    assert with_weights == pytest.approx(without, rel=1e-3) and with_weights > without


def test_S69_the_mean_of_an_epoch_s_steps():
    """`drop` leaves out a run, and `uneven` makes a step of it: both take the design effect of the r positions left."""
    frames = some_frames(8)
    centred = frames - frames.mean(0)
    variance = (centred**2).sum(1).mean()
    shares = shares_left(frames, num_levels=3)
    orders = centred[runs_of_every_order(8, 8)]
    for batch_size in (3, 5):
        rest = 8 % batch_size
        whole, num_batches = 8 - rest, 8 // batch_size
        of_rest = mixed_design_effect(shares, num_positions=rest)
        dropped = orders[:, :whole].mean(1)
        found = (dropped**2).sum(1).mean() / variance
        assert_equal(rest * of_rest / whole**2, found)
        assert_rejected(rest * (8 - rest) / 7 / whole**2, found)  # of a permutation
        steps = [orders[:, start : start + batch_size].mean(1) for start in range(0, whole, batch_size)] + [
            orders[:, whole:].mean(1)
        ]
        found = (np.mean(steps, axis=0) ** 2).sum(1).mean() / variance
        assert_equal((1 - rest / batch_size) ** 2 / (num_batches + 1) ** 2 * of_rest / rest, found)


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        (np.ones((6, 1)), {"batch_size": 2, "num_batches": 3}, "all frames are equal"),
        (np.ones((8, 1)), {"batch_size": 2, "num_batches": 3}, "all frames are equal"),
        (some_frames(6), {"batch_size": 7, "num_batches": 1}, "no batch of 7"),
        (some_frames(8), {"batch_size": 9, "num_batches": 1}, "no batch of 9"),
        (some_frames(8), {"batch_size": 3, "num_batches": 0}, "no whole batch of 3"),
    ],
)
def test_what_has_no_design_effect_is_refused(frames, options, message):
    with pytest.raises(SamplingError, match=message):
        nested_design_effect(frames, **options)


def test_sums_over_all_batches_are_those_of_each(monkeypatch):
    frames = videos_and_walks(300, num_videos=9)
    whole = nested_design_effect(frames, batch_size=20, num_batches=15).design_effect
    one_by_one = []
    for batch in range(15):
        chosen = np.array([batch])
        monkeypatch.setattr(
            "loader.bias.nested.batch_effects.some_batches", lambda *_, chosen=chosen, **__: chosen.repeat(2)
        )
        one_by_one.append(nested_design_effect(frames, batch_size=20, num_batches=15).design_effect)
    assert_equal(np.mean(one_by_one), whole, SUMMED)
    assert np.ptp(one_by_one) > 0
