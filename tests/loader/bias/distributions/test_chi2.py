# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
import itertools
import math

import numpy as np
import pytest

from frame_store.shared import chi2_of_uniform_shards
from loader.bias.distributions.last_batch import chi2_of_dropped_tail, chi2_of_padding
from loader.errors import SamplingError
from tests.support.statistics.enumeration import (
    Outcomes,
    Population,
    assert_equal,
    assert_rejected,
    shard_visits,
)
from tests.support.statistics.oracles.distributions import (
    chi2_of_equalised_readers,
    chi2_of_law,
    chi2_of_mixture,
    chi2_of_shard_law,
    chi2_of_worker_drop_last,
    max_over_representation,
    total_variation,
    typical_bias_of_uniform_shards,
)

POPULATION = Population([2, 3, 4], seed=1)
UNIFORM_SHARDS = np.full(3, 1 / 3)


def biased_outcomes():
    return shard_visits(POPULATION, UNIFORM_SHARDS, num_visits=2, frames_per_visit=2)


def bias_of(law, frames):
    return (law - 1 / len(law)) @ frames


def random_laws(num_frames):
    chance = np.random.default_rng(3)
    return [chance.dirichlet(np.ones(num_frames)) for _ in range(20)]


def test_S1_bias_is_a_property_of_the_law():
    outcomes = biased_outcomes()
    law = outcomes.law(POPULATION.num_frames)
    assert_equal(outcomes.mean(POPULATION.frames) - POPULATION.mean, bias_of(law, POPULATION.frames))


def test_S1_chi2_is_the_sum_over_frames():
    for law in random_laws(7):
        assert_equal(chi2_of_law(law), 7 * np.sum(law**2) - 1)
        assert_rejected(chi2_of_law(law), np.sum(law**2) - 1)


def test_S1_the_bounds_hold_and_the_first_is_attained():
    frames = POPULATION.frames
    diameter = max(np.linalg.norm(one - other) for one in frames for other in frames)
    for law in random_laws(POPULATION.num_frames):
        bias = np.linalg.norm(bias_of(law, frames))
        assert bias <= math.sqrt(chi2_of_law(law) * POPULATION.variance)
        assert bias <= total_variation(law) * diameter
        worst = len(law) * law - 1  # a quantity that is large for the frames that are shown too often
        assert_equal(bias_of(law, worst), math.sqrt(chi2_of_law(law)) * worst.std())


def test_S1_total_variation_and_over_representation():
    law = [0.5, 0.25, 0.25, 0.0]
    assert total_variation(law) == 0.25
    assert max_over_representation(law) == 2


def test_S1_uniform_law_is_exactly_unbiased():
    assert chi2_of_law(np.full(64, 1 / 64)) == 0
    assert total_variation(np.full(64, 1 / 64)) == 0
    assert max_over_representation(np.full(64, 1 / 64)) == 1


def test_S2_chi2_of_a_shard_law():
    for shard_law in random_laws(3):
        law = (shard_law / POPULATION.sizes)[POPULATION.shard_of_frame]
        assert_equal(chi2_of_shard_law(shard_law, POPULATION.sizes), chi2_of_law(law))
        assert_rejected(chi2_of_law(shard_law), chi2_of_law(law))  # equal shards assumed


def test_S2_the_bound_needs_only_the_shard_means():
    for shard_law in random_laws(3):
        bias = np.linalg.norm((shard_law - POPULATION.share) @ POPULATION.shard_means)
        law = (shard_law / POPULATION.sizes)[POPULATION.shard_of_frame]
        assert_equal(bias, np.linalg.norm(bias_of(law, POPULATION.frames)))
        assert bias <= math.sqrt(chi2_of_shard_law(shard_law, POPULATION.sizes) * POPULATION.between)


@pytest.mark.parametrize("shards_again", [True, False])
@pytest.mark.parametrize("frames_again", [True, False])
def test_S3_uniform_shards(shards_again, frames_again):
    outcomes = shard_visits(
        POPULATION,
        UNIFORM_SHARDS,
        num_visits=2,
        frames_per_visit=2,
        shards_again=shards_again,
        frames_again=frames_again,
    )
    law = outcomes.law(POPULATION.num_frames)
    assert_equal(law, 1 / (3 * POPULATION.sizes[POPULATION.shard_of_frame]))
    assert_equal(chi2_of_uniform_shards(POPULATION.sizes), chi2_of_law(law))
    assert_rejected(0.0, chi2_of_law(law))  # equal shards assumed
    assert_rejected(np.var(POPULATION.sizes) / np.mean(POPULATION.sizes) ** 2, chi2_of_law(law))  # CV^2
    deviation = POPULATION.sizes - POPULATION.sizes.mean()
    covariance = deviation @ POPULATION.shard_means / 3
    bias = outcomes.mean(POPULATION.frames) - POPULATION.mean
    assert_equal(bias, -covariance / POPULATION.sizes.mean())
    assert_rejected(covariance / POPULATION.sizes.mean(), bias)


