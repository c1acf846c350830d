"""Cameras of plain folders, the size of the videos themselves, and what a dry run says about episodes."""

import numpy as np
import pytest

from cache_builder.api import build_cache, estimate_build
from cache_builder.errors import ConfigError, VideosNotWholeError
from cache_builder.settings import BuildSettings, resolve
from cache_builder.video.decode import VideoReader
from cache_builder.video.picture import FrameConverter, FrameGeometry
from cache_builder.video.scan import scan_video
from frame_store import open_store
from frame_store.manifest import read_trees
from tests.end_to_end.episodes.test_build_episodes import (
    FRONT,
    LENGTHS,
    WRIST,
    break_packet,
    digests,
    numbers_of,
)
from tests.support.episodes import build, cut_source, source_of, write_whole
from tests.support.lerobot import CameraSpec, read_picture, write_lerobot

PATTERN = "{episode}/{camera}.mp4"
SIZES = {"front": (96, 64), "wrist": (80, 48)}


def write_cameras(folder, numbers):
    """Folders of episodes with a video of each camera; `numbers` are the frames of (front, wrist)."""
    for episode, of_cameras in enumerate(numbers):
        for camera, (name, num_frames) in enumerate(zip(SIZES, of_cameras, strict=True)):
            path = folder / f"ep{episode}" / f"{name}.mp4"
            write_whole(path, camera=camera, num_frames=num_frames, size=SIZES[name])
    return folder


@pytest.mark.parametrize("proved", [True, False])
def test_episodes_of_a_folder_whose_cameras_differ_are_left_out_in_all(tmp_path, proved, monkeypatch):
    folder = write_cameras(tmp_path / "v", [(10, 10), (9, 10), (8, 8)])
    if not proved:  # packets then tell nothing, and decoding does
        monkeypatch.setattr("cache_builder.plan.claims.predict_frames", lambda scan: None)
    settings = {"camera_pattern": PATTERN, "size": "native", "workers": 1}
    text = "ep1: its cameras have different numbers of frames: front: 9 frames, wrist: 10 frames"
    with pytest.raises(VideosNotWholeError, match=text):
        build_cache(folder, tmp_path / "c", **settings)
    if proved:
        estimate = estimate_build(folder, tmp_path / "c", **settings)
        assert estimate.problems == [text]
        assert (estimate.num_videos, estimate.num_cameras, estimate.num_frames_stored) == (3, 2, 36)
    report = build_cache(folder, tmp_path / "c", on_error="skip", **settings)
    assert [video.verdict for video in report.videos] == ["whole", "unreadable", "whole"]
    assert text.endswith(report.cameras[1].videos[1].reason)
    shown = {
        name: [read_picture(picture)[::2] for picture in camera.read_frames(np.arange(18))]
        for name, camera in open_store(tmp_path / "c").cameras.items()
    }
    assert [frame for _, frame in shown["front"]] == [frame for _, frame in shown["wrist"]]
    assert {camera for camera, _ in shown["wrist"]} == {1}
    again = build_cache(folder, tmp_path / "c", on_error="skip", **settings)
    assert again.status == "already complete"


def test_a_damaged_video_of_the_right_length_is_stored_as_damaged(tmp_path):
    folder = write_cameras(tmp_path / "v", [(40, 40), (40, 40)])
    broken = break_packet(folder / "ep1/front.mp4", 28, tmp_path / "broken.mp4")
    broken.replace(folder / "ep1/front.mp4")
    settings = {"camera_pattern": PATTERN, "size": "native", "workers": 1}
    with pytest.raises(VideosNotWholeError, match="ep1"):
        build_cache(folder, tmp_path / "c", **settings)
    report = build_cache(folder, tmp_path / "c", on_error="skip", **settings)
    assert [[video.verdict for video in camera.videos] for camera in report.cameras] == [
        ["whole", "damaged"],
        ["whole", "whole"],
    ]
    assert report.num_frames == 80


def test_native_pixels_are_those_of_a_conversion_without_scaling(tmp_path):
    path = write_whole(tmp_path / "v" / "a.mp4", size=(90, 50))
    build_cache(
        tmp_path / "v",
        tmp_path / "c",
        size="native",
        format="zarr",
        encoding="raw",
        layout="video",
        workers=1,
    )
    store = open_store(tmp_path / "c")
    assert store.frame_shape == (50, 90, 3)
    scan = scan_video(path, "a.mp4")
    converter = FrameConverter(FrameGeometry(height=50, width=90), scan.facts.presentation.plain)
    with VideoReader(path, scan) as reader:
        frames = [converter.convert(decoded.frame) for decoded in reader.decode(0, len(scan.packets))]
    np.testing.assert_array_equal(store.read_frames(np.arange(40)), np.stack(frames))


