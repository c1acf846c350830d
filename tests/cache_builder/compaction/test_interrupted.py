"""Compactions that are stopped, that find others at work, or that have no room."""

import shutil

import numpy as np
import pytest

from cache_builder import compact_cache
from cache_builder.compaction import compact
from cache_builder.errors import MachineError, OutputError
from frame_store.manifest import (
    read_manifest,
    read_tree,
)
from frame_store.names import manifest_name
from frame_store.reader import CacheStore
from frame_store.verify import verify_store
from tests.support.caches.made_generations import (
    SIZES_OF_GENERATIONS,
    append_variant,
    write_grown,
)
from tests.support.executors.in_process_pool import InProcessPool
from tests.support.faults.faults import digests


@pytest.fixture
def cache(tmp_path):
    return write_grown(tmp_path / "cache")


class StoppingPool(InProcessPool):
    """Stops after some shards, as a kill does."""

    num_left = 2

    def next_outcome(self):
        if not StoppingPool.num_left:
            raise KeyboardInterrupt
        StoppingPool.num_left -= 1
        return super().next_outcome()


def test_finished_shards_are_not_written_again(cache, tmp_path, monkeypatch):
    undisturbed = shutil.copytree(cache, tmp_path / "other")
    compact_cache(undisturbed, join_all=True)
    before = digests(cache)
    with monkeypatch.context() as patched:
        patched.setattr(compact, "WorkerPool", lambda num_workers: StoppingPool())
        with pytest.raises(KeyboardInterrupt):
            compact_cache(cache, join_all=True)
    assert digests(cache) == before
    shards = sorted(cache.with_name("cache.compact.building").glob("gen-*/made/shards/*.tar"))
    assert len(shards) == 2
    times = [shard.stat().st_mtime_ns for shard in shards]
    names = [shard.name for shard in shards]
    compact_cache(cache, join_all=True)
    (joined,) = read_tree(cache).generations
    assert [(joined.path / "shards" / name).stat().st_mtime_ns for name in names] == times
    assert digests(cache) == digests(undisturbed)


@pytest.mark.parametrize("variant", ["wds-raw", "cameras"])
def test_a_generation_that_was_moved_and_never_named_is_not_left_behind(tmp_path, monkeypatch, variant):
    cache = write_grown(tmp_path / "cache", variant, SIZES_OF_GENERATIONS[:2])

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(compact, "commit_manifest", stop)
        with pytest.raises(KeyboardInterrupt):
            compact_cache(cache, join_all=True)
    before = {path.parent for path in cache.rglob("generation.json")}
    append_variant(cache, variant, SIZES_OF_GENERATIONS[2], number=2)
    compact_cache(cache, join_all=True)
    manifest = read_manifest(cache)
    named = {cache / folder for folder in [*manifest.folders, *manifest.superseded]}
    assert len(before - named) == len(manifest.cameras or [None])
    assert {path.parent for path in cache.rglob("generation.json")} <= named


@pytest.mark.parametrize("variant", ["wds-raw", "cameras"])
def test_a_join_that_is_no_longer_asked_for_leaves_nothing(tmp_path, monkeypatch, variant):
    cache = write_grown(tmp_path / "cache", variant, SIZES_OF_GENERATIONS[:2])
    before = digests(cache)

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(compact, "commit_manifest", stop)
        with pytest.raises(KeyboardInterrupt):
            compact_cache(cache, join_all=True)
    assert digests(cache) != before
    compact_cache(cache)
    assert digests(cache) == before


def test_an_append_meanwhile_stays(cache, monkeypatch):
    commit, expected = compact.commit_manifest, None

    def append_first(*arguments, **options):
        nonlocal expected
        if expected is None:
            append_variant(cache, "wds-raw", (9,), number=3)
            expected = CacheStore(cache).read_frames(range(30))
        commit(*arguments, **options)

    monkeypatch.setattr(compact, "commit_manifest", append_first)
    compact_cache(cache, join_all=True)
    store = CacheStore(cache)
    assert [entry.num_frames for entry in read_manifest(cache).generations] == [21, 9]
    np.testing.assert_array_equal(store.read_frames(range(30)), expected)
    assert verify_store(cache).problems == []


def test_another_compaction_meanwhile_is_an_error(cache, tmp_path, monkeypatch):
    commit = compact.commit_manifest
    other = shutil.copytree(cache, tmp_path / "other")
    compact_cache(other, join_all=True)

    def compact_first(*arguments, **options):
        name = manifest_name(3)
        shutil.copy(other / name, cache / name)
        commit(*arguments, **options)

    monkeypatch.setattr(compact, "commit_manifest", compact_first)
    with pytest.raises(OutputError, match="another process has replaced gen-"):
        compact_cache(cache, join_all=True)


def test_a_join_without_room_is_refused(cache, monkeypatch):
    monkeypatch.setattr(compact.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))
    with pytest.raises(
        MachineError, match="bytes are needed to copy the generations that are joined, 10 bytes are"
    ):
        compact_cache(cache, join_all=True)
