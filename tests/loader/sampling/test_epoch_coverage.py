"""Epochs with every frame once, each equally likely at every position; 1e-6 false alarms a test."""

import importlib
import itertools

import numpy as np
import pytest

from loader import FrameBatchSampler, SamplingSpec
from loader.bias.distributions.every_sampling import sampling_law
from loader.sampling.orders.blocks import BlockOrder, frames_per_block
from tests.support.caches.array_store import ArrayStore
from tests.support.loaders import drawn_by_workers, ids_of, make_loader
from tests.support.statistics.chi_squared import ALPHA, p_value
from tests.support.statistics.oracles.distributions import chi2_of_law
from tests.support.statistics.statistics import chi2_between, draws_needed, draws_p_value, power

EPOCHS = {
    "permutation": {"sampling": "permutation"},
    "sequential": {"sampling": "sequential"},
    "block": {"sampling": "block", "shards_per_block": 2},
}


def counts_over_ranks(store, num_ranks, remainder, **options):
    """How often the ranks together show each frame in an epoch."""
    loaders = [
        make_loader(store, batch_size=7, rank=rank, world_size=num_ranks, remainder=remainder, **options)
        for rank in range(num_ranks)
    ]
    shown = [ids_of(loader) for loader in loaders if len(loader)]
    if remainder != "uneven":
        assert len({len(ids) for ids in shown}) == 1
    return np.bincount(np.concatenate(shown), minlength=len(store))


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("remainder", ["drop", "pad", "uneven"])
@pytest.mark.parametrize("options", EPOCHS.values(), ids=EPOCHS)
def test_an_epoch_shows_every_frame_once_but_for_the_remainder(options, remainder, num_ranks):
    sizes = [9, 0, 23, 14, 31]  # 77 frames: 11 batches of 7, or 3 steps of 21 and 14 frames
    law = sampling_law(
        sizes, SamplingSpec(**options), batch_size=7, world_size=num_ranks, remainder=remainder
    )
    dropped, doubled = {"drop": (77 % (7 * num_ranks), 0), "pad": (0, -77 % (7 * num_ranks))}.get(
        remainder, (0, 0)
    )
    assert (law.num_positions_dropped, law.num_positions_doubled) == (dropped, doubled)
    for seed in range(3):
        counts = counts_over_ranks(ArrayStore(sizes), num_ranks, remainder, seed=seed, **options)
        assert np.bincount(counts, minlength=3).tolist() == [dropped, 77 - dropped - doubled, doubled]
        if options["sampling"] == "sequential":
            assert chi2_of_law(counts / counts.sum()) == pytest.approx(law.chi2, abs=1e-12)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("options", EPOCHS.values(), ids=EPOCHS)
def test_workers_show_every_frame_once(options, num_workers):
    store = ArrayStore([9, 0, 23, 14, 31])
    ids = drawn_by_workers(store, num_workers, 2, remainder="uneven", **options)
    assert (np.bincount(ids[:77], minlength=77) == 1).all()
    assert (np.bincount(ids[77:], minlength=77) == 1).all()


@pytest.mark.parametrize("options", EPOCHS.values(), ids=EPOCHS)
@pytest.mark.parametrize("batches_received", [1, 4, 10])
def test_a_resumed_epoch_shows_every_frame_once(options, batches_received):
    store = ArrayStore([9, 0, 23, 14, 31])
    first = make_loader(store, batch_size=7, seed=8, remainder="uneven", **options)
    counts = np.bincount(ids_of(itertools.islice(first, batches_received)), minlength=77)
    for rank in range(3):
        second = make_loader(
            store, batch_size=5, rank=rank, world_size=3, seed=8, remainder="uneven", **options
        )
        second.load_state_dict(first.state_dict())
        counts += np.bincount(ids_of(second), minlength=77)
    assert (counts == 1).all()


def epochs_of(store, num_epochs, *, batch_size=20, first_seed=0, **options):
    """Frame ids by position: int64 (num_epochs, N), half of the epochs of another seed."""
    samplers = [
        FrameBatchSampler(store, batch_size=batch_size, seed=first_seed + seed, **options)
        for seed in range(2)
    ]
    return np.array([np.concatenate(list(samplers[epoch % 2])) for epoch in range(num_epochs)])


def positions_p_value(epochs, num_bins, *, seed=0):
    """Is every frame as likely at one position as at another? One position a bin and epoch, a test a bin.

    The frames at one position are independent from epoch to epoch, whatever is shuffled with what inside an epoch.
    """
    num_epochs, num_frames = epochs.shape
    chance, edges = np.random.default_rng(seed), np.linspace(0, num_frames, num_bins + 1).astype(int)
    p_values = []
    for start, stop in itertools.pairwise(edges):
        frames = epochs[np.arange(num_epochs), chance.integers(start, stop, num_epochs)]
        p_values.append(p_value(np.bincount(frames, minlength=num_frames), num_epochs / num_frames))
    return num_bins * min(p_values)


