# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Design effects that are computed from all frames or from sizes alone, against every outcome on tiny populations."""

import itertools
import math

import numpy as np
import pytest

from loader import SamplingError, SamplingSpec
from loader.bias.design_effect import (
    correlation_ratio,
    design_effect,
    intraclass_correlation,
    least_correlation,
    slot_correlation,
    visit_design_effect,
    weighted_visit_design_effect,
    worst_visit_design_effect,
)
from loader.bias.pairs.circle_covariance import (
    block_design_effect,
    can_average_orders,
    circle_autocovariance,
)
from loader.bias.pairs.kappa import block_kappa
from loader.bias.report import make_report
from loader.bias.webdataset.law import webdataset_kappa
from loader.bias.webdataset.report import WebDatasetSpec, webdataset_report
from loader.sampling.orders.blocks import frames_per_block
from loader.sampling.plan import make_plan
from tests.support.statistics.enumeration import (
    SUMMED,
    Outcomes,
    Population,
    assert_equal,
    assert_rejected,
    every_whole_clip,
    shard_visits,
)
from tests.support.statistics.laws import law_of

UNEQUAL = Population([2, 3, 4], seed=1)
LAWS = {"uniform": np.full(3, 1 / 3), "lopsided": np.array([0.7, 0.1, 0.2]), "one left out": [0.4, 0.0, 0.6]}


def measured_design_effect(outcomes, population):
    return outcomes.batch_size * outcomes.variance(population.frames) / population.variance


def mean_square_effect(outcomes, population):
    means = population.frames[outcomes.frame_ids].mean(1) - population.mean
    return outcomes.batch_size * (outcomes.probability @ (means**2).sum(1)) / population.variance


def report_of(population, *, features=None, **options):
    where = {name: options.pop(name) for name in ("batch_size", "world_size", "remainder") if name in options}
    law = law_of(population.sizes, **where, **options)
    features = population.frames if features is None else features
    return make_report(law, SamplingSpec(**options), population.sizes, rho=None, features=features)


# Visits to shards of any law.


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize(("frames_per_visit", "again"), [(1, False), (2, False), (2, True)])
def test_S46_visits_to_shards_of_any_law(law, frames_per_visit, again):
    options = {"num_visits": 2, "frames_per_visit": frames_per_visit, "frames_again": again}
    outcomes = shard_visits(UNEQUAL, law, **options)
    found = weighted_visit_design_effect(
        UNEQUAL.by_shard, law, frames_per_visit=frames_per_visit, with_replacement=again
    )
    measured = measured_design_effect(outcomes, UNEQUAL)
    assert_equal(found, measured)
    proportional = correlation_ratio if again else intraclass_correlation
    wrong = visit_design_effect(proportional(UNEQUAL.by_shard), frames_per_visit=frames_per_visit)
    assert_rejected(wrong, measured)  # what the proportional rule has
    assert_rejected(found, mean_square_effect(outcomes, UNEQUAL))  # the bias is not in it


@pytest.mark.parametrize("again", [False, True])
def test_S46_is_S26_under_the_anchor_frame_rule(again):
    found = weighted_visit_design_effect(
        UNEQUAL.by_shard, UNEQUAL.share, frames_per_visit=2, with_replacement=again
    )
    alike = (correlation_ratio if again else intraclass_correlation)(UNEQUAL.by_shard)
    assert_equal(found, visit_design_effect(alike, frames_per_visit=2))


@pytest.mark.parametrize("again", [False, True])
def test_S46_is_what_a_report_says_and_with_the_bias_the_mean_square(again):
    options = {"frames_per_visit": 2, "frames_with_replacement": again}
    report = report_of(UNEQUAL, sampling="shards", shard_choice="uniform", batch_size=4, **options)
    outcomes = shard_visits(UNEQUAL, LAWS["uniform"], num_visits=2, frames_per_visit=2, frames_again=again)
    assert_equal(report.design_effect, measured_design_effect(outcomes, UNEQUAL))
    assert_equal(report.mean_square_effect, mean_square_effect(outcomes, UNEQUAL))
    assert_equal(report.effective_batch_with_bias, 4 / mean_square_effect(outcomes, UNEQUAL))
    assert report.design_effect_low == report.design_effect == report.design_effect_high
    assert report.is_exact and report.law.chi2 > 0


