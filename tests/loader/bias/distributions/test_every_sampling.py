"""Laws, rho and reports on populations small enough to go through every outcome."""

import itertools
import warnings

import numpy as np
import pytest

from loader import SamplingError
from loader.bias.design_effect import worst_visit_design_effect
from loader.sampling.orders.blocks import frames_per_block
from loader.sampling.plan import make_plan
from tests.support.statistics.enumeration import Population, assert_equal, every_whole_clip, law_of_clips
from tests.support.statistics.every_batch import EVERY_OUTCOME, TINY, every_block_batch
from tests.support.statistics.laws import SPECS, batches_of, law_by_steps, law_of, measured_counts
from tests.support.statistics.oracles.clips import whole_clip_law
from tests.support.statistics.oracles.distributions import (
    chi2_of_law,
    max_over_representation,
    total_variation,
)
from tests.support.statistics.statistics import coincidence


def frame_law(law, sizes):
    return np.repeat(law.shard_probability / np.array(sizes), sizes)


@pytest.mark.parametrize("name", EVERY_OUTCOME)
def test_a_law_is_that_of_every_outcome(name):
    outcomes = EVERY_OUTCOME[name]()
    law = law_of(TINY.sizes, batch_size=4, **SPECS[name])
    measured = outcomes.law(9)
    assert_equal(frame_law(law, TINY.sizes), measured)
    assert law.chi2 == pytest.approx(chi2_of_law(measured), abs=1e-12)
    assert law.total_variation == pytest.approx(total_variation(measured), abs=1e-12)
    assert law.max_over_representation == pytest.approx(max_over_representation(measured), abs=1e-12)
    assert law.kappa["shard"] == pytest.approx(outcomes.coincidence(TINY.shard_of_frame), abs=1e-12)
    for position in (0, 3):
        at_position = np.bincount(outcomes.frame_ids[:, position], outcomes.probability, minlength=9)
        if name != "block":  # the outcomes of a block shuffle are of several batches
            assert chi2_of_law(at_position) == pytest.approx(law.chi2_at_start, abs=1e-12)
    assert law.chi2_at_start == law.chi2_at_middle == law.chi2_at_end == law.chi2
    assert (law.num_frames, law.slots_per_batch, law.num_frames_never_shown) == (9, 4, 0)
    # The reason goes with the number.
    assert ("too often" in law.because) == (law.chi2 > 0)


def test_the_kappa_of_blocks_where_the_last_is_shorter():
    population = Population([2, 3, 3])
    assert frames_per_block(population.sizes, shards_per_block=1) == 3
    law = law_of(population.sizes, batch_size=4, **SPECS["block"])
    found = every_block_batch(population, 4).coincidence(population.shard_of_frame)
    assert law.kappa["shard"] == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "visit_kappa", "worst"),
    [
        ("iid", 0.0, 1),
        ("permutation", 0.0, 1),
        ("visits", 1 / 3, 2),
        ("visits, again", 1 / 3, 2),
        ("block", None, None),
        (
            "sequential",
            None,
            9 / 2,
        ),  # of two whole batches each may be one picture, and the ninth frame the mean
    ],
)
def test_the_worst_design_effect_stands_on_visits_where_there_are_any(name, visit_kappa, worst):
    law = law_of(TINY.sizes, batch_size=4, **SPECS[name])
    assert law.visit_kappa == (None if visit_kappa is None else pytest.approx(visit_kappa))
    assert law.worst_kappa == pytest.approx(law.kappa["shard"] if visit_kappa is None else visit_kappa)
    if worst is None:
        worst = 1 + 3 * law.kappa["shard"]
    assert law.worst_design_effect == pytest.approx(worst)
    assert law.effective_batch_floor == pytest.approx(4 / worst)
    assert law.floor_is_proven == (name != "block")


def test_the_worst_design_effect_of_shards_drawn_alike_is_not_that_of_the_anchor_frame_rule():
    law = law_of([2, 3, 4], batch_size=4, **SPECS["visits, naive"])
    assert law.floor_is_proven
    assert (
        2.2
        < law.worst_design_effect
        == pytest.approx(worst_visit_design_effect([2, 3, 4], [1 / 3] * 3, frames_per_visit=2))
    )


def test_naive_visits_over_equal_shards_have_no_bias():
    law = law_of([4, 0, 4], batch_size=4, **SPECS["visits, naive"])
    assert law.chi2 == law.total_variation == 0
    assert law.max_over_representation == 1
    assert law.shard_probability.tolist() == [0.5, 0, 0.5]
    assert "anchor" in law.because


REMAINDERS = [
    ([3, 7, 5], 4, 1),
    ([3, 7, 5], 4, 3),
    ([3, 7, 5], 5, 1),
    ([3, 7, 5], 2, 5),
    ([9, 2], 6, 1),
]


