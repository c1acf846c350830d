# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
import itertools
import math

import numpy as np
import pytest

from frame_store.shared import chi2_of_uniform_shards
from loader.bias.design_effect import design_effect, slot_correlation
from loader.bias.webdataset.kappa import steady_state_kappa
from loader.errors import SamplingError
from tests.support.statistics.enumeration import (
    SUMMED,
    assert_equal,
    assert_rejected,
    buffer_outcomes,
)
from tests.support.statistics.oracles.correlations import lag_coincidence
from tests.support.statistics.oracles.distributions import chi2_of_shard_law, position_law
from tests.support.statistics.oracles.shuffle_buffer import (
    approximate_buffer_kappa,
    buffer_output_law,
    buffer_pair_law,
    buffer_schedule,
    steady_lag_law,
)

BUFFERS = [
    (6, 3, 3),
    (6, 4, 4),
    (6, 3, 1),
    (6, 4, 2),
    (6, 4, 3),
    (7, 2, 2),
    (5, 1, 1),
    (6, 9, 9),
    (6, 9, 1),
    (0, 3, 3),
]
buffers = pytest.mark.parametrize(("num_items", "shuffle_buffer", "initial"), BUFFERS)


@pytest.mark.parametrize("sizes", [[1, 2, 4], [3, 3, 1, 2], [5], [2, 0, 3]])
def test_S10_position_law(sizes):
    num_frames = sum(sizes)
    law = np.zeros((num_frames, len(sizes)))
    orders = list(itertools.permutations(range(len(sizes))))
    for order in orders:
        law[np.arange(num_frames), np.repeat(order, np.array(sizes)[list(order)])] += 1 / len(orders)
    found = np.array([position_law(sizes, position) for position in range(num_frames)])
    assert_equal(found, law)
    assert_equal(found.mean(0), np.array(sizes) / num_frames)  # over the epoch every frame comes once
    if len(set(sizes)) > 1:
        assert_rejected(np.tile(np.array(sizes) / num_frames, (num_frames, 1)), law)  # "uniform everywhere"
    for end in (0, -1):
        assert_equal(chi2_of_uniform_shards(sizes), chi2_of_shard_law(law[end], sizes))


def test_S10_the_excess_fades_towards_the_middle():
    sizes = [20, 20, 20, 20, 20, 20, 20, 4]
    chi2 = [chi2_of_shard_law(position_law(sizes, position), sizes) for position in (0, 10, 70)]
    assert chi2[0] == pytest.approx(chi2_of_uniform_shards(sizes))
    assert chi2[2] < chi2[0] / 2


@buffers
def test_S34_schedule_is_that_of_webdataset(num_items, shuffle_buffer, initial):
    read_before, held = buffer_schedule(num_items, shuffle_buffer=shuffle_buffer, initial=initial)
    if not num_items:
        assert read_before.size == held.size == 0
        return
    outcomes = buffer_outcomes(num_items, shuffle_buffer=shuffle_buffer, initial=initial)
    assert_equal(outcomes.probability, np.full(len(outcomes.probability), 1 / np.prod(held)))
    assert len(outcomes.probability) == np.prod(held)
    earliest = [np.flatnonzero((outcomes.frame_ids == item).any(0))[0] for item in range(num_items)]
    assert read_before.tolist() == earliest


def test_S34_reads_two_items_a_step_while_it_fills():
    read_before, held = buffer_schedule(12, shuffle_buffer=6, initial=3)
    assert held.tolist() == [4, 5, 6, 6, 6, 6, 6, 5, 4, 3, 2, 1]
    assert read_before.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 6]


@buffers
def test_S35_output_law(num_items, shuffle_buffer, initial):
    if not num_items:
        return
    outcomes = buffer_outcomes(num_items, shuffle_buffer=shuffle_buffer, initial=initial)
    law = np.zeros((num_items, num_items))
    for probability, order in zip(outcomes.probability, outcomes.frame_ids, strict=True):
        law[np.arange(num_items), order] += probability
    found = buffer_output_law(num_items, shuffle_buffer=shuffle_buffer, initial=initial)
    assert_equal(found, law)
    assert_equal(found.sum(0), np.ones(num_items))
    if 1 < shuffle_buffer < num_items:
        assert_rejected(np.full((num_items, num_items), 1 / num_items), law)  # "it shuffles"


@buffers
def test_S36_pair_law(num_items, shuffle_buffer, initial):
    if not num_items:
        return
    outcomes = buffer_outcomes(num_items, shuffle_buffer=shuffle_buffer, initial=initial)
    options = {"shuffle_buffer": shuffle_buffer, "initial": initial}
    alone = buffer_output_law(num_items, **options)
    for first, second in itertools.combinations(range(num_items), 2):
        law = np.zeros((num_items, num_items))
        np.add.at(law, (outcomes.frame_ids[:, first], outcomes.frame_ids[:, second]), outcomes.probability)
        assert_equal(buffer_pair_law(num_items, first_pick=first, second_pick=second, **options), law)
        if shuffle_buffer > 1:
            assert_rejected(np.outer(alone[first], alone[second]), law)  # picks taken for independent


