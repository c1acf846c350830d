"""Clips from built caches and from live videos: the same windows, pixels and times, however they are read."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

import frame_store
from cache_builder import open_videos
from loader import Augmentation, FrameLoader, RandomResizedCrop, make_dataloader
from tests.support.commands import run
from tests.support.statistics.enumeration import every_whole_clip
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

FPS = 25
CLIPS = {"clip_frames": 4, "clip_stride": 3, "batch_size": 8, "remainder": "uneven", "seed": 5}
LENGTHS = [20, 23, 26, 9]
"""The last is a frame shorter than a clip, which spans 10."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    specs = simple_specs(4)
    specs = (*specs[:3], replace(specs[3], num_frames=LENGTHS[3]))
    return tiny_folder(tmp_path_factory.mktemp("videos"), specs).path


@pytest.fixture(scope="module", params=["wds", "zarr"])
def cache(request, folder, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param) / "cache"
    flags = ["--size", "32", "--encoding", "raw", "--layout", "video", "--frames-per-shard", "30"]
    assert run("--videos", folder, "--out", out, "--format", request.param, *flags).exit_code == 0
    return frame_store.open_store(out)


def epoch_of(loader):
    """Ids, frames and times of an epoch, clip by clip."""
    batches = list(loader)
    assert len(batches) == len(loader)
    return tuple(
        torch.cat([getattr(batch, name) for batch in batches])
        for name in ("cache_ids", "frames", "video_ids", "frame_in_video", "pts_seconds")
    )


def test_clips_are_the_same_windows_pixels_and_times_however_they_are_read(folder, cache):
    live = open_videos(folder, size=32)
    expected = epoch_of(FrameLoader(cache, **CLIPS))
    ids, frames, videos, in_video, seconds = expected
    assert len(ids) == sum(length - 9 for length in LENGTHS[:3])
    windows = every_whole_clip(LENGTHS, 4, 3)
    assert np.array_equal(ids[ids[:, 0].argsort()].numpy(), windows)
    assert len(videos) == len(ids)
    assert (in_video.diff(dim=1) == 3).all()
    assert torch.allclose(seconds.diff(dim=1), torch.tensor(3 / FPS, dtype=torch.float64))
    stored = torch.from_numpy(cache.read_frames(np.arange(len(cache)))).movedim(-1, 1)
    assert torch.equal(frames, stored[ids])
    others = {
        "live": FrameLoader(live, **CLIPS),
        "live, looking ahead": FrameLoader(live, lookahead=3, **CLIPS),
        "live, looking ahead with little memory": FrameLoader(
            live, lookahead=3, lookahead_bytes=32 * 32 * 3 * 20, **CLIPS
        ),
        "workers": make_dataloader(cache, num_workers=2, **CLIPS),
    }
    for name, loader in others.items():
        for found, want in zip(epoch_of(loader), expected, strict=True):
            assert torch.equal(found, want), name


WINDOWS = {"frame_offsets": (-3, 0, 1, 40), "batch_size": 8, "remainder": "uneven", "seed": 5}


@pytest.mark.parametrize("edges", ["pad", "whole"])
def test_windows_of_a_live_store_are_those_of_the_cache_also_with_look_ahead(folder, cache, edges):
    options = {**WINDOWS, "frame_offsets": (-3, 0, 1, 40 if edges == "pad" else 9), "edges": edges}
    expected = epoch_of(FrameLoader(cache, **options))
    live = open_videos(folder, size=32)
    for lookahead in (0, 3):
        for found, want in zip(
            epoch_of(FrameLoader(live, lookahead=lookahead, **options)), expected, strict=True
        ):
            assert torch.equal(found, want)
    stored = torch.from_numpy(cache.read_frames(np.arange(len(cache)))).movedim(-1, 1)
    assert torch.equal(expected[1], stored[expected[0]])


