"""The nested order: one to one, nested, uniform, a function of the position alone, and small."""

import pickle
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.sampling.orders import epoch_keys, nested
from loader.sampling.orders.nested import NestedOrder, NestedTree, coins_below
from tests.support.statistics.chi_squared import ALPHA, p_value
from tests.support.statistics.oracles.nested import coins_of, every_arrangement, every_order

SEEDS = st.integers(0, 2**32 - 1)
MOST_DEVIATIONS = 4.89
"""A normal variable is farther from its mean than this many standard deviations with probability 1e-6."""
POWERS_AND_NEIGHBOURS = [2**k + d for k in range(9, 16) for d in (-1, 0, 1)]
PRIMES = [307, 1009, 4093, 4099, 12_289, 65_537, 99_991]


def same(places):
    return places


def nested_order(num_places, *, seed=0, epoch=0, ids_at=same):
    return NestedOrder(num_places, epoch_keys(seed=seed, epoch=epoch, num_keys=2), ids_at)


def tree(num_places, *, seed=0, epoch=0):
    return NestedTree(num_places, epoch_keys(seed=seed, epoch=epoch, num_keys=1)[0])


def whole(order_or_tree):
    positions = np.arange(len(order_or_tree))
    if isinstance(order_or_tree, NestedTree):
        return order_or_tree.places_at(positions)
    return order_or_tree.ids(0, len(order_or_tree))


# The tree.


def test_places_are_one_to_one_and_every_node_is_a_stretch_for_each_small_number():
    for num_places in range(1, 301):
        for seed in range(3):
            coins_of(whole(tree(num_places, seed=seed)))
            assert sorted(whole(nested_order(num_places, seed=seed)).tolist()) == list(range(num_places))


@pytest.mark.parametrize("num_places", [*POWERS_AND_NEIGHBOURS, *PRIMES, 10**6])
def test_places_are_one_to_one_and_every_node_is_a_stretch(num_places):
    coins_of(whole(tree(num_places)))
    assert np.array_equal(np.sort(whole(nested_order(num_places))), np.arange(num_places))


@given(num_places=st.integers(10**6, 2**48), seed=SEEDS, data=st.data())
@settings(max_examples=40)
def test_large_orders_stay_inside_and_distinct_and_runs_lie_in_different_stretches(num_places, seed, data):
    start = data.draw(st.integers(0, num_places - 4096))
    places = tree(num_places, seed=seed).places_at(np.arange(start, start + 4096))
    assert places.dtype == np.int64
    assert 0 <= places.min() <= places.max() < num_places
    # 2^12 neighbours in 2^12 stretches of floor or ceil(N / 2^12) places, side by side.
    gaps = np.diff(np.sort(places))
    assert gaps.min() >= 1 and gaps.max() < 2 * -(-num_places >> 12)
    ids = nested_order(num_places, seed=seed).ids(start, start + 4096)
    assert 0 <= ids.min() <= ids.max() < num_places and len(np.unique(ids)) == 4096