@pytest.mark.parametrize("shuffle_buffer", [1, 2, 3, 4])
def test_S38_lag_law_is_the_middle_of_a_long_stream(shuffle_buffer):
    num_items, first = 150, 70
    for output_lag in (1, 2, 5):
        law = buffer_pair_law(
            num_items, first_pick=first, second_pick=first + output_lag, shuffle_buffer=shuffle_buffer
        )
        by_lag = np.array([np.trace(law, lag) + np.trace(law, -lag) for lag in range(1, 30)])
        found = steady_lag_law(np.arange(1, 30), output_lag, shuffle_buffer=shuffle_buffer)
        assert_equal(found, by_lag, SUMMED)
        theta = 1 - 1 / shuffle_buffer
        if shuffle_buffer > 1:  # picks taken for independent: the difference of two geometric delays
            independent = theta ** np.abs(np.arange(1, 30) - output_lag) + theta ** (
                np.arange(1, 30) + output_lag
            )
            assert_rejected(independent / (2 * shuffle_buffer - 1), by_lag, SUMMED)


@pytest.mark.parametrize("shuffle_buffer", [1, 2, 17])
def test_S38_lag_law_sums_to_one(shuffle_buffer):
    law = steady_lag_law(np.arange(1, 2000), 3, shuffle_buffer=shuffle_buffer)
    assert_equal(law.sum(), 1.0)


@pytest.mark.parametrize(("shuffle_buffer", "batch_size"), [(1, 4), (3, 2), (5, 7), (40, 3), (2, 30)])
def test_S38_steady_state_sums_the_lag_law(shuffle_buffer, batch_size):
    sizes = [3, 9, 0, 14, 1, 9]
    lags = np.arange(1, 14)
    shared = np.maximum(np.array(sizes)[:, None] - lags, 0).sum(0) / sum(sizes)
    expected = sum(
        (batch_size - lag) * steady_lag_law(lags, lag, shuffle_buffer=shuffle_buffer) @ shared
        for lag in range(1, batch_size)
    ) / math.comb(batch_size, 2)
    options = {"shuffle_buffer": shuffle_buffer, "batch_size": batch_size}
    assert_equal(steady_state_kappa(sizes, **options), expected)
    assert_rejected(steady_state_kappa([6] * 6, **options), expected)  # equal shards assumed
    assert steady_state_kappa(sizes, shuffle_buffer=shuffle_buffer, batch_size=1) == 0
    assert steady_state_kappa([1, 1], **options) == 0


def test_S38_no_buffer_reads_neighbours():
    sizes = [30] * 40
    lags = np.arange(1, 8)
    neighbours = (8 - lags) @ lag_coincidence(sizes, lags) / math.comb(8, 2)
    assert_equal(steady_state_kappa(sizes, shuffle_buffer=1, batch_size=8), neighbours)


@pytest.mark.parametrize("shuffle_buffer", [1000, 4000, 16_000])
@pytest.mark.parametrize("shard_frames", [500, 2000, 8000])
def test_S39_approximation(shuffle_buffer, shard_frames):
    exact = steady_state_kappa([shard_frames] * 10, shuffle_buffer=shuffle_buffer, batch_size=16)
    approximation = approximate_buffer_kappa(shard_frames, shuffle_buffer=shuffle_buffer)
    assert approximation == pytest.approx(exact, rel=0.015)


def test_S39_limits():
    assert approximate_buffer_kappa(100, shuffle_buffer=10**6) == pytest.approx(100 / 2e6, rel=0.02)
    assert approximate_buffer_kappa(10**6, shuffle_buffer=10) == pytest.approx(1 - 1 / 20, rel=1e-3)


@pytest.mark.parametrize(("rho", "effect"), [(0.60, 9.87), (0.075, 2.11), (-1 / 499_999, 1.00)])
def test_S38_worked_table(rho, effect):
    kappa = steady_state_kappa([1000] * 500, shuffle_buffer=8000, batch_size=256)
    correlation = slot_correlation(kappa, rho, shard_size=1000, num_shards=500)
    assert round(design_effect(correlation, batch_size=256), 2) == effect


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: position_law([2, 3], 5),
        lambda: buffer_schedule(3, shuffle_buffer=0),
        lambda: buffer_schedule(3, shuffle_buffer=2, initial=0),
        lambda: buffer_schedule(-1, shuffle_buffer=2),
        lambda: buffer_pair_law(3, first_pick=1, second_pick=1, shuffle_buffer=2),
        lambda: steady_lag_law([0], 1, shuffle_buffer=2),
        lambda: steady_state_kappa([3], shuffle_buffer=0, batch_size=2),
        lambda: approximate_buffer_kappa(0, shuffle_buffer=2),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(SamplingError):
        wrong()
