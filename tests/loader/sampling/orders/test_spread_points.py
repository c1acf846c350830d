"""Spread points: uniform each, one in each arc for every run of a power of two, independent below that."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.sampling.orders import epoch_keys, nested, scaled_down, spread_points
from tests.support.statistics.chi_squared import ALPHA, p_value

SEEDS = st.integers(0, 2**32 - 1)
WORDS = st.integers(0, 2**64 - 1)


def key_of(seed):
    return epoch_keys(seed=seed, epoch=0, num_keys=1)[0]


def points_of(counters, *, seed=0, num_counters=1024):
    return spread_points(key_of(seed), np.asarray(counters), num_counters=num_counters)


def cells(points, level):
    """In which of 2^level equal arcs: int64."""
    return (points >> np.uint64(64 - level)).astype(np.int64) if level else np.zeros(points.shape, np.int64)


@given(level=st.integers(0, 12), start=st.integers(0, 2**40), extra=st.integers(0, 2**41), seed=SEEDS)
@settings(max_examples=60)
def test_a_run_of_a_power_of_two_has_a_point_in_each_arc(level, start, extra, seed):
    run = 1 << level
    points = points_of(np.arange(start, start + run), seed=seed, num_counters=start + run + extra)
    assert points.dtype == np.uint64
    assert np.sort(cells(points, level)).tolist() == list(range(run))


def test_every_run_in_a_small_order_has_a_point_in_each_arc():
    for num_counters in [1, 2, 3, 5, 8, 13, 40]:
        points = points_of(np.arange(num_counters), seed=2, num_counters=num_counters)
        for level in range(num_counters.bit_length()):
            for start in range(num_counters - (1 << level) + 1):
                arcs = cells(points[start : start + (1 << level)], level)
                assert np.sort(arcs).tolist() == list(range(1 << level))


def test_a_point_is_a_function_of_the_counter_and_of_how_many_there_are():
    """Counters in any order and shape; with more counters the highest bits stay."""
    whole = points_of(np.arange(1000), num_counters=1000)
    some = np.random.default_rng(0).integers(0, 1000, (20, 30))
    assert np.array_equal(points_of(some, num_counters=1000), whole[some])
    more = points_of(np.arange(1000), num_counters=10**6)
    assert np.array_equal(cells(more, 10), cells(whole, 10))


@pytest.mark.parametrize("num_counters", [1, 2, 100, 2**20])
@pytest.mark.parametrize("shift", [0, 6, 30, 56])
def test_each_point_is_uniform(num_counters, shift):
    """Eight bits of the point: digits, where there are counters enough, else the word's bits."""
    counter = num_counters - 1
    points = np.array([points_of([counter], seed=seed, num_counters=num_counters)[0] for seed in range(2000)])
    byte = (points >> np.uint64(56 - shift)).astype(np.int64) & 255
    assert p_value(np.bincount(byte, minlength=256), 2000 / 256) > ALPHA


@pytest.mark.parametrize("distance", [1, 2, 12, 16, 80])
def test_two_points_lie_in_the_two_halves_of_one_arc_independently(distance):
    level = (distance & -distance).bit_length() - 1
    pairs = np.array([points_of([37, 37 + distance], seed=seed) for seed in range(2000)])
    arcs, halves = cells(pairs, level), cells(pairs, level + 1)
    assert np.array_equal(arcs[:, 0], arcs[:, 1])
    assert (halves[:, 0] != halves[:, 1]).all()
    assert p_value(np.bincount(halves[:, 0] & 1, minlength=2), 1000) > ALPHA
    inside = cells(pairs, level + 5) & 15  # where in its half
    table = np.bincount(inside[:, 0] * 16 + inside[:, 1], minlength=256)
    assert p_value(table, 2000 / 256) > ALPHA


def test_bits_below_the_digits_of_different_counters_are_independent():
    """Of 2^16 points of one order: the bits that no coin decides, of a point and of the next."""
    points = points_of(np.arange(1 << 16), num_counters=1 << 16)
    below = (points >> np.uint64(44)).astype(np.int64) & 15
    table = np.bincount(below[:-1:2] * 16 + below[1::2], minlength=256)
    assert p_value(table, (1 << 15) / 256) > ALPHA


def test_no_word_is_used_twice(monkeypatch):
    asked = []
    for module in (nested, importlib.import_module("loader.sampling.orders.spread_points")):
        words_at = module.words_at

        def recorded(key, counters, words_at=words_at):
            asked.append(set(counters.tolist()))
            return words_at(key, counters)

        monkeypatch.setattr(module, "words_at", recorded)
    points_of(np.arange(10_000), num_counters=10_000)
    assert [len(words) for words in asked] == [1, 64, 4096, 10_000]
    assert len(set.union(*asked)) == sum(map(len, asked))


def test_pinned():
    # A change of these values reorders every weighted run: a repeated or resumed training would get other batches.
    assert points_of([0, 1, 77], num_counters=100).tolist() == PINNED


PINNED = [3907175050871667153, 17559736317248528067, 14122455509194942098]


@given(points=st.lists(WORDS, min_size=1, max_size=20), bound=st.integers(1, 2**62))
@settings(max_examples=300)
def test_scaled_down_is_exact(points, bound):
    scaled = scaled_down(np.array(points, np.uint64), bound)
    assert scaled.dtype == np.int64
    assert scaled.tolist() == [bound * point >> 64 for point in points]


@pytest.mark.parametrize("bound", [1, 2, 3, 2**32 - 1, 2**32, 2**32 + 1, 10**12, 2**62 - 1, 2**62])
def test_scaled_down_is_exact_at_the_edges(bound):
    """The least point of each item, and the point before it."""
    items = sorted({0, 1, bound // 2, bound - 1} & set(range(min(bound, 4))) | {bound - 1, bound // 2})
    points = [-(-(item << 64) // bound) for item in items]
    points += [point - 1 for point in points if point] + [2**64 - 1]
    found = scaled_down(np.array(points, np.uint64), bound).tolist()
    assert found == [bound * point >> 64 for point in points]
    assert 0 <= min(found) <= max(found) == bound - 1
