"""Figures of steps that several ranks drop or pad, against every order, cut and shuffle of tiny shards.

This file lists the batches anew, position by position: a step that `drop` leaves out gives none, a step that `pad`
fills up does.
"""

from itertools import permutations

import numpy as np
import pytest

from loader.bias.distributions.every_sampling import sampling_law
from loader.bias.distributions.windows import WindowCoverage, window_coincidences
from loader.bias.pairs.chi2 import block_pair_chi2, sequential_pair_chi2
from loader.bias.pairs.kappa import block_kappa
from loader.bias.report import make_report
from loader.sampling.spec import SamplingSpec
from tests.support.statistics.enumeration import assert_equal, assert_rejected
from tests.support.statistics.laws import law_of
from tests.support.statistics.oracles.clips import clips
from tests.support.statistics.spread_orders import nested_blocks


def steps(num_positions, batch_size, world_size, remainder):
    """Positions of the whole steps of an epoch, one array of all ranks each."""
    slots = batch_size * world_size
    number = -(-num_positions // slots) if remainder == "pad" else num_positions // slots
    return [np.arange(step * slots, (step + 1) * slots) % num_positions for step in range(number)]


def pair_law_of_blocks(sizes, block_frames):
    """P[x, y, i, j]: position x of an epoch shows frame i and position y frame j, over every order, cut and coin."""
    num_frames = sum(sizes)
    shards = np.split(np.arange(num_frames), np.cumsum(sizes)[:-1])
    circles = [np.concatenate(order) for order in permutations(shards)]
    epochs = nested_blocks(
        [np.roll(circle, -cut) for circle in circles for cut in range(num_frames)], block_frames
    )
    law = np.zeros((num_frames,) * 4)
    for x in range(num_frames):
        for y in range(num_frames):
            counts = np.bincount(epochs[:, x] * num_frames + epochs[:, y], minlength=num_frames**2)
            law[x, y] = counts.reshape(num_frames, num_frames) / len(epochs)
    return law


def mean_pair_law(law, batches):
    """P[i, j] of two distinct slots of a batch."""
    laws = [
        law[x, y] for batch in batches for a, x in enumerate(batch) for b, y in enumerate(batch) if a != b
    ]
    return np.mean(laws, axis=0)


BLOCKS = [  # sizes, shards in a block, batch, ranks, remainder
    ([3, 3, 3], 2, 2, 2, "pad"),  # the last step is a short block and the first one
    ([3, 3, 3], 1, 2, 2, "drop"),  # a rank's batch is dropped with the others
    ([1, 4, 1, 2], 3, 2, 3, "drop"),
    ([3, 2, 1, 3], 2, 2, 2, "pad"),
    ([1, 5, 1], 1, 4, 1, "pad"),
    ([2, 2, 2], 2, 5, 3, "pad"),  # more than two epochs in one step
    ([3, 4], 1, 8, 1, "pad"),
]


@pytest.mark.parametrize(("sizes", "shards_per_block", "batch_size", "world_size", "remainder"), BLOCKS)
def test_block_shuffle_over_all_steps(sizes, shards_per_block, batch_size, world_size, remainder):
    num_frames, slots = sum(sizes), batch_size * world_size
    spec = SamplingSpec(sampling="block", shards_per_block=shards_per_block)
    law = sampling_law(sizes, spec, batch_size=batch_size, world_size=world_size, remainder=remainder)
    block_frames = -(-shards_per_block * num_frames // len(sizes))
    every = pair_law_of_blocks(sizes, block_frames)
    of_steps = steps(num_frames, batch_size, world_size, remainder)
    pairs = mean_pair_law(every, of_steps)
    shard = np.repeat(np.arange(len(sizes)), sizes)
    assert law.num_whole_steps == len(of_steps)
    assert_equal([law.kappa["shard"]], [pairs[shard[:, None] == shard].sum()])

    features = np.random.default_rng(num_frames).normal(size=(num_frames, 2))
    report = make_report(law, spec, np.array(sizes), rho=None, features=features)
    if slots <= num_frames:
        centred = features - features.mean(axis=0)
        correlation = (pairs * (centred @ centred.T)).sum() / np.square(centred).sum(axis=1).mean()
        assert_equal([report.design_effect], [1 + (slots - 1) * correlation])
    else:
        assert report.design_effect is None

    if batch_size > num_frames:
        assert law.chi2_of_pairs is None
        return
    of_ranks = [part for step in of_steps for part in np.split(step, world_size)]
    chi2 = num_frames**2 * np.square(mean_pair_law(every, of_ranks)).sum() - 1
    if law.chi2_of_pairs_is_exact:
        assert_equal([law.chi2_of_pairs], [chi2])
    else:
        assert law.chi2_of_pairs <= chi2 + 1e-12


def test_the_mean_over_whole_batches_of_one_rank_is_wrong():
    """The mean over floor(N / B) batches ignores the treatment of the last step."""
    every = pair_law_of_blocks([3, 3, 3], 6)
    padded = mean_pair_law(every, [batch for step in steps(9, 2, 2, "pad") for batch in np.split(step, 2)])
    options = {"block_frames": 6, "batch_size": 2}
    right = 81 * np.square(padded).sum() - 1
    assert_equal([block_pair_chi2([3, 3, 3], **options, num_batches=6).value], [right])
    assert_rejected([block_pair_chi2([3, 3, 3], **options).value], [right])
    # The bound is of the batches that are kept: three ranks, and two frames of eight are left over.
    every = pair_law_of_blocks([1, 4, 1, 2], 6)
    (step,) = steps(8, 2, 3, "drop")
    right = 64 * np.square(mean_pair_law(every, np.split(step, 3))).sum() - 1
    options = {"block_frames": 6, "batch_size": 2}
    bound = block_pair_chi2([1, 4, 1, 2], **options, num_batches=3).value
    assert 0 < bound <= right
    assert_rejected([block_pair_chi2([1, 4, 1, 2], **options).value], [bound])


@pytest.mark.parametrize(
    ("sizes", "batch_size", "world_size"), [([2, 2], 7, 1), ([1, 2, 2], 7, 1), ([1, 5], 5, 3)]
)
def test_a_step_that_goes_round_a_permutation(sizes, batch_size, world_size):
    spec = SamplingSpec(sampling="permutation")
    law = sampling_law(sizes, spec, batch_size=batch_size, world_size=world_size, remainder="pad")
    (step,) = steps(sum(sizes), batch_size, world_size, "pad")
    orders = np.array(list(permutations(np.repeat(np.arange(len(sizes)), sizes))))
    shown = orders[:, step]
    same = (shown[:, :, None] == shown[:, None]).sum() - shown.size
    assert_equal([law.kappa["shard"]], [same / (len(orders) * len(step) * (len(step) - 1))])
    without_frames_met_twice = sampling_law(sizes, spec, batch_size=2, world_size=1).kappa["shard"]
    assert_rejected([without_frames_met_twice], [law.kappa["shard"]])


@pytest.mark.parametrize("num_clips", [5, 7])
def test_a_step_that_goes_round_all_windows(num_clips):
    windows = np.array([[0, 1], [1, 2], [3, 4]])  # of two frames, of videos of 3 and 2
    video = np.array([0, 0, 0, 1, 1])
    counts = np.zeros(3)
    for order in permutations(range(3)):
        shown = windows[np.resize(order, num_clips)].ravel()
        clip = np.repeat(np.arange(num_clips), 2)
        for row, (values, same_clip) in enumerate([(clip, True), (video[shown], True), (shown, False)]):
            same = values[:, None] == values
            counts[row] += same.sum() - len(shown)
            assert same_clip or not ((clip[:, None] == clip) & same & ~np.eye(len(shown), dtype=bool)).any()
    slots = 2 * num_clips
    coverage = WindowCoverage.of([3, 2], clips(2))
    found = window_coincidences(coverage, batch_size=num_clips, with_replacement=False)
    assert_equal([found["clip"], found["video"], found["frame"]], counts / (6 * slots * (slots - 1)))
    law = law_of([5], batch_size=num_clips, remainder="pad", video_sizes=[3, 2], clip_frames=2)
    assert law.kappa == found


@pytest.mark.parametrize("sampling", ["permutation", "iid", "sequential"])
@pytest.mark.parametrize("sizes", [[1], [2], [1, 5, 1]])
def test_a_batch_of_one_frame_holds_no_two_of_a_shard(sampling, sizes):
    assert sampling_law(sizes, SamplingSpec(sampling=sampling), batch_size=1).kappa == {"shard": 0.0}


@pytest.mark.parametrize("world_size", [1, 3, 5])
def test_the_order_on_disk_padded_to_more_than_an_epoch(world_size):
    """One step, always the same frames: it has no variance, and is off by what the first frames weigh more."""
    features = np.arange(5.0)[:, None] ** 2
    spec = SamplingSpec(sampling="sequential")
    law = sampling_law([4, 1], spec, batch_size=7, world_size=world_size, remainder="pad")
    report = make_report(law, spec, np.array([4, 1]), rho=None, features=features)
    (step,) = steps(5, 7, world_size, "pad")
    off = features[step].mean() - features.mean()
    assert report.design_effect == 0
    assert_equal([report.mean_square_effect], [len(step) * off**2 / features.var()])


def test_how_often_a_padded_order_shows_its_frames():
    spec = SamplingSpec(sampling="sequential")
    for batch_size, said in (
        (4, "first 3 frames are shown twice an epoch and the others once"),
        (14, "first 4 frames are shown 3 times an epoch and the others 2 times"),
    ):
        law = sampling_law([5], spec, batch_size=batch_size, remainder="pad")
        times = np.bincount(np.concatenate(steps(5, batch_size, 1, "pad")), minlength=5)
        assert sorted(set(times.tolist())) == [int(times.min()), int(times.max())] and said in law.because
        assert f"first {(times == times.max()).sum()} frames" in law.because


def test_pairs_of_the_order_on_disk_without_the_batches_of_a_dropped_step():
    """Ten frames, three ranks of two: one step, so three batches and not five."""
    law = sampling_law(
        [10], SamplingSpec(sampling="sequential"), batch_size=2, world_size=3, remainder="drop"
    )
    pairs = np.zeros((10, 10))
    for first in (0, 2, 4):
        pairs[first, first + 1] = pairs[first + 1, first] = 1 / 6
    right = 100 * np.square(pairs).sum() - 1
    assert_equal([law.chi2_of_pairs], [right])
    assert_rejected([sequential_pair_chi2(10, batch_size=2)], [right])


def test_one_block_over_all_shards_is_a_nested_order_of_the_circle_of_shards():
    spec = SamplingSpec(sampling="block", shards_per_block=3)
    law = sampling_law([3, 3, 3], spec, batch_size=3)
    every = mean_pair_law(pair_law_of_blocks([3, 3, 3], 9), steps(9, 3, 1, "drop"))
    right = 81 * np.square(every).sum() - 1
    assert law.chi2_of_pairs_is_exact
    assert_equal([law.chi2_of_pairs], [right])
    assert_rejected([1 / 8], [right])  # a permutation


def test_block_kappa_of_no_batch():
    with pytest.raises(ValueError, match="no whole batch"):
        block_kappa([3, 3], block_frames=3, batch_size=2, num_batches=0)
