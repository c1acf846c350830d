"""100 million frames in 100 000 unequal shards: little memory, and batches that are still right. No clock is read."""

import warnings

import numpy as np
import pytest

from frame_store.shared import chi2_of_uniform_shards
from loader.bias.distributions.every_sampling import sampling_law
from loader.bias.pairs.kappa import permutation_kappa
from loader.sampling.orders.blocks import frames_per_block
from loader.sampling.spec import SamplingSpec
from tests.campaigns.bench_sampling import (
    SAMPLERS,
    law_of,
    peak_megabytes,
    plan_of,
    ranks_see_one_order,
    unequal_sizes,
)
from tests.support.statistics.chi_squared import ALPHA, p_value
from tests.support.statistics.laws import law_of as law_of_windows
from tests.support.statistics.oracles.clips import chi2_of_whole_clips

NUM_FRAMES, NUM_SHARDS = 10**8, 10**5
SIZES = unequal_sizes(NUM_FRAMES, NUM_SHARDS)
ENDS = np.cumsum(SIZES)
MAX_MEGABYTES = 30
"""Measured: 14 at most. An array of all frames takes 800, an array with a word for each shard 0.8."""


@pytest.fixture(autouse=True)
def no_warning_of_the_naive_rule():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="shard_choice='uniform' is biased")
        yield


def shards_of(frame_ids):
    return np.searchsorted(ENDS, frame_ids, side="right")


def test_the_sizes_are_unequal_and_add_up():
    assert SIZES.sum() == NUM_FRAMES and len(SIZES) == NUM_SHARDS
    assert 50 < SIZES.min() < 200 and 1800 < SIZES.max() < 2000


@pytest.mark.parametrize("options", SAMPLERS.values(), ids=SAMPLERS)
def test_memory_does_not_grow_with_the_frames(options):
    plans = []
    batches = peak_megabytes(lambda: plans.append(plan_of(SIZES, **options)) or next(plans[0].batches(0)))
    assert batches < MAX_MEGABYTES
    assert peak_megabytes(lambda: law_of(SIZES, plans[0])) < MAX_MEGABYTES


@pytest.mark.parametrize("options", SAMPLERS.values(), ids=SAMPLERS)
def test_every_rank_sees_the_same_order(options):
    assert ranks_see_one_order(SIZES, **options)


