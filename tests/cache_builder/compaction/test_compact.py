"""Joined generations: the same frames under the same ids, whatever container, cameras, columns and order of joining."""

import io
import json
import tarfile

import msgspec
import numpy as np
import pytest

from cache_builder import add_columns, compact_cache, write_content_order
from cache_builder.compaction import compaction_lines
from cache_builder.errors import OutputError
from frame_store import open_store
from frame_store.errors import StoreDamagedError, StoreFormatError, StoreNotFoundError
from frame_store.manifest import (
    cut_into_shards,
    encode_manifest,
    next_manifest,
    read_manifest,
    read_tree,
    read_trees,
)
from frame_store.names import manifest_name
from frame_store.npy import read_npy_header
from frame_store.reader import CacheStore
from frame_store.verify import verify_store
from tests.support.caches.camera_cache import CAMERAS
from tests.support.caches.made_generations import (
    SIZES_OF_GENERATIONS,
    VARIANTS,
    append_variant,
    write_grown,
    write_grown_by_video,
)
from tests.support.caches.tree import change_generation
from tests.support.faults.faults import digests

OF_SHARDS = {"shard_id", "slot", "byte_offset"}
"""What a join may change in a row of the index."""


@pytest.fixture
def cache(tmp_path):
    return write_grown(tmp_path / "cache")


def stores_of(cache):
    """What is open by the names of its cameras; None stands for a cache without cameras."""
    cameras = [camera.name for camera in read_manifest(cache).cameras] or [None]
    return {camera: CacheStore(cache, camera=camera) for camera in cameras}


@pytest.mark.parametrize("variant", [*VARIANTS, "by video"])
def test_all_that_a_store_gives_stays(tmp_path, variant):
    cache = tmp_path / "cache"
    if variant == "by video":
        write_grown_by_video(cache)
    else:
        write_grown(cache, variant)
    before = stores_of(cache)
    num_generations = len(next(iter(before.values())).generations)
    report = compact_cache(cache, join_all=True)
    assert (report.num_generations_before, report.num_generations) == (num_generations, 1)
    assert len(report.joins) == len(before)
    assert report.num_bytes_copied == sum(
        each.generation.num_bytes for store in before.values() for each in store.generations
    )
    after = stores_of(cache)
    for camera, old in before.items():
        require_same(old, after[camera])
        require_plain_readers_agree(after[camera])
        (joined,) = after[camera].generations
        assert joined.generation.parts == list(old.tree.parts)
        assert after[camera].shard_sizes.tolist() == expected_sizes(after[camera])
    assert verify_store(cache).problems == []
    assert not cache.with_name("cache.compact.building").exists()


def require_same(old, new):
    ids = np.arange(len(old))
    assert (len(old), old.fingerprint) == (len(new), new.fingerprint)
    np.testing.assert_array_equal(old.read_frames(ids), new.read_frames(ids))
    assert [each.tobytes() for each in old.read_encoded(ids)] == [
        each.tobytes() for each in new.read_encoded(ids)
    ]
    for name in set(old.index.dtype.names) - OF_SHARDS:
        np.testing.assert_array_equal(old.index[name], new.index[name], err_msg=name)
    for name in ("first_row", "first_stored", "order", "source_frames", "source_pts"):
        one, other = (getattr(store.source_order, name) for store in (old, new))
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other), err_msg=name)
    assert old.video_entries == new.video_entries
    assert sorted(old.columns) == sorted(new.columns)
    for name in old.columns:
        one, other = (store.columns[name].take(np.arange(len(store.columns[name]))) for store in (old, new))
        np.testing.assert_array_equal(one, other)