def test_every_run_of_a_power_of_two_lies_in_different_stretches():
    """All runs of all lengths, aligned or not; the stretches are cut from the left, by the sizes alone."""
    for num_places in [1, 2, 3, 7, 8, 21, 32, 33, 50, 64]:
        places = whole(tree(num_places, seed=5))
        for level in range(num_places.bit_length()):
            run = 1 << level
            by_node = [np.sort(places[residue::run]) for residue in range(run)]
            assert {len(node) for node in by_node} <= {num_places // run, -(-num_places // run)}
            stretches = sorted((int(node[0]), int(node[-1])) for node in by_node)
            ends = np.array([last for _, last in stretches])
            assert all(last - first + 1 <= -(-num_places // run) for first, last in stretches)
            for start in range(num_places - run + 1):
                found = np.searchsorted(ends, np.sort(places[start : start + run]))
                assert found.tolist() == list(range(run))


@pytest.mark.parametrize("num_places", range(1, 9))
def test_coins_and_turns_give_exactly_the_outcomes_of_the_definition(num_places, monkeypatch):
    """The 7 coins of the upper three levels are the bits 1..7 of one word."""
    found, arranged = Counter(), Counter()
    for word in range(0, 256, 2):
        monkeypatch.setattr(
            nested, "words_at", lambda _key, nodes, word=word: np.full(nodes.shape, word, np.uint64)
        )
        arrangement = np.argsort(whole(NestedTree(num_places, np.uint64(0))))
        arranged[tuple(arrangement.tolist())] += 1
        for turn in range(num_places):
            keys = np.array([0, turn], np.uint64)
            found[tuple(whole(NestedOrder(num_places, keys, same)).tolist())] += 1
    for outcomes, oracle in ((arranged, every_arrangement(num_places)), (found, every_order(num_places))):
        expected = Counter(oracle)
        scale = outcomes.total() // expected.total()
        assert outcomes == Counter({key: count * scale for key, count in expected.items()})
    by_position = np.array(list(found.elements()))
    for position in range(num_places):
        assert set(np.bincount(by_position[:, position]).tolist()) == {found.total() // num_places}


@pytest.mark.parametrize("num_levels", [1, 5, 6, 7, 9])
def test_each_node_has_a_bit_of_its_own(num_levels, monkeypatch):
    """With a single bit set in a single word, one coin at most of all nodes is 1, and each is once."""
    counters = np.arange(1 << num_levels)
    hits = Counter()
    tops = range(0, num_levels, nested.COINS_PER_WORD)
    nodes_of_words = {1} | {(1 << top) + low for top in tops for low in range(1 << top)}
    for node in nodes_of_words:
        for bit in range(64):

            def one_bit(_key, nodes, node=node, bit=bit):
                return np.where(nodes == node, np.uint64(1 << bit), np.uint64(0))

            monkeypatch.setattr(nested, "words_at", one_bit)
            coins = set()
            for top in tops:
                levels = coins_below(
                    np.uint64(0), counters, top, min(nested.COINS_PER_WORD, num_levels - top)
                )
                for level, here in enumerate(levels, start=top):
                    coins |= {(level, residue) for residue in (counters[here == 1] % (1 << level)).tolist()}
            assert len(coins) <= 1
            hits.update(coins)
    assert hits == Counter(
        {(level, residue): 1 for level in range(num_levels) for residue in range(1 << level)}
    )


def test_words_of_different_levels_are_different(monkeypatch):
    asked = []

    def recorded(key, nodes):
        asked.append(set(nodes.tolist()))
        return words_at(key, nodes)

    words_at = nested.words_at
    monkeypatch.setattr(nested, "words_at", recorded)
    whole(tree(300_000))
    assert [len(nodes) for nodes in asked] == [1, 64, 4096, 1 << 18]
    assert len(set.union(*asked)) == sum(map(len, asked))


# A function of the position alone.


@pytest.mark.parametrize("num_places", [1, 2, 100, 4095, 4096, 4097, 70_001])
def test_positions_may_come_in_any_order_and_shape(num_places):
    order = nested_order(num_places, seed=3)
    positions = np.random.default_rng(0).integers(0, num_places, (20, 30))
    assert np.array_equal(order.ids_at(positions), whole(order)[positions])
    assert order.ids(0, 0).shape == (0,)


def test_positions_outside_are_refused():
    for position in (-1, 10):
        with pytest.raises(IndexError, match=r"are not all inside \[0, 10\), the epoch"):
            nested_order(10).ids_at(np.array([0, position]))


def test_ids_are_those_at_the_places():
    backwards = nested_order(1000, ids_at=lambda places: 999 - places)
    assert np.array_equal(whole(backwards), 999 - whole(nested_order(1000)))


def test_pinned():
    # A change of these values reorders every run: a repeated or resumed training would get other batches.
    assert whole(nested_order(10)).tolist() == PINNED_TEN
    assert nested_order(10**6, seed=1, epoch=2).ids(0, 6).tolist() == PINNED_MILLION
    assert nested_order(10**12).ids(10**11, 10**11 + 3).tolist() == PINNED_LONG


PINNED_TEN = [9, 6, 1, 3, 7, 4, 0, 2, 8, 5]
PINNED_MILLION = [574248, 176541, 677405, 987603, 465678, 371652]
PINNED_LONG = [750667969630, 489356394881, 985404112279]


def test_threads_see_one_order():
    num_places = 50_000
    expected = whole(nested_order(num_places))
    parts = np.array_split(np.arange(num_places), 64)
    for _ in range(5):
        order = nested_order(num_places)  # its table is not made yet
        with ThreadPoolExecutor(8) as pool:
            assert np.array_equal(np.concatenate(list(pool.map(order.ids_at, parts))), expected)


@pytest.mark.parametrize("is_used", [False, True])
def test_a_pickled_order_is_the_same(is_used):
    order = nested_order(10_000, seed=4)
    if is_used:
        order.ids(0, 10)
    assert np.array_equal(whole(pickle.loads(pickle.dumps(order))), whole(order))


def test_nothing_grows_with_the_number_of_places():
    peaks = []
    for num_places in (10**5, 10**8, 2**60):
        tracemalloc.start()
        try:
            order = nested_order(num_places)
            order.ids(num_places // 2, num_places // 2 + 128)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert len(pickle.dumps(order)) < 60_000
    assert max(peaks) < 1e6


# Chance.


def test_every_place_is_equally_likely_at_every_position_for_all_numbers_to_64():
    """One test for each N and position, 2,080 in all, and 1e-6 false alarms for all of them together."""
    num_seeds, smallest, num_tests = 350, 1.0, 0
    for num_places in range(2, 65):
        orders = np.array([whole(nested_order(num_places, seed=seed)) for seed in range(num_seeds)])
        for position in range(num_places):
            counts = np.bincount(orders[:, position], minlength=num_places)
            smallest = min(smallest, p_value(counts, num_seeds / num_places))
            num_tests += 1
    assert smallest * num_tests > ALPHA


def test_without_the_turn_positions_are_not_uniform():
    counts = np.bincount([whole(tree(3, seed=seed))[1] for seed in range(400)], minlength=3)
    assert p_value(counts, 400 / 3) < ALPHA and counts[1] == 0


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 6, 8, 96])
def test_two_positions_lie_in_the_halves_of_a_node_independently(distance):
    """Two independent uniform places in neighbouring halves of h places: their distance has a triangular law."""
    num_places, num_seeds, position = 1024, 1500, 100
    half = num_places // (2 * (distance & -distance))
    differences = np.empty(num_seeds, np.int64)
    for seed in range(num_seeds):
        first, second = nested_order(num_places, seed=seed, epoch=distance).ids_at(
            np.array([position, position + distance])
        )
        off = (second - first) % num_places
        differences[seed] = min(off, num_places - off) if half < num_places // 2 else off
    law = np.zeros(2 * half)
    law[1:] = half - np.abs(half - np.arange(1, 2 * half))
    law /= law.sum()
    assert differences.min() >= 1 and differences.max() < 2 * half
    bins = np.minimum((np.cumsum(law) - law / 2) * 16, 15.99).astype(int)
    counts = np.bincount(bins[differences], minlength=16)
    assert p_value(counts, num_seeds * np.bincount(bins, law, minlength=16)) > ALPHA


def coins_over(num_places, **options):
    """The coins of the tree of an order, all levels, in one array: int (levels, widest), -1 where there is none."""
    coins = coins_of(whole(tree(num_places, **options)))
    table = np.full((len(coins), len(coins[-1])), -1)
    for row, here in zip(table, coins, strict=True):
        row[: len(here)] = here
    return table


def deviations(bits):
    """How many standard deviations the number of ones among independent fair `bits` lies off."""
    return abs(2 * bits.mean() - 1) * np.sqrt(bits.size)


def test_coins_are_fair_and_independent_of_those_of_other_nodes_epochs_and_seeds():
    num_levels, num_seeds = 13, 40
    num_places = 1 << num_levels
    trees = np.array([coins_over(num_places, seed=seed) for seed in range(num_seeds)])
    later = np.array([coins_over(num_places, seed=seed, epoch=1) for seed in range(num_seeds)])
    held = trees[0] >= 0
    found = {
        "fair": trees[:, held],
        "epochs": trees[:, held] ^ later[:, held],
        "seeds": trees[1:, held] ^ trees[:-1, held],
    }
    for level in range(num_levels):
        here = trees[:, level, : 1 << level]
        found[f"fair at {level}"] = here
        if level:
            found[f"neighbours at {level}"] = here[:, 1:] ^ here[:, :-1]
            found[f"twins at {level}"] = here[:, : 1 << (level - 1)] ^ here[:, 1 << (level - 1) :]
            above = trees[:, level - 1, : 1 << (level - 1)]
            found[f"parents at {level}"] = here ^ np.concatenate([above, above], axis=1)
    worst = {name: deviations(bits) for name, bits in found.items() if bits.size >= 200}
    assert len(worst) >= 40
    assert max(worst.values()) < MOST_DEVIATIONS + 0.6, worst  # 1e-6 over 50 tests


@pytest.mark.parametrize("step", [{"epoch": 1}, {"seed": 1}])
def test_orders_of_neighbouring_epochs_and_seeds_are_independent(step):
    """Where one position lies in two orders: a table of 16 x 16 cells, a pair of orders for each count."""
    num_places, num_pairs, cells = 1000, 1600, 16
    pairs = np.empty((num_pairs, 2), np.int64)
    positions = np.random.default_rng(1).integers(0, num_places, num_pairs)
    for number, position in enumerate(positions.tolist()):
        for column in range(2):
            base = {"seed": 2 * number, "epoch": 7}
            here = {name: value + column * step.get(name, 0) for name, value in base.items()}
            pairs[number, column] = nested_order(num_places, **here).ids(position, position + 1)[0]
    table = pairs * cells // num_places
    counts = np.bincount(table[:, 0] * cells + table[:, 1], minlength=cells**2)
    sizes = np.bincount(np.arange(num_places) * cells // num_places) / num_places
    assert p_value(counts, num_pairs * np.outer(sizes, sizes).ravel()) > ALPHA
