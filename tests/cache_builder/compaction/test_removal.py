"""Superseded folders: removed when nobody has an older version open, kept while somebody has."""

import errno
import fcntl
import gc
import os
import pickle
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cache_builder import add_columns, compact_cache
from cache_builder.compaction import compact, compaction_lines, removal
from cache_builder.errors import MachineError
from frame_store import open_store
from frame_store.errors import StoreDamagedError
from frame_store.manifest import ClaimedManifest, encode_manifest, next_manifest, read_manifest, tree
from frame_store.names import manifest_name
from frame_store.reader import CacheStore
from frame_store.verify import verify_store
from tests.support.caches.made_generations import append_variant, write_grown

READER = """
import hashlib, sys
from frame_store import open_store
store = open_store(sys.argv[1], reads="pread")
epochs = set()
for line in sys.stdin:
    epochs.add(hashlib.sha256(store.read_frames(range(len(store))).tobytes()).hexdigest())
    store.source_order.ids_of_video(0), store.videos[0]
    store.close()
    print(len(store), len(epochs), flush=True)
"""


@pytest.fixture
def cache(tmp_path):
    return write_grown(tmp_path / "cache")


@pytest.fixture(autouse=True)
def _no_store_of_tests_before():
    gc.collect()


def removed_from(cache):
    """Folders that are removed, and those that stay, after all generations were joined."""
    report = compact_cache(cache, join_all=True, remove_superseded=True)
    return [each.folder for each in report.removed], [each.folder for each in report.in_use]


def test_a_reader_in_another_process_goes_on_while_the_cache_grows_and_shrinks(cache):
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(cache)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:

        def epoch():
            reader.stdin.write("\n")
            reader.stdin.flush()
            return reader.stdout.readline().split()

        assert epoch() == ["21", "1"]
        append_variant(cache, "wds-raw", (7,), number=3)
        assert epoch() == ["21", "1"]
        frames = CacheStore(cache).read_frames(range(28))
        report = compact_cache(cache, join_all=True, remove_superseded=True)
        in_use = {each.folder for each in report.in_use}
        assert len(in_use) == 3 and {each.reason for each in report.in_use} == {
            "in use by a reader that has manifest-0002.json open"
        }
        assert len(report.removed) == 1, "the appended one, which the reader does not know"
        assert f"{min(in_use)}: kept, in use by a reader" in "\n".join(compaction_lines(report))
        assert epoch() == ["21", "1"]
        reader.stdin.close()
        assert reader.wait(timeout=30) == 0
    num_bytes = sum(
        path.stat().st_size for each in in_use for path in (cache / each).rglob("*") if path.is_file()
    )
    report = compact_cache(cache, join_all=True, remove_superseded=True)
    assert {each.folder for each in report.removed} == in_use
    assert sum(each.num_bytes for each in report.removed) == num_bytes
    assert f"3 folders removed, {num_bytes:,} bytes freed" in compaction_lines(report)[-1]
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {
        entry.folder for entry in read_manifest(cache).generations
    }
    assert len(read_manifest(cache).superseded) == 4, "the names stay"
    np.testing.assert_array_equal(CacheStore(cache).read_frames(range(28)), frames)
    assert verify_store(cache).problems == []


def test_copies_and_children_of_a_store_hold_its_folders(cache):
    store = open_store(cache)
    copy = pickle.loads(pickle.dumps(store))
    del store
    assert removed_from(cache)[0] == []
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read, 1)
        os._exit(0)
    del copy
    removed, in_use = removed_from(cache)
    os.write(write, b".")
    os.waitpid(child, 0)
    os.close(read), os.close(write)
    assert (removed, len(in_use)) == ([], 3)
    assert len(removed_from(cache)[0]) == 3


def test_a_copy_of_a_store_whose_folders_were_removed_has_the_same_frames(cache):
    store = open_store(cache)
    frames, pickled = store.read_frames(range(21)), pickle.dumps(store)
    del store
    assert len(removed_from(cache)[0]) == 3
    np.testing.assert_array_equal(pickle.loads(pickled).read_frames(range(21)), frames)
    append_variant(cache, "wds-raw", (7,), number=3)
    again = pickle.loads(pickled)
    assert len(again) == 21
    np.testing.assert_array_equal(again.read_frames(range(21)), frames)
    del again
    removed_from(cache)
    with pytest.raises(StoreDamagedError, match="version 2, of which this store is a copy, was removed"):
        pickle.loads(pickled)


