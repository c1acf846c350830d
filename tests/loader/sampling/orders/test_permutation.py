import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loader.sampling.orders.permutation
from loader.sampling.orders.permutation import MAX_TABULATED, NUM_ROUNDS, Permutation
from loader.sampling.orders.random_words import epoch_keys
from tests.support.statistics.chi_squared import ALPHA, p_value

SEEDS = st.integers(0, 2**32 - 1)


def permutation(num_items, *, seed=0, epoch=0, num_rounds=NUM_ROUNDS):
    return Permutation(num_items, epoch_keys(seed=seed, epoch=epoch, num_keys=num_rounds))


def whole(num_items, **options):
    return permutation(num_items, **options).items_at(np.arange(num_items))


@given(num_items=st.integers(0, 3 * MAX_TABULATED), seed=SEEDS, epoch=SEEDS)
@settings(max_examples=50)
def test_every_item_comes_exactly_once(num_items, seed, epoch):
    assert np.array_equal(np.sort(whole(num_items, seed=seed, epoch=epoch)), np.arange(num_items))


def test_every_item_comes_exactly_once_where_the_table_ends():
    for num_items in [MAX_TABULATED - 1, MAX_TABULATED, MAX_TABULATED + 1]:
        assert np.array_equal(np.sort(whole(num_items)), np.arange(num_items))


def test_the_feistel_network_is_one_to_one_for_every_small_size(monkeypatch):
    monkeypatch.setattr(loader.sampling.orders.permutation, "MAX_TABULATED", 0)
    for num_items in range(1, 300):
        assert np.array_equal(np.sort(whole(num_items)), np.arange(num_items)), num_items


@given(num_items=st.integers(10**6, 10**12), seed=SEEDS)
@settings(max_examples=20)
def test_large_sizes_stay_inside_and_distinct(num_items, seed):
    positions = np.unique(np.linspace(0, num_items - 1, 5000).astype(np.int64))
    items = permutation(num_items, seed=seed).items_at(positions)
    assert items.dtype == np.int64
    assert 0 <= items.min() <= items.max() < num_items
    assert len(np.unique(items)) == len(positions)


@pytest.mark.parametrize("num_items", [1000, 10_000])
def test_positions_may_come_in_any_order_and_shape(num_items):
    positions = np.random.default_rng(0).integers(0, num_items, (20, 30))
    assert np.array_equal(permutation(num_items).items_at(positions), whole(num_items)[positions])


def test_pinned():
    # A change of these values reorders every run: a repeated or resumed training would get other batches.
    assert whole(10).tolist() == [2, 4, 5, 9, 1, 0, 3, 6, 7, 8]
    assert permutation(10**6).items_at(np.arange(5)).tolist() == [821294, 677268, 26057, 817279, 803332]


def test_all_permutations_of_five_are_equally_likely():
    num_seeds = 12_000
    codes = np.array([whole(5, seed=seed) for seed in range(num_seeds)]) @ 5 ** np.arange(5)
    counts = np.unique(codes, return_counts=True)[1]
    assert len(counts) == math.factorial(5)
    assert p_value(counts, num_seeds / 120) > ALPHA


def position_p_value(num_items, *, num_seeds, num_bins, num_rounds=NUM_ROUNDS):
    """Of the table position bin x item bin over seeds. Its margins are fixed: hence (N - 1) / N and (bins - 1)^2."""
    bin_of = np.arange(num_items) * num_bins // num_items
    sizes = np.bincount(bin_of)
    counts = np.zeros((num_bins, num_bins))
    for seed in range(num_seeds):
        np.add.at(counts, (bin_of, bin_of[whole(num_items, seed=seed, num_rounds=num_rounds)]), 1)
    return p_value(
        counts,
        num_seeds * np.outer(sizes, sizes) / num_items,
        degrees_of_freedom=(num_bins - 1) ** 2,
        scale=(num_items - 1) / num_items,
    )


@pytest.mark.parametrize(("num_items", "num_seeds"), [(10, 2000), (52, 2000), (1000, 300), (5003, 300)])
def test_every_item_is_equally_likely_at_every_position(num_items, num_seeds):
    assert position_p_value(num_items, num_seeds=num_seeds, num_bins=min(num_items, 25)) > ALPHA


def difference_p_values(num_items, *, num_seeds, num_rounds=NUM_ROUNDS):
    """Of item - position, of the next item - item, and of mixed differences over a rectangle (all modulo N)."""
    positions = np.arange(num_items)
    side = math.isqrt(num_items - 1) + 1  # the network's own row length: where a short one would show
    counts = np.zeros((3, 64))
    for seed in range(num_seeds):
        items = whole(num_items, seed=seed, num_rounds=num_rounds)
        rectangle = items[: -side - 1] - items[1:-side] - items[side:-1] + items[side + 1 :]
        for row, numbers in enumerate((items - positions, np.roll(items, -1) - items, rectangle)):
            counts[row] += np.bincount(numbers % num_items * 64 // num_items, minlength=64)
    law = np.bincount(positions * 64 // num_items) / num_items
    return [p_value(row, row.sum() * law) for row in counts]


@pytest.mark.parametrize("num_items", [4097, 5003, 40_009])
def test_neighbours_and_displacements_are_those_of_a_true_shuffle(num_items):
    assert min(difference_p_values(num_items, num_seeds=150)) > ALPHA


def test_a_network_of_two_rounds_fails_the_same_tests():
    assert position_p_value(5003, num_seeds=300, num_bins=25, num_rounds=2) < ALPHA
    assert max(difference_p_values(5003, num_seeds=150, num_rounds=2)) < ALPHA
