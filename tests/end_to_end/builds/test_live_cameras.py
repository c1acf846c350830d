"""A data set decoded live and its cache give the same frames, rows and columns, also where an episode was left out."""

import warnings
from dataclasses import replace

import av
import numpy as np
import pytest

import cache_builder
from frame_store import open_store
from frame_store.cameras import CameraGroup
from tests.support.lerobot import CameraSpec, LeRobotSpec, edit_episodes, read_picture, write_lerobot

KEYS = [f"observation.images.{name}" for name in ("front", "wrist", "side")]
CODECS = {
    "h264": CameraSpec(codec="h264", gop_size=2),
    "h264 with B-frames": CameraSpec(codec="h264", gop_size=7, num_b_frames=3),
    "hevc": CameraSpec(codec="hevc", gop_size=2, width=128, height=96),
    "hevc in long groups": CameraSpec(codec="hevc", gop_size=9, num_b_frames=2),
    "av1": CameraSpec(codec="av1", gop_size=2),
}
MIXTURES = [
    ("h264", "h264 with B-frames"),
    ("hevc", "hevc in long groups", "h264 with B-frames"),
    ("av1", "h264"),
    ("av1", "av1", "hevc"),
]
LENGTHS = (9, 13, 5, 11, 8)


def write(root, names: tuple[str, ...], lengths=LENGTHS) -> None:
    if "av1" in names and "libsvtav1" not in av.codecs_available:
        pytest.skip("PyAV has no encoder of AV1")
    cameras = tuple(
        replace(CODECS[name], key=key, episodes_per_file=(2 + number, 1))
        for number, (name, key) in enumerate(zip(names, KEYS, strict=False))
    )
    write_lerobot(root, LeRobotSpec(cameras=cameras, lengths=lengths))


def both(root, out, **options) -> tuple[CameraGroup, CameraGroup]:
    """(live, cached), at native size and raw."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        live = cache_builder.open_videos(root, size="native")
        cache_builder.build_cache(
            root, out, size="native", encoding="raw", layout="video", on_error="skip", **options
        )
    return live, open_store(out)


@pytest.mark.parametrize("names", MIXTURES, ids=" + ".join)
def test_every_frame_row_and_value_is_the_same(tmp_path, names):
    write(tmp_path / "set", names)
    live, cached = both(tmp_path / "set", tmp_path / "cache")
    ids = np.arange(len(cached))
    assert len(live) == len(cached) == sum(LENGTHS)
    assert live.frame_shapes == cached.frame_shapes
    for number, name in enumerate(cached.cameras):
        frames = cached.read_frames(ids, camera=name)
        np.testing.assert_array_equal(live.read_frames(ids, camera=name), frames)
        shown = [read_picture(frame) for frame in frames]
        assert shown == [(number, episode, f) for episode, n in enumerate(LENGTHS) for f in range(n)]
        ours, theirs = live.camera(name), cached.camera(name)
        for field in ("video_id", "frame_in_video", "pts_seconds"):
            np.testing.assert_array_equal(ours.rows_of(ids)[field], theirs.rows_of(ids)[field])
        for field in ("path", "num_frames_decoded", "num_frames_stored", "width", "height", "sha256"):
            assert ours.videos.column(field).tolist() == theirs.videos.column(field).tolist()
    # A cache also records the hash of the values.
    assert live.dataset == {key: value for key, value in cached.dataset.items() if key != "sha256"}
    assert list(live.columns) == list(cached.columns)
    for name, column in cached.columns.items():
        rows = np.arange(len(column))
        np.testing.assert_array_equal(live.columns[name].gather(rows), column.gather(rows))
        assert live.columns[name].strings == column.strings


@pytest.mark.parametrize("is_broken", [False, True], ids=["whole", "an episode left out"])
def test_two_thousand_random_ids_show_one_moment_in_all_cameras(tmp_path, is_broken):
    write(tmp_path / "set", ("h264 with B-frames", "hevc in long groups", "h264"))
    if is_broken:
        edit_episodes(tmp_path / "set", 1, {f"videos/{KEYS[1]}/from_timestamp": lambda start: start + 50.0})
    live, cached = both(tmp_path / "set", tmp_path / "cache")
    expected = [
        (episode, frame)
        for episode, n in enumerate(LENGTHS)
        if not (is_broken and episode == 1)
        for frame in range(n)
    ]
    assert len(live) == len(cached) == len(expected)
    ids = np.random.default_rng(0).integers(len(live), size=2_000)
    for group in (live, cached):
        assert group.videos.column("path").tolist() == [f"episode_{n:06d}" for n in range(len(LENGTHS))]
        for number, name in enumerate(KEYS):
            shown: list[tuple[int, int, int] | None] = [None] * len(group)
            for batch in np.split(ids, 8):
                for frame_id, frame in zip(
                    batch.tolist(), group.read_frames(batch, camera=name), strict=True
                ):
                    shown[frame_id] = read_picture(frame)
                    assert shown[frame_id] == (number, *expected[frame_id])
            assert None not in shown