def test_a_folder_leaves_the_cache_before_its_files_are_deleted(cache, monkeypatch):
    deleted = []

    def fail(path, **options):
        deleted.append(path)
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(removal.shutil, "rmtree", fail)
        with pytest.raises(MachineError, match="Input/output error; the same command resumes"):
            removed_from(cache)
    (aside,) = deleted
    assert aside.parent == cache.with_name("cache.compact.building") / "removed"
    assert verify_store(cache).problems == []
    assert len(removed_from(cache)[0]) == 2
    assert not aside.parent.parent.exists()


def test_where_files_cannot_be_locked_readers_read_and_nothing_is_removed(cache, monkeypatch):
    flock = fcntl.flock

    def no_locks(descriptor, operation):
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).endswith(".json"):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert len(open_store(cache).read_frames(range(21))) == 21
    report = compact_cache(cache, join_all=True, remove_superseded=True)
    assert report.removed == []
    assert "No locks available" in report.in_use[0].reason
    assert "remove the folder yourself when nobody does" in report.in_use[0].reason


def test_an_older_manifest_that_cannot_be_read_may_name_any_folder(cache):
    (cache / "manifest-0000.json").write_text("{}")
    compact_cache(cache, join_all=True)
    with (cache / "manifest-0000.json").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert removed_from(cache)[0] == []
    assert len(removed_from(cache)[0]) == 3


def test_earlier_columns_are_removed_and_cameras_keep_their_folders(tmp_path):
    cache = write_grown(tmp_path / "cache", "cameras", [(5, 3)])
    add_columns(cache, {"video": ["0/0 ü.mp4", "0/1 ü.mp4"], "goal": [1, 2]})
    append_variant(cache, "cameras", (4,), number=1)
    report = compact_cache(cache, join_all=True, remove_superseded=True)
    kinds = sorted(each.folder.rpartition("/")[0] or each.folder.partition("-")[0] for each in report.removed)
    assert kinds == ["camera-00", "camera-00", "camera-01", "camera-01", "columns"]
    store = open_store(cache)
    assert len(store) == 12 and len(store.cameras) == 2


def older_manifest_first(monkeypatch):
    """Let the next reading of the newest manifest give the one before, as it was a moment ago."""
    read, calls = tree.read_manifest, []

    def stale(path, *, version=None):
        calls.append(version)
        newest = read(path, version=version)
        return read(path, version=newest.version - 1) if len(calls) == 1 else newest

    monkeypatch.setattr(tree, "read_manifest", stale)


@pytest.mark.parametrize("is_being_removed", [False, True])
def test_a_reader_that_comes_in_between_opens_the_newest_version(cache, monkeypatch, is_being_removed):
    compact_cache(cache, join_all=True)
    older_manifest_first(monkeypatch)
    if is_being_removed:
        monkeypatch.setattr(tree, "_is_followed", lambda *_: False)
        claim = ClaimedManifest(cache, 2)
    store = CacheStore(cache)
    assert store.manifest.version == 3
    assert store.tree.held.is_held
    if is_being_removed:
        claim.release()


def test_a_manifest_that_another_program_locks_is_read_nevertheless(cache):
    claim = ClaimedManifest(cache, 2)
    store = CacheStore(cache)
    assert (store.manifest.version, store.tree.held.is_held) == (2, False)
    claim.release()


def test_a_superseded_name_that_is_a_link_loses_the_link_alone(cache, tmp_path):
    compact_cache(cache, join_all=True)
    folder = cache / read_manifest(cache).superseded[0]
    elsewhere = tmp_path / "elsewhere"
    shutil.move(folder, elsewhere)
    folder.symlink_to(elsewhere)
    assert len(removed_from(cache)[0]) == 3
    assert elsewhere.is_dir() and not os.path.lexists(folder)


def test_more_versions_than_files_that_may_be_open(cache):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for _ in range(60):
        made = next_manifest(read_manifest(cache))
        (cache / manifest_name(made.version)).write_bytes(encode_manifest(made))
    lowered = len([*Path("/proc/self/fd").iterdir()]) + 40, limits[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, lowered)
    try:
        assert len(removed_from(cache)[0]) == 3
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == lowered
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_room_is_made_before_generations_are_joined(cache, monkeypatch):
    compact_cache(cache, join_all=True)
    append_variant(cache, "wds-raw", (7,), number=3)
    old = {cache / folder for folder in read_manifest(cache).superseded}
    there = []
    monkeypatch.setattr(compact, "_require_space", lambda *_: there.extend(map(Path.exists, old)))
    report = compact_cache(cache, join_all=True, remove_superseded=True)
    assert there == [False] * 3
    assert (len(report.removed), report.in_use, report.superseded) == (5, [], [])