def expected_sizes(store):
    if store.common.frames_per_shard == "video":
        return [video.num_frames_stored for video in store.video_entries]
    sizes = cut_into_shards(len(store), container=store.common.container, frames_per_shard=4)
    if store.common.container == "zarr":
        assert set(sizes[:-1]) <= {4} and 0 < sizes[-1] <= 4
    else:
        assert max(sizes) - min(sizes) <= 1 and len(sizes) == -(-len(store) // 4)
    return sizes


def require_plain_readers_agree(store):
    """Readers that know nothing of this format, over the one generation of the store."""
    (tree,) = store.generations
    frames = store.read_frames(range(len(store)))
    if tree.generation.container == "zarr":
        import zarr

        group = zarr.open_group(tree.path / "frames.zarr", mode="r")
        np.testing.assert_array_equal(group["frames"][:], frames)
        np.testing.assert_array_equal(group["video_id"][:], store.index["video_id"])
        return
    members = []
    for shard in tree.generation.shards:
        with tarfile.open(tree.path / shard.name) as tar:
            members += [(member.name, tar.extractfile(member).read()) for member in tar]
    assert len(members) == 2 * len(store)
    payloads = store.read_encoded(range(len(store)))
    for frame_id, row in enumerate(store.index):
        (image, content), (name, text) = members[2 * frame_id : 2 * frame_id + 2]
        stem, _, suffix = image.partition(".")
        assert (stem, name) == (f"{frame_id:012d}", f"{frame_id:012d}.json")
        if suffix == "npy":
            file = io.BytesIO(content)
            read_npy_header(file)
            content = file.read()
        assert content == payloads[frame_id].tobytes()
        assert json.loads(text) == {
            "video_id": row["video_id"],
            "video": store.video_entries[row["video_id"]].path,
            "frame_in_video": row["frame_in_video"],
            "pts_seconds": row["pts_seconds"],
        }


@pytest.mark.parametrize("variant", ["wds-jpeg-strided", "zarr-zstd"])
def test_the_bytes_do_not_depend_on_how_generations_were_joined(tmp_path, variant):
    at_once, in_steps = write_grown(tmp_path / "once", variant), tmp_path / "steps"
    compact_cache(at_once, join_all=True)
    for number, sizes in enumerate(SIZES_OF_GENERATIONS):
        append_variant(in_steps, variant, sizes, number=number)
        compact_cache(in_steps, join_all=True)
    (one,), (other,) = read_tree(at_once).generations, read_tree(in_steps).generations
    assert one.folder == other.folder
    assert digests(one.path) == digests(other.path)


def test_worker_processes_write_the_same_bytes(tmp_path, monkeypatch):
    paths = [write_grown(tmp_path / name) for name in ("here", "there")]
    compact_cache(paths[0], join_all=True)
    monkeypatch.undo()
    lines = compaction_lines(compact_cache(paths[1], join_all=True, workers=2))
    one, other = (digests(path) for path in paths)
    assert one == other
    assert lines[0].startswith("generations 0 to 2 were joined: 21 frames, ")
    assert "3 -> 1 generation, " in lines[1]


def with_columns_and_order(cache):
    paths = [video.path for video in read_tree(cache).read_videos()]
    add_columns(cache, {"video": paths, "goal": [len(path) + number for number, path in enumerate(paths)]})
    write_content_order(cache)


def test_columns_order_and_forgotten_videos_stay(tmp_path):
    cache = write_grown(tmp_path / "cache", finish=with_columns_and_order)
    before = read_manifest(cache)
    assert len(before.columns) == len(before.content_orders) == 3
    forgotten = next_manifest(before, forgotten_videos=[1, 3])
    (cache / manifest_name(forgotten.version)).write_bytes(encode_manifest(forgotten))
    old, old_view = CacheStore(cache), open_store(cache)
    compact_cache(cache, join_all=True)
    new, new_view, after = CacheStore(cache), open_store(cache), read_manifest(cache)
    assert (after.columns, after.content_orders) == (before.columns, before.content_orders)
    assert after.forgotten_videos == [1, 3]
    require_same(old, new)
    np.testing.assert_array_equal(old.content_order, new.content_order)
    assert old_view.fingerprint == new_view.fingerprint
    np.testing.assert_array_equal(
        old_view.read_frames(range(len(old_view))), new_view.read_frames(range(len(new_view)))
    )
    assert verify_store(cache).problems == []


def test_only_tiers_of_ten_are_joined_and_a_dry_run_says_so(tmp_path):
    cache = write_grown(tmp_path / "cache", sizes_of_generations=[(400,)] + [(3,)] * 11)
    before = digests(cache)
    planned = compact_cache(cache, dry_run=True)
    assert digests(cache) == before
    report = compact_cache(cache)
    (join,) = report.joins
    assert (join.first_generation, len(join.generations), join.num_frames) == (1, 10, 30)
    assert [entry.num_frames for entry in read_manifest(cache).generations] == [400, 30, 3]
    assert planned.joins == report.joins and planned.num_generations == report.num_generations == 3
    text = "\n".join(compaction_lines(planned))
    assert "generations 1 to 10 would be joined: 30 frames, " in text and "12 -> 3 generations" in text
    assert sorted(read_manifest(cache).superseded) == sorted(join.generations)
    again = compact_cache(cache)
    assert again.joins == [] and "3 generations, none to join" in compaction_lines(again)[0]


def test_a_damaged_payload_stops_the_compaction_and_is_named(cache):
    tree = read_tree(cache).generations[1]
    row = CacheStore(cache).index[9]
    shard = tree.path / tree.generation.shards[0].name
    with shard.open("r+b") as file:
        file.seek(int(row["byte_offset"]) + 5)
        old = file.read(1)[0]
        file.seek(int(row["byte_offset"]) + 5)
        file.write(bytes([old ^ 1]))
    before = digests(cache)
    with pytest.raises(StoreDamagedError, match=r"shards/000000\.tar: frame \d+: expected crc32c") as caught:
        compact_cache(cache, join_all=True)
    assert str(shard) in str(caught.value)
    assert digests(cache) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config": {"frames_per_shard": 5}}, "config.frames_per_shard is not that of gen-"),
        ({"library_versions": {"numpy": "0"}}, "library_versions.numpy is not that of gen-"),
        ({"config": {}}, "frames_per_shard of config must be a number"),
    ],
)
def test_generations_of_other_settings_are_not_joined(tmp_path, changes, said):
    cache = tmp_path / "cache"
    append_variant(cache, "wds-raw", (4,), number=0)
    change_generation(cache, **changes)
    append_variant(cache, "wds-raw", (5,), number=1)
    with pytest.raises(OutputError, match=said):
        compact_cache(cache, join_all=True)
    assert read_manifest(cache).version == 1