def test_S46_sizes_1_and_99():
    """One frame against 99: half of the draws are of a hundredth of the frames."""
    features = np.repeat([0.0, 1.0], [1, 99])[:, None]
    law = law_of([1, 99], sampling="shards", frames_per_visit=1, shard_choice="uniform", batch_size=32)
    spec = SamplingSpec(sampling="shards", frames_per_visit=1, shard_choice="uniform")
    report = make_report(law, spec, np.array([1, 99]), rho=None, features=features)
    assert report.design_effect == pytest.approx(0.25 / 0.0099)
    assert report.effective_batch == pytest.approx(32 * 0.0099 / 0.25)
    assert law.effective_batch_floor == pytest.approx(32 * 0.0099 / 0.25) and law.floor_is_proven
    unknown = make_report(law, spec, np.array([1, 99]), rho=None)
    assert unknown.design_effect is unknown.effective_batch is unknown.mean_square_effect is None
    assert unknown.why_not_exact == "needs features"
    assert unknown.least_effective_batch == law.effective_batch_floor


def variance_of_visits(sizes, law, *, frames_per_visit, again):
    """A with x' A x = B times the variance of a batch's mean, for data x of one dimension."""
    population = Population(sizes)
    outcomes = shard_visits(
        population, law, num_visits=1, frames_per_visit=frames_per_visit, frames_again=again
    )
    means = np.eye(population.num_frames)[outcomes.frame_ids].mean(1)
    centred = means - outcomes.probability @ means
    return frames_per_visit * (centred.T * outcomes.probability) @ centred


def data_around_zero(num_frames):
    """Orthonormal columns: all data with mean 0, shape (N, N - 1)."""
    return np.linalg.svd(np.eye(num_frames) - 1 / num_frames)[0][:, :-1]


@pytest.mark.parametrize("sizes", [[2, 3, 4], [2, 2, 5], [4, 4], [2, 2, 2, 3], [5], [1, 1, 3]])
@pytest.mark.parametrize("choice", ["uniform", "proportional", "lopsided"])
@pytest.mark.parametrize(("frames_per_visit", "again"), [(1, False), (2, False), (2, True)])
def test_S47_no_data_are_worse_and_some_are_as_bad(sizes, choice, frames_per_visit, again):
    sizes = np.array(sizes)
    if sizes.min() < frames_per_visit and not again:
        sizes = sizes + 1
    weights = {"uniform": sizes * 0 + 1.0, "proportional": sizes, "lopsided": np.arange(1.0, len(sizes) + 1)}
    law = weights[choice] / weights[choice].sum()
    of_visits = variance_of_visits(sizes, law, frames_per_visit=frames_per_visit, again=again)
    data = data_around_zero(sizes.sum())
    worst = np.linalg.eigvalsh(data.T @ of_visits @ data)[-1] * sizes.sum()
    found = worst_visit_design_effect(sizes, law, frames_per_visit=frames_per_visit, with_replacement=again)
    assert_equal(found, worst, SUMMED)
    if choice == "uniform" and len(set(sizes.tolist())) > 1:
        assert_rejected(frames_per_visit, worst)  # that of the anchor-frame rule


def test_S47_of_many_shards_is_between_the_two_largest_ratios():
    sizes = np.array([1, 2, *range(3, 60)])
    worst = worst_visit_design_effect(sizes, np.full(59, 1 / 59), frames_per_visit=1)
    over = sizes.sum() / (59 * sizes)
    assert over[1] < worst < over[0]
    assert worst_visit_design_effect([1], [1.0], frames_per_visit=1) == 1.0