def table_p_value(epochs, num_bins):
    """Counts of frame x bin of positions. Frames and bins have fixed totals, hence the factor (N - 1) / N.

    For a true permutation; where neighbours move together the counts vary more than this statistic believes.
    """
    num_epochs, num_frames = epochs.shape
    bins = np.arange(num_frames) * num_bins // num_frames
    keys = epochs * num_bins + bins
    counts = np.bincount(keys.ravel(), minlength=num_frames * num_bins)
    expected = np.tile(num_epochs * np.bincount(bins) / num_frames, num_frames)
    return p_value(
        counts,
        expected,
        degrees_of_freedom=(num_frames - 1) * (num_bins - 1),
        scale=(num_frames - 1) / num_frames,
    )


POSITION_SIZES = [3, 4, 6, 9, 18]
"""40 frames; a block of one shard has 8, so that there are 5 blocks, and 5 bins."""
NUM_BINS = 5
NUM_EPOCHS = 1200
BLOCKS_OF_ONE = {"sampling": "block", "shards_per_block": 1}


class UnrotatedBlockOrder(BlockOrder):
    """`BlockOrder` without the random start: frames of small shards are more frequent at both ends of the epoch."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._rotation = 0


def unrotated_law():
    """Exact distribution of the frame at a position of each block, shape (blocks, N), over the orders of the shards."""
    sizes = np.array(POSITION_SIZES)
    ids = np.split(np.arange(sizes.sum()), np.cumsum(sizes)[:-1])
    block_frames = frames_per_block(sizes, shards_per_block=1)
    law = np.zeros((NUM_BINS, sizes.sum()))
    for order in itertools.permutations(range(len(sizes))):
        stream = np.concatenate([ids[shard] for shard in order])
        for block in range(NUM_BINS):
            law[block, stream[block * block_frames : (block + 1) * block_frames]] += 1
    return law / law.sum(1, keepdims=True)


@pytest.mark.parametrize(
    "options", [{"sampling": "permutation"}, BLOCKS_OF_ONE], ids=["permutation", "block"]
)
def test_every_frame_is_as_likely_at_every_position(options):
    epochs = epochs_of(ArrayStore(POSITION_SIZES), NUM_EPOCHS, **options)
    assert positions_p_value(epochs, NUM_BINS) > ALPHA
    if options["sampling"] == "permutation":
        assert table_p_value(epochs, NUM_BINS) > ALPHA


def test_an_unrotated_block_shuffle_is_caught(monkeypatch):
    in_first_bin = chi2_between(unrotated_law()[0], 1 / 40)  # the last has the same
    assert power(NUM_EPOCHS * in_first_bin, 39, alpha=ALPHA / NUM_BINS) > 0.99
    # `loader.sampling.orders.epoch` is a function there
    monkeypatch.setattr(
        importlib.import_module("loader.sampling.orders.epoch"), "BlockOrder", UnrotatedBlockOrder
    )
    store = ArrayStore(POSITION_SIZES)
    for seed in range(3):
        epochs = epochs_of(store, NUM_EPOCHS, first_seed=10 * seed, **BLOCKS_OF_ONE)
        assert (np.sort(epochs, axis=1) == np.arange(40)).all()  # every frame once: counts show nothing
        assert positions_p_value(epochs, NUM_BINS) < ALPHA


def test_counting_all_positions_of_a_block_shuffle_alarms_without_cause():
    """Frames of a shard move together, so the table of counts is no test of this order, one position a bin is."""
    store, alarms, level, num_seeds = ArrayStore(POSITION_SIZES), np.zeros(2, int), 0.01, 50
    for seed in range(num_seeds):
        sampler = FrameBatchSampler(store, batch_size=40, seed=seed, **BLOCKS_OF_ONE)
        epochs = np.array([next(iter(sampler)) for _ in range(200)])
        alarms += [
            table_p_value(epochs, NUM_BINS) < level,
            positions_p_value(epochs, NUM_BINS, seed=seed) < level,
        ]
    assert alarms[0] >= 6  # 0.5 would be right; 6 or more would have a probability of 2e-5
    assert alarms[1] < 6


@pytest.mark.parametrize("remainder", ["drop", "pad"])
@pytest.mark.parametrize(
    "options", [{"sampling": "permutation"}, BLOCKS_OF_ONE], ids=["permutation", "block"]
)
def test_the_remainder_hits_every_frame_alike(options, remainder):
    """Of the frames left out, or read twice, a random one an epoch: independent draws."""
    store, chance = ArrayStore([3, 9, 5, 6]), np.random.default_rng(9)
    sampler = FrameBatchSampler(store, batch_size=9, remainder=remainder, seed=9, **options)
    hit = []
    for _ in range(draws_needed(23)):
        counts = np.bincount(np.concatenate(list(sampler)), minlength=23)
        frames = np.flatnonzero(counts == (0 if remainder == "drop" else 2))
        assert len(frames) == (5 if remainder == "drop" else 4)
        hit.append(chance.choice(frames))
    assert draws_p_value(np.array(hit), np.full(23, 1 / 23)) > ALPHA
