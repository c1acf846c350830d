"""The source order of caches: that of the live store, for every layout, container, stride and rate; and its files."""

import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from cache_builder import open_videos
from cache_builder.cli import cache_verify
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE
from frame_store import open_store
from frame_store.errors import StoreDamagedError
from frame_store.source_files import SOURCE_FILE_NAMES
from frame_store.source_order import NO_PLACE
from frame_store.verify import verify_store
from loader import FrameLoader
from tests.support.commands import SMALL, digests, run
from tests.support.videos.tiny_videos import simple_specs, tiny_folder, tiny_video

KINDS = {
    "wds-shuffled": ["--frames-per-shard", "100"],
    "wds-video": ["--layout", "video", "--encoding", "raw", "--frames-per-shard", "video"],
    "wds-shuffled-stride": ["--frames-per-shard", "100", "--stride", "3"],
    "wds-video-fps": ["--layout", "video", "--fps", "7"],
    "zarr-shuffled-fps": ["--format", "zarr", "--frames-per-shard", "100", "--fps", "11"],
    "zarr-video-stride": ["--format", "zarr", "--layout", "video", "--stride", "4"],
}
EVERY_FRAME = ["wds-shuffled", "wds-video"]


@pytest.fixture(scope="module")
def live(sample_folder):
    with open_videos(sample_folder.path, size=64) as store:
        yield store


@pytest.fixture(scope="module")
def caches(sample_folder, tmp_path_factory):
    """By kind: a cache of the 16 tiny videos. Videos without timestamps are left out where a rate is asked for."""
    folder = tmp_path_factory.mktemp("caches")
    for kind, flags in KINDS.items():
        result = run(
            *("--videos", sample_folder.path, "--out", folder / kind, *SMALL, *flags, "--on-error", "skip")
        )
        assert result.exit_code == (EXIT_NOT_WHOLE if "fps" in kind else 0), result.stderr
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_a_video_are_its_frames_in_time_order(caches, kind):
    store = open_store(caches / kind)
    order, index = store.source_order, store.index
    assert order.num_stored == len(store)
    seen = []
    for video_id, video in enumerate(store.videos):
        ids = store.ids_of_video(video_id)
        rows = index[ids]
        frames = rows["frame_in_video"]
        assert rows["video_id"].tolist() == [video_id] * video.num_frames_stored
        assert (np.diff(frames) > 0).all()
        assert np.diff(order.first_row)[video_id] == video.num_frames_decoded
        of_video = np.full(video.num_frames_decoded, video_id)
        every = np.arange(video.num_frames_decoded)
        places = order.places_of(of_video, every)
        assert every[places != NO_PLACE].tolist() == frames.tolist()
        np.testing.assert_array_equal(order.ids_at(places[places != NO_PLACE]), ids)
        np.testing.assert_array_equal(
            order.source_pts[order.rows_of(of_video, every)[frames]], rows["pts_seconds"]
        )
        seen += ids.tolist()
    assert sorted(seen) == list(range(len(store)))
    assert (order.source_frames is None) == (kind in EVERY_FRAME)
    assert verify_store(caches / kind).problems == []


@pytest.mark.parametrize("kind", KINDS)
def test_times_of_all_frames_are_those_of_the_live_store(caches, live, kind):
    cached, there = open_store(caches / kind).source_order, live.source_order
    compared = 0
    for video_id in range(live.source_order.num_videos):
        of_cache, of_live = (
            order.source_pts[order.first_row[video_id] : order.first_row[video_id + 1]]
            for order in (cached, there)
        )
        if len(of_cache) or "fps" not in kind:  # without timestamps there is no rate
            np.testing.assert_array_equal(of_cache, of_live)
            compared += 1
    assert compared >= 10


