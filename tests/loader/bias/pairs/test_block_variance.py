# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Covariance around the circle of shards, and block shuffles by it, against every order of the shards."""

import itertools

import numpy as np
import pytest

from loader import SamplingError
from loader.bias.design_effect import (
    design_effect,
    slot_correlation,
)
from loader.bias.pairs.block_lags import lags_of_blocks
from loader.bias.pairs.block_variance import (
    block_design_effect,
    can_average_orders,
    circle_autocovariance,
)
from loader.bias.pairs.kappa import block_kappa
from loader.sampling.orders.blocks import frames_per_block
from tests.support.statistics.design_effects import (
    every_epoch,
    mean_square_effect,
    measured_design_effect,
    report_of,
)
from tests.support.statistics.enumeration import (
    SUMMED,
    Population,
    assert_equal,
    assert_rejected,
    whole_batches,
)
from tests.support.statistics.oracles.correlations import intraclass_correlation

CIRCLES = [[1, 2, 3], [2, 2, 2], [4], [1, 1, 3, 2], [5, 1, 3, 2, 2], [0, 2, 7], [3, 1, 1, 4, 4, 2]]


@pytest.mark.parametrize("sizes", CIRCLES, ids=str)
def test_S49_the_autocovariance_over_every_order_of_the_shards(sizes):
    population = Population(sizes, seed=5, dimensions=2)
    centred, num_frames = population.frames - population.mean, sum(sizes)
    orders = list(itertools.permutations(range(len(sizes))))
    expected = np.zeros(num_frames)
    for order in orders:
        circle = centred[[frame for shard in order for frame in population.ids_of(shard)]]
        expected += [(circle * np.roll(circle, -lag, axis=0)).sum() for lag in range(num_frames)]
    expected /= len(orders) * num_frames
    assert_equal(circle_autocovariance(population.frames, sizes), expected, SUMMED)
    assert_equal(expected[0], population.variance)


def test_S49_more_shards_than_points_of_the_rule():
    sizes = np.resize([1, 2, 4], 400)
    features = np.random.default_rng(6).normal(size=(sizes.sum(), 1)) + np.repeat(sizes, sizes)[:, None]
    found = circle_autocovariance(features, sizes)
    chance, orders = np.random.default_rng(7), []
    parts = np.split(features - features.mean(), np.cumsum(sizes)[:-1])
    for _ in range(400):
        circle = np.concatenate([parts[shard] for shard in chance.permutation(400)])[:, 0]
        orders.append([np.mean(circle * np.roll(circle, -lag)) for lag in range(1, 6)])
    errors = np.std(orders, axis=0) / 20
    assert (np.abs(np.mean(orders, axis=0) - found[1:6]) < 4 * errors).all()
    assert (errors < 0.01 * found[0]).all()


@pytest.mark.parametrize("sizes", [[1, 2, 3], [3, 1, 1, 1], [1, 5], [2, 2, 2]], ids=str)
@pytest.mark.parametrize(("shards_per_block", "batch_size"), [(1, 2), (1, 3), (2, 2), (1, 4), (2, 5)])
def test_S49_variance_of_a_block_shuffle_over_any_shards(sizes, shards_per_block, batch_size):
    """Frames stay in their order in the shards, as they do in a cache: neighbours may be alike."""
    population = Population(sizes, seed=2, dimensions=2)
    options = {"sampling": "block", "shards_per_block": shards_per_block}
    report = report_of(population, batch_size=batch_size, **options)
    outcomes = whole_batches(every_epoch(population, options), batch_size)
    measured = measured_design_effect(outcomes, population)
    assert_equal(report.design_effect, measured, SUMMED)
    assert_equal(report.mean_square_effect, mean_square_effect(outcomes, population), SUMMED)
    block_frames = frames_per_block(population.sizes, shards_per_block=shards_per_block)
    if len(set(sizes)) > 1 and block_frames < 6:
        kappa = block_kappa(sizes, block_frames=block_frames, batch_size=batch_size)
        rho = intraclass_correlation(population.by_shard)
        as_equal = slot_correlation(kappa, rho, shard_size=6 / len(sizes), num_shards=len(sizes))
        assert_rejected(design_effect(as_equal, batch_size=batch_size), measured)


def test_S49_of_a_cache_of_too_many_sizes_is_left_to_the_approximation():
    assert can_average_orders([667] * 10 + [666] * 20)
    assert can_average_orders(np.arange(3, 390, 32))
    assert not can_average_orders(np.arange(1, 2000))
    assert not can_average_orders([10**6] * 1000)


def test_what_is_no_circle_is_refused():
    with pytest.raises(SamplingError, match="expected a row for each of 5 frames"):
        circle_autocovariance(np.zeros((4, 2)), [2, 3])
    with pytest.raises(SamplingError, match="no whole batch of 6"):
        lags_of_blocks(5, block_frames=2, batch_size=6)
    with pytest.raises(SamplingError, match="one frame holds no pair"):
        lags_of_blocks(5, block_frames=2, batch_size=1)
    lags = lags_of_blocks(5, block_frames=2, batch_size=2)
    with pytest.raises(SamplingError, match="all frames are equal"):
        block_design_effect(np.zeros(5), lags, batch_size=2)
    assert block_design_effect(np.ones(5), lags, batch_size=2) == pytest.approx(2)
