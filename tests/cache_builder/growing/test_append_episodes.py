"""Appends to caches of cameras: of a plain folder, and of LeRobot data sets that have got further episodes."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cache_builder import build_cache, forget_videos
from cache_builder.cli import cache_info
from cache_builder.errors import ColumnsError, OutputError
from frame_store import open_store
from frame_store.manifest import read_manifest, read_trees
from frame_store.reader import CacheStore
from tests.support.commands import digests, run
from tests.support.lerobot import CameraSpec, write_lerobot
from tests.support.videos.tiny_videos import tiny_video

pytest.importorskip("pyarrow")

SETTINGS = {"size": 16, "frames_per_shard": 10, "workers": 1}
DEPTH = CameraSpec(key="b", codec="ffv1", depth="gray16le", episodes_per_file=(1,))
MKV = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mkv"


def frames_of(cache, camera):
    with CacheStore(cache, camera=camera) as store:
        return store.read_frames(np.arange(len(store)))


def write(root, lengths, *, per_file=(2, 1), **more):
    return write_lerobot(
        root,
        cameras=(CameraSpec(key="a", episodes_per_file=per_file), DEPTH),
        lengths=lengths,
        video_path=MKV,
        episodes_per_data_file=(2, 1),
        **more,
    )


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory):
    """`two`: episodes of 5 and 7 frames. `three`: another one, of 6 frames, in new files. `grown`: in the same file."""
    folder = tmp_path_factory.mktemp("sets")
    write(folder / "two", (5, 7))
    write(folder / "three", (5, 7, 6))
    write(folder / "grown", (5, 7, 6), per_file=(3,))
    for name in ("three", "grown"):
        keep_files(folder / "two", folder / name, except_for="file-000.mkv" if name == "grown" else "")
    return folder


def keep_files(before, root, *, except_for=""):
    """Give a data set the files of an earlier state of it: Matroska's differ at each writing."""
    for camera in "ab":
        for path in (before / "videos" / camera).rglob("*.mkv"):
            if camera == "b" or path.name != except_for:
                shutil.copy2(path, root / path.relative_to(before))


def become(data_sets, name, root):
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(data_sets / name, root)


@pytest.fixture
def here(data_sets, tmp_path):
    become(data_sets, "two", tmp_path / "set")
    build_cache(tmp_path / "set", tmp_path / "c", **SETTINGS)
    return tmp_path


def append(here, **more):
    return build_cache(here / "set", here / "c", append=True, workers=1, **more)


@pytest.mark.parametrize("name", ["three", "grown"])
def test_a_data_set_that_has_got_an_episode(here, data_sets, name):
    before = digests(here / "c")
    frames = {camera: frames_of(here / "c", camera) for camera in "ab"}
    become(data_sets, name, here / "set")
    report = append(here)
    assert [video.path for video in report.videos] == ["episode_000002"]
    assert report.append.num_videos_checked == (2 if name == "grown" else 0)
    assert before.items() <= digests(here / "c").items()
    manifest = read_manifest(here / "c")
    assert [entry.num_frames for entry in manifest.cameras[1].generations] == [12, 6]
    assert [(entry.first_video, entry.num_videos) for entry in manifest.columns] == [(0, 2), (2, 1)]
    alone = here / "alone"
    build_cache(here / "set", alone, include="*2", **SETTINGS)
    for camera in "ab":
        found = frames_of(here / "c", camera)
        np.testing.assert_array_equal(found[:12], frames[camera])
        np.testing.assert_array_equal(found[12:], frames_of(alone, camera))
    if name == "three":
        theirs = read_manifest(alone)
        for ours, other in zip(manifest.cameras, theirs.cameras, strict=True):
            assert ours.generations[1].digest == other.generations[0].digest
        assert manifest.columns[1].digest == theirs.columns[0].digest
    store = open_store(here / "c")
    action = store.columns["action"].gather(np.arange(18))
    assert action[12:, 0].tolist() == [2] * 6
    assert action[:12, 0].tolist() == [0] * 5 + [1] * 7
    written = digests(here / "c")
    assert append(here).status == append(here, rehash=True).status == "already complete"
    assert run(here / "c", "--against", here / "set", command=cache_info).exit_code == 0
    assert build_cache(here / "set", here / "c", **SETTINGS).status == "already complete"
    assert digests(here / "c") == written