def test_S22_rho_has_a_floor():
    for sizes in ([4, 4], [2, 5, 5], [1, 3, 6], [1, 1, 4]):
        population = Population(sizes)
        pairs = np.zeros((sum(sizes), sum(sizes)))  # rho = x' P x / x' x for centred x
        for shard, size in enumerate(sizes):
            ids = population.ids_of(shard)
            if size > 1:
                pairs[np.ix_(ids, ids)] = (1 - np.eye(size)) / (size - 1)
        data = data_around_zero(sum(sizes))
        least = np.linalg.eigvalsh(data.T @ pairs @ data)[0]
        assert_equal(least_correlation(sizes), least, SUMMED)
        if len(set(sizes)) > 1:
            assert_rejected(-1 / (np.mean(sizes) - 1), least)  # of as many equal shards
    assert least_correlation([1, 1]) == 0


# Ranks.


def every_epoch(population, spec):
    """(probability, frame ids of a whole epoch) of a permutation or a rotated block shuffle."""
    num_frames = population.num_frames
    if spec["sampling"] == "permutation":
        orders = list(itertools.permutations(range(num_frames)))
        return [(1 / len(orders), order) for order in orders]
    block_frames = frames_per_block(population.sizes, shards_per_block=spec["shards_per_block"])
    found = []
    shard_orders = list(itertools.permutations(range(population.num_shards)))
    for order, cut in itertools.product(shard_orders, range(num_frames)):
        circle = [frame for shard in order for frame in population.ids_of(shard)]
        stream = circle[cut:] + circle[:cut]
        blocks = [stream[start : start + block_frames] for start in range(0, num_frames, block_frames)]
        shuffles = list(itertools.product(*map(itertools.permutations, blocks)))
        weight = 1 / (len(shard_orders) * num_frames * len(shuffles))
        found += [(weight, sum(shuffled, ())) for shuffled in shuffles]
    return found