def test_native_size_is_one_size_a_camera(tmp_path):
    folder = write_cameras(tmp_path / "v", [(4, 4), (4, 4)])
    write_whole(folder / "ep1/front.mp4", num_frames=4, size=(64, 64))
    with pytest.raises(ConfigError) as error:
        build_cache(folder, tmp_path / "c", camera_pattern=PATTERN, size="native", workers=1)
    assert str(error.value) == (
        "size='native': camera front: ep0/front.mp4 has 64x96 pixels (height x width), ep1/front.mp4 has 64x64; "
        "give size one size for all"
    )
    assert not (tmp_path / "c").exists()
    report = build_cache(folder, tmp_path / "c", camera_pattern=PATTERN, size=32, workers=1)
    assert [camera.frame_shape for camera in report.cameras] == [(32, 32, 3)] * 2


@pytest.mark.parametrize("size", ["0", "0x0", 0, "natives"])
def test_native_is_the_only_word_for_it(size):
    with pytest.raises(ConfigError, match="size"):
        resolve(BuildSettings(size=size))


def test_the_recorded_size_is_the_resolved_one(tmp_path):
    write_whole(tmp_path / "v" / "a.mp4", num_frames=5)
    build_cache(tmp_path / "v", tmp_path / "c", size="native", workers=1)
    (tree,) = read_trees(tmp_path / "c")
    geometry = tree.common.config["geometry"]
    assert (geometry["height"], geometry["width"], geometry["resize"]) == (64, 96, "stretch")
    assert build_cache(tmp_path / "v", tmp_path / "c", size="native", workers=1).status == "already complete"
    assert digests(tmp_path / "c")


def test_depth_cameras_are_stored_as_levels(tmp_path):
    written = write_lerobot(
        tmp_path / "set",
        cameras=(CameraSpec(key=FRONT), CameraSpec(key=WRIST, codec="ffv1", depth="gray16le")),
        lengths=LENGTHS,
        video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mkv",
    )
    build(source_of(written), tmp_path / "c", *resolve(BuildSettings(size="native", workers=1)))
    store = open_store(tmp_path / "c")
    assert {name: (camera.frame_shape, camera.frame_dtype) for name, camera in store.cameras.items()} == {
        FRONT: ((64, 96, 3), np.uint8),
        WRIST: ((64, 96, 1), np.uint16),
    }
    shown, indexed = numbers_of(tmp_path / "c")
    assert shown == indexed
    assert [tree.common.encoding.name for tree in read_trees(tmp_path / "c")] == ["jpeg", "raw"]
    notes = [video.notes for tree in read_trees(tmp_path / "c") for video in tree.read_videos()]
    assert not any("stored as 8" in note for of_video in notes for note in of_video)


def test_a_dry_run_counts_episodes_as_a_build_does(tmp_path):
    written = write_lerobot(
        tmp_path / "set", cameras=(CameraSpec(key=FRONT), CameraSpec(key=WRIST)), lengths=LENGTHS
    )
    settings = {"size": "native", "stride": 4, "include": "episode_00000[12]"}
    estimate = estimate_build(written.root, tmp_path / "c", **settings)
    report = build_cache(written.root, tmp_path / "c", workers=1, **settings)
    assert (estimate.num_videos, estimate.num_cameras, estimate.has_episodes) == (2, 2, True)
    assert estimate.num_frames_stored == 2 * report.num_frames == 2 * (3 + 2)
    assert estimate.num_shards == report.num_shards
    assert not estimate.problems


def test_a_source_of_episodes_may_have_no_cameras(tmp_path):
    path = write_whole(tmp_path / "a.mp4")
    contents = cut_source({None: path}, [(3, 15), (20, 40)])
    report = build(
        contents, tmp_path / "c", *resolve(BuildSettings(size="native", workers=1, layout="video"))
    )
    assert (report.num_frames, report.cameras) == (32, [])
    frames = open_store(tmp_path / "c").read_frames(np.arange(32))
    assert [read_picture(frame)[2] for frame in frames] == [*range(3, 15), *range(20, 40)]