def assert_law_is_that_of_an_epoch(sizes, **where):
    law = law_of(sizes, sampling="sequential", **where)
    counts = measured_counts(sizes, sampling="sequential", **where)
    measured = law_by_steps(batches_of(sizes, sampling="sequential", **where), sum(sizes))
    assert law.num_positions_dropped == (counts == 0).sum()
    assert law.num_positions_doubled == (counts - 1).clip(0).sum()
    assert law.total_variation == pytest.approx(total_variation(measured), abs=1e-12)
    assert law.max_over_representation == pytest.approx(max_over_representation(measured), abs=1e-12)
    assert law.chi2_at_start == law.chi2_at_middle == law.chi2_at_end == sum(sizes) - 1
    assert law.chi2 == pytest.approx(chi2_of_law(measured), abs=1e-12)
    return law


@pytest.mark.parametrize(("sizes", "batch_size", "world_size"), REMAINDERS)
@pytest.mark.parametrize("remainder", ["drop", "pad", "uneven"])
def test_what_the_order_on_disk_leaves_out_or_repeats_is_stated(sizes, batch_size, world_size, remainder):
    law = assert_law_is_that_of_an_epoch(
        sizes, batch_size=batch_size, world_size=world_size, remainder=remainder
    )
    words = {"drop": "never shown", "pad": "shown twice", "uneven": "a step like any other"}[remainder]
    step = batch_size if remainder == "uneven" else batch_size * world_size
    assert (words in law.because) == (sum(sizes) % step > 0)
    assert (law.chi2 == 0) == (sum(sizes) % step == 0)
    if remainder == "uneven":  # the default of this order
        by_default = law_of(sizes, batch_size=batch_size, world_size=world_size, sampling="sequential")
        assert by_default.chi2 == law.chi2


def test_padding_that_goes_round_the_epoch_is_stated():
    assert_law_is_that_of_an_epoch([3, 2], batch_size=4, world_size=3, remainder="pad")


@pytest.mark.parametrize("name", ["permutation", "block"])
@pytest.mark.parametrize("remainder", ["drop", "pad", "uneven"])
def test_a_shuffled_remainder_is_counted_and_no_bias(name, remainder):
    where = {"batch_size": 4, "world_size": 3, "remainder": remainder}
    law = law_of([3, 7, 5], **where, **SPECS[name])
    counts = measured_counts([3, 7, 5], **where, **SPECS[name])
    assert law.num_positions_dropped == (counts == 0).sum() == (3 if remainder == "drop" else 0)
    assert law.num_positions_doubled == (counts == 2).sum() == (9 if remainder == "pad" else 0)
    assert law.chi2 == law.chi2_at_end == 0


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 15])
@pytest.mark.parametrize("sizes", [[3, 7, 5], [0, 15], [1] * 15, [4, 0, 4, 7]])
def test_kappa_of_the_order_on_disk_by_brute_force(sizes, batch_size):
    shard_of = np.repeat(np.arange(len(sizes)), sizes)
    batches = [shard_of[start : start + batch_size] for start in range(0, 15 - batch_size + 1, batch_size)]
    pairs = [one == other for batch in batches for one, other in itertools.combinations(batch, 2)]
    found = law_of(sizes, batch_size=batch_size, sampling="sequential").kappa["shard"]
    assert found == pytest.approx(np.mean(pairs) if pairs else 0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("batch_size", "world_size", "remainder"), [(2, 3, "drop"), (2, 3, "pad"), (3, 1, "pad")]
)
def test_kappa_is_of_the_global_batches_that_the_ranks_get(batch_size, world_size, remainder):
    where = {
        "batch_size": batch_size,
        "world_size": world_size,
        "remainder": remainder,
        "sampling": "sequential",
    }
    plans = [make_plan([6, 1, 1], rank=rank, **where) for rank in range(world_size)]
    steps = np.array(
        [np.concatenate(step) for step in zip(*(plan.batches(0) for plan in plans), strict=True)]
    )
    found = coincidence(steps, np.repeat([0, 1, 2], [6, 1, 1])).mean()
    assert law_of([6, 1, 1], **where).kappa["shard"] == pytest.approx(found)


