# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
import itertools
import math
import time
import tracemalloc

import numpy as np
import pytest

from loader.bias.pairs.kappa import block_kappa, iid_kappa, permutation_kappa, visit_kappa, visit_shard_kappa
from loader.errors import SamplingError
from tests.support.statistics.enumeration import (
    SUMMED,
    Outcomes,
    Population,
    assert_equal,
    assert_rejected,
    shard_visits,
)
from tests.support.statistics.oracles.correlations import lag_coincidence

POPULATION = Population([2, 3, 4], seed=1)


def circles(shard_sizes):
    """Shard of each place, for every order of the shards."""
    for order in itertools.permutations(range(len(shard_sizes))):
        yield np.repeat(order, np.array(shard_sizes)[list(order)])


def kappa_by_positions(shard_sizes, block_frames, batch_size):
    """Every order, every cut of the circle, every batch, every pair of slots, and their places in their blocks."""
    num_frames = sum(shard_sizes)
    num_batches = num_frames // batch_size
    total, number = 0.0, 0
    for circle in circles(shard_sizes):
        for cut in range(num_frames):
            stream = np.roll(circle, -cut)
            blocks = [stream[start : start + block_frames] for start in range(0, num_frames, block_frames)]
            same = np.array([[(one[:, None] == other).mean() for other in blocks] for one in blocks])
            for row, block in enumerate(blocks):  # two places of one block are different places
                if len(block) > 1:
                    pairs = (block[:, None] == block).sum() - len(block)
                    same[row, row] = pairs / (len(block) * (len(block) - 1))
            for first, second in itertools.combinations(range(num_batches * batch_size), 2):
                if first // batch_size == second // batch_size:
                    total += same[first // block_frames, second // block_frames]
                    number += 1
    return total / number


def test_S29_visits():
    outcomes = shard_visits(POPULATION, POPULATION.share, num_visits=2, frames_per_visit=2)
    found = outcomes.coincidence(POPULATION.shard_of_frame)
    assert_equal(visit_shard_kappa(POPULATION.share, batch_size=4, frames_per_visit=2), found)
    assert_rejected(visit_kappa(batch_size=4, frames_per_visit=2), found)  # visits that meet forgotten
    assert_rejected(1 / 2, found)  # 1 / K
    # Which visit a slot belongs to is its place: slots 0, 1 and slots 2, 3.
    same_visit = np.mean([one // 2 == other // 2 for one, other in itertools.combinations(range(4), 2)])
    assert_equal(visit_kappa(batch_size=4, frames_per_visit=2), same_visit)


def test_S29_uniform_shards():
    uniform = np.full(3, 1 / 3)
    outcomes = shard_visits(POPULATION, uniform, num_visits=2, frames_per_visit=2)
    found = outcomes.coincidence(POPULATION.shard_of_frame)
    assert_equal(visit_shard_kappa(uniform, batch_size=4, frames_per_visit=2), found)
    assert_rejected(visit_shard_kappa(POPULATION.share, batch_size=4, frames_per_visit=2), found)


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
            for cut in [0] if unrotated else range(6):
                stream = np.roll(ids, -cut)
                for block in (stream[:block_frames], stream[block_frames:]):
                    at = slice(0, 4) if len(block) == 4 else slice(4, 6)
                    law[at, block] += 1 / len(block)
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
    unequal = kappa_by_positions([2, 3, 4], 4, 3)
    assert_rejected(block_kappa([3, 3, 3], block_frames=4, batch_size=3), unequal)  # equal shards assumed


def test_S31_limits():
    sizes = [30, 50, 20]
    whole = block_kappa(sizes, block_frames=100, batch_size=8)
    assert_equal(whole, permutation_kappa(sizes))
    in_order = block_kappa(sizes, block_frames=1, batch_size=8)
    lags = np.arange(1, 8)
    assert_equal(in_order, (8 - lags) @ lag_coincidence(sizes, lags) / math.comb(8, 2))
    assert block_kappa(sizes, block_frames=10, batch_size=1) == 0
    # Many equal shards in blocks of k shards: near the 1 / k of blocks that begin at a shard.
    kappa = block_kappa([1000] * 500, block_frames=8000, batch_size=256)
    assert kappa == pytest.approx(999 / 7999, rel=0.05)
    assert kappa < 999 / 7999


def test_S31_sums_over_pairs_of_places_at_middling_size():
    sizes = np.random.default_rng(2).integers(1, 60, 40)
    num_frames, block_frames, batch_size = int(sizes.sum()), 97, 31
    same = np.concatenate([[np.nan], lag_coincidence(sizes, np.arange(1, num_frames))])
    block_of = np.arange(num_frames) // block_frames
    lengths = np.bincount(block_of)
    places = [np.flatnonzero(block_of == block) for block in range(len(lengths))]
    total = 0.0
    for batch in range(num_frames // batch_size):
        blocks, slots = np.unique(block_of[batch * batch_size :][:batch_size], return_counts=True)
        for row, block in enumerate(blocks):
            lags = places[block] - places[block][:, None]
            total += math.comb(slots[row], 2) * same[lags[lags > 0]].mean() if slots[row] > 1 else 0
            for column in range(row + 1, len(blocks)):
                total += (
                    slots[row] * slots[column] * same[places[blocks[column]] - places[block][:, None]].mean()
                )
    total /= num_frames // batch_size * math.comb(batch_size, 2)
    assert_equal(block_kappa(sizes, block_frames=block_frames, batch_size=batch_size), total, SUMMED)


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
        lambda: visit_shard_kappa([0.3], batch_size=4, frames_per_visit=2),
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