@pytest.mark.parametrize("name", ["permutation", "stratified", "blocks of 16 shards"])
def test_frames_do_not_come_twice_and_come_from_everywhere(name):
    order = plan_of(SIZES, **SAMPLERS[name]).order(3)
    positions = np.unique(np.random.default_rng(1).integers(0, NUM_FRAMES, 200_000))
    in_blocks = name == "blocks of 16 shards"
    ids = order.ids(NUM_FRAMES - 200_000, NUM_FRAMES) if in_blocks else order.ids_at(positions)
    assert len(np.unique(ids)) == len(ids)
    assert ids.min() >= 0 and ids.max() < NUM_FRAMES
    if name == "permutation":  # drawn without replacement, but 200 000 of 10^8
        assert p_value(np.bincount(ids * 1000 // NUM_FRAMES, minlength=1000), len(ids) / 1000) > ALPHA


def test_a_block_reads_few_shards():
    options = SAMPLERS["blocks of 16 shards"]
    order = plan_of(SIZES, **options).order(0)
    block = frames_per_block(SIZES, shards_per_block=16)
    assert block == 16 * NUM_FRAMES // NUM_SHARDS
    ids = order.ids(5 * block, 6 * block)
    shards, counts = np.unique(shards_of(ids), return_counts=True)
    assert (counts < SIZES[shards]).sum() <= 2  # the block begins and ends inside a shard
    assert len(shards) < 16 * 3
    assert len(set(shards_of(order.ids(6 * block, 7 * block))) & set(shards)) <= 1


def test_visits_are_different_frames_of_one_shard_as_likely_as_it_is_large():
    order = plan_of(SIZES, **SAMPLERS["visits of 8"]).order(0)
    visits = order.ids(0, 8 * 20_000).reshape(-1, 8)
    shards = shards_of(visits)
    assert (shards == shards[:, :1]).all()
    assert (np.diff(np.sort(visits, axis=1), axis=1) > 0).all()
    deciles = np.searchsorted(
        ENDS, np.arange(1, 10) * NUM_FRAMES / 10
    )  # shards that cut the frames in ten parts
    bounds = np.concatenate([[0], ENDS[deciles], [NUM_FRAMES]])
    parts = np.searchsorted(bounds[1:], visits[:, 3], side="right")
    assert p_value(np.bincount(parts, minlength=10), 20_000 * np.diff(bounds) / NUM_FRAMES) > ALPHA
    by_size = np.quantile(SIZES, np.arange(1, 10) / 10)
    group = np.searchsorted(by_size, SIZES)
    share = np.bincount(group, SIZES, minlength=10) / NUM_FRAMES
    assert p_value(np.bincount(group[shards[:, 0]], minlength=10), 20_000 * share) > ALPHA
    naive = plan_of(SIZES, **SAMPLERS["visits of 8, naive"]).order(0).ids(0, 8 * 20_000)[::8]
    assert p_value(np.bincount(group[shards_of(naive)], minlength=10), 20_000 * share) < ALPHA


def test_laws_at_this_size():
    laws = {name: law_of(SIZES, plan_of(SIZES, **options)) for name, options in SAMPLERS.items()}
    clips = {"clip_frames": 16, "clip_stride": 2}
    laws["clips of 16"] = law_of_windows(SIZES, batch_size=256, video_sizes=SIZES, **clips)
    biased = {name for name, law in laws.items() if law.chi2_over(law.target) > 1e-12}
    assert biased == {"visits of 8, naive"}
    assert 0 < laws["clips of 16"].chi2 == chi2_of_whole_clips(SIZES, clip_frames=16, stride=2) < 0.05
    naive = laws["visits of 8, naive"]
    assert naive.chi2 == pytest.approx(SIZES.mean() * (1 / SIZES).mean() - 1) == chi2_of_uniform_shards(SIZES)
    assert naive.max_over_representation == pytest.approx(NUM_FRAMES / (NUM_SHARDS * SIZES.min()))
    assert laws["permutation"].kappa["shard"] == permutation_kappa(SIZES)
    # Around the circle, two places of a block of L frames lie in one shard if no end of a shard is between them.
    block = frames_per_block(SIZES, shards_per_block=16)
    lags = np.arange(1, block)
    counts = np.bincount(SIZES, minlength=block + 1)[: block + 1]
    longer = np.cumsum(counts[::-1])[::-1]
    alike = np.cumsum(longer[:0:-1])[::-1]  # sum of (n - d)_+ over the shards, at each lag d - 1
    expected = ((block - lags) @ alike[1:block]) / NUM_FRAMES / (block * (block - 1) / 2)
    # A batch has one frame in each of B stretches of a block. The pairs inside a stretch do not occur, and nearly all
    # of them share a shard. A few batches straddle two blocks.
    size = laws["blocks of 16 shards"].slots_per_batch
    spread = (size * expected - 1) / (size - 1)
    assert laws["blocks of 16 shards"].kappa["shard"] == pytest.approx(spread, rel=0.01)


def test_the_law_of_clips_needs_no_array_of_the_frames():
    sizes = unequal_sizes(2_000_000, 2000)
    options = {"sampling": "iid", "clip_frames": 16}
    peak = peak_megabytes(lambda: law_of_windows(sizes, batch_size=16, video_sizes=sizes, **options))
    assert peak < 8  # half an array of the frames


def test_the_law_of_the_order_on_disk_needs_no_array_of_the_batches():
    sizes = unequal_sizes(4_000_000, 4000)
    spec = SamplingSpec(sampling="sequential")
    assert peak_megabytes(lambda: sampling_law(sizes, spec, batch_size=2)) < 8
