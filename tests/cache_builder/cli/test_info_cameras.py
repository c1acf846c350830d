"""`cache-info`, `cache-verify` and added columns on caches of cameras, built from data sets that the tests write."""

import json
import shutil

import numpy as np
import pytest

from cache_builder import add_columns, open_videos
from cache_builder.cli import cache_info, cache_verify
from frame_store import open_store
from frame_store.errors import StoreError
from frame_store.manifest import read_manifest
from tests.support.caches.camera_cache import write_camera_cache
from tests.support.commands import run
from tests.support.lerobot import CameraSpec, edit_data, edit_info, write_lerobot

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
LENGTHS = (6, 4, 5)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("lerobot") / "set"
    cameras = (CameraSpec(key=FRONT), CameraSpec(key=WRIST, episodes_per_file=(2, 1)))
    write_lerobot(root, lengths=LENGTHS, cameras=cameras, fps=10)
    return root


@pytest.fixture(scope="module")
def built(data_set):
    cache = data_set.parent / "cache"
    flags = ["--size", "24x32", "--format", "wds", "--encoding", "raw", "--workers", "1"]
    assert run(data_set, "--out", cache, *flags).exit_code == 0
    return cache


def test_info_says_what_cameras_share_and_then_each_camera(built):
    lines = run(built, command=cache_info).stdout.splitlines()
    assert lines[0] == f"{built}: 2 cameras of 3 episodes, 15 frames of each camera"
    assert lines[1].startswith("  dataset    lerobot, robot ")
    assert ", 10 fps, 3 episodes, v3.0" in lines[1]
    assert lines[2].startswith("  tasks      ")
    assert "  column     action: per frame, float32 (4)" in lines
    assert f"camera '{FRONT}' in camera-00: 15 frames of 24x32 RGB from 3 videos" in lines
    assert f"camera '{WRIST}' in camera-01: 15 frames of 24x32 RGB from 3 videos" in lines
    assert not any("episode_00" in line for line in lines)  # all are whole


def test_info_lists_episodes_with_their_file_and_frames_of_it(built):
    lines = run(built, "--videos", command=cache_info).stdout.splitlines()
    of_second = [line for line in lines if "'episode_000001'" in line]
    assert [line.split()[5:7] for line in of_second] == [["0.40", "s"]] * 2
    assert f"'videos/{WRIST}/chunk-000/file-000.mp4'" in of_second[1]
    assert of_second[1].endswith("  6-9")
    (third,) = [line for line in lines if "'episode_000002'" in line and WRIST in line]
    assert f"'videos/{WRIST}/chunk-000/file-001.mp4'" in third
    assert third.endswith("  0-4")
    heads = [line for line in lines if "frames of it" in line]
    assert len(heads) == 2
    assert heads[1].index("file") == of_second[1].index("'videos/")


def test_info_as_json_has_every_camera(built):
    stated = json.loads(run(built, "--json", command=cache_info).stdout)
    assert stated["generations"] is stated["totals"] is stated["videos"] is None
    assert [camera["name"] for camera in stated["cameras"]] == [FRONT, WRIST]
    assert [camera["folder"] for camera in stated["cameras"]] == ["camera-00", "camera-01"]
    assert [camera["totals"]["num_frames"] for camera in stated["cameras"]] == [15, 15]
    span = stated["cameras"][1]["videos"][2]["span"]
    assert span["first_frame"] == 0
    assert span["file"].endswith("file-001.mp4")
    assert stated["dataset"]["kind"] == "lerobot"
    assert "action" in [column["name"] for column in stated["columns"]]


def test_durations_are_those_of_episodes(built, data_set):
    expected = [length / 10 for length in LENGTHS]
    cached = open_store(built)
    assert cached.videos.column("duration_seconds") == pytest.approx(expected)
    live = open_videos(data_set, size=(24, 32))
    for name in (FRONT, WRIST):
        table, other = cached.cameras[name].videos, live.cameras[name].videos
        for field in ("path", "duration_seconds", "first_frame_in_file", "sha256"):
            np.testing.assert_array_equal(table.column(field), other.column(field))