def test_stratified_batches_show_the_same_moments_cached_in_any_layout_and_live(caches, live):
    """The order is by video and time, so it does not depend on where a cache keeps its frames."""
    options = {"sampling": "stratified", "batch_size": 32, "seed": 5, "remainder": "uneven", "num_threads": 1}
    stores = {kind: open_store(caches / kind) for kind in EVERY_FRAME}
    loaders = {kind: FrameLoader(store, **options) for kind, store in stores.items()}
    loaders |= {f"live {ahead}": FrameLoader(live, lookahead=ahead, **options) for ahead in (0, 3)}
    moments = {
        name: [
            [*zip(batch.video_ids.tolist(), batch.frame_in_video.tolist(), strict=True)] for batch in loader
        ]
        for name, loader in loaders.items()
    }
    first = moments.pop("live 0")
    assert sum(map(len, first)) == len(live) == len({moment for batch in first for moment in batch})
    assert all(found == first for found in moments.values())


@pytest.mark.parametrize("kind", EVERY_FRAME)
def test_cached_and_live_stores_have_the_same_videos_and_frames(caches, live, kind):
    cached = open_store(caches / kind)
    assert len(cached.videos) == len(live.videos) == 16
    for name in ("path", "num_frames_stored", "num_frames_decoded", "transfer", "sha256"):
        assert cached.videos.column(name).tolist() == live.videos.column(name).tolist()
    for name in ("width", "height", "fps", "duration_seconds"):
        np.testing.assert_array_equal(cached.videos.column(name), live.videos.column(name))
    assert set(cached.videos.column("verdict")) == {"whole"}
    assert set(live.videos.column("verdict")) == {None}
    for video_id in range(16):
        ids, live_ids = cached.ids_of_video(video_id), live.ids_of_video(video_id)
        for name in ("video_id", "frame_in_video", "pts_seconds"):
            np.testing.assert_array_equal(cached.index[name][ids], live.index[name][live_ids])
    middle = int(live.ids_of_video(3)[4])
    np.testing.assert_array_equal(live[middle], live.read_frames([middle])[0])
    np.testing.assert_array_equal(cached[-3:], cached.read_frames(range(len(cached) - 3, len(cached))))


def test_unreadable_videos_are_rows_without_frames(tmp_path):
    folder = tiny_folder(tmp_path / "videos", simple_specs()[:2])
    (tmp_path / "videos" / "00a.mp4").write_bytes(b"no video")
    run("--videos", folder.path, "--out", tmp_path / "cache", *SMALL, "--on-error", "skip")
    cached, live = open_store(tmp_path / "cache"), open_videos(folder.path, size=64)
    for store in (cached, live):
        assert store.videos[1].verdict == "unreadable"
        assert store.videos[1].width is store.videos[1].fps is store.videos[1].sha256 is None
        assert store.ids_of_video(1).tolist() == []
        assert np.diff(store.source_order.first_row).tolist() == [20, 0, 23]


@pytest.fixture
def cache_of(caches, tmp_path):
    return lambda kind: shutil.copytree(caches / kind, tmp_path / kind)


def source_files(cache):
    return [path for path in sorted(cache.glob("gen-*/*.npy")) if path.name in SOURCE_FILE_NAMES]


def test_opening_and_reading_need_no_file_of_source_order(cache_of):
    cache = cache_of("wds-shuffled-stride")
    expected = open_store(cache).read_frames([0, 7])
    for path in source_files(cache):
        path.unlink()
    store = open_store(cache)
    np.testing.assert_array_equal(store.read_frames([0, 7]), expected)
    assert len(store.videos) == 16
    with pytest.raises(StoreDamagedError, match=r"first_row\.npy: cannot be read: .*; run cache-verify on "):
        store.ids_of_video(0)


@pytest.mark.parametrize("name", SOURCE_FILE_NAMES)
def test_a_file_that_is_cut_while_the_cache_is_open_is_an_error_and_no_signal(cache_of, name):
    cache = cache_of("wds-shuffled-stride")
    store = open_store(cache)
    store.ids_of_video(0)
    (path,) = cache.glob(f"gen-*/{name}")
    os.truncate(path, path.stat().st_size - 8)
    with pytest.raises(StoreDamagedError, match=rf"{name}: expected \d+ bytes, found \d+; run cache-verify"):
        store.ids_of_video(0)


