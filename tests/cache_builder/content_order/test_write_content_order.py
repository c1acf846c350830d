"""Content orders of complete caches on disk: written, read back, damaged, repaired, and complete at every kill."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cache_builder import add_columns, build_cache, write_content_order
from cache_builder.content_order import making, writing
from cache_builder.errors import MachineError, OutputError, RepairError
from cache_builder.repair import repair_cache
from frame_store import open_store
from frame_store.content_order import METHOD
from frame_store.errors import StoreDamagedError, StoreNotFoundError
from frame_store.manifest import read_manifest
from frame_store.verify import verify_store
from frame_store.views import content_ids, content_label
from tests.support.caches.camera_cache import write_camera_cache
from tests.support.content_orders.by_content import order_by_content
from tests.support.videos.tiny_videos import tiny_video

NUM_FRAMES = {"a.mp4": 9, "b/c.mp4": 6}
SMALL = {"size": 16, "workers": 1, "stride": 2}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    (folder / "b").mkdir(parents=True)
    for number, (path, num_frames) in enumerate(NUM_FRAMES.items()):
        tiny_video(folder, path=Path(path), num_frames=num_frames, video_number=number)
    return folder


@pytest.fixture(scope="module")
def built(videos, tmp_path_factory) -> Path:
    cache = tmp_path_factory.mktemp("orders") / "built.cache"
    build_cache(videos, cache, encoding="raw", **SMALL)
    return cache


@pytest.fixture
def cache(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "cache"))


def order_file(cache) -> Path:
    return cache / read_manifest(cache).content_orders[0].file.name


def test_an_order_is_written_and_no_file_changes(cache, built):
    report = write_content_order(cache)
    manifest = read_manifest(cache)
    (entry,) = manifest.content_orders
    assert manifest.version == 1
    assert (entry.first_frame, entry.num_frames, entry.method) == (0, manifest.num_frames, METHOD)
    assert (report.status, report.num_frames, report.num_frames_read) == ("written", 8, 8)
    assert (report.folder, report.num_bytes) == (entry.folder, order_file(cache).stat().st_size)
    store = open_store(cache)
    assert content_ids(store).tolist() == order_by_content(store).tolist()
    assert content_label(store) == entry.sha256[:16]
    assert store.fingerprint == open_store(built).fingerprint
    for path in built.rglob("*"):
        assert not path.is_file() or (cache / path.relative_to(built)).read_bytes() == path.read_bytes()
    result = verify_store(cache)
    assert (result.problems, result.notes) == ([], [])
    assert sorted(path.name for path in cache.parent.iterdir()) == ["cache", "cache.lock"]


def test_a_second_call_reads_nothing(cache, monkeypatch):
    first = write_content_order(cache)
    monkeypatch.setattr(writing, "made_order", None)
    again = write_content_order(cache)
    assert (again.status, again.folder, again.num_frames_read) == ("already complete", first.folder, 0)
    assert read_manifest(cache).version == 1


@pytest.mark.parametrize("layout", ["shuffled", "video"])
def test_build_and_later_call_give_the_same_bytes_in_tar_and_zarr(videos, tmp_path, layout):
    """Equal lossless payloads in an equal order of ids: whichever container, encoding, caller and number of threads."""
    files = {}
    for name, options in {
        "tar": {"format": "wds", "encoding": "raw", "frames_per_shard": 3},
        "zarr": {"format": "zarr", "encoding": "raw"},
        "zstd": {"format": "zarr", "encoding": "zstd"},
    }.items():
        build_cache(videos, tmp_path / name, layout=layout, content_order=True, **options, **SMALL)
        build_cache(videos, tmp_path / f"{name} later", layout=layout, **options, **SMALL)
        write_content_order(tmp_path / f"{name} later")
        for cache in (tmp_path / name, tmp_path / f"{name} later"):
            files[cache.name] = order_file(cache).relative_to(cache), order_file(cache).read_bytes()
            assert read_manifest(cache).version == 1
    assert len(set(files.values())) == 1


def test_the_build_resumes_with_the_order(videos, cache):
    build_cache(videos, cache, encoding="raw", content_order=True, **SMALL)
    assert read_manifest(cache).version == 1
    before = order_file(cache).stat().st_mtime_ns
    build_cache(videos, cache, encoding="raw", content_order=True, **SMALL)
    assert (read_manifest(cache).version, order_file(cache).stat().st_mtime_ns) == (1, before)


def test_columns_and_order_keep_each_other(cache):
    add_columns(cache, {"video": ["a", "c"], "task": ["push", "open"]})
    order = write_content_order(cache)
    assert list(open_store(cache).columns) == ["task"]
    add_columns(cache, {"video": ["a", "c"], "robot": [1, 2]})
    manifest = read_manifest(cache)
    assert sorted(open_store(cache).columns) == ["robot", "task"]
    assert [entry.folder for entry in manifest.content_orders] == [order.folder]
    assert len(manifest.superseded) == 1
    assert verify_store(cache).problems == []


class Killed(BaseException):
    pass


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("step", ["made_order", "sync_tree", "publish_folder", "commit_manifest"])
def test_a_kill_at_any_step_leaves_the_old_version_or_the_new_one(cache, monkeypatch, step, is_done):
    whole = getattr(writing, step)

    def kill(*args, **options):
        if is_done:
            whole(*args, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(writing, step, kill)
        patch.setattr("cache_builder.stages.Workspace.clear_content", lambda self: None)
        with pytest.raises(Killed):
            write_content_order(cache)
    is_new = is_done and step == "commit_manifest"
    assert (content_ids(open_store(cache)) is not None) == is_new
    assert verify_store(cache).problems == []
    report = write_content_order(cache)
    assert report.status == ("already complete" if is_new else "written")
    assert read_manifest(cache).version == 1
    assert verify_store(cache).problems == []
    write_content_order(cache)
    build = cache.with_name("cache.content.building")
    assert is_new or not os.path.lexists(build)


def test_a_folder_that_no_build_made_is_not_removed(cache):
    strange = cache.with_name("cache.content.building")
    strange.mkdir()
    (strange / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"content\.building: no build put that there"):
        write_content_order(cache)
    assert (strange / "thesis.txt").exists()


def test_a_version_that_another_process_wrote_is_not_replaced(cache, monkeypatch):
    sync = writing.sync_tree

    def another_commits(folder):
        sync(folder)
        (cache / "manifest-0001.json").write_bytes(b"theirs")

    monkeypatch.setattr(writing, "sync_tree", another_commits)
    with pytest.raises(OutputError, match="another process has written it"):
        write_content_order(cache)
    assert (cache / "manifest-0001.json").read_bytes() == b"theirs"


def test_a_cache_that_cannot_be_written_is_refused_before_its_frames_are_read(cache, monkeypatch):
    def read(*_, **__):
        raise AssertionError("read")

    monkeypatch.setattr(making, "read_coordinates", read)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != cache)  # root may write anywhere
    with pytest.raises(OutputError, match=r"cache: cannot be written; copy the cache to a place that can be"):
        write_content_order(cache)


def test_a_cache_that_is_a_mount_is_not_promised_that_the_same_command_resumes(cache, monkeypatch):
    def renamed(*_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(writing, "publish_folder", renamed)
    with pytest.raises(
        OutputError, match=r"cache: is mounted by itself, .* mount the folder that holds the cache"
    ):
        write_content_order(cache)
    assert read_manifest(cache).version == 0


def test_what_is_no_cache_is_an_error(tmp_path):
    with pytest.raises(StoreNotFoundError):
        write_content_order(tmp_path)


def test_a_full_disk_is_an_error_of_the_machine(cache, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(making, "write_order_file", full)
    with pytest.raises(MachineError, match="No space left on device; the same command resumes"):
        write_content_order(cache)
    assert read_manifest(cache).version == 0
    assert not os.path.lexists(cache.with_name("cache.content.building"))


def flip(path, at=-3):
    content = bytearray(path.read_bytes())
    content[at] ^= 64
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-4])])
@pytest.mark.parametrize("mend", [write_content_order, lambda cache: repair_cache(cache, workers=1)])
def test_a_damaged_order_is_found_and_made_again(cache, damage, mend):
    write_content_order(cache)
    path = order_file(cache)
    before = path.read_bytes()
    damage(path)
    (problem,) = verify_store(cache).problems
    assert problem.startswith(f"{path.relative_to(cache)}: ")
    mend(cache)
    assert path.read_bytes() == before
    assert verify_store(cache).problems == []
    assert read_manifest(cache).version == 1


def test_a_repair_names_the_file_and_is_idle_without_damage(cache):
    write_content_order(cache)
    flip(order_file(cache))
    made = repair_cache(cache, workers=1)
    assert [entry.name for entry in made] == [str(order_file(cache).relative_to(cache))]
    assert repair_cache(cache, workers=1) == []


def test_a_repair_that_gives_another_order_replaces_nothing(cache, monkeypatch):
    write_content_order(cache)
    flip(order_file(cache))
    damaged = order_file(cache).read_bytes()
    monkeypatch.setattr(making, "ids_in_order", lambda store, places: np.arange(8, dtype=np.uint32))
    with pytest.raises(
        RepairError, match=r"another hash than the recorded one.*nothing was replaced.*--write-order"
    ):
        repair_cache(cache, workers=1)
    assert order_file(cache).read_bytes() == damaged
    assert write_content_order(cache).status == "written"
    manifest = read_manifest(cache)
    assert manifest.version == 2
    assert len(manifest.superseded) == 1
    result = verify_store(cache)
    assert result.problems == []
    assert result.notes == [
        f"{manifest.superseded[0]}: holds a content order of an earlier version of the cache"
    ]


def test_an_order_of_an_unknown_method_is_told_and_replaced(cache, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("frame_store.content_order.order_file.METHOD", "other-7")
        write_content_order(cache)
    assert read_manifest(cache).content_orders[0].method == "other-7"
    assert content_ids(open_store(cache)) is not None
    flip(order_file(cache))
    with pytest.raises(RepairError, match=r"is damaged; the method 'other-7' made it, .*--write-order"):
        repair_cache(cache, workers=1)
    assert write_content_order(cache).status == "written"
    assert read_manifest(cache).content_orders[0].method == METHOD
    assert verify_store(cache).problems == []


def test_a_missing_order_is_an_error_when_it_is_read(cache):
    write_content_order(cache)
    store = open_store(cache)
    order_file(cache).unlink()
    with pytest.raises(
        StoreDamagedError, match=r"content_order.npy.*cache-verify --repair makes a content order again"
    ):
        content_ids(store)
    assert len(store.read_frames([0])) == 1


def test_an_order_that_is_cut_after_it_was_mapped_is_an_error(cache):
    write_content_order(cache)
    store = open_store(cache)
    assert len(content_ids(store)) == 8
    os.truncate(order_file(cache), 40)
    with pytest.raises(StoreDamagedError, match="was cut or replaced after it was opened"):
        content_ids(store)


def test_a_cache_of_cameras_is_ordered_by_its_first_camera(tmp_path):
    path = tmp_path / "cameras"
    write_camera_cache(path, sizes=(9, 7), seeds=[1, 2])
    report = write_content_order(path)
    group = open_store(path)
    first, second = group.cameras
    alone = open_store(path, camera=first)
    assert report.num_frames == len(group) == 16
    assert content_ids(group).tolist() == content_ids(alone).tolist() == order_by_content(alone).tolist()
    assert content_label(group) == content_label(alone)
    other = open_store(path, camera=second)
    assert content_ids(other) is None
    assert content_label(other) is None
    assert verify_store(path).problems == []
    assert group.columns
    flip(order_file(path))
    assert len(verify_store(path).problems) == 1
    assert len(repair_cache(path, workers=1)) == 1
    assert verify_store(path).problems == []
