"""How often two frames of a real batch share a shard, and what that costs, against what is stated before training.

The estimates are unbiased, and an epoch is independent of the next: 4 standard errors, 6e-5 false alarms a test.
"""

import math
import warnings
from functools import cache

import numpy as np
import pytest

from loader import FrameBatchSampler, SamplingSpec
from loader.bias.estimates import rho_level
from loader.bias.pairs.kappa import iid_kappa, permutation_kappa
from loader.bias.report import make_report
from loader.bias.rho import RhoEstimate
from loader.sampling.orders.blocks import frames_per_block
from loader.windows import Windows
from tests.support.caches.array_store import ArrayStore
from tests.support.statistics.enumeration import every_whole_clip, law_of_clips
from tests.support.statistics.laws import law_of, spec_of, windows_of
from tests.support.statistics.oracles.correlations import intraclass_correlation
from tests.support.statistics.statistics import coincidence, standard_errors_off

EQUAL = [10] * 8
UNEQUAL = [8, 0, 10, 12, 14, 20, 16]
VISITS = {"sampling": "shards", "frames_per_visit": 4}
BLOCK = {"sampling": "block", "shards_per_block": 2}


def make_sampler(store, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="shard_choice='uniform' is biased")
        return FrameBatchSampler(store, **options)


def whole_batches(sampler, num_epochs, batch_size):
    """Frame ids, int64 (epochs, batches, batch_size)."""
    return np.array([[ids for ids in sampler if len(ids) == batch_size] for _ in range(num_epochs)])


def measured_kappa(store, num_epochs, *, batch_size, seed=1, **options):
    """One unbiased estimate an epoch."""
    sampler = make_sampler(store, batch_size=batch_size, seed=seed, **options)
    return kappa_of(whole_batches(sampler, num_epochs, batch_size), store.index["shard_id"])


def kappa_of(batches, group_of_frame):
    """Of each epoch, how often two slots of a batch lie in one group."""
    flat = batches.reshape(-1, batches.shape[-1])
    return coincidence(flat, np.asarray(group_of_frame, np.int64)).reshape(len(batches), -1).mean(1)


def stated_law(store, *, remainder="uneven", **options):
    return law_of(store.shard_sizes, remainder=remainder, **options)


def shown(store, batches, options):
    """Frames of the windows around anchors (epochs, batches, batch_size): (epochs, batches, batch_size, T)."""
    spec = windows_of([], options).spec
    request = Windows(store, spec).request(batches.ravel())
    return request.cache_ids.reshape(*batches.shape, -1)


@pytest.mark.parametrize(
    ("sizes", "batch_size", "options"),
    [
        pytest.param(UNEQUAL, 16, {"sampling": "iid"}, id="iid"),
        pytest.param(UNEQUAL, 16, {"sampling": "permutation"}, id="permutation"),
        pytest.param(EQUAL, 10, BLOCK, id="block, equal, two batches a block"),
        pytest.param(EQUAL, 16, BLOCK, id="block, equal, batches straddle blocks"),
        pytest.param(
            EQUAL, 32, {**BLOCK, "shards_per_block": 1}, id="block, equal, batches of several blocks"
        ),
        pytest.param(UNEQUAL, 9, BLOCK, id="block, unequal, three batches a block"),
        pytest.param(UNEQUAL, 16, BLOCK, id="block, unequal, batches straddle blocks"),
        pytest.param(UNEQUAL, 16, VISITS, id="visits"),
        pytest.param(UNEQUAL, 16, {**VISITS, "frames_with_replacement": True}, id="visits that draw again"),
        pytest.param(UNEQUAL, 16, {**VISITS, "shard_choice": "uniform"}, id="visits to shards drawn alike"),
    ],
)
def test_two_frames_of_a_batch_share_a_shard_as_often_as_stated(sizes, batch_size, options):
    store = ArrayStore(sizes)
    found = measured_kappa(store, 1500, batch_size=batch_size, **options)
    stated = stated_law(store, batch_size=batch_size, **options).kappa["shard"]
    assert abs(standard_errors_off(found, stated)) < 4
    # Precise enough to find an error of 6 %, with a power of Phi(8 - 4) or more.
    assert found.std() / math.sqrt(len(found)) < 0.007 * stated


