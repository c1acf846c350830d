# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
import itertools
import random
import time

import numpy as np
import pytest
import webdataset

from loader.bias.design_effect import design_effect, slot_correlation
from loader.bias.pairs.kappa import permutation_kappa
from loader.bias.webdataset import kappa as kappa_module
from loader.bias.webdataset.kappa import steady_state_kappa, webdataset_kappa
from loader.errors import SamplingError
from tests.support.statistics.enumeration import (
    Outcomes,
    Population,
    assert_equal,
    assert_rejected,
    buffer_outcomes,
)
from tests.support.statistics.oracles.correlations import intraclass_correlation
from tests.support.statistics.oracles.shuffle_buffer import buffer_pair_law

STREAMS = [
    ([2, 2, 2], 3, 3, 2),
    ([2, 2, 2], 4, 1, 3),
    ([3, 3], 2, 2, 2),
    ([1, 1, 1, 1, 1], 3, 3, 2),
    ([6], 3, 3, 4),
    ([2, 2, 2], 1, 1, 3),
    ([2, 2, 2], 9, 9, 4),
    ([3, 3], 4, 3, 5),
]


def kappa_of_outcomes(sizes, shuffle_buffer, initial, batch_size):
    shard_of_item = np.repeat(np.arange(len(sizes)), sizes)
    outcomes = buffer_outcomes(sum(sizes), shuffle_buffer=shuffle_buffer, initial=initial)
    return np.mean(
        [
            Outcomes(
                outcomes.probability, outcomes.frame_ids[:, t * batch_size : (t + 1) * batch_size]
            ).coincidence(shard_of_item)
            for t in range(sum(sizes) // batch_size)
        ]
    )


@pytest.mark.parametrize(("sizes", "shuffle_buffer", "initial", "batch_size"), STREAMS)
def test_S37_moments_of_equal_shards(sizes, shuffle_buffer, initial, batch_size):
    expected = kappa_of_outcomes(sizes, shuffle_buffer, initial, batch_size)
    options = {"shuffle_buffer": shuffle_buffer, "initial": initial, "batch_size": batch_size}
    assert_equal(webdataset_kappa(sizes, **options), expected)


@pytest.mark.parametrize(("shuffle_buffer", "initial", "batch_size"), [(3, 3, 2), (4, 1, 3), (2, 2, 5)])
def test_S37_moments_of_unequal_shards_in_a_given_order(shuffle_buffer, initial, batch_size):
    # One shard per worker and a permutation fixed by hand: the recursion itself, without the mean over orders.
    sizes = [1, 4, 2]
    expected = kappa_of_outcomes(sizes, shuffle_buffer, initial, batch_size)
    first = kappa_module.first_fill(shuffle_buffer, initial)
    pairs = kappa_module._expected_pairs(
        [np.array(sizes)], shuffle_buffer=shuffle_buffer, first=first, batch_size=batch_size
    )
    pairs_per_epoch = sum(sizes) // batch_size * batch_size * (batch_size - 1) / 2
    assert_equal(pairs[0] / pairs_per_epoch, expected)
    reverse = kappa_of_outcomes(sizes[::-1], shuffle_buffer, initial, batch_size)
    assert_rejected(pairs[0] / pairs_per_epoch, reverse)


def test_S37_wrong_variants_are_rejected():
    sizes, options = [2, 2, 2], {"shuffle_buffer": 4, "batch_size": 2}
    expected = kappa_of_outcomes(sizes, 4, 4, 2)
    assert_equal(webdataset_kappa(sizes, **options), expected)
    assert_rejected(
        webdataset_kappa(sizes, initial=1, **options), expected
    )  # picks before the buffer is full
    assert_rejected(steady_state_kappa(sizes, **options), expected)  # warm-up and drain forgotten
    assert_rejected(permutation_kappa(sizes), expected)
    assert_rejected(2 / (2 * 4), expected)  # n / (2 Q)


def test_S37_agrees_with_the_pair_law_at_middling_size():
    sizes, batch_size = [7] * 8, 5
    shard_of_item = np.repeat(np.arange(8), 7)
    same = shard_of_item[:, None] == shard_of_item
    total, number = 0.0, 0
    for first in range(55):
        for second in range(first + 1, (first // batch_size + 1) * batch_size):
            law = buffer_pair_law(56, first_pick=first, second_pick=second, shuffle_buffer=11, initial=6)
            total, number = total + law[same].sum(), number + 1
    found = webdataset_kappa(sizes, shuffle_buffer=11, initial=6, batch_size=batch_size)
    assert_equal(found, total / number)


def test_S37_a_buffer_of_everything_is_a_permutation():
    sizes = [5, 9, 3]
    assert_equal(webdataset_kappa(sizes, shuffle_buffer=17, batch_size=4), permutation_kappa(sizes))
    assert_equal(webdataset_kappa(sizes, shuffle_buffer=1000, batch_size=4), permutation_kappa(sizes))


def test_S37_workers_take_shards_in_turn_and_count_by_their_batches():
    sizes, options = [6] * 5, {"shuffle_buffer": 4, "batch_size": 4}
    of_three, of_two = webdataset_kappa([6] * 3, **options), webdataset_kappa([6] * 2, **options)
    expected = (18 // 4 * of_three + 12 // 4 * of_two) / (18 // 4 + 12 // 4)
    assert_equal(webdataset_kappa(sizes, num_workers=2, **options), expected)
    assert_rejected((of_three + of_two) / 2, expected)
    assert_rejected(webdataset_kappa(sizes, **options), expected)  # one stream
    assert_equal(
        webdataset_kappa(sizes, num_workers=9, **options), 1.0
    )  # a shard each, four workers with none


def test_S37_design_effect_of_equal_shards():
    """Shards in any order, their frames in any order, through webdataset's own shuffle."""
    population = Population([2, 2, 2], seed=3, dimensions=2)
    outcomes = buffer_outcomes(6, shuffle_buffer=3, initial=3)
    pairs = []
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            stream = np.concatenate(
                [population.ids_of(shard)[:: -1 if flips[shard] else 1] for shard in order]
            )
            pairs += [
                (probability / 48 / 3, stream[items[2 * t : 2 * t + 2]])
                for probability, items in zip(outcomes.probability, outcomes.frame_ids, strict=True)
                for t in range(3)
            ]
    measured = Outcomes.of(pairs)
    assert_equal(measured.law(6), np.full(6, 1 / 6))
    kappa = webdataset_kappa([2, 2, 2], shuffle_buffer=3, batch_size=2)
    correlation = slot_correlation(
        kappa, intraclass_correlation(population.by_shard), shard_size=2, num_shards=3
    )
    found = 2 * measured.variance(population.frames) / population.variance
    assert_equal(design_effect(correlation, batch_size=2), found)


def test_S37_unequal_shards_in_random_orders():
    sizes = np.random.default_rng(1).integers(5, 40, 30)
    options = {"shuffle_buffer": 30, "batch_size": 8}
    chance = random.Random(0)
    shares = []
    for _ in range(300):
        order = chance.sample(range(30), 30)
        stream = np.repeat(order, sizes[order])
        shuffled = np.array(list(webdataset.shuffle(30, initial=30, rng=chance)(iter(stream))))
        batches = shuffled[: len(shuffled) // 8 * 8].reshape(-1, 8)
        same = (batches[:, :, None] == batches[:, None, :]).sum((1, 2)) - 8
        shares.append(same.mean() / 56)
    error = np.std(shares) / np.sqrt(len(shares))
    found = webdataset_kappa(sizes, **options)
    assert abs(found - np.mean(shares)) < 4 * error + 0.02 * found  # four orders are not all orders
    assert abs(permutation_kappa(sizes) - np.mean(shares)) > 0.1


def test_S37_the_middle_is_the_steady_state():
    sizes, options = [50] * 400, {"shuffle_buffer": 60, "batch_size": 10}
    steady = steady_state_kappa(sizes, **options)
    assert webdataset_kappa(sizes, **options) == pytest.approx(steady, rel=5e-3)
    assert webdataset_kappa([50] * 10, **options) > steady * 1.01  # warm-up: fewer shards to draw from


@pytest.mark.parametrize(("shuffle_buffer", "batch_size"), [(60, 10), (60, 7), (1, 50), (90, 128)])
def test_S37_long_streams_are_followed_through_a_window(monkeypatch, shuffle_buffer, batch_size):
    sizes, options = [50] * 400, {"shuffle_buffer": shuffle_buffer, "batch_size": batch_size}
    whole = webdataset_kappa(sizes, **options)
    monkeypatch.setattr(kappa_module, "MAX_EXACT_ITEMS", 4000)
    # Where the window ends inside a batch, it is off by a part of one batch's pairs.
    assert webdataset_kappa(sizes, **options) == pytest.approx(whole, rel=batch_size / 4000 / 2)


def test_S37_batches_in_step_with_the_shards_are_not_taken_for_any():
    assert webdataset_kappa([50] * 5000, shuffle_buffer=1, batch_size=50) == pytest.approx(1)
    assert steady_state_kappa([50] * 5000, shuffle_buffer=1, batch_size=50) < 0.7


def test_S37_a_window_into_unequal_shards(monkeypatch):
    sizes = np.random.default_rng(5).integers(20, 80, 1000)
    options = {"shuffle_buffer": 60, "batch_size": 10}
    whole = webdataset_kappa(sizes, **options)
    monkeypatch.setattr(kappa_module, "MAX_EXACT_ITEMS", 5000)
    assert webdataset_kappa(sizes, **options) == pytest.approx(whole, rel=5e-3)


def test_S37_a_window_of_one_shard(monkeypatch):
    whole = webdataset_kappa([100] * 3, shuffle_buffer=2, batch_size=4)
    monkeypatch.setattr(kappa_module, "MAX_EXACT_ITEMS", 10)
    assert webdataset_kappa([100] * 3, shuffle_buffer=2, batch_size=4) == pytest.approx(whole, rel=0.02)


def test_S37_takes_seconds_for_a_large_cache():
    started = time.process_time()
    kappa = webdataset_kappa([1000] * 20_000, shuffle_buffer=1000, batch_size=256, num_workers=3)
    assert kappa == pytest.approx(0.3645, abs=0.001)
    assert time.process_time() - started < 20  # a second on a quiet machine


def test_S37_a_batch_of_one_frame_has_no_pair():
    assert webdataset_kappa([3, 3], shuffle_buffer=2, batch_size=1) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: webdataset_kappa([], shuffle_buffer=2, batch_size=2),
        lambda: webdataset_kappa([3, 3], shuffle_buffer=0, batch_size=2),
        lambda: webdataset_kappa([3, 3], shuffle_buffer=2, batch_size=0),
        lambda: webdataset_kappa([3, 3], shuffle_buffer=2, batch_size=2, num_workers=0),
        lambda: webdataset_kappa([3, 3], shuffle_buffer=2, batch_size=4, num_workers=2),
    ],
)
def test_what_has_no_whole_batch_is_refused(wrong):
    with pytest.raises(SamplingError):
        wrong()