def test_S3_worked_numbers():
    assert round(chi2_of_uniform_shards([1000] * 499 + [100]), 3) == 0.016
    assert chi2_of_uniform_shards([5, 5, 0]) == 0
    assert chi2_of_uniform_shards([3, 1]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_S3_log_normal_sizes_in_the_limit(sigma):
    # Equally spaced quantiles of a normal distribution represent many videos: A / H - 1 = e^(sigma^2) - 1.
    levels = (np.arange(20_000) + 0.5) / 20_000
    grid = np.linspace(-6, 6, 60_001)
    normal = np.cumsum(np.exp(-(grid**2) / 2))
    quantiles = np.interp(levels, normal / normal[-1], grid)
    sizes = np.rint(1e6 * np.exp(sigma * quantiles)).astype(np.int64)
    assert chi2_of_uniform_shards(sizes) == pytest.approx(math.expm1(sigma**2), rel=4e-3)


def test_S4_typical_bias_over_all_ways_to_hand_out_the_sizes():
    sizes = np.array([2, 3, 4, 7])
    means = np.random.default_rng(5).normal(size=(4, 3))
    squares = [
        np.sum(((1 / 4 - sizes / sizes.sum()) @ means[list(shards)]) ** 2)
        for shards in itertools.permutations(range(4))
    ]
    spread = math.sqrt(((means - means.mean(0)) ** 2).sum(1).mean())
    assert_equal(typical_bias_of_uniform_shards(sizes) * spread, math.sqrt(np.mean(squares)))
    cv = sizes.std() / sizes.mean()
    assert_rejected(
        cv / math.sqrt(4) * spread, math.sqrt(np.mean(squares))
    )  # no finite-population correction
    assert_rejected(
        math.sqrt(chi2_of_uniform_shards(sizes)) * spread, math.sqrt(np.mean(squares))
    )  # worst case
    assert typical_bias_of_uniform_shards([4]) == 0


@pytest.mark.parametrize("frames_again", [True, False])
def test_S5_anchor_frame_rule_is_uniform_for_any_sizes(frames_again):
    outcomes = shard_visits(
        POPULATION, POPULATION.share, num_visits=2, frames_per_visit=2, frames_again=frames_again
    )
    assert_equal(outcomes.law(9), np.full(9, 1 / 9))
    assert_equal(outcomes.mean(POPULATION.frames), POPULATION.mean)
    assert_rejected(biased_outcomes().law(9), np.full(9, 1 / 9))


def weighted_mean(outcomes, population, *, self_normalised):
    """Expected batch mean under weights S n_s / N, divided by B or by the sum of the weights."""
    weights = (population.num_shards * population.share)[population.shard_of_frame][outcomes.frame_ids]
    total = weights.sum(1) if self_normalised else np.full(len(weights), outcomes.batch_size)
    means = (weights[:, :, None] * population.frames[outcomes.frame_ids]).sum(1) / total[:, None]
    return outcomes.probability @ means, means, weights.mean(1)


def test_S6_importance_weights_divided_by_the_batch_size_are_unbiased():
    outcomes = biased_outcomes()
    expected, means, _ = weighted_mean(outcomes, POPULATION, self_normalised=False)
    assert_equal(expected, POPULATION.mean)
    # They are not translation invariant: frames that all agree still give noise.
    weights = 3 * POPULATION.share
    sizes = POPULATION.sizes
    noise = (sizes - 2) / (sizes - 1) * POPULATION.shard_variances / 2
    scatter = np.mean(weights**2 * (POPULATION.shard_means**2).sum(1)) - POPULATION.mean @ POPULATION.mean
    variance = outcomes.probability @ ((means - expected) ** 2).sum(1)
    assert_equal((scatter + np.mean(weights**2 * noise)) / 2, variance)
    assert_rejected((scatter + np.mean(weights**2 * POPULATION.shard_variances / 2)) / 2, variance)


def test_S7_hajek_bias_is_a_covariance_with_the_mean_weight():
    outcomes = biased_outcomes()
    expected, means, weight = weighted_mean(outcomes, POPULATION, self_normalised=True)
    covariance = (outcomes.probability * (weight - 1)) @ means
    assert_equal(expected - POPULATION.mean, -covariance)
    assert_rejected(expected, POPULATION.mean)  # "self-normalised weights are unbiased"


def hajek_bias(population, num_visits):
    """Exact, by counts of visits: the shard means stand for the frames, which average out given the shards."""
    weights, total = population.num_shards * population.share, 0
    for counts in itertools.product(range(num_visits + 1), repeat=population.num_shards):
        if sum(counts) != num_visits:
            continue
        ways = math.factorial(num_visits) / math.prod(math.factorial(count) for count in counts)
        drawn = np.array(counts) * weights
        total = (
            total + ways * population.num_shards**-num_visits * (drawn @ population.shard_means) / drawn.sum()
        )
    return total - population.mean


def test_S7_hajek_bias_falls_with_visits_not_with_frames():
    leading = -np.mean(
        (3 * POPULATION.share[:, None]) ** 2 * (POPULATION.shard_means - POPULATION.mean), axis=0
    )
    remainders = [np.linalg.norm(hajek_bias(POPULATION, k) - leading / k) for k in (16, 32)]
    assert 0.2 < remainders[1] / remainders[0] < 0.3  # O(1 / K^2)
    by_frames = [
        weighted_mean(
            shard_visits(POPULATION, UNIFORM_SHARDS, num_visits=2, frames_per_visit=m),
            POPULATION,
            self_normalised=True,
        )[0]
        - POPULATION.mean
        for m in (1, 2)
    ]
    assert_equal(by_frames[0], by_frames[1])
    assert_equal(by_frames[0], hajek_bias(POPULATION, 2))
    assert_rejected(by_frames[0] / 2, by_frames[1])  # "O(1 / B)"


def reader_outcomes(frames_per_reader, shown):
    """Each reader shows `shown` different frames of its own; one slot of all shown is drawn."""
    ends = np.cumsum(frames_per_reader)
    pairs = []
    for reader, (size, end) in enumerate(zip(frames_per_reader, ends, strict=True)):
        orders = list(itertools.permutations(range(end - size, end)))
        for order in orders:
            for step in range(shown[reader]):
                pairs.append((1 / len(orders) / sum(shown), [order[step % size]]))
    return Outcomes.of(pairs)


@pytest.mark.parametrize("shown_each", [2, 4], ids=["truncated", "started again"])
def test_S11_equalised_readers(shown_each):
    sizes = [2, 3, 4]
    outcomes = reader_outcomes(sizes, [shown_each] * 3)
    assert_equal(outcomes.law(9), np.repeat(1 / (3 * np.array(sizes)), sizes))
    assert_equal(chi2_of_equalised_readers(sizes), chi2_of_law(outcomes.law(9)))
    assert_rejected(0.0, chi2_of_law(outcomes.law(9)))


@pytest.mark.parametrize(("num_frames", "num_dropped"), [(10, 3), (7, 0), (9, 8)])
def test_S12_dropped_tail(num_frames, num_dropped):
    law = np.repeat([1.0, 0.0], [num_frames - num_dropped, num_dropped]) / (num_frames - num_dropped)
    assert_equal(chi2_of_dropped_tail(num_frames, num_dropped), chi2_of_law(law))
    if num_dropped:
        assert_rejected(num_dropped / num_frames, chi2_of_law(law))


@pytest.mark.parametrize(("num_frames", "num_padded"), [(10, 2), (10, 0), (3, 5), (4, 8), (1, 7)])
def test_S13_padding(num_frames, num_padded):
    shown = np.arange(num_frames + num_padded) % num_frames
    law = np.bincount(shown) / len(shown)
    assert_equal(chi2_of_padding(num_frames, num_padded), chi2_of_law(law))
    if num_padded % num_frames:
        assert_rejected(num_padded / num_frames, chi2_of_law(law))


@pytest.mark.parametrize("batch_size", [2, 3])
def test_S14_worker_drop_last(batch_size):
    sizes = np.array([2, 3, 5, 1])
    kept = sizes // batch_size * batch_size
    law = reader_outcomes(sizes, kept).law(11)
    assert_equal(chi2_of_worker_drop_last(sizes, batch_size=batch_size), chi2_of_law(law))
    assert_rejected(chi2_of_dropped_tail(11, 11 - kept.sum()), chi2_of_law(law))  # "just a dropped tail"
    assert_rejected(chi2_of_equalised_readers(sizes), chi2_of_law(law))


def test_S15_mixture():
    weights = np.array([0.5, 0.2, 0.3])
    outcomes = shard_visits(POPULATION, weights, num_visits=1, frames_per_visit=1)
    assert_equal(chi2_of_mixture(weights, POPULATION.sizes), chi2_of_law(outcomes.law(9)))
    assert_equal(outcomes.mean(POPULATION.frames), weights @ POPULATION.shard_means)  # its own target
    assert_rejected(chi2_of_law(weights), chi2_of_law(outcomes.law(9)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: chi2_of_law([0.5, 0.6]),
        lambda: chi2_of_law([1.5, -0.5]),
        lambda: chi2_of_law([]),
        lambda: chi2_of_law([[0.5, 0.5]]),
        lambda: chi2_of_shard_law([0.5, 0.5], [3]),
        lambda: chi2_of_shard_law([0.5, 0.5], [3, 0]),
        lambda: chi2_of_equalised_readers([3, 0]),
        lambda: chi2_of_dropped_tail(3, 3),
        lambda: chi2_of_padding(0, 1),
        lambda: chi2_of_padding(3, -1),
        lambda: chi2_of_worker_drop_last([3], batch_size=0),
        lambda: chi2_of_worker_drop_last([3], batch_size=4),
    ],
)
def test_what_is_no_law_is_refused(wrong):
    with pytest.raises(SamplingError):
        wrong()