@pytest.mark.parametrize("sizes", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
def test_the_plausible_kappas_of_a_block_shuffle_are_rejected(sizes):
    store = ArrayStore(sizes)
    found = measured_kappa(store, 1500, batch_size=16, **BLOCK)
    num_frames, num_shards, k = sum(sizes), np.count_nonzero(sizes), 2
    size = num_frames / num_shards
    wrong = {
        "1 / k": 1 / k,
        "blocks cut at shards": (size - 1) / (k * size - 1),
        "independent frames": iid_kappa(sizes),
        "a permutation": permutation_kappa(sizes),
    }
    for name, kappa in wrong.items():
        assert abs(standard_errors_off(found, kappa)) > 20, name


@pytest.mark.parametrize(("num_ranks", "batch_size"), [(2, 8), (3, 5)])
def test_the_batches_of_all_ranks_together_have_the_kappa_of_the_global_batch(num_ranks, batch_size):
    """Ranks take turns inside a step, and 80 frames are whole steps of 16 but not of 15."""
    store, slots = ArrayStore(EQUAL), num_ranks * batch_size
    where = {"batch_size": batch_size, "world_size": num_ranks, "remainder": "drop", **BLOCK}
    by_rank = [
        whole_batches(make_sampler(store, rank=rank, seed=1, **where), 800, batch_size)
        for rank in range(num_ranks)
    ]
    steps = np.concatenate(by_rank, axis=2)
    shard_ids = store.index["shard_id"].astype(np.int64)
    found = coincidence(steps.reshape(-1, slots), shard_ids).reshape(800, -1).mean(1)
    assert abs(standard_errors_off(found, stated_law(store, **where).kappa["shard"])) < 4
    one_rank = stated_law(store, batch_size=batch_size, **BLOCK).kappa["shard"]
    assert abs(standard_errors_off(found, one_rank)) > 10


@pytest.mark.parametrize(
    ("sizes", "batch_size"), [([8, 0, 10, 12, 14, 20, 16], 9), ([5] * 6, 10), ([3, 40], 7), ([4, 4], 3)]
)
def test_kappa_of_the_order_on_disk_is_exact(sizes, batch_size):
    store = ArrayStore(sizes)
    found = measured_kappa(store, 1, batch_size=batch_size, sampling="sequential")
    stated = stated_law(store, batch_size=batch_size, sampling="sequential").kappa["shard"]
    assert found == pytest.approx([stated], abs=1e-12)


VIDEO_SIZES = [5, 9, 6, 30, 12, 2, 16]


@pytest.mark.parametrize("sampling", ["iid", "permutation"])
def test_clips_of_a_batch_share_a_video_and_a_frame_as_often_as_stated(sampling):
    options = {"sampling": sampling, "clip_frames": 3, "clip_stride": 2}
    store = ArrayStore([sum(VIDEO_SIZES)], video_sizes=VIDEO_SIZES)
    stated = stated_law(store, batch_size=4, video_sizes=VIDEO_SIZES, **options)
    anchors = whole_batches(make_sampler(store, batch_size=4, seed=1, **options), 3000, 4)
    batches = shown(store, anchors, options).reshape(*anchors.shape[:2], -1)
    by_video = kappa_of(batches, store.index["video_id"])
    by_frame = kappa_of(batches, np.arange(len(store)))
    assert stated.slots_per_batch == 12
    assert stated.kappa["clip"] == pytest.approx(2 / 11) == stated.visit_kappa
    assert abs(standard_errors_off(by_video, stated.kappa["video"])) < 4
    assert abs(standard_errors_off(by_video, stated.kappa["clip"])) > 20
    assert abs(standard_errors_off(by_frame, stated.kappa["frame"])) < 4
    other = stated_law(
        store,
        batch_size=4,
        video_sizes=VIDEO_SIZES,
        **{**options, "sampling": {"iid": "permutation", "permutation": "iid"}[sampling]},
    )
    assert abs(standard_errors_off(by_frame, other.kappa["frame"])) > 10


# What it costs: variance of a batch's mean.

NUM_SHARDS, SHARD_SIZE, BATCH_SIZE = 8, 12, 16
SHARDS = [SHARD_SIZE] * NUM_SHARDS


def exact_rho(value, level):
    whole = {"proxy": "all frames", "num_draws": 0, "frames_per_draw": 0}
    return RhoEstimate(level=level, rho=value, low=value, high=value, **whole)


def features_of(*, share_between, seed=2):
    """Two numbers a frame, int shards of SHARD_SIZE."""
    chance = np.random.default_rng(seed)
    between = chance.normal(size=(NUM_SHARDS, 1, 2)) * math.sqrt(share_between)
    within = chance.normal(size=(NUM_SHARDS, SHARD_SIZE, 2)) * math.sqrt(1 - share_between)
    return (between + within).reshape(-1, 2)


def variance_over_iid(batches, features, *, batch_size):
    """B |mean of the batch - mean of all|^2 / sigma^2, averaged over the batches of an epoch."""
    centred = features - features.mean(0)
    means = centred[batches].mean(axis=-2)
    return batch_size * np.square(means).sum(-1).mean(-1) / np.square(centred).sum(1).mean()


STREAMS = {
    "iid": {"sampling": "iid"},
    "permutation": {"sampling": "permutation"},
    "visits": VISITS,
    "visits that draw again": {**VISITS, "frames_with_replacement": True},
    "block of one": {"sampling": "block", "shards_per_block": 1},
    "block of three": {"sampling": "block", "shards_per_block": 3},
}


@cache
def batches_of_stream(name):
    """Of 1500 epochs."""
    sampler = make_sampler(ArrayStore(SHARDS), batch_size=BATCH_SIZE, seed=4, **STREAMS[name])
    return whole_batches(sampler, 1500, BATCH_SIZE)


@pytest.mark.parametrize("share_between", [0.5, 0.0], ids=["alike", "shuffled"])
@pytest.mark.parametrize("name", STREAMS)
def test_the_variance_of_batch_means_is_the_design_effect(name, share_between):
    options = STREAMS[name]
    store, features = ArrayStore(SHARDS), features_of(share_between=share_between)
    shards = np.split(features, NUM_SHARDS)
    rho = intraclass_correlation(shards)
    report = make_report(
        stated_law(store, batch_size=BATCH_SIZE, **options),
        SamplingSpec(**options),
        store.shard_sizes,
        rho=exact_rho(rho, "shard"),
    )
    batches, chance = batches_of_stream(name), np.random.default_rng(3)
    found = []
    for epoch in batches:
        # The formula of streams is for frames in random order in their shards, as a shuffled cache holds them.
        inner = np.concatenate([shard[chance.permutation(SHARD_SIZE)] for shard in shards])
        found.append(variance_over_iid(epoch, inner, batch_size=BATCH_SIZE))
    assert report.design_effect_low == report.design_effect == report.design_effect_high
    assert abs(standard_errors_off(found, report.design_effect)) < 4
    assert np.std(found) / math.sqrt(len(found)) < 0.02 * report.design_effect
    assert report.effective_batch == pytest.approx(BATCH_SIZE / report.design_effect)
    if share_between and options["sampling"] in {"shards", "block"}:
        assert report.design_effect > 1.5
        assert abs(standard_errors_off(found, 1.0)) > 10  # independent frames
        level_off = make_report(
            report.law, SamplingSpec(**options), store.shard_sizes, rho=exact_rho(1.2 * rho, "")
        )
        assert abs(standard_errors_off(found, level_off.design_effect)) > 4


def test_the_variance_of_batches_in_the_order_on_disk_is_exact():
    store, features = ArrayStore(SHARDS), features_of(share_between=0.5)
    options = {"sampling": "sequential"}
    assert rho_level(SamplingSpec(**options)) == "batch"
    rho = intraclass_correlation(np.split(features, len(features) // BATCH_SIZE))
    law = stated_law(store, batch_size=BATCH_SIZE, **options)
    report = make_report(law, SamplingSpec(**options), store.shard_sizes, rho=exact_rho(rho, "batch"))
    batches = whole_batches(make_sampler(store, batch_size=BATCH_SIZE, **options), 1, BATCH_SIZE)
    found = variance_over_iid(batches, features, batch_size=BATCH_SIZE)
    assert found == pytest.approx([report.design_effect], rel=1e-12)


@pytest.mark.parametrize("sampling", ["iid", "permutation"])
def test_the_variance_of_batches_of_clips_is_the_design_effect(sampling):
    options = {"sampling": sampling, "clip_frames": 3, "clip_stride": 2}
    batch_size = 12
    store = ArrayStore([sum(VIDEO_SIZES)], video_sizes=VIDEO_SIZES)
    windows = every_whole_clip(VIDEO_SIZES, 3, 2)
    law = law_of_clips(windows, len(store))
    stated = stated_law(store, batch_size=batch_size, video_sizes=VIDEO_SIZES, **options)

    steps = np.random.default_rng(5).normal(size=(len(store) + 7, 2))
    features = sum(steps[lag:][: len(store)] for lag in range(8))  # neighbours are alike
    features -= law @ features
    sigma2 = law @ np.square(features).sum(1)
    rho = intraclass_correlation([features[window] for window in windows])
    of_videos = windows_of(VIDEO_SIZES, options)
    report = make_report(
        stated, spec_of(options), store.shard_sizes, rho=exact_rho(rho, "clip"), windows=of_videos
    )
    sampler = FrameBatchSampler(store, batch_size=batch_size, seed=6, **options)
    batches = shown(store, np.array([next(iter(sampler)) for _ in range(6000)]), options)
    assert batches.shape[-2:] == (batch_size, 3)
    means = features[batches].mean(axis=(1, 2))
    found = batch_size * 3 * np.square(means).sum(-1) / sigma2
    assert abs(standard_errors_off(found, report.design_effect)) < 4
    assert np.std(found) / math.sqrt(len(found)) < 0.02 * report.design_effect
    assert report.design_effect > 1.5
    assert abs(standard_errors_off(found, 3.0)) > 4  # clips of equal frames
    other = {"iid": "permutation", "permutation": "iid"}[sampling]
    mistaken = make_report(
        stated,
        SamplingSpec(sampling=other),
        store.shard_sizes,
        rho=exact_rho(rho, "clip"),
        windows=of_videos,
    )
    assert abs(standard_errors_off(found, mistaken.design_effect)) > 4


def test_blocks_are_of_the_frames_that_the_cases_above_mean():
    assert frames_per_block(np.array(EQUAL), shards_per_block=2) == 20
    assert frames_per_block(np.array(UNEQUAL), shards_per_block=2) == 27
