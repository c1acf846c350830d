"""Clips stay in their video and keep time's order; who is drawn how often is in test_loader_draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import FrameBatchSampler, FrameDataset, FrameLoader, SamplingError, SamplingSpec
from loader.clip_order import contiguous_video_sizes
from loader.epoch_order import epoch_order
from tests.support.array_store import FRAMES_PER_VIDEO, ArrayStore, spelt_frame_ids

CLIPS = {
    "clip_frames": st.integers(1, 6),
    "clip_stride": st.integers(1, 4),
    "clip_windows": st.sampled_from(["anchor", "sliding"]),
    "sampling": st.sampled_from(["permutation", "iid"]),
}


def clips_of(video_sizes, *, seed=0, epoch=0, **options):
    spec = SamplingSpec(**options)
    order = epoch_order([sum(video_sizes)], spec, seed=seed, epoch=epoch, video_sizes=video_sizes)
    return order.ids(0, len(order)), spec


@given(video_sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5), seed=st.integers(0, 99), **CLIPS)
def test_a_clip_is_frames_of_one_video_a_stride_apart_or_slower(video_sizes, seed, **options):
    spec = SamplingSpec(**options)
    if max(video_sizes) < spec.clip_span:
        if sum(video_sizes):
            with pytest.raises(SamplingError, match="but the longest video has"):
                clips_of(video_sizes, seed=seed, **options)
        return
    clips, _ = clips_of(video_sizes, seed=seed, **options)
    assert clips.shape[1] == options["clip_frames"]
    video_of = np.repeat(np.arange(len(video_sizes)), video_sizes)
    videos = video_of[clips]
    assert (videos == videos[:, :1]).all()
    assert (np.array(video_sizes)[videos[:, 0]] >= spec.clip_span).all(), "shorter videos are left out"
    steps = np.diff(clips, axis=1)
    is_slow = (steps == 0).any(axis=1)
    assert np.isin(steps, [0, options["clip_stride"]]).all()
    if options["clip_windows"] == "sliding":
        assert not is_slow.any()


def test_slowed_clips_lie_at_the_ends_of_videos_only():
    clips, _ = clips_of([60, 45], clip_frames=5, clip_stride=2, seed=1)
    slow = clips[(np.diff(clips, axis=1) == 0).any(axis=1)]
    assert 0 < len(slow) < len(clips)
    in_video = np.where(slow < 60, slow, slow - 60)
    size = np.where(slow[:, 0] < 60, 60, 45)
    assert ((in_video[:, 0] < 2) | (in_video[:, -1] >= size - 2)).all()


def test_an_epoch_has_as_many_clips_as_would_hold_every_frame_once():
    for windows in ("anchor", "sliding"):
        assert len(clips_of([30, 10, 3], clip_frames=4, clip_windows=windows)[0]) == 10
    assert len(clips_of([5, 5], clip_frames=5, clip_windows="sliding")[0]) == 2


def test_batches_of_clips_come_out_of_the_loader_and_of_torchs():
    store = ArrayStore([70, 21])
    loader = FrameLoader(store, batch_size=4, clip_frames=3, clip_stride=2, seed=5)
    batches = list(loader)
    assert len(batches) == len(loader) == 91 // 3 // 4
    for batch in batches:
        assert batch.frames.shape == (4, 3, 3, 4, 6)
        assert batch.frame_ids.shape == batch.video_ids.shape == batch.pts_seconds.shape == (4, 3)
        assert spelt_frame_ids(batch.frames.flatten(0, 1)).tolist() == batch.frame_ids.flatten().tolist()
        assert (batch.frame_ids // FRAMES_PER_VIDEO == batch.video_ids).all()
        assert batch[1]["frame"].shape == (3, 3, 4, 6)
        assert repr(batch).startswith("FrameBatch(4 clips, uint8 (4, 3, 3, 4, 6)")
    sampler = FrameBatchSampler(store, batch_size=4, clip_frames=3, clip_stride=2, seed=5)
    assert [FrameDataset(store).__getitems__(ids).frame_ids.tolist() for ids in sampler] == [
        batch.frame_ids.tolist() for batch in batches
    ]


def test_a_shuffled_store_is_refused_and_the_cure_is_named():
    store = ArrayStore([70])
    index = store.index[np.random.default_rng(0).permutation(70)]
    with pytest.raises(
        SamplingError, match="this store is shuffled; build one with cache-build --layout video"
    ):
        contiguous_video_sizes(index)
    reversed_in_time = store.index[np.r_[6:-1:-1, 7:70]]
    with pytest.raises(SamplingError, match="side by side in time order"):
        contiguous_video_sizes(reversed_in_time)
    assert contiguous_video_sizes(store.index).tolist() == [7] * 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_frames": 0}, "clip_frames must be 1 or more, found 0"),
        ({"clip_frames": 2, "clip_stride": 0}, "clip_stride must be 1 or more, found 0"),
        ({"clip_frames": 2.5}, "clip_frames must be a whole number, found 2.5"),
        ({"clip_frames": 2**16}, "clip_frames must be at most 32768"),
        ({"clip_stride": 2}, "clip_stride and clip_windows need clip_frames"),
        ({"clip_windows": "sliding"}, "clip_stride and clip_windows need clip_frames"),
        ({"clip_frames": 2, "clip_windows": "random"}, "clip_windows must be one of anchor, sliding"),
        ({"clip_frames": 2, "sampling": "sequential"}, "clips are drawn by sampling='permutation' or 'iid'"),
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
