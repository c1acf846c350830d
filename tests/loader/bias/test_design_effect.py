# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
import itertools

import numpy as np
import pytest

from loader.bias.design_effect import (
    design_effect,
    permutation_design_effect,
    slot_correlation,
    visit_design_effect,
    weighted_visit_design_effect,
)
from loader.bias.pairs import lags_of_blocks, worst_block_effect
from loader.bias.pairs.kappa import block_kappa, visit_kappa
from loader.errors import SamplingError
from tests.support.statistics.design_effects import measured_design_effect
from tests.support.statistics.enumeration import (
    SUMMED,
    Outcomes,
    Population,
    assert_equal,
    assert_rejected,
    shard_visits,
    whole_batches,
)
from tests.support.statistics.oracles.correlations import (
    ar1_block_correlation,
    block_correlation,
    correlation_ratio,
    effective_batch,
    intraclass_correlation,
    nested_design_effect,
    worst_design_effect,
)
from tests.support.statistics.spread_orders import nested_blocks, nested_orders, spread_visits

UNEQUAL = Population([2, 3, 4], seed=1)
EQUAL = Population([3, 3, 3], seed=4)


def pearson_icc(population):
    """Analysis of variance as for a sample: what statistics packages call the intraclass correlation."""
    size = population.sizes[0]
    between = size * population.num_shards * population.between / (population.num_shards - 1)
    within = population.shard_variances.mean() * size / (size - 1)
    return (between - within) / (between + (size - 1) * within)


@pytest.mark.parametrize("population", [UNEQUAL, EQUAL], ids=["unequal", "equal"])
def test_S22_rho_is_the_mean_over_pairs_of_a_shard(population):
    centred = population.frames - population.mean
    products = centred @ centred.T
    pair_means = [
        np.mean([products[one, other] for one, other in itertools.permutations(population.ids_of(shard), 2)])
        for shard in range(population.num_shards)
    ]
    rho = population.share @ pair_means / population.variance
    assert_equal(intraclass_correlation(population.by_shard), rho)
    if population is UNEQUAL:  # every shard counted alike
        assert_rejected(np.mean(pair_means) / population.variance, rho)
    assert_rejected(correlation_ratio(population.by_shard), rho)


def test_S22_rho_is_not_the_sample_icc():
    rho = intraclass_correlation(EQUAL.by_shard)
    within = EQUAL.shard_variances.mean()
    assert_equal((EQUAL.between - within / 2) / EQUAL.variance, rho)
    assert_rejected(pearson_icc(EQUAL), rho)


def test_S22_eta2_splits_the_variance():
    within = UNEQUAL.share @ UNEQUAL.shard_variances
    assert_equal(correlation_ratio(UNEQUAL.by_shard), UNEQUAL.between / UNEQUAL.variance)
    assert_equal(correlation_ratio(UNEQUAL.by_shard), 1 - within / UNEQUAL.variance)


def test_S22_extremes():
    assert intraclass_correlation([[[0.0], [2.0]], [[2.0], [0.0]]]) == -1  # -1 / (n - 1)
    assert intraclass_correlation([[[0.0], [0.0]], [[2.0], [2.0]]]) == 1


def test_S22_shards_of_one_frame_have_no_pair():
    shards = [[[1.0], [1.0]], [[2.0], [2.0]], [[7.0]], np.empty((0, 1))]
    pairs = np.mean([(1 - 2.6) ** 2, (2 - 2.6) ** 2])
    assert_equal(intraclass_correlation(shards), 4 / 5 * pairs / np.var([1, 1, 2, 2, 7]))
    assert intraclass_correlation(shards) <= correlation_ratio(shards)
    extreme = [[[5.0], [5.0]], *([[0.0]],) * 30]  # would be above 1 if averaged over shards with a pair alone
    assert intraclass_correlation(extreme) <= 1


def block_shuffle_outcomes(population, num_blocks):
    """First two frames of a shuffled block of whole shards, not rotated."""
    pairs = []
    for shards in itertools.combinations(range(population.num_shards), num_blocks):
        frames = [frame for shard in shards for frame in population.ids_of(shard)]
        pairs += itertools.permutations(frames, 2)
    return Outcomes.of((1 / len(pairs), pair) for pair in pairs)