def repaired(cache, videos=None):
    return run(cache, "--repair", *(["--videos", videos] if videos else []), command=cache_verify)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-4] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_source_order_are_made_again_from_the_index(cache_of, kind):
    cache = cache_of(kind)
    before = digests(cache)
    for number, path in enumerate(source_files(cache)):
        if path.name != "source_pts.npy" or kind in EVERY_FRAME:
            flip(path) if number % 2 else path.unlink()
    problems = verify_store(cache).problems
    assert len(problems) == sum(not path.exists() or path.read_bytes() != before[path] for path in before)
    result = repaired(cache)
    assert result.exit_code == 0, result.stderr
    assert digests(cache) == before


@pytest.mark.parametrize("kind", ["wds-shuffled-stride", "wds-video-fps", "zarr-video-stride"])
def test_times_of_frames_that_are_not_stored_need_the_videos(cache_of, sample_folder, kind):
    cache = cache_of(kind)
    before = digests(cache)
    (path,) = cache.glob("gen-*/source_pts.npy")
    flip(path)
    spoilt = digests(cache)
    result = repaired(cache)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert f"only the videos can give {path.parent.name}/source_pts.npy again" in result.stderr
    assert f"of {open_store(cache).videos[0].path} and " in result.stderr
    assert digests(cache) == spoilt
    result = repaired(cache, sample_folder.path)
    assert result.exit_code == 0, result.stderr
    assert digests(cache) == before


def test_times_of_a_damaged_video_are_made_again_by_decoding(tmp_path):
    folder = tmp_path / "videos"
    spec = tiny_video(folder, path=Path("v.mp4"), codec="mjpeg", pixel_format="yuvj420p", num_frames=9)
    with av.open(str(spec.path)) as container:
        packet = list(container.demux(video=0))[4]
        position, size = packet.pos, packet.size
    content = bytearray(spec.path.read_bytes())
    content[position : position + size] = bytes(size)  # its packets still promise nine frames
    spec.path.write_bytes(content)
    cache = tmp_path / "cache"
    run("--videos", folder, "--out", cache, *SMALL, "--on-error", "skip", "--stride", "2")
    with open_videos(folder, size=64) as live:
        assert len(live) == 9
    store = open_store(cache)
    assert (store.videos[0].verdict, store.videos[0].num_frames_decoded) == ("damaged", 8)
    np.testing.assert_allclose(store.source_order.source_pts * 25, [0, 1, 2, 3, 5, 6, 7, 8], atol=1e-9)
    before = digests(cache)
    (path,) = cache.glob("gen-*/source_pts.npy")
    path.unlink()
    result = repaired(cache, folder)
    assert result.exit_code == 0, result.stderr
    assert digests(cache) == before


def test_only_videos_with_frames_that_are_not_stored_are_read_and_must_be_those_of_the_build(
    cache_of, sample_folder, tmp_path
):
    cache = cache_of("zarr-video-stride")
    (path,) = cache.glob("gen-*/source_pts.npy")
    flip(path)
    videos = shutil.copytree(sample_folder.path, tmp_path / "videos")
    first = open_store(cache).videos[0].path
    (videos / first).write_bytes(b"no video")
    result = repaired(cache, videos)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert first in result.stderr
    assert "are not those that the cache was made from" in result.stderr


def test_files_do_not_depend_on_the_number_of_workers(tmp_path):
    folder = tiny_folder(tmp_path / "videos", simple_specs(num_frames=90))
    found = []
    for workers in (1, 3):
        out = tmp_path / str(workers)
        flags = ("--size", "32", "--workers", workers, "--stride", "2")
        assert run("--videos", folder.path, "--out", out, *map(str, flags)).exit_code == 0
        found.append({path.name: path.read_bytes() for path in source_files(out)})
    assert found[0] == found[1]
    assert set(found[0]) == set(SOURCE_FILE_NAMES)