def test_against_names_the_camera_of_what_changed(built, data_set, tmp_path):
    result = run(built, "--against", data_set, command=cache_info)
    assert result.exit_code == 0
    assert result.stdout == f"{data_set}: its 3 videos by 2 cameras, unchanged\n"
    changed = tmp_path / "set"
    shutil.copytree(data_set, changed)
    (file,) = changed.glob(f"videos/{WRIST}/*/file-001.mp4")
    file.write_bytes(file.read_bytes() + b"\0")
    result = run(built, "--against", changed, command=cache_info)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:-1] == [f"camera {WRIST}: video episode_000002: changed since"]
    write_lerobot(tmp_path / "longer", lengths=(*LENGTHS, 3), cameras=(CameraSpec(key=FRONT),))
    result = run(built, "--against", tmp_path / "longer", command=cache_info)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == (
        f"the cache has cameras {FRONT}, {WRIST}, the videos given have cameras {FRONT}"
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: edit_data(root, 1, 2, {"next.reward": 0.5}), id="a value"),
        pytest.param(lambda root: edit_info(root, robot_type="another"), id="metadata"),
    ],
)
def test_against_tells_what_changed_beside_the_videos(built, data_set, tmp_path, change):
    changed = tmp_path / "set"
    shutil.copytree(data_set, changed)
    change(changed)
    result = run(built, "--against", changed, command=cache_info)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == (
        "the data set has other values beside its videos, or states something else of itself"
    )


def test_verify_counts_the_frames_of_all_cameras(built):
    result = run(built, command=cache_verify)
    assert result.exit_code == 0
    assert "30 frames in" in result.stdout
    assert json.loads(run(built, "--json", command=cache_verify).stdout)["num_frames_checked"] == 30


def test_columns_are_added_beside_those_of_the_data_set(built):
    before = open_store(built)
    names, dataset = set(before.columns), before.dataset
    table = {"video": [row.path for row in before.videos], "success": np.array([True, False, True])}
    report = add_columns(built, table)
    assert report.status == "written"
    assert report.folders[0] in [path.name for path in built.iterdir()]
    manifest = read_manifest(built)
    assert manifest.version == 1
    assert [camera.name for camera in manifest.cameras] == [FRONT, WRIST]
    for store in (open_store(built), open_store(built, camera=WRIST)):
        assert set(store.columns) == names | {"success"}
        assert store.dataset == dataset
        assert store.columns["success"].gather(np.arange(3)).tolist() == [True, False, True]
    assert run(built, command=cache_verify).exit_code == 0
    assert add_columns(built, table).status == "already complete"
    by_flag = built.parent / "more.npz"
    np.savez(by_flag, video=[row.path for row in before.videos], weight=np.arange(3.0))
    assert run("--columns", by_flag, "--out", built).exit_code == 0
    assert set(open_store(built).columns) == names | {"success", "weight"}
    assert open_store(built).dataset == dataset
    assert run(built, command=cache_verify).exit_code == 0


def test_a_data_set_of_another_kind_or_of_a_stranger_is_shown_by_its_kind(tmp_path):
    write_camera_cache(tmp_path / "cache")  # `info` is no text there, as LeRobot's statement has it
    lines = run(tmp_path / "cache", command=cache_info).stdout.splitlines()
    assert lines[0] == f"{tmp_path / 'cache'}: 2 cameras of 4 episodes, 24 frames of each camera"
    assert lines[1].startswith("  dataset    lerobot, ")
    assert lines[2] == "  column     action: per frame, float32 (2)"


def test_columns_of_damaged_cameras_are_refused(tmp_path):
    write_camera_cache(tmp_path / "cache")
    (record,) = tmp_path.glob("cache/camera-00/gen-*/generation.json")
    record.write_bytes(b"{}")
    with pytest.raises(StoreError, match="camera-00"):
        add_columns(tmp_path / "cache", {"video": ["episode_000000"], "x": [1]})