def rotated_outcomes(population, block_frames, batch_size):
    """Whole batches of the rotated order in blocks; frames lie in any order in their shards."""
    shards = range(population.num_shards)
    inner = itertools.product(*(itertools.permutations(population.ids_of(shard)) for shard in shards))
    streams = [
        np.roll(np.concatenate([frames[shard] for shard in order]), -cut)
        for order, frames, cut in itertools.product(
            itertools.permutations(shards), inner, range(population.num_frames)
        )
    ]
    return whole_batches(nested_blocks(streams, block_frames), batch_size)


def test_S23_block_shuffle_of_whole_shards():
    population = Population([3] * 4, seed=9)
    found = measured_design_effect(block_shuffle_outcomes(population, 2), population)
    rho = intraclass_correlation(population.by_shard)
    kappa = (3 - 1) / (2 * 3 - 1)
    equal = {"shard_size": 3, "num_shards": 4}
    assert_equal(design_effect(slot_correlation(kappa, rho, **equal), batch_size=2), found)
    assert_rejected(
        design_effect(slot_correlation(1 / 2, rho, **equal), batch_size=2), found
    )  # kappa = 1 / k
    assert_rejected(design_effect(kappa * rho, batch_size=2), found)  # as many shards as you like


@pytest.mark.parametrize(("block_frames", "batch_size"), [(4, 2), (3, 2), (2, 3), (6, 4)])
def test_S23_rotated_block_shuffle(block_frames, batch_size):
    population = Population([2] * 3, seed=6, dimensions=2)
    found = measured_design_effect(rotated_outcomes(population, block_frames, batch_size), population)
    kappa = block_kappa([2] * 3, block_frames=block_frames, batch_size=batch_size)
    rho = intraclass_correlation(population.by_shard)
    correlation = slot_correlation(kappa, rho, shard_size=2, num_shards=3)
    assert_equal(design_effect(correlation, batch_size=batch_size), found)
    assert_rejected(design_effect(kappa * rho, batch_size=batch_size), found)


