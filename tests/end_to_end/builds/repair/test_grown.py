"""Repairs of caches of several generations: each by itself, by its own videos."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cache_builder import build_cache, write_content_order
from cache_builder.compaction import compact_cache
from cache_builder.errors import RepairError, VideosNotWholeError
from cache_builder.repair import repair_cache
from cache_builder.setting_names import as_flag
from cache_builder.stages import Workspace
from frame_store.manifest import read_manifest, read_tree
from frame_store.verify import verify_store
from tests.end_to_end.builds.repair.repairs import flip
from tests.support.commands import digests
from tests.support.grown.steps import commit, grow
from tests.support.videos.tiny_videos import tiny_video

VIDEOS = ({"a.mp4": 9, "b.mp4": 6}, {"c.mp4": 7}, {"d.mp4": 5, "e.mp4": 4})
SETTINGS = {
    "wds-jpeg": {"format": "wds", "encoding": "jpeg", "stride": 2},
    "zarr-raw": {"format": "zarr", "encoding": "raw"},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder with the videos of all generations, and one for each of them."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "all").mkdir()
    for number, names in enumerate(VIDEOS):
        (folder / str(number)).mkdir()
        for name, num_frames in names.items():
            tiny_video(
                folder / str(number), path=Path(name), num_frames=num_frames, video_number=ord(name[0]) - 96
            )
            shutil.copyfile(folder / str(number) / name, folder / "all" / name)
    return folder


@pytest.fixture(scope="module", params=SETTINGS)
def grown(request, videos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    for number in range(len(VIDEOS)):
        cache = folder / str(number)
        build_cache(
            videos / str(number), cache, size=16, frames_per_shard=3, workers=1, **SETTINGS[request.param]
        )
        write_content_order(cache)
    cache = folder / "0"
    for number in range(1, len(VIDEOS)):
        grow(cache, folder / str(number))
    return cache


@pytest.fixture
def cache(grown, tmp_path):
    return shutil.copytree(grown, tmp_path / "cache")


def test_damage_in_every_generation_is_undone(cache, videos):
    before, tree = digests(cache), read_tree(cache)
    harmed = set()
    for each in tree.generations:
        names = {each.generation.shards[-1].name, "index.npy", "order.npy", "first_row.npy"}
        harmed |= {f"{each.folder}/{name}" for name in names}
    harmed |= {entry.file.name for entry in tree.manifest.content_orders}
    for name in harmed:
        flip(cache / name)
    with pytest.raises(RepairError) as refused:
        repair_cache(cache, workers=1)
    assert refused.value.text(as_flag).count("give what it was built from: --videos SOURCE") == len(VIDEOS)
    made = repair_cache(cache, videos / "all", workers=1)
    assert {entry.name for entry in made} == harmed
    assert digests(cache) == before
    assert verify_store(cache).problems == []


def test_only_the_videos_of_the_damaged_generation_are_asked_for(cache, videos):
    before, tree = digests(cache), read_tree(cache)
    flip(cache / tree.generations[1].folder / tree.generations[1].generation.shards[0].name)
    repair_cache(cache, videos / "1", workers=1)
    assert digests(cache) == before


def test_a_generation_that_cannot_be_repaired_does_not_keep_the_others_from_it(cache, videos):
    before, tree = digests(cache), read_tree(cache)
    shards = [cache / each.folder / each.generation.shards[0].name for each in tree.generations]
    for shard in shards:
        flip(shard)
    with pytest.raises(RepairError) as raised:
        repair_cache(cache, videos / "1", workers=1)
    assert "a.mp4: missing" in str(raised.value) and "d.mp4: missing" in str(raised.value)
    assert [digests(cache)[shard] == before[shard] for shard in shards] == [False, True, False]


def test_frames_of_forgotten_videos_need_their_files_too(cache, videos, tmp_path):
    before = digests(cache)
    commit(cache, forgotten_videos=[0])
    tree = read_tree(cache)
    shards = [cache / tree.generations[0].folder / shard.name for shard in tree.common.shards]
    for shard in shards:
        flip(shard)
    partial = tmp_path / "partial"
    partial.mkdir()
    shutil.copyfile(videos / "0" / "b.mp4", partial / "b.mp4")
    note = "it is forgotten, and frames of other videos lie in the same shards: its file as it was is needed"
    with pytest.raises(VideosNotWholeError, match=rf"a\.mp4: missing \({note}\)"):
        repair_cache(cache, partial, workers=1)
    shutil.copyfile(videos / "1" / "c.mp4", partial / "a.mp4")
    with pytest.raises(VideosNotWholeError, match=rf"a\.mp4: changed since .* \({note}\)"):
        repair_cache(cache, partial, workers=1)
    repair_cache(cache, videos / "all", workers=1)
    assert {path: digest for path, digest in digests(cache).items() if path in before} == before


def test_a_joined_generation_comes_back_from_the_videos(cache, videos):
    compact_cache(cache, join_all=True, remove_superseded=True, workers=1)
    before, tree = digests(cache), read_tree(cache)
    assert len(tree.generations) == 1 and len(tree.common.parts) == len(VIDEOS)
    harmed = {entry.name for entry in [*tree.common.files, *tree.common.shards]} - {"videos.jsonl"}
    for name in harmed:
        flip(tree.generations[0].path / name)
    flip(cache / tree.manifest.content_orders[1].file.name)
    made = repair_cache(cache, videos / "all", workers=1)
    assert len(made) == len(harmed) + 1
    assert digests(cache) == before
    flip(tree.generations[0].path / tree.common.shards[0].name)
    with pytest.raises(VideosNotWholeError, match=r"[abc]\.mp4: missing"):
        repair_cache(cache, videos / "2", workers=1)


def test_an_order_over_several_generations_comes_back(cache):
    before = read_manifest(cache)
    commit(cache, content_orders=[])
    write_content_order(cache)
    (entry,) = read_manifest(cache).content_orders
    assert entry.num_frames == before.num_frames
    content = (cache / entry.file.name).read_bytes()
    flip(cache / entry.file.name)
    made = repair_cache(cache, workers=1)
    assert [file.name for file in made] == [entry.file.name]
    assert (cache / entry.file.name).read_bytes() == content
    assert sorted(np.load(cache / entry.file.name)) == list(range(before.num_frames))


def test_a_repair_that_was_killed_between_two_generations_goes_on(cache, videos, monkeypatch):
    before, tree = digests(cache), read_tree(cache)
    for each in tree.generations[:2]:
        flip(cache / each.folder / each.generation.shards[0].name)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "remove_building", killed)
        with pytest.raises(KeyboardInterrupt):
            repair_cache(cache, videos / "all", workers=1)
    assert [entry.name.split("/")[0] for entry in repair_cache(cache, videos / "all", workers=1)] == [
        tree.generations[1].folder
    ]
    assert digests(cache) == before
    assert not cache.with_name("cache.building").exists()


def test_the_table_of_each_append_comes_back_from_its_report_also_where_they_were_joined(videos, tmp_path):
    cache = tmp_path / "cache"
    for number in range(len(VIDEOS)):
        settings = {"size": 16, "encoding": "raw"} if number == 0 else {"append": True}
        build_cache(videos / str(number), cache, workers=1, **settings)
    tables = [cache / each.folder / "videos.jsonl" for each in read_tree(cache).generations]
    before = [table.read_bytes() for table in tables]
    for table in tables:
        flip(table)
    repair_cache(cache, workers=1)
    assert [table.read_bytes() for table in tables] == before
    compact_cache(cache, join_all=True)
    joined = cache / read_tree(cache).generations[0].folder / "videos.jsonl"
    assert joined.read_bytes() == b"".join(before)
    flip(joined)
    repair_cache(cache, workers=1)
    assert joined.read_bytes() == b"".join(before)
    build_cache(videos / "all", cache, workers=1, size=16, overwrite=True)
    assert not cache.with_name("cache.reports").exists()
