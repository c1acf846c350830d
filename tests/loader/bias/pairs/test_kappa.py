# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
import itertools
import math
import time
import tracemalloc

import numpy as np
import pytest

from loader.bias.nested import level_shares
from loader.bias.pairs.block_lags import lags_of_blocks
from loader.bias.pairs.kappa import (
    block_kappa,
    iid_kappa,
    kappa_of_lags,
    permutation_kappa,
    visit_kappa,
    visit_shard_kappa,
)
from loader.bias.pairs.spread_visits import meetings_of_visits, pairs_of_visits
from loader.errors import SamplingError
from loader.sampling.orders import NestedTree
from tests.support.statistics.enumeration import (
    Outcomes,
    Population,
    assert_equal,
    assert_rejected,
    shard_visits,
)
from tests.support.statistics.oracles.correlations import lag_coincidence
from tests.support.statistics.spread_orders import nested_blocks, spread_shards, spread_visits
from tests.support.statistics.statistics import standard_errors_off

POPULATION = Population([2, 3, 4], seed=1)


def circles(shard_sizes):
    """Shard of each place, for every order of the shards."""
    for order in itertools.permutations(range(len(shard_sizes))):
        yield np.repeat(order, np.array(shard_sizes)[list(order)])


def kappa_by_positions(shard_sizes, block_frames, batch_size):
    """Every order of the shards, every cut of the circle, all coins of every block, every two slots of a batch."""
    num_frames = sum(shard_sizes)
    num_batches = num_frames // batch_size
    slots = np.arange(num_batches * batch_size).reshape(-1, batch_size)
    total, number = 0.0, 0
    for circle in circles(shard_sizes):
        streams = [np.roll(circle, -cut) for cut in range(num_frames)]
        for epoch in nested_blocks(streams, block_frames):
            shards = epoch[slots]
            same = (shards[:, :, None] == shards[:, None, :]).sum() - slots.size
            total += same / (num_batches * batch_size * (batch_size - 1))
            number += 1
    return total / number


@pytest.mark.parametrize("first_visit", [0, 1])
@pytest.mark.parametrize("num_visits", [2, 3])
@pytest.mark.parametrize("sizes", [[2, 3, 4], [1, 1, 6], [5], [3, 3]])
def test_S29_where_two_spread_visits_fall(sizes, num_visits, first_visit):
    shares, number = np.array(sizes) / sum(sizes), len(sizes)
    expected = np.zeros((number, number))
    for visited, probability in spread_shards(shares, num_visits, first_visit=first_visit).items():
        for one, other in itertools.permutations(visited, 2):
            expected[one, other] += probability / (num_visits * (num_visits - 1))
    found = np.concatenate([rows for _, rows in pairs_of_visits(shares, num_visits=num_visits)])
    assert_equal(found, expected)
    assert_equal(meetings_of_visits(shares, num_visits=num_visits), np.diag(expected))
    if number > 1:
        assert_rejected(np.outer(shares, shares), expected)  # independent visits


def test_S29_pairs_of_visits_by_the_level_at_which_their_numbers_part():
    for num_visits in range(2, 40):
        apart = [
            (one ^ other) & -(one ^ other) for one, other in itertools.combinations(range(num_visits), 2)
        ]
        shares = level_shares(num_visits)
        found = [np.mean(np.array(apart) == 1 << level) for level in range(len(shares))]
        assert_equal(shares, found)
        assert shares[-1] > 0