@pytest.mark.parametrize(("block_frames", "batch_size"), [(4, 2), (2, 3), (3, 2)])
def test_S30_variance_of_unequal_shards_takes_the_autocovariance_of_the_circle(block_frames, batch_size):
    population = Population([1, 2, 3], seed=2, dimensions=2)
    outcomes = rotated_outcomes(population, block_frames, batch_size)
    centred = population.frames - population.mean
    by_lag = np.zeros(6)
    circles = [
        np.concatenate(frames)[:, None]
        for order in itertools.permutations(range(3))
        for frames in itertools.product(*(itertools.permutations(population.ids_of(s)) for s in order))
    ]
    for circle in circles:
        values = centred[circle[:, 0]]
        by_lag += [(values * np.roll(values, -lag, axis=0)).sum(1).mean() for lag in range(6)]
    by_lag /= len(circles) * population.variance
    blocks = [
        [start + np.array(order) for order in nested_orders(min(block_frames, 6 - start))]
        for start in range(0, 6, block_frames)
    ]
    correlations = [
        np.mean(
            [
                by_lag[abs(places[first] - places[second])]
                for places in map(np.concatenate, itertools.product(*blocks))
            ]
        )
        for batch in range(6 // batch_size)
        for first, second in itertools.combinations(range(batch * batch_size, (batch + 1) * batch_size), 2)
    ]
    found = measured_design_effect(outcomes, population)
    assert_equal(design_effect(np.mean(correlations), batch_size=batch_size), found)
    kappa = block_kappa(population.sizes, block_frames=block_frames, batch_size=batch_size)
    rho = intraclass_correlation(population.by_shard)
    as_equal = slot_correlation(kappa, rho, shard_size=2, num_shards=3)
    assert_rejected(design_effect(as_equal, batch_size=batch_size), found)


def test_S23_visits_to_different_shards():
    uniform = np.full(3, 1 / 3)
    outcomes = shard_visits(EQUAL, uniform, num_visits=2, frames_per_visit=2, shards_again=False)
    rho = intraclass_correlation(EQUAL.by_shard)
    kappa = visit_kappa(batch_size=4, frames_per_visit=2)
    correlation = slot_correlation(kappa, rho, shard_size=3, num_shards=3)
    assert_equal(design_effect(correlation, batch_size=4), measured_design_effect(outcomes, EQUAL))
    assert_rejected(visit_design_effect(rho, frames_per_visit=2), measured_design_effect(outcomes, EQUAL))


def test_S24_effective_batch():
    assert effective_batch(2.0, batch_size=256) == 128
    assert effective_batch(design_effect(0.0, batch_size=256), batch_size=256) == 256


WORKED = [
    # rho, unrotated blocks of k = 8 and 64 shards, visits of 8: design effect (effective batch)
    (0.60, (19.84, 13), (3.09, 83), (4.90, 52)),
    (0.075, (3.35, 76), (1.26, 203), (1.49, 172)),
    (-1 / 499_999, (1.00, 256), (1.00, 256), (1.00, 256)),
]


@pytest.mark.parametrize(("rho", *("few", "many", "visits")), WORKED)
def test_S24_worked_table(rho, few, many, visits):
    equal = {"shard_size": 1000, "num_shards": 500}
    for kappa, (effect, batch) in [
        (999 / 7_999, few),
        (999 / 63_999, many),
        (visit_kappa(batch_size=256, frames_per_visit=8), visits),
    ]:
        found = design_effect(slot_correlation(kappa, rho, **equal), batch_size=256)
        assert round(found, 2) == effect
        assert round(effective_batch(found, batch_size=256)) == batch


@pytest.mark.parametrize(
    ("sizes", "block_frames", "batch_size"),
    [([2] * 3, 4, 2), ([3] * 3, 5, 4), ([3] * 3, 9, 3), ([4], 4, 2), ([2] * 4, 3, 5)],
)
def test_S25_the_worst_data_of_a_block_over_equal_shards(sizes, block_frames, batch_size, monkeypatch):
    """Frames lie in their order in the shards; the greatest eigenvalue over every epoch."""
    num_frames, ends = sum(sizes), np.cumsum(sizes)
    shards = [list(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    circles = [list(itertools.chain(*order)) for order in itertools.permutations(shards)]
    streams = [np.roll(circle, -cut) for circle in circles for cut in range(num_frames)]
    outcomes = whole_batches(nested_blocks(streams, block_frames), batch_size)
    shown = np.zeros((len(outcomes.frame_ids), num_frames))
    np.add.at(shown, (np.arange(len(shown))[:, None], outcomes.frame_ids), 1 / batch_size)
    covariance = batch_size * num_frames * (shown.T * outcomes.probability) @ (shown - 1 / num_frames)
    worst = np.linalg.eigvalsh((covariance + covariance.T) / 2)[-1]
    lags = lags_of_blocks(num_frames, block_frames=block_frames, batch_size=batch_size)
    options = {"shard_size": sizes[0], "num_shards": len(sizes), "batch_size": batch_size}
    assert_equal(worst_block_effect(lags, **options), worst, SUMMED)
    monkeypatch.setattr("loader.bias.pairs.worst_block.MAX_FRAMES", 1)
    assert worst_block_effect(lags, **options) >= worst - 1e-9


def test_S25_of_shards_of_one_content_it_is_kappa():
    kappa = block_kappa([2] * 3, block_frames=4, batch_size=2)
    bound = worst_design_effect(kappa, batch_size=2)
    nearly = slot_correlation(kappa, 1.0, shard_size=2, num_shards=10**9)  # shards of one content, very many
    assert bound == pytest.approx(design_effect(nearly, batch_size=2))


def test_S25_is_no_bound_for_unequal_shards_in_a_stream():
    population = Population([1, 1, 1, 1, 4])
    population.frames[:] = np.repeat([1.0, 0.0], 4)[
        :, None
    ]  # what small shards show differs from what large ones do
    pairs = []
    for order in itertools.permutations(range(5)):
        circle = np.concatenate([population.ids_of(shard) for shard in order])
        pairs += zip(circle.tolist(), np.roll(circle, -1).tolist(), strict=True)
    found = measured_design_effect(Outcomes.of((1 / len(pairs), pair) for pair in pairs), population)
    kappa = block_kappa(population.sizes, block_frames=1, batch_size=2)
    assert_equal(kappa, 3 / 8)
    assert_equal(found, 1.5)
    assert found > worst_design_effect(kappa, batch_size=2)


@pytest.mark.parametrize(("num_visits", "frames_per_visit"), [(1, 2), (2, 1), (2, 2), (3, 2), (4, 1)])
@pytest.mark.parametrize("again", [False, True])
def test_S26_visits_by_spread_anchors(num_visits, frames_per_visit, again):
    found = measured_design_effect(
        spread_visits(UNEQUAL, num_visits, frames_per_visit, frames_again=again), UNEQUAL
    )
    options = {"frames_per_visit": frames_per_visit, "with_replacement": again}
    spread = weighted_visit_design_effect(
        UNEQUAL.by_shard, UNEQUAL.share, num_spread_visits=num_visits, **options
    )
    assert_equal(spread, found)
    independent = weighted_visit_design_effect(UNEQUAL.by_shard, UNEQUAL.share, **options)
    if num_visits == 1:
        assert_equal(independent, found)
    else:  # a bound, and no more
        assert independent > found
        assert_rejected(independent, found)


@pytest.mark.parametrize("frames_per_visit", [1, 2])
def test_S26_independent_visits_by_the_anchor_frame_rule(frames_per_visit):
    rho, eta2 = intraclass_correlation(UNEQUAL.by_shard), correlation_ratio(UNEQUAL.by_shard)
    for again, alike, other in ((False, rho, eta2), (True, eta2, rho)):
        outcomes = shard_visits(
            UNEQUAL, UNEQUAL.share, num_visits=2, frames_per_visit=frames_per_visit, frames_again=again
        )
        found = measured_design_effect(outcomes, UNEQUAL)
        assert_equal(visit_design_effect(alike, frames_per_visit=frames_per_visit), found)
        if frames_per_visit > 1:
            assert_rejected(visit_design_effect(other, frames_per_visit=frames_per_visit), found)
            assert found <= worst_design_effect(
                visit_kappa(batch_size=2 * frames_per_visit, frames_per_visit=frames_per_visit),
                batch_size=2 * frames_per_visit,
            )


def test_S8_permutation():
    population = Population([2, 3], seed=8)
    orders = np.array(list(itertools.permutations(range(5))))
    assert_equal([np.bincount(column) / 120 for column in orders.T], np.full((5, 5), 1 / 5))
    first, second = (
        population.frames[part].mean(1) - population.mean for part in (orders[:, :2], orders[:, 2:4])
    )
    covariance = (first * second).sum(1).mean()
    assert_equal(covariance, -population.variance / 4)
    assert_rejected(0.0, covariance)  # batches of one epoch taken for independent
    left = population.frames[orders[:, 3:]].mean(1) - population.mean  # what is left when 3 of 5 are seen
    assert_equal((left**2).sum(1).mean(), population.variance * (5 - 2) / (2 * (5 - 1)))


@pytest.mark.parametrize("batch_size", [1, 2, 4, 5])
def test_S27_permutation(batch_size):
    population = Population([2, 3], seed=8)
    orders = list(itertools.permutations(range(5)))
    outcomes = Outcomes.of((1 / len(orders), order[:batch_size]) for order in orders)
    found = measured_design_effect(outcomes, population)
    assert_equal(permutation_design_effect(5, batch_size=batch_size), found)
    if batch_size > 1:
        assert_rejected(1.0, found)  # no finite-population correction


def test_S28_visits_of_groups_in_shards():
    """Two of three shards, one or two of their two GOPs, two of the three frames of a GOP: all different."""
    population = Population([6] * 3, seed=12, dimensions=2)
    gop_of_frame = np.arange(18) // 3
    population.frames += np.random.default_rng(1).normal(size=(6, 2))[gop_of_frame]
    pairs = []
    frames_of_gop = [list(itertools.combinations(range(3 * gop, 3 * gop + 3), 2)) for gop in range(6)]
    for shards in itertools.combinations(range(3), 2):
        gops = [2 * shard + gop for shard in shards for gop in range(2)]
        for frames in itertools.product(*(frames_of_gop[gop] for gop in gops)):
            pairs.append(sum(frames, ()))
    outcomes = Outcomes.of((1 / len(pairs), frames) for frames in pairs)
    found = measured_design_effect(outcomes, population)
    centred = population.frames - population.mean
    products = centred @ centred.T / population.variance
    same_gop = gop_of_frame[:, None] == gop_of_frame
    same_shard = population.shard_of_frame[:, None] == population.shard_of_frame
    different = ~np.eye(18, dtype=bool)
    rhos = [
        products[same_gop & different].mean(),
        products[same_shard & ~same_gop].mean(),
        products[~same_shard].mean(),
    ]
    kappas = np.array([1, 2, 4]) / 7  # of the seven other slots: same GOP, same shard, other shard
    assert_equal(nested_design_effect(kappas, rhos, batch_size=8), found)
    assert_rejected(nested_design_effect(kappas[:2], rhos[:2], batch_size=8), found)
    cumulative = [1 / 7, 3 / 7]  # shard pairs counted in both levels
    assert_rejected(nested_design_effect(cumulative, rhos[:2], batch_size=8), found)


def circular_autocorrelation(videos, lag, centres, variance):
    num_frames = sum(map(len, videos))
    products = [
        ((video - centre) * (np.roll(video, -lag, axis=0) - centre)).sum()
        for video, centre in zip(videos, centres, strict=True)
    ]
    return sum(products) / num_frames / variance


@pytest.mark.parametrize("stride", [1, 2])
def test_S32_circular_chunks(stride):
    chance = np.random.default_rng(7)
    videos = [chance.normal(size=(length, 2)) + 2 * chance.normal(size=2) for length in (9, 11, 8)]
    frames, num_frames = np.concatenate(videos), 28
    mean, variance = frames.mean(0), ((frames - frames.mean(0)) ** 2).sum(1).mean()
    chunks = [
        np.arange(num_frames)[first:][:length][(start + stride * np.arange(4)) % length]
        for first, length in ((0, 9), (9, 11), (20, 8))
        for start in range(length)
    ]
    outcomes = Outcomes.of((1 / num_frames, chunk) for chunk in chunks)
    found = 4 * outcomes.variance(frames) / variance
    lags = stride * np.arange(1, 4)
    around_all = [circular_autocorrelation(videos, lag, [mean] * 3, variance) for lag in lags]
    around_each = [
        circular_autocorrelation(videos, lag, [video.mean(0) for video in videos], variance) for lag in lags
    ]
    assert_equal(design_effect(block_correlation(around_all), batch_size=4), found)
    assert_rejected(design_effect(block_correlation(around_each), batch_size=4), found)
    assert_rejected(design_effect(np.mean(around_all), batch_size=4), found)  # all lags alike


@pytest.mark.parametrize(
    ("phi", "num_frames"), [(0.9, 16), (0.99, 64), (0.3, 5), (-0.5, 7), (0.0, 2), (1.0, 9)]
)
def test_S33_ar1(phi, num_frames):
    by_lag = phi ** np.arange(1, num_frames)
    assert_equal(ar1_block_correlation(phi, num_frames=num_frames), block_correlation(by_lag), SUMMED)
    if phi not in (0.0, 1.0):  # without the weights T - l
        assert_rejected(by_lag.mean(), ar1_block_correlation(phi, num_frames=num_frames))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: intraclass_correlation([[[1.0]], [[2.0]]]),
        lambda: intraclass_correlation([[[1.0], [1.0]]]),
        lambda: intraclass_correlation([[1.0, 2.0]]),
        lambda: correlation_ratio([np.empty((0, 2))]),
        lambda: correlation_ratio([]),
        lambda: slot_correlation(1.5, 0.1, shard_size=2, num_shards=3),
        lambda: slot_correlation(0.5, 1.1, shard_size=2, num_shards=3),
        lambda: slot_correlation(0.5, 0.5, shard_size=3, num_shards=1),
        lambda: worst_design_effect(-0.1, batch_size=4),
        lambda: design_effect(0.1, batch_size=0),
        lambda: permutation_design_effect(3, batch_size=4),
        lambda: nested_design_effect([0.5, 0.6], [0.1, 0.1], batch_size=4),
        lambda: nested_design_effect([0.5], [0.1, 0.1], batch_size=4),
        lambda: effective_batch(0.0, batch_size=4),
        lambda: block_correlation([]),
        lambda: ar1_block_correlation(1.1, num_frames=4),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(SamplingError):
        wrong()