def test_what_is_no_cache_or_in_the_way_is_refused(cache, tmp_path):
    with pytest.raises(StoreNotFoundError):
        compact_cache(tmp_path / "none")
    building = cache.with_name("cache.compact.building")
    building.mkdir()
    (building / "mine.txt").write_text("")
    with pytest.raises(OutputError, match=r"compact\.building: no build put that there"):
        compact_cache(cache, join_all=True)
    assert (building / "mine.txt").exists()


def test_generations_of_which_a_gpu_decoded_some_are_joined(tmp_path):
    cache = tmp_path / "cache"
    append_variant(cache, "wds-raw", (4,), number=0)
    append_variant(cache, "wds-raw", (5,), number=1, finish=of_gpu("H200"))
    compact_cache(cache, join_all=True)
    versions = read_tree(cache).common.library_versions
    assert versions == {"GPU": "H200"}
    append_variant(cache, "wds-raw", (5,), number=2, finish=of_gpu("L4"))
    with pytest.raises(OutputError, match=r"library_versions\.GPU is not that of gen-"):
        compact_cache(cache, join_all=True)


def of_gpu(name):
    def change(cache):
        versions = read_tree(cache).common.library_versions
        change_generation(cache, library_versions=versions | {"GPU": name})

    return change


def test_cameras_are_joined_in_one_version(tmp_path):
    cache = write_grown(tmp_path / "cache", "cameras")
    old = open_store(cache)
    compact_cache(cache, join_all=True)
    new = open_store(cache)
    assert read_manifest(cache).version == 3
    assert [len(tree.generations) for tree in read_trees(cache)] == [1, 1]
    for name in CAMERAS:
        np.testing.assert_array_equal(
            old.cameras[name].read_frames(range(len(old))), new.cameras[name].read_frames(range(len(new)))
        )
    assert old.fingerprint == new.fingerprint
    assert {folder.split("/")[0] for folder in read_manifest(cache).superseded} == {"camera-00", "camera-01"}


def test_a_manifest_of_joined_generations_that_lies_is_refused(cache):
    compact_cache(cache, join_all=True)
    (joined,) = read_tree(cache).generations
    with pytest.raises(ValueError, match="fingerprint is not that of the parts"):
        msgspec.structs.replace(joined.generation, parts=joined.generation.parts[::-1])
    with pytest.raises(StoreFormatError):
        msgspec.structs.replace(joined.generation, config={}).frames_per_shard  # noqa: B018
