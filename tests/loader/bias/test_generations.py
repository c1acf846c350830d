# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Caches that have grown: rho of shards whose generations were shuffled one by one, against all their shuffles."""

from itertools import permutations, product

import numpy as np
import pytest

from loader.bias import Units, rho_of_all
from loader.bias.design_effect import visit_design_effect
from tests.support.statistics.oracles.generations import (
    rho_by_videos,
    rho_of_generations,
    rho_of_joined_generations,
)

CHANCE = np.random.default_rng(11)


def mean_rho(generations, shard_sizes):
    """The mean of rho over all shuffles inside the generations; shards are cut from the ids of all."""
    units = Units(order=None, ends=np.cumsum(shard_sizes))
    orders = product(*(permutations(range(len(frames))) for frames in generations))
    found = [
        rho_of_all(
            units,
            np.concatenate([frames[list(own)] for frames, own in zip(generations, order, strict=True)]),
            level="shard",
            proxy="",
        ).rho
        for order in orders
    ]
    return np.mean(found)


@pytest.mark.parametrize("shard_sizes", [[[3, 1], [2, 1]], [[2, 2], [3]], [[4], [1, 1, 1]]])
def test_S71_rho_of_separate_shuffles(shard_sizes):
    generations = [CHANCE.normal(size=(sum(sizes), 2)) + number for number, sizes in enumerate(shard_sizes)]
    stated = rho_of_generations(generations, shard_sizes)
    assert mean_rho(generations, np.concatenate(shard_sizes)) == pytest.approx(stated, abs=1e-12)
    one_shuffle = -1 / (sum(map(sum, shard_sizes)) - 1)
    assert abs(stated - one_shuffle) > 0.05, "one shuffle of all has another rho"
    two = [np.array([[0.0], [2.0]]), np.array([[4.0], [6.0]])]
    assert rho_of_generations(two, [[2], [2]]) == pytest.approx(0.6)
    assert rho_of_generations([np.concatenate(two)], [[2, 2]]) == pytest.approx(-1 / 3)


def test_S72_videos_in_random_order():
    """Four videos of two frames in generations of one and three, in all orders of the videos."""
    videos = CHANCE.normal(size=(4, 2, 3)) + 2 * CHANCE.normal(size=(4, 1, 3))
    rho_of_videos = rho_of_all(
        Units(order=None, ends=np.arange(2, 9, 2)), videos.reshape(8, 3), level="video", proxy=""
    ).rho
    one, three = rho_by_videos([[2], [2, 2, 2]], rho_of_videos)
    found = []
    for order in permutations(range(4)):
        own = [videos[order[0]], videos[list(order[1:])].reshape(6, 3)]
        found.append(
            [
                rho_of_generations(own, [[2], [1] * 6]) * 8 / 2,
                rho_of_generations(own, [[1, 1], [6]]) * 8 / 6,
            ]
        )
    np.testing.assert_allclose(np.mean(found, axis=0), [one, three], atol=1e-12)


def test_S72_the_table():
    def worth(rho):
        return round(128 / visit_design_effect(rho, frames_per_visit=8))

    def rho_of(num_videos):
        return rho_by_videos([[10_000] * num_videos], 0.375, many_videos=True)[0]

    assert [worth(rho_of(number)) for number in (1, 2, 5, 20, 200)] == [35, 55, 84, 113, 126]
    assert worth(0.9 * rho_of(5000) + 0.1 * rho_of(1)) == 101
    assert worth(0.5 * rho_of(5000) + 0.5 * rho_of(1)) == 55


@pytest.mark.parametrize("shard_sizes", [[3, 3, 1], [7], [2, 5], [1, 4, 2]])
def test_S73_shards_that_span_generations(shard_sizes):
    generations = [CHANCE.normal(size=(size, 2)) + 3 * CHANCE.normal(size=2) for size in (2, 1, 4)]
    stated = rho_of_joined_generations(generations, shard_sizes)
    assert mean_rho(generations, shard_sizes) == pytest.approx(stated, abs=1e-12)