def global_batches(epochs, slots):
    return Outcomes.of(
        (probability / (len(epoch) // slots), epoch[step * slots :][:slots])
        for probability, epoch in epochs
        for step in range(len(epoch) // slots)
    )


BLOCKS = [[2, 2, 2], [1, 2, 3], [3, 1, 1, 1], [4, 2]]


@pytest.mark.parametrize("sizes", BLOCKS, ids=str)
@pytest.mark.parametrize(
    "options", [{"sampling": "permutation"}, {"sampling": "block", "shards_per_block": 1}]
)
@pytest.mark.parametrize(("batch_size", "world_size"), [(1, 2), (2, 2), (1, 3), (2, 3)])
def test_S48_the_averaged_gradient_of_ranks_is_that_of_the_global_batch(
    sizes, options, batch_size, world_size
):
    population, slots = Population(sizes, seed=7, dimensions=2), batch_size * world_size
    report = report_of(population, batch_size=batch_size, world_size=world_size, remainder="drop", **options)
    epochs = every_epoch(population, options)
    measured = measured_design_effect(global_batches(epochs, slots), population)
    assert report.law.slots_per_batch == slots and report.is_exact
    assert_equal(report.design_effect, measured, SUMMED)
    assert_equal(report.effective_batch * measured if measured > 1e-12 else slots, slots, SUMMED)
    one_rank = report_of(population, batch_size=batch_size, remainder="drop", **options)
    if measured > 1e-12:  # neither as for one rank, nor R times as much
        assert_rejected(one_rank.effective_batch, report.effective_batch)
        if options["sampling"] == "block":
            assert_rejected(world_size * one_rank.effective_batch, report.effective_batch)


@pytest.mark.parametrize(
    "options",
    [
        {"sampling": "permutation"},
        {"sampling": "iid"},
        {"sampling": "sequential"},
        {"sampling": "block", "shards_per_block": 2},
        {"sampling": "shards", "frames_per_visit": 2},
        {"sampling": "permutation", "clip_frames": 3},
    ],
    ids=lambda options: options["sampling"],
)
def test_S48_a_step_of_all_ranks_is_a_batch_of_the_one_order(options):
    sizes, video_sizes = [20, 12, 16], [30, 18]
    where = {"remainder": "drop", "video_sizes": video_sizes, "seed": 3, **options}
    one = list(make_plan(sizes, batch_size=12, **where).batches(0))
    ranks = [
        list(make_plan(sizes, batch_size=4, rank=rank, world_size=3, **where).batches(0)) for rank in range(3)
    ]
    together = [np.concatenate(parts) for parts in zip(*ranks, strict=True)]
    assert len(one) == len(together) > 1
    assert all(np.array_equal(batch, step) for batch, step in zip(one, together, strict=True))


@pytest.mark.parametrize("world_size", [1, 2])
def test_S48_visits_and_independent_frames_of_ranks_add_up(world_size):
    for options in ({"sampling": "iid"}, {"sampling": "shards", "frames_per_visit": 2}):
        report = report_of(UNEQUAL, batch_size=2, world_size=world_size, **options)
        one_rank = report_of(UNEQUAL, batch_size=2, **options)
        assert_equal(report.effective_batch, world_size * one_rank.effective_batch)
        assert_equal(report.law.effective_batch_floor, world_size * one_rank.law.effective_batch_floor)


def test_S48_the_order_on_disk_of_ranks():
    for batch_size, world_size, remainder in [
        (2, 2, "drop"),
        (1, 5, "drop"),
        (2, 4, "pad"),
        (3, 3, "uneven"),
    ]:
        plans = [
            make_plan([5, 7], batch_size=batch_size, rank=rank, world_size=world_size, remainder=remainder,
                      sampling="sequential")
            for rank in range(world_size)
        ]  # fmt: skip
        steps = zip(*(plan.batches(0) for plan in plans), strict=False)
        slots = batch_size * world_size
        whole = [np.concatenate(step) for step in steps if sum(map(len, step)) == slots]
        outcomes = Outcomes.of((1 / len(whole), step) for step in whole)
        population = Population([5, 7], seed=3)
        report = report_of(
            population,
            batch_size=batch_size,
            world_size=world_size,
            remainder=remainder,
            sampling="sequential",
        )
        assert_equal(report.design_effect, measured_design_effect(outcomes, population))
        if remainder == "uneven":  # three frames are left for a short step
            assert report.mean_square_effect is None
        else:
            assert_equal(report.mean_square_effect, mean_square_effect(outcomes, population))
        assert report.is_exact
        assert report.design_effect <= report.law.worst_design_effect * (1 + 1e-12)


def test_the_floor_of_the_order_on_disk_is_reached():
    """Two shards, and a batch of each alike: kappa of the shards would promise more."""
    for sizes, batch_size in [([4, 4], 4), ([1] * 8, 4), ([3, 3, 3], 4)]:
        features = np.resize(np.repeat([1.0, -1.0], batch_size), sum(sizes))[:, None]
        features[sum(sizes) // batch_size * batch_size :] = 0
        law = law_of(sizes, batch_size=batch_size, sampling="sequential")
        spec = SamplingSpec(sampling="sequential")
        report = make_report(law, spec, np.array(sizes), rho=None, features=features)
        assert law.floor_is_proven
        assert report.design_effect == pytest.approx(law.worst_design_effect)


def test_S48_the_ranks_of_webdataset_own_different_shards():
    sizes, spec = [12] * 8, WebDatasetSpec(shuffle_buffer=10)
    report = webdataset_report(sizes, spec, batch_size=4, world_size=2, rho=None)
    of_a_rank = webdataset_kappa(sizes, shuffle_buffer=10, batch_size=4, num_workers=2)
    assert report.law.slots_per_batch == 8
    # Ordered pairs of distinct slots: 2 x 4 x 3 of 8 x 7 are of one rank.
    assert report.law.kappa["shard"] == pytest.approx(of_a_rank * 24 / 56)
    with pytest.raises(
        SamplingError, match="9 workers of all ranks together cannot share the 8 shards that hold frames"
    ):
        webdataset_report(sizes, WebDatasetSpec(num_workers=3), batch_size=4, world_size=3, rho=None)


def test_S48_two_readers_of_equal_shards_in_every_order():
    """Readers w = 0, 1 read shards w, w + 2 of a random order end to end; frames lie in any order in their shards."""
    population = Population([2] * 4, seed=9)
    pairs = []
    inner = list(itertools.product(*(itertools.permutations(population.ids_of(s)) for s in range(4))))
    for order, frames in itertools.product(itertools.permutations(range(4)), inner):
        streams = [sum((frames[shard] for shard in order[reader::2]), ()) for reader in range(2)]
        pairs += [streams[0][start : start + 2] + streams[1][start : start + 2] for start in (0, 2)]
    found = measured_design_effect(Outcomes.of((1 / len(pairs), pair) for pair in pairs), population)
    rho, equal = intraclass_correlation(population.by_shard), {"shard_size": 2, "num_shards": 4}
    kappa = 1.0 * (2 - 1) / (4 - 1)  # a batch of one reader is one shard
    assert_equal(design_effect(slot_correlation(kappa, rho, **equal), batch_size=4), found)
    assert_rejected(design_effect(slot_correlation(1.0, rho, **equal), batch_size=4), found)
    one_rank = design_effect(slot_correlation(1.0, rho, **equal), batch_size=2)
    assert_rejected(one_rank, found)  # two readers' batches taken for independent


# The circle of shards.

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
    outcomes = global_batches(every_epoch(population, options), batch_size)
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
        block_design_effect(np.ones(5), block_frames=2, batch_size=6)
    with pytest.raises(SamplingError, match="all frames are equal"):
        block_design_effect(np.zeros(5), block_frames=2, batch_size=2)
    assert block_design_effect(np.ones(5), block_frames=2, batch_size=1) == 1
    for wrong in ([0.5, 0.5, 0.0], [0.7, 0.7]):
        with pytest.raises(SamplingError):
            worst_visit_design_effect([2, 3], wrong, frames_per_visit=1)
    with pytest.raises(SamplingError, match="2 probabilities for 3 shards"):
        weighted_visit_design_effect(UNEQUAL.by_shard, [0.5, 0.5], frames_per_visit=1)
    with pytest.raises(SamplingError, match="no visit of 3 different frames"):
        weighted_visit_design_effect(UNEQUAL.by_shard, UNEQUAL.share, frames_per_visit=3)


# Clips.


@pytest.mark.parametrize("sampling", ["iid", "permutation"])
@pytest.mark.parametrize("stride", [1, 2])
def test_S21_the_report_of_all_windows_is_exact(sampling, stride):
    sizes, clip_frames = [5, 2, 7], 3
    windows = every_whole_clip(sizes, clip_frames, stride)
    features = np.random.default_rng(4).normal(size=(14, 2)).cumsum(0)
    options = {"sampling": sampling, "clip_frames": clip_frames, "clip_stride": stride}
    batches = list(
        itertools.product(range(len(windows)), repeat=2)
        if sampling == "iid"
        else itertools.permutations(range(len(windows)), 2)
    )
    outcomes = Outcomes.of((1 / len(batches), windows[list(batch)].ravel()) for batch in batches)
    law = outcomes.law(14)
    variance = law @ ((features - law @ features) ** 2).sum(1)
    for batch_size, world_size in [(2, 1), (1, 2)]:
        law = law_of([14], batch_size=batch_size, world_size=world_size, video_sizes=sizes, **options)
        report = make_report(
            law, SamplingSpec(**options), np.array([14]), rho=None, features=features, video_sizes=sizes
        )
        assert_equal(report.design_effect, 6 * outcomes.variance(features) / variance, SUMMED)
        assert report.is_exact and report.mean_square_effect is None


def test_frames_that_are_all_alike_have_no_design_effect():
    for options in ({"sampling": "sequential"}, {"sampling": "block", "shards_per_block": 1}):
        report = report_of(UNEQUAL, features=np.full((9, 2), 0.1), batch_size=2, **options)
        assert report.design_effect is None and report.why_not_exact == "all frames are alike"
    assert math.isinf(report_of(UNEQUAL, batch_size=9, sampling="permutation").effective_batch)