def test_S29_visits():
    outcomes = spread_visits(POPULATION, 2, 2)
    found = outcomes.coincidence(POPULATION.shard_of_frame)
    options = {"batch_size": 4, "frames_per_visit": 2}
    assert_equal(visit_shard_kappa(POPULATION.share, are_spread=True, **options), found)
    # Independent visits, visits that meet forgotten, 1 / K.
    assert_rejected(visit_shard_kappa(POPULATION.share, are_spread=False, **options), found)
    assert_rejected(visit_kappa(**options), found)
    assert_rejected(1 / 2, found)
    assert visit_shard_kappa(POPULATION.share, batch_size=2, frames_per_visit=2, are_spread=True) == 1
    # Which visit a slot belongs to is its place: slots 0, 1 and slots 2, 3.
    same_visit = np.mean([one // 2 == other // 2 for one, other in itertools.combinations(range(4), 2)])
    assert_equal(visit_kappa(**options), same_visit)


def test_S29_uniform_shards():
    uniform = np.full(3, 1 / 3)
    outcomes = shard_visits(POPULATION, uniform, num_visits=2, frames_per_visit=2)
    found = outcomes.coincidence(POPULATION.shard_of_frame)
    options = {"batch_size": 4, "frames_per_visit": 2, "are_spread": False}
    assert_equal(visit_shard_kappa(uniform, **options), found)
    assert_rejected(visit_shard_kappa(POPULATION.share, **options), found)


def test_S29_iid():
    outcomes = Outcomes.of((1 / 9**2, pair) for pair in itertools.product(range(9), repeat=2))
    assert_equal(iid_kappa(POPULATION.sizes), outcomes.coincidence(POPULATION.shard_of_frame))
    assert_rejected(1 / 3, iid_kappa(POPULATION.sizes))  # equal shards assumed


def test_S29_permutation():
    pairs = list(itertools.permutations(range(9), 2))
    outcomes = Outcomes.of((1 / len(pairs), pair) for pair in pairs)
    assert_equal(permutation_kappa(POPULATION.sizes), outcomes.coincidence(POPULATION.shard_of_frame))
    assert_rejected(iid_kappa(POPULATION.sizes), permutation_kappa(POPULATION.sizes))  # frames drawn again


@pytest.mark.parametrize("sizes", [[1, 2, 4], [3, 3], [5], [1, 7], [0, 2, 1]])
def test_S30_lag_coincidence(sizes):
    num_frames = sum(sizes)
    lags = np.arange(1, num_frames)
    found = [np.mean([circle == np.roll(circle, -lag) for circle in circles(sizes)]) for lag in lags]
    assert_equal(lag_coincidence(sizes, lags), found)
    one_sided = np.maximum(np.array(sizes)[:, None] - lags, 0).sum(0) / num_frames
    assert_rejected(one_sided, found)  # shards that meet themselves round the circle forgotten


@pytest.mark.parametrize("batch_size", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("block_frames", [1, 2, 3, 4, 5, 7, 9, 100])
@pytest.mark.parametrize("sizes", [[2, 3, 4], [1, 1, 6], [9], [3, 0, 3, 3]])
def test_S31_block_shuffle(sizes, block_frames, batch_size):
    found = kappa_by_positions(sizes, block_frames, batch_size)
    assert_equal(block_kappa(sizes, block_frames=block_frames, batch_size=batch_size), found)


def test_S9_every_position_is_exactly_uniform():
    sizes, block_frames = [1, 2, 3], 4
    for unrotated in (False, True):
        law = np.zeros((6, 6))  # by output position and frame
        for order in itertools.permutations(range(3)):
            ids = np.concatenate([np.arange(6)[[0, 1, 3][shard] :][: sizes[shard]] for shard in order])
            streams = [np.roll(ids, -cut) for cut in ([0] if unrotated else range(6))]
            for epoch in nested_blocks(streams, block_frames):
                law[np.arange(6), epoch] += 1
        law /= law.sum(1, keepdims=True)
        if unrotated:  # small shards come too often at the start and the end
            assert_rejected(law, np.full((6, 6), 1 / 6))
        else:
            assert_equal(law, np.full((6, 6), 1 / 6))


def test_S31_wrong_variants_are_rejected():
    sizes = [3] * 4
    found = kappa_by_positions(sizes, 6, 3)
    assert_equal(block_kappa(sizes, block_frames=6, batch_size=3), found)
    assert_rejected(1 / 2, found)  # 1 / k
    assert_rejected((3 - 1) / (2 * 3 - 1), found)  # blocks cut at shards, not rotated
    assert_rejected(permutation_kappa(sizes), found)
    shuffled = 2 / 30 * sum((6 - lag) * lag_coincidence(sizes, [lag])[0] for lag in range(1, 6))
    assert_rejected(shuffled, found)  # a shuffle inside the blocks
    unequal = kappa_by_positions([2, 3, 4], 4, 3)
    assert_rejected(block_kappa([3, 3, 3], block_frames=4, batch_size=3), unequal)  # equal shards assumed


def test_S31_limits():
    sizes = [30, 50, 20]
    in_order = block_kappa(sizes, block_frames=1, batch_size=8)
    lags = np.arange(1, 8)
    assert_equal(in_order, (8 - lags) @ lag_coincidence(sizes, lags) / math.comb(8, 2))
    assert block_kappa(sizes, block_frames=10, batch_size=1) == 0
    # Two slots of one block over 64 places: independent and uniform in its halves.
    halves = [(other - one) % 64 for one in range(32) for other in range(32, 64)]
    found = block_kappa([4] * 16, block_frames=64, batch_size=2)
    assert_equal(found, np.mean(lag_coincidence([4] * 16, halves)))
    # Many equal shards in blocks of k shards: below the 1 / k of shuffled blocks that begin at a shard.
    kappa = block_kappa([1000] * 500, block_frames=8000, batch_size=256)
    assert 0.9 * 999 / 7999 < kappa < 0.95 * 999 / 7999


def test_S31_distances_of_two_slots_at_middling_size():
    """Against random coins: unbiased, 4 standard errors."""
    sizes = np.random.default_rng(2).integers(1, 60, 40)
    num_frames, block_frames, batch_size = int(sizes.sum()), 97, 31
    same = np.concatenate([[1.0], lag_coincidence(sizes, np.arange(1, num_frames))])
    num_batches = num_frames // batch_size
    first, second = np.triu_indices(batch_size, 1)
    found = []
    for seed in range(300):
        places = np.concatenate(
            [
                start + NestedTree(size, np.uint64(1000 * seed + start)).places_at(np.arange(size))
                for start in range(0, num_frames, block_frames)
                for size in [min(block_frames, num_frames - start)]
            ]
        )[: num_batches * batch_size].reshape(-1, batch_size)
        found.append(same[np.abs(places[:, first] - places[:, second])].mean())
    stated = block_kappa(sizes, block_frames=block_frames, batch_size=batch_size)
    assert abs(standard_errors_off(found, stated)) < 4
    assert np.std(found) / math.sqrt(300) < 0.001 * stated


def test_S31_a_few_batches_stand_for_all_where_there_are_many(monkeypatch):
    whole = {"block_frames": 4001, "batch_size": 96}
    few = lags_of_blocks(60_000, **whole)
    monkeypatch.setattr("loader.bias.pairs.block_lags.MAX_WORK", 1 << 40)
    every = lags_of_blocks(60_000, **whole)
    assert every.is_exact and not few.is_exact
    sizes = np.full(60, 1000)
    assert kappa_of_lags(sizes, few) == pytest.approx(kappa_of_lags(sizes, every), rel=2e-3)
    monkeypatch.setattr("loader.bias.pairs.block_lags.MAX_PLACES", 2100)
    coarse = lags_of_blocks(60_000, **whole)
    assert coarse.step == 2 and not coarse.is_exact
    assert kappa_of_lags(sizes, coarse) == pytest.approx(kappa_of_lags(sizes, every), rel=0.02)


def test_S31_a_hundred_million_frames_take_no_time_and_no_memory():
    sizes = np.random.default_rng(0).integers(1, 2000, 100_000)
    tracemalloc.start()
    started = time.process_time()
    kappa = block_kappa(sizes, block_frames=65_537, batch_size=256)
    seconds = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.01 < kappa < 0.03
    assert seconds < 2 and peak < 100e6  # a quarter of that on a quiet machine


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: visit_kappa(batch_size=5, frames_per_visit=2),
        lambda: visit_kappa(batch_size=0, frames_per_visit=1),
        lambda: visit_shard_kappa([0.3], batch_size=4, frames_per_visit=2, are_spread=True),
        lambda: lag_coincidence([3, 4], [7]),
        lambda: lag_coincidence([3, 4], [0]),
        lambda: block_kappa([3, 4], block_frames=0, batch_size=2),
        lambda: block_kappa([3, 4], block_frames=2, batch_size=8),
        lambda: block_kappa([3, 4], block_frames=2, batch_size=0),
        lambda: permutation_kappa([]),
    ],
)
def test_what_has_no_pairs_is_refused(wrong):
    with pytest.raises(SamplingError):
        wrong()
