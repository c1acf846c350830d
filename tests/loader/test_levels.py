"""Batches of 16-bit gray frames: torch.uint16, from threads, workers, windows, look-ahead and WebDataset."""

import io

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cache_builder import build_cache, open_videos
from frame_store import concat, open_store, select
from loader import (
    FrameBatchSampler,
    FrameDataset,
    FrameLoader,
    frame_batch_collate,
    make_dataloader,
    webdataset_batches,
)
from tests.support.depth.level_videos import ramps, write_levels

FRAMES = np.concatenate([ramps(num_frames=24, height=64, width=80) * 3 + 7, ramps(height=64, width=80)[:1]])
WAYS = {
    "tar": {},
    "zarr": {"format": "zarr", "frames_per_shard": 10},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(5):
        write_levels(folder / f"{number}.mkv", FRAMES[5 * number : 5 * number + 5])
    return folder


@pytest.fixture(scope="module", params=WAYS)
def store(request, folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("built") / request.param
    build_cache(folder, path, pixel="gray16", size=(64, 80), workers=1, **WAYS[request.param])
    return open_store(path)


def expected_of(batch):
    """The frames that a batch must show, by video and place."""
    video_ids = batch.video_ids if batch.frame_in_video.dim() == 1 else batch.video_ids[:, None]
    return np.moveaxis(FRAMES[5 * video_ids.numpy() + batch.frame_in_video.numpy()], -1, -3)


def assert_every_level(batches):
    num_frames = 0
    for batch in batches:
        assert batch.frames.dtype == torch.uint16
        np.testing.assert_array_equal(batch.frames.numpy(), expected_of(batch), strict=True)
        num_frames += len(batch)
    assert num_frames == len(FRAMES)


OPTIONS = {"batch_size": 4, "remainder": "uneven", "seed": 3}


@pytest.mark.parametrize("sampling", ["permutation", "sequential"])
def test_a_loader_gives_every_level(store, sampling):
    loader = FrameLoader(store, sampling=sampling, **OPTIONS)
    for _ in range(3):  # memory is used again
        assert_every_level(loader)


def test_windows_and_views(store):
    assert_every_level(FrameLoader(store, frame_offsets=(-1, 0, 2), **OPTIONS))
    parts = {"a": select(store, videos=[1, 3]), "b": select(store, videos=[0, 2, 4])}
    num_frames = 0
    for part in parts.values():
        assert part.frame_dtype == np.uint16
        for batch in FrameLoader(part, **OPTIONS):
            rows = part.rows_of(batch.frame_ids.numpy())
            np.testing.assert_array_equal(
                batch.frames.numpy().squeeze(1), part.read_frames(batch.frame_ids)[..., 0]
            )
            num_frames += len(rows)
    assert num_frames == len(FRAMES)
    joined = concat([select(store, videos=[3]), select(store, videos=[0, 4])])
    found = np.concatenate([joined.read_frames(joined.ids_of_video(video_id)) for video_id in range(3)])
    np.testing.assert_array_equal(
        found, np.concatenate([FRAMES[15:20], FRAMES[:5], FRAMES[20:]]), strict=True
    )


def test_live_frames_with_look_ahead(tmp_path):
    """Of groups of five pictures, so that frames wait in the buffer until they are due."""
    levels = ramps("gray12le", num_frames=25, height=64, width=80)
    options = {"x265-params": "lossless=1:keyint=5:scenecut=0:bframes=0:log-level=none"}
    write_levels(tmp_path / "a.mp4", levels, codec="libx265", pixel_format="gray12le", options=options)
    live = open_videos(tmp_path, pixel="gray16", size=(64, 80), workers=1)
    assert len(np.unique(live.decode_groups(np.arange(25)))) == 5
    for lookahead in ({}, {"lookahead": 3, "lookahead_bytes": 7 * 64 * 80 * 2}):
        loader = FrameLoader(live, **lookahead, **OPTIONS)
        for batch in loader:
            np.testing.assert_array_equal(batch.frames.numpy()[:, 0], levels[batch.frame_ids.numpy(), ..., 0])
    assert loader._lookahead_frames == 7  # two bytes a pixel


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes(store, method):
    assert_every_level(make_dataloader(store, num_workers=2, multiprocessing_context=method, **OPTIONS))


def test_torchs_own_loader(store):
    sampler = FrameBatchSampler(store, **OPTIONS)
    assert_every_level(
        DataLoader(FrameDataset(store), batch_sampler=sampler, collate_fn=frame_batch_collate, num_workers=1)
    )
    (sample, *_) = DataLoader(FrameDataset(store), batch_size=6, num_workers=1)
    np.testing.assert_array_equal(
        sample["frame"].numpy()[:, 0],
        FRAMES[5 * sample["video_id"].numpy() + sample["frame_in_video"].numpy()][..., 0],
        strict=True,
    )


def test_webdataset(folder, tmp_path):
    build_cache(folder, tmp_path / "cache", pixel="gray16", size=(64, 80), workers=1, frames_per_shard=7)
    assert_every_level(
        webdataset_batches(tmp_path / "cache", batch_size=4, shuffle_buffer=5, seed=1, drop_last=False)
    )


def test_batches_travel_and_can_be_computed_with(store):
    (batch, *_) = FrameLoader(store, **OPTIONS)
    file = io.BytesIO()
    torch.save(batch, file)  # torch's plain pickles of uint16 cannot be loaded
    again = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
    np.testing.assert_array_equal(again.frames.numpy(), batch.frames.numpy())
    for kind in (torch.int32, torch.float32):
        np.testing.assert_array_equal(batch.frames.to(kind).numpy(), batch.frames.numpy())
    assert "uint16 (4, 1, 64, 80)" in repr(batch)
