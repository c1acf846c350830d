"""Clips are whole windows at an exact stride, each once an epoch; test_draws.py tests how often each is drawn."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store.source_order import SourceOrder
from loader import FrameBatchSampler, FrameDataset, FrameLoader, SamplingError, make_dataloader
from loader.sampling.orders.permutation import MAX_TABULATED
from loader.windows import plan_windows
from tests.campaigns.bench_sampling import peak_megabytes
from tests.support.caches.array_store import FRAMES_PER_VIDEO, ArrayStore, spelt_frame_ids
from tests.support.statistics.enumeration import every_whole_clip


def clips_of(video_sizes, *, epoch=0, **options):
    store = ArrayStore([sum(video_sizes)], video_sizes=video_sizes)
    options = {"batch_size": 64, "remainder": "uneven", **options}
    return np.concatenate(
        [request.cache_ids for request in plan_windows("test", store, options).requests(epoch)]
    )


def sorted_rows(clips):
    return clips[np.argsort(clips[:, 0])]


@st.composite
def videos_with_windows(draw):
    """Video sizes, clip_frames and clip_stride, such that the longest video holds a whole window."""
    clip_frames, stride = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    sizes = draw(st.lists(st.integers(0, 30), max_size=5))
    sizes.insert(draw(st.integers(0, len(sizes))), draw(st.integers((clip_frames - 1) * stride + 1, 40)))
    return sizes, {"clip_frames": clip_frames, "clip_stride": stride}


@given(
    videos_with_windows(),
    st.sampled_from(["permutation", "iid"]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 99),
)
def test_a_clip_is_a_whole_window_of_one_video_at_an_exact_stride(videos, sampling, seed, epoch):
    video_sizes, options = videos
    clips = clips_of(video_sizes, seed=seed, epoch=epoch, sampling=sampling, batch_size=1, **options)
    windows = every_whole_clip(video_sizes, options["clip_frames"], options["clip_stride"])
    assert clips.dtype == np.int64 and clips.shape == windows.shape
    assert (np.diff(clips, axis=1) == options["clip_stride"]).all()
    of_window = {tuple(window) for window in windows.tolist()}
    assert {tuple(clip) for clip in clips.tolist()} <= of_window
    if sampling == "permutation":
        assert np.array_equal(sorted_rows(clips), windows)


def one_epoch(of_ranks, first_position=0):
    """All clips of the ranks from a position of epoch 2 on: shape (clips, T)."""
    found = [np.zeros((0, of_ranks[0].windows.spec.frames_per_anchor), np.int64)]
    for epochs in of_ranks:
        found += [request.cache_ids for request in epochs.requests(2, first_position=first_position)]
    return np.concatenate(found)


@given(
    videos_with_windows(),
    st.integers(1, 4),
    st.integers(1, 7),
    st.integers(0, 9),
    st.sampled_from(["uneven", "drop", "pad"]),
)
def test_an_epoch_is_every_whole_window_once_but_for_the_remainder(
    videos, world_size, batch_size, seed, remainder
):
    video_sizes, options = videos
    windows = every_whole_clip(video_sizes, options["clip_frames"], options["clip_stride"])
    per_step = world_size * batch_size
    if world_size > len(windows) or (remainder == "drop" and per_step > len(windows)):
        return  # refused: a rank would get nothing
    where = {"batch_size": batch_size, "world_size": world_size, "remainder": remainder, "seed": seed}
    store = ArrayStore([sum(video_sizes)], video_sizes=video_sizes)
    of_ranks = [plan_windows("test", store, {"rank": rank, **where, **options}) for rank in range(world_size)]
    assert {epochs.plan.num_positions for epochs in of_ranks} == {len(windows)}
    counts = np.bincount(
        np.searchsorted(windows[:, 0], one_epoch(of_ranks)[:, 0]), minlength=len(windows)
    )  # of each window: its first frame names it
    if remainder == "uneven":
        assert (counts == 1).all()
    elif remainder == "drop":
        assert counts.max() == 1 and (counts == 0).sum() == len(windows) % per_step
    else:
        assert counts.min() >= 1 and (counts - 1).sum() == -len(windows) % per_step
        assert len({len(epochs.plan) for epochs in of_ranks}) == 1


@given(
    videos_with_windows(),
    st.tuples(st.integers(1, 4), st.integers(1, 7)),
    st.tuples(st.integers(1, 4), st.integers(1, 7)),
    st.integers(0, 12),
)
def test_stopped_anywhere_and_resumed_by_others_an_epoch_is_every_whole_window_once(
    videos, before, after, num_steps
):
    video_sizes, options = videos
    windows = every_whole_clip(video_sizes, options["clip_frames"], options["clip_stride"])

    store = ArrayStore([sum(video_sizes)], video_sizes=video_sizes)

    def epochs_of(world_size, batch_size):
        ranks = min(world_size, len(windows))
        where = {"batch_size": batch_size, "world_size": ranks, "remainder": "uneven"}
        return [plan_windows("test", store, {"rank": rank, **where, **options}) for rank in range(ranks)]

    seen, states = [np.zeros((0, options["clip_frames"]), np.int64)], []
    stopped = epochs_of(*before)
    num_steps = min(num_steps, *(len(epochs.plan) for epochs in stopped))
    for epochs in stopped:
        epochs.cursor.set_epoch(2)
        iteration = epochs.cursor.begin()
        epoch, first = iteration.began
        for step, request in enumerate(islice(epochs.requests(epoch), num_steps)):
            seen.append(request.cache_ids)
            iteration.give(epochs.plan.slice_from(first).position_after(step))
        states.append(epochs.cursor.state())
    assert len(set(map(repr, states))) == 1
    if states[0].epoch == 2:  # else the epoch was over
        resumed = epochs_of(*after)
        for epochs in resumed:
            epochs.cursor.load(states[0])
        seen.append(one_epoch(resumed, states[0].position))
    assert np.array_equal(sorted_rows(np.concatenate(seen)), windows)


def test_more_windows_than_a_table_holds_are_each_given_once():
    video_sizes = [3000, 10, 2 * MAX_TABULATED]
    clips = clips_of(video_sizes, clip_frames=5, clip_stride=3, seed=1)
    windows = every_whole_clip(video_sizes, 5, 3)
    assert len(clips) == len(windows) > 2 * MAX_TABULATED
    assert np.array_equal(sorted_rows(clips), windows)
    again = clips_of(video_sizes, clip_frames=5, clip_stride=3, seed=1, epoch=1)
    assert (clips[:, 0] == again[:, 0]).mean() < 0.01


class HugeStore(ArrayStore):
    """Two videos, one of them of more frames than any array could hold, video by video."""

    def __init__(self, num_frames):
        super().__init__([7], video_sizes=[4, 3])
        self._shard_sizes = np.array([num_frames, 50])
        first = np.array([0, num_frames, num_frames + 50])
        self._order = SourceOrder(first_row=first, first_stored=first)

    source_order = property(lambda self: self._order)

    def __len__(self):
        return int(self._shard_sizes.sum())

    def rows_of(self, frame_ids):
        ids = np.asarray(frame_ids)
        rows = np.zeros(len(ids), [("video_id", "i8"), ("frame_in_video", "i8"), ("pts_seconds", "f8")])
        rows["video_id"] = ids >= self._shard_sizes[0]
        rows["frame_in_video"] = ids - rows["video_id"] * self._shard_sizes[0]
        return rows


def test_memory_does_not_grow_with_the_number_of_windows():
    num_frames = 10**11
    store = HugeStore(num_frames)
    options = {"clip_frames": 16, "clip_stride": 4, "batch_size": 1000}

    def first_clips():
        epochs = plan_windows("test", store, options)
        assert epochs.plan.num_positions == num_frames - 60
        request = next(epochs.requests(0))
        assert (np.diff(request.cache_ids, axis=1) == 4).all()
        assert request.cache_ids.min() >= 0 and request.cache_ids.max() < num_frames
        assert len(np.unique(request.frame_ids)) == 1000
        assert request.frame_ids.max() > 0.9 * num_frames

    first_clips()  # imports what it needs
    assert peak_megabytes(first_clips) < 2


def test_a_stride_beyond_every_video_is_refused_and_no_overflow():
    with pytest.raises(
        SamplingError, match=r"windows longer than every video: .* the longest of which has 9"
    ):
        clips_of([9, 5], clip_frames=2, clip_stride=2**30)


def test_a_loader_says_what_an_epoch_of_clips_is():
    store = ArrayStore([91], video_sizes=[70, 5, 16])
    options = {"batch_size": 8, "clip_frames": 3, "clip_stride": 3}
    loader = FrameLoader(store, seed=4, **options)
    assert len(loader) == 9 == (64 + 10) // 8
    described = (
        "frame_offsets=(0, 3, 6) edges=whole; sampling=permutation seed=4; an epoch is 74 windows; 9 batches of 8 "
        "windows; the last 2 of the order are dropped; 5 of 91 frames are in 1 video without a whole window: 001.mp4; "
        "next is epoch "
    )
    assert repr(loader) == f"FrameLoader({described}0)"
    next(iter(loader))
    state = loader.state_dict()
    assert repr(loader) == f"FrameLoader({described}1)"
    loader.load_state_dict(state)
    assert repr(loader) == f"FrameLoader({described}0 from position 8 on)"
    assert repr(FrameBatchSampler(store, seed=4, **options)) == f"FrameBatchSampler({described}0)"
    workers = make_dataloader(store, num_workers=2, seed=4, **options)
    assert repr(workers) == f"WorkerLoader({described}0; num_workers=2)"
    drawn = FrameLoader(store, sampling="iid", rank=1, world_size=2, **options)
    assert "; an epoch is 74 windows; 4 batches of 8 windows for rank 1 of 2; " in repr(drawn)
    frames = FrameLoader(ArrayStore([1600]), batch_size=128)
    assert repr(frames) == (
        "FrameLoader(sampling=permutation seed=0; an epoch is 1,600 frames; 12 batches of 128 frames; "
        "the last 64 of the order are dropped; next is epoch 0)"
    )


def test_batches_of_clips_come_out_of_the_loader_and_of_torchs():
    store = ArrayStore([70, 21])
    options = {"batch_size": 4, "clip_frames": 3, "clip_stride": 2, "seed": 5, "remainder": "uneven"}
    loader = FrameLoader(store, **options)
    batches = list(loader)
    assert len(batches) == len(loader) == -(-13 * 3 // 4)  # 13 videos of 7 frames, 3 windows in each
    assert [len(batch) for batch in batches] == [4] * 9 + [3]
    for batch in batches:
        assert batch.frames.shape == (len(batch), 3, 3, 4, 6)
        assert (
            batch.cache_ids.shape == batch.frame_in_video.shape == batch.pts_seconds.shape == (len(batch), 3)
        )
        assert spelt_frame_ids(batch.frames.flatten(0, 1)).tolist() == batch.cache_ids.flatten().tolist()
        assert (batch.cache_ids // FRAMES_PER_VIDEO == batch.video_ids[:, None]).all()
        assert batch[1]["frame"].shape == (3, 3, 4, 6)
    assert repr(batches[0]).startswith("FrameBatch(4 windows, uint8 (4, 3, 3, 4, 6)")
    sampler = FrameBatchSampler(store, **options)
    dataset = FrameDataset(store, clip_frames=3, clip_stride=2)
    assert [dataset.__getitems__(ids).cache_ids.tolist() for ids in sampler] == [
        batch.cache_ids.tolist() for batch in batches
    ]


@pytest.mark.parametrize("sampling", ["permutation", "iid", "sequential", "block", "shards"])
def test_every_sampling_draws_clips_of_a_shuffled_store(sampling):
    """Every whole window is drawn alike, whatever the sampling and the layout."""
    options = {"sampling": sampling, "clip_frames": 3, "clip_stride": 2, "batch_size": 4}
    options |= {"shards_per_block": 2} if sampling == "block" else {}
    options |= {"frames_per_visit": 2} if sampling == "shards" else {}
    order = np.random.default_rng(0).permutation(70)
    store = ArrayStore([20, 20, 20, 10], order=order)
    expected = {tuple(order.argsort()[window]) for window in every_whole_clip([7] * 10, 3, 2)}
    loader = FrameLoader(store, remainder="uneven", **options)
    shown = [tuple(ids) for _ in range(12) for batch in loader for ids in batch.cache_ids.tolist()]
    assert set(shown) == expected
    if sampling not in {"iid", "shards"}:
        assert len(shown) == 12 * len(expected)