def test_a_grown_file_whose_earlier_episodes_have_other_frames_is_refused(here, data_sets):
    before = digests(here / "c")
    shutil.rmtree(here / "set")

    def draw(episode, frame):
        return np.full((64, 96, 3), 200 if (episode, frame) == (1, 3) else 90, np.uint8)

    write_lerobot(
        here / "set",
        cameras=(CameraSpec(key="a", draw=draw), DEPTH),
        lengths=(5, 7, 6),
        video_path=MKV,
        episodes_per_data_file=(2, 1),
    )
    keep_files(data_sets / "two", here / "set", except_for="file-000.mkv")
    with pytest.raises(
        OutputError, match=r"(?s)2 videos changed .*episode_000001: camera a: frame 0 has another"
    ):
        append(here)
    assert digests(here / "c") == before
    report = append(here, forget=["episode_000000", "episode_000001"])
    assert (report.append.num_videos, read_manifest(here / "c").forgotten_videos) == (3, [0, 1])
    assert [row.path for row in open_store(here / "c").videos] == [f"episode_00000{n}" for n in range(3)]


def test_values_that_changed_or_features_that_were_added_are_told(here, data_sets):
    become(data_sets, "three", here / "set")
    append(here)
    from tests.support.lerobot.edits import edit_data

    edit_data(here / "set", 0, 1, {"next.reward": np.float32(77)})
    found = run(here / "c", "--against", here / "set", command=cache_info)
    assert (found.exit_code, "the data set has other values" in found.stdout) == (1, True)
    with pytest.raises(OutputError, match="or its values"):
        build_cache(here / "set", here / "c", **SETTINGS)


def test_columns_added_to_a_data_sets_cache_are_asked_for_and_another_source_needs_masks(here, data_sets):
    from cache_builder import add_columns

    names = ["episode_000000", "episode_000001"]
    add_columns(here / "c", {"video": names, "goal": [1, 2]})
    become(data_sets, "three", here / "set")
    with pytest.raises(ColumnsError, match="the column 'goal', which nothing gives"):
        append(here)
    append(here, columns={"video": [*names, "episode_000002"], "goal": [1, 2, 3]})
    store = open_store(here / "c")
    assert store.columns["goal"].gather(np.arange(3)).tolist() == [1, 2, 3]
    assert store.columns["action"].gather(np.array([17])).tolist()[0][:2] == [2, 5]
    statement = store.cameras["a"].dataset if hasattr(store, "cameras") else store.dataset
    assert len(statement["episodes"]["length"].split()) == 3


def test_cameras_of_a_folder(tmp_path):
    pattern = "{episode}/{camera}.mp4"
    for episode, length in (("e1", 6), ("e2", 7)):
        for camera in ("left", "right"):
            tiny_video(tmp_path / "videos" / episode, path=Path(f"{camera}.mp4"), num_frames=length)
    build_cache(tmp_path / "videos", tmp_path / "c", include="e1", camera_pattern=pattern, **SETTINGS)
    more = {"camera_pattern": pattern, "append": True, "workers": 1}
    with pytest.raises(OutputError, match="has cameras left, right, the sources have no cameras"):
        build_cache(tmp_path / "videos", tmp_path / "c", append=True)
    report = build_cache(tmp_path / "videos", tmp_path / "c", **more)
    assert (report.status, report.num_frames, [camera.num_frames for camera in report.cameras]) == (
        "appended", 7, [7, 7]
    )  # fmt: skip
    build_cache(tmp_path / "videos", tmp_path / "d", include="e2", camera_pattern=pattern, **SETTINGS)
    for ours, alone in zip(read_trees(tmp_path / "c"), read_trees(tmp_path / "d"), strict=True):
        assert ours.generations[1].entry.digest == alone.generations[0].entry.digest
    assert forget_videos(tmp_path / "c", "e1").num_frames == 7
    assert len(open_store(tmp_path / "c")) == 7
    refused = run(tmp_path / "videos", "--out", tmp_path / "c" / "camera-00", "--append")
    assert (refused.exit_code, "a camera of one; give the whole" in refused.stderr) == (2, True)