@pytest.mark.parametrize(
    ("sizes", "batch_size", "options", "where"),
    [
        ([4], 8, {"sampling": "permutation"}, {"remainder": "drop"}),
        ([2, 9], 3, {"sampling": "shards", "frames_per_visit": 3}, {}),
        ([4, 9], 4, {"sampling": "shards", "frames_per_visit": 3}, {}),
        ([4, 9], 4, {"sampling": "block", "shards_per_block": 3}, {}),
        ([4, 9], 2, {"clip_frames": 9}, {"video_sizes": [8, 5]}),
        ([0], 2, {}, {}),
    ],
)
def test_a_law_is_refused_where_the_loader_refuses(sizes, batch_size, options, where):
    with pytest.raises(SamplingError):
        law_of(sizes, batch_size=batch_size, **where, **options)
    with pytest.raises(SamplingError):
        batches_of(sizes, batch_size=batch_size, **where, **options)


def test_a_law_does_not_warn_of_the_bias_that_it_states():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        law = law_of([2, 9], batch_size=2, **SPECS["visits, naive"])
    assert law.chi2 > 0
    assert law.name == "sampling=shards frames_per_visit=2 shard_choice=uniform"


def test_the_law_of_clips():
    sizes = [5, 9, 2, 12]
    options = {"sampling": "iid", "clip_frames": 3, "clip_stride": 2}
    law = law_of([28], batch_size=2, video_sizes=sizes, **options)
    windows = every_whole_clip(sizes, 3, 2)
    measured = law_of_clips(windows, 28)
    assert_equal(whole_clip_law(sizes, clip_frames=3, stride=2), measured)
    assert law.chi2 == pytest.approx(chi2_of_law(measured))
    assert law.total_variation == pytest.approx(total_variation(measured))
    assert law.max_over_representation == pytest.approx(max_over_representation(measured))
    assert law.chi2_over_windows == 0
    assert (law.num_frames, law.num_windows, law.slots_per_batch, law.slots_per_visit) == (28, 14, 6, 3)
    assert (law.num_short_videos, law.num_frames_in_short_videos, law.num_frames_never_shown) == (1, 2, 4)
    assert (
        measured == 0
    ).sum() == 4  # and frames 1 and 3 of the first video, between those of its one window
    assert law.shard_probability is None
    starts = np.array([1, 5, 8]) / 14
    visits = 2 / 5
    assert law.kappa["clip"] == law.visit_kappa == pytest.approx(visits)
    assert law.kappa["video"] == pytest.approx(visits + (1 - visits) * (starts**2).sum())
    assert law.kappa["frame"] == pytest.approx((1 - visits) * measured @ measured)
    assert law.worst_design_effect == pytest.approx(3) and law.floor_is_proven


def test_frames_that_a_stride_skips_are_never_shown_and_counted():
    law = law_of([11], batch_size=1, clip_frames=2, clip_stride=5, video_sizes=[7, 4])
    assert (law.num_frames_in_short_videos, law.num_frames_never_shown) == (4, 4 + 3)
    assert law.chi2 == pytest.approx(11 * 4 / 16 - 1)


def test_the_two_targets_of_a_law():
    clips = law_of([28], batch_size=2, clip_frames=3, video_sizes=[20, 2, 6])
    assert (clips.target, clips.chi2_over("windows")) == ("windows", 0)
    assert clips.chi2_over("frames") == clips.chi2 > 0
    assert clips.is_uniform_over("windows") and not clips.is_uniform_over("frames")
    frames = law_of([20, 8], batch_size=2, sampling="permutation")
    assert (frames.target, frames.chi2_over("frames"), frames.chi2_over_windows) == ("frames", 0, None)
    assert frames.is_uniform_over("frames")
    with pytest.raises(SamplingError, match="sampling=permutation: draws single frames, and only windows"):
        frames.chi2_over("windows")
    in_order = law_of([20, 8], batch_size=2, sampling="sequential")
    assert in_order.chi2 == 0 and not in_order.is_uniform_over("frames")


def test_kappa_of_videos_where_windows_are_a_permutation():
    law = law_of([24], batch_size=6, sampling="permutation", clip_frames=2, video_sizes=[8, 8, 8])
    clip = 1 / 11
    assert law.kappa["video"] == pytest.approx(clip + (1 - clip) * 6 / 20)


@pytest.mark.parametrize("sampling", ["permutation", "iid"])
@pytest.mark.parametrize("remainder", ["drop", "pad", "uneven"])
def test_the_remainder_of_an_epoch_of_clips_is_counted_and_no_bias(sampling, remainder):
    where = {"batch_size": 4, "world_size": 3, "remainder": remainder, "video_sizes": [12, 3, 9]}
    law = law_of([24], sampling=sampling, clip_frames=3, **where)
    num_windows = 10 + 1 + 7
    is_once = sampling == "permutation"
    assert law.num_positions_dropped == (num_windows % 12 if is_once and remainder == "drop" else 0)
    assert law.num_positions_doubled == (-num_windows % 12 if is_once and remainder == "pad" else 0)
    assert law.chi2_over_windows == 0
