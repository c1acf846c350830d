"""Clips are whole windows at an exact stride, each once an epoch; test_draws.py tests how often each is drawn."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import FrameBatchSampler, FrameDataset, FrameLoader, SamplingError, SamplingSpec, make_dataloader
from loader.sampling.orders.clips import contiguous_video_sizes, contiguous_videos
from loader.sampling.orders.epoch import epoch_order
from loader.sampling.orders.permutation import MAX_TABULATED
from loader.sampling.plan import make_plan
from loader.sampling.resume import EpochCursor
from tests.campaigns.bench_sampling import peak_megabytes
from tests.support.caches.array_store import FRAMES_PER_VIDEO, ArrayStore, spelt_frame_ids
from tests.support.statistics.enumeration import every_whole_clip


def clips_of(video_sizes, *, seed=0, epoch=0, **options):
    spec = SamplingSpec(**options)
    order = epoch_order([sum(video_sizes)], spec, seed=seed, epoch=epoch, video_sizes=video_sizes)
    return order.ids(0, len(order)), spec


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
    clips, _ = clips_of(video_sizes, seed=seed, epoch=epoch, sampling=sampling, **options)
    windows = every_whole_clip(video_sizes, options["clip_frames"], options["clip_stride"])
    assert clips.dtype == np.int64 and clips.shape == windows.shape
    assert (np.diff(clips, axis=1) == options["clip_stride"]).all()
    of_window = {tuple(window) for window in windows.tolist()}
    assert {tuple(clip) for clip in clips.tolist()} <= of_window
    if sampling == "permutation":
        assert np.array_equal(sorted_rows(clips), windows)


def one_epoch(plans, first_position=0):
    """All clips of the ranks from a position of epoch 2 on: shape (clips, T)."""
    batches = [ids for plan in plans for ids in plan.batches(2, first_position=first_position)]
    num_slots = plans[0].spec.clip_frames
    return np.concatenate(batches) if batches else np.zeros((0, num_slots), np.int64)


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
    plans = [
        make_plan([sum(video_sizes)], video_sizes=video_sizes, rank=rank, **where, **options)
        for rank in range(world_size)
    ]
    assert {plan.num_positions for plan in plans} == {len(windows)}
    counts = np.bincount(
        np.searchsorted(windows[:, 0], one_epoch(plans)[:, 0]), minlength=len(windows)
    )  # of each window: its first frame names it
    if remainder == "uneven":
        assert (counts == 1).all()
    elif remainder == "drop":
        assert counts.max() == 1 and (counts == 0).sum() == len(windows) % per_step
    else:
        assert counts.min() >= 1 and (counts - 1).sum() == -len(windows) % per_step
        assert len({len(plan) for plan in plans}) == 1


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

    def plans_of(world_size, batch_size):
        ranks = min(world_size, len(windows))
        return [
            make_plan(
                [sum(video_sizes)],
                video_sizes=video_sizes,
                batch_size=batch_size,
                rank=rank,
                world_size=ranks,
                remainder="uneven",
                **options,
            )
            for rank in range(ranks)
        ]

    seen, states = [np.zeros((0, options["clip_frames"]), np.int64)], []
    stopped = plans_of(*before)
    num_steps = min(num_steps, *(len(plan) for plan in stopped))
    for plan in stopped:
        cursor = EpochCursor(plan, fingerprint="x")
        cursor.set_epoch(2)
        iteration = cursor.begin()
        epoch, first = iteration.began
        for step, ids in enumerate(islice(plan.batches(epoch), num_steps)):
            seen.append(ids)
            iteration.give(plan.slice_from(first).position_after(step))
        states.append(cursor.state())
    assert len(set(map(repr, states))) == 1
    if states[0].epoch == 2:  # else the epoch was over
        resumed = plans_of(*after)
        for plan in resumed:
            EpochCursor(plan, fingerprint="x").load(states[0])
        seen.append(one_epoch(resumed, states[0].position))
    assert np.array_equal(sorted_rows(np.concatenate(seen)), windows)


def test_more_windows_than_a_table_holds_are_each_given_once():
    video_sizes = [3000, 10, 2 * MAX_TABULATED]
    clips, _ = clips_of(video_sizes, clip_frames=5, clip_stride=3, seed=1)
    windows = every_whole_clip(video_sizes, 5, 3)
    assert len(clips) == len(windows) > 2 * MAX_TABULATED
    assert np.array_equal(sorted_rows(clips), windows)
    again, _ = clips_of(video_sizes, clip_frames=5, clip_stride=3, seed=1, epoch=1)
    assert (clips[:, 0] == again[:, 0]).mean() < 0.01


def test_memory_does_not_grow_with_the_number_of_windows():
    num_frames = 10**11
    spec = SamplingSpec(clip_frames=16, clip_stride=4)

    def first_clips():
        order = epoch_order([num_frames], spec, video_sizes=[num_frames - 50, 50])
        assert len(order) == num_frames - 50 - 60
        last = np.array([len(order) - 1])
        clips = np.concatenate([order.ids(0, 1000), order.ids_at(last)])
        assert (np.diff(clips, axis=1) == 4).all() and clips.min() >= 0 and clips.max() < num_frames
        assert len(np.unique(clips[:, 0])) == 1001
        assert clips[:, 0].max() > 0.9 * num_frames

    assert peak_megabytes(first_clips) < 2


def test_a_stride_beyond_every_video_is_refused_and_no_overflow():
    with pytest.raises(SamplingError, match="but the longest video has 9"):
        clips_of([9, 5], clip_frames=2, clip_stride=2**70)


def test_a_loader_says_what_an_epoch_of_clips_is():
    store = ArrayStore([91], video_sizes=[70, 5, 16])
    options = {"batch_size": 8, "clip_frames": 3, "clip_stride": 3}
    loader = FrameLoader(store, seed=4, **options)
    assert len(loader) == 9 == (64 + 10) // 8
    described = (
        "sampling=permutation clip_frames=3 clip_stride=3 seed=4; an epoch is 74 clips, one for each whole window; "
        "5 of 91 frames are in 1 video shorter than a clip; 9 batches of 8 clips; the last 2 of the order are "
        "dropped; next is epoch "
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
    assert "; an epoch is 74 clips, drawn among as many whole windows; " in repr(drawn)
    assert "; 4 batches of 8 clips for rank 1 of 2; next" in repr(drawn)
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
    assert [FrameDataset(store).__getitems__(ids).cache_ids.tolist() for ids in sampler] == [
        batch.cache_ids.tolist() for batch in batches
    ]


def test_a_shuffled_store_is_refused_and_the_cure_is_named():
    with pytest.raises(
        SamplingError, match="this store is shuffled; build one with cache-build --layout video"
    ):
        contiguous_video_sizes(ArrayStore([70], order=np.random.default_rng(0).permutation(70)))
    with pytest.raises(SamplingError, match="side by side in time order"):
        contiguous_video_sizes(ArrayStore([70], order=np.r_[6:-1:-1, 7:70]))
    assert contiguous_video_sizes(ArrayStore([70])).tolist() == [7] * 10
    videos, sizes = contiguous_videos(ArrayStore([70], order=np.r_[63:70, 0:63]))
    assert (videos.tolist(), sizes.tolist()) == ([9, *range(9)], [7] * 10)


def test_clips_of_an_empty_store_are_refused():
    with pytest.raises(SamplingError, match="the store is empty"):
        FrameLoader(ArrayStore([0]), clip_frames=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_frames": 0}, "clip_frames must be 1 or more, found 0"),
        ({"clip_frames": 2, "clip_stride": 0}, "clip_stride must be 1 or more, found 0"),
        ({"clip_frames": 2.5}, "clip_frames must be a whole number, found 2.5"),
        ({"clip_frames": 2**16}, "but the longest video has 9"),
        ({"clip_stride": 2}, "clip_stride needs clip_frames"),
        *(
            (
                {"clip_frames": 2, "sampling": sampling, **options},
                f"clips are drawn by sampling='permutation' or sampling='iid', found sampling='{sampling}'",
            )
            for sampling, options in (
                ("sequential", {}),
                ("shards", {"frames_per_visit": 2}),
                ("block", {"shards_per_block": 1}),
            )
        ),
        (
            {"clip_frames": 4, "clip_stride": 3},
            "a clip of 4 frames, 3 apart, spans 10 frames, but the longest video has 9",
        ),
    ],
)
def test_impossible_clips_are_refused(options, message):
    with pytest.raises(SamplingError, match=message):
        clips_of([9, 5], **options)


def test_clips_need_the_videos():
    with pytest.raises(SamplingError, match="give video_sizes"):
        epoch_order([50], SamplingSpec(clip_frames=2))