@pytest.mark.parametrize("stride", [1, 3])
def test_offsets_in_seconds_find_the_frames_of_a_built_cache(folder, tmp_path, stride):
    """A cache knows the times of all decoded frames, also of those that it does not store."""
    flags = ["--size", "32", "--stride", str(stride)]
    assert run("--videos", folder, "--out", tmp_path / "cache", *flags).exit_code == 0
    store = frame_store.open_store(tmp_path / "cache")
    steps = (-6, 0, 6)
    by_time = FrameLoader(store, frame_offsets_seconds=[step / FPS for step in steps], batch_size=16, seed=2)
    by_number = FrameLoader(store, frame_offsets=[step // stride for step in steps], batch_size=16, seed=2)
    for found, want in zip(by_time, by_number, strict=True):
        assert torch.equal(found.cache_ids, want.cache_ids)
        assert torch.equal(found.frame_is_pad, want.frame_is_pad)
        assert found.frame_is_pad.any() and not found.frame_is_pad.all()
    whole = FrameLoader(
        store, frame_offsets_seconds=[0, 6 / FPS], edges="whole", batch_size=4, remainder="uneven"
    )
    shown = torch.cat([batch.pts_seconds for batch in whole])
    assert torch.allclose(
        shown.diff(dim=1), torch.full((len(shown), 1), 6 / FPS, dtype=torch.float64), atol=2e-3
    )
    assert len(shown) == sum(len(range(0, length - 6, stride)) for length in LENGTHS)


def test_whole_windows_of_an_fps_cache_keep_the_step_of_its_clock(tmp_path):
    """One video has 25 frames a second throughout, the other pauses for half a second."""
    regular = tiny_folder(tmp_path / "videos", simple_specs(2)[:1]).path
    write_video_with_pause(regular / "paused.mkv")
    assert (
        run("--videos", regular, "--out", tmp_path / "cache", "--size", "32", "--fps", "12.5").exit_code == 0
    )
    store = frame_store.open_store(tmp_path / "cache")
    loader = FrameLoader(store, frame_offsets=(0, 1, 2), edges="whole", batch_size=4, remainder="uneven")
    assert "1 video has gaps in time between frames that --fps chose" in repr(loader)
    assert "left out: paused.mkv; next is" in repr(loader)
    steps = torch.cat([batch.pts_seconds.diff(dim=1) for batch in loader])
    assert torch.allclose(steps, torch.full_like(steps, 1 / 12.5), atol=0.04)
    # 20 and 24 frames at 25 a second are 10 and 12 at 12.5: two steps of a window do not lead over the pause.
    assert len(steps) == (10 - 2) + (6 - 2) + (6 - 2)


def write_video_with_pause(path):
    """24 frames at 25 a second; after the first half, half a second without a frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for number in range(24):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 9, np.uint8))
            frame.time_base = Fraction(1, 100)
            frame.pts = 4 * number + (50 if number >= 12 else 0)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("encoding", [("wds", "jpeg"), ("zarr", "zstd")])
def test_a_frame_that_several_windows_of_a_batch_show_is_decoded_once(
    folder, tmp_path, encoding, monkeypatch
):
    flags = ["--size", "32", "--format", encoding[0], "--encoding", encoding[1]]
    assert run("--videos", folder, "--out", tmp_path / "cache", *flags).exit_code == 0
    store = frame_store.open_store(tmp_path / "cache")
    decoded = []
    decode_all = store._codec.decode_all

    def spy(payloads, outs):
        noted = list(payloads)
        decoded.extend(map(bytes, noted))
        decode_all(noted, outs)

    monkeypatch.setattr(store, "_codec", SimpleNamespace(decode_all=spy))
    loader = FrameLoader(store, num_threads=1, next_epoch=False, **{**WINDOWS, "sampling": "sequential"})
    num_shown = num_different = 0
    for batch in loader:
        num_shown += batch.cache_ids.numel()
        num_different += len(batch.cache_ids.unique())
        alone = store.read_frames(batch.cache_ids.numpy().ravel())
        assert torch.equal(batch.frames.flatten(0, 1), torch.from_numpy(alone).movedim(-1, 1))
    # Both the loader and the reads of this test decode every different frame of a batch once.
    assert len(decoded) == 2 * num_different < 2 * num_shown


def test_clips_are_augmented_alike_however_they_are_read(folder, cache):
    augment = Augmentation(crop=RandomResizedCrop(size=16), flip_probability=0.5)
    live = open_videos(folder, size=32)
    augmented = [
        epoch_of(FrameLoader(store, augment=augment, **options, **CLIPS))
        for store, options in ((cache, {}), (live, {"lookahead": 4}))
    ]
    ids, frames = augmented[0][:2]
    assert frames.shape == (len(ids), 4, 3, 16, 16)
    for found, want in zip(*augmented, strict=True):
        assert torch.equal(found, want)


@pytest.mark.parametrize("sampling", ["permutation", "iid"])
def test_an_epoch_of_clips_goes_on_in_worker_processes(cache, sampling):
    whole = FrameLoader(cache, sampling=sampling, **CLIPS)
    expected = [batch.frame_ids.tolist() for batch in whole]
    stopped = FrameLoader(cache, sampling=sampling, **CLIPS)
    batches = iter(stopped)
    got = [next(batches).frame_ids.tolist() for _ in range(2)]
    resumed = make_dataloader(cache, num_workers=1, sampling=sampling, **CLIPS)
    resumed.load_state_dict(stopped.state_dict())
    assert got + [batch.frame_ids.tolist() for batch in resumed] == expected
