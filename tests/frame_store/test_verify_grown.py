"""`verify_store` of caches of several generations: each generation, and what they state about each other."""

import random
import shutil
from collections import Counter

import msgspec
import pytest

from frame_store import open_store
from frame_store.errors import StoreFormatError
from frame_store.manifest import encode_manifest, read_manifest, read_tree, read_trees
from frame_store.names import manifest_name
from frame_store.reader import CacheStore
from frame_store.verify import verify_store
from tests.support.caches.camera_cache import CAMERAS
from tests.support.caches.tree import write_generation_json, write_videos
from tests.support.grown.steps import commit, grow, join
from tests.support.grown.written import write_grown
from tests.support.mutations.of_caches import files_of
from tests.support.mutations.of_grown import copied, read_grown, spoil_grown


@pytest.fixture(scope="module", params=["plain", "cameras"])
def written(request, tmp_path_factory):
    cameras = CAMERAS if request.param == "cameras" else ()
    return write_grown(tmp_path_factory.mktemp("grown"), cameras=cameras, stride=2)[0]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_grown(tmp_path_factory.mktemp("grown"), container="zarr")[0]


@pytest.fixture
def cache(written, tmp_path):
    return shutil.copytree(written, tmp_path / "cache")


@pytest.fixture
def plain_cache(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "cache")


def test_a_sound_grown_cache_is_sound(cache):
    counted = []
    result = verify_store(cache, progress=counted.append)
    assert (result.problems, result.notes) == ([], [])
    assert result.num_files_checked == len(files_of(cache))
    num_cameras = max(1, len(read_manifest(cache).cameras))
    assert result.num_frames_checked == sum(counted) == len(open_store(cache)) * num_cameras


def test_any_flipped_bit_of_any_file_is_found(cache):
    generator = random.Random(0)
    newest = manifest_name(read_manifest(cache).version)
    files = files_of(cache)
    kinds = {
        file.name: file for file in generator.sample(files, len(files))
    }  # one of each name, of any generation
    for file in kinds.values():
        content = file.read_bytes()
        altered = bytearray(content)
        altered[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        file.write_bytes(altered)
        if file.name == newest:
            with pytest.raises(StoreFormatError, match=newest):
                verify_store(cache)
        else:
            problems = verify_store(cache).problems
            assert any(file.relative_to(cache).as_posix() in problem for problem in problems), file
        file.write_bytes(content)
    assert verify_store(cache).problems == []


def test_a_frame_is_named_by_the_ids_of_its_generation_and_of_the_cache(plain_cache):
    store = CacheStore(plain_cache)
    second = store.generations[1]
    frame = second.entry.first_frame + 5
    row = store.index[frame]
    shard = second.path / store.tree.alone(1).common.shards[1].name
    content = bytearray(shard.read_bytes())
    content[int(row["byte_offset"]) + 7] ^= 4
    shard.write_bytes(content)
    assert (
        f"{second.folder}/{shard.relative_to(second.path)}: frame 5 (video {row['video_id'] - 4}, frame "
        f"{row['frame_in_video']}) (in the cache: frame {frame}, video {row['video_id']}): "
        "crc32c differs from the index's"
    ) in verify_store(plain_cache).problems


def test_a_generation_that_cannot_be_opened_does_not_keep_the_others_from_being_checked(cache):
    (tree, *_) = read_trees(cache)
    broken, other = tree.generations[1], tree.generations[2]
    (broken.path / "generation.json").write_bytes(b"{}")
    spoilt = other.path / other.generation.shards[0].name
    spoilt.write_bytes(spoilt.read_bytes()[:-3])
    problems = verify_store(cache).problems
    assert len(problems) == 2
    assert f"{broken.folder}/generation.json: sha256 differs from the manifest's" in problems[0]
    assert problems[1].startswith(f"{other.folder}/{other.generation.shards[0].name}: expected ")


def test_leftovers_and_superseded_folders_are_notes(plain_cache):
    tree = read_tree(plain_cache)
    leftover = plain_cache / "gen-0123456789abcdef"
    shutil.copytree(tree.generations[0].path, leftover)
    (leftover / "index.npy").unlink()
    commit(plain_cache, columns=[], content_orders=[])
    result = verify_store(plain_cache)
    assert result.problems == []
    folders = [*(each.folder for each in tree.manifest.columns + tree.manifest.content_orders)]
    kinds = ["columns"] * 3 + ["a content order"] * 3
    assert sorted(result.notes) == sorted(
        [
            *(
                f"{folder}: holds {kind} of an earlier version of the cache"
                for folder, kind in zip(folders, kinds, strict=True)
            ),
            f"{leftover.name}: is no part of the cache: no manifest names it; an append that was stopped may have left "
            "it, and the same append takes it up",
        ]
    )
    for folder in folders:
        shutil.rmtree(plain_cache / folder)
    shutil.rmtree(leftover)
    assert (verify_store(plain_cache).problems, verify_store(plain_cache).notes) == ([], [])


def rewrite(cache, version, **changes):
    manifest = msgspec.structs.replace(read_manifest(cache, version=version), **changes)
    (cache / manifest_name(version)).write_bytes(encode_manifest(manifest))


def test_versions_that_contradict_each_other_are_found(plain_cache):
    newest = read_manifest(plain_cache)
    swapped = [newest.generations[1], newest.generations[0]]
    first = msgspec.structs.replace(swapped[0], first_frame=0, first_video=0)
    second = msgspec.structs.replace(swapped[1], first_frame=first.num_frames, first_video=first.num_videos)
    rewrite(plain_cache, 1, generations=[first, second], columns=[], content_orders=[])
    (problem,) = verify_store(plain_cache).problems
    assert problem.startswith("manifest-0001.json: ") and "no version changes the frames" in problem
    renamed = msgspec.structs.replace(newest.generations[0], folder="gen-0123456789abcdef")
    rewrite(plain_cache, 1, generations=[renamed])
    (problem,) = verify_store(plain_cache).problems
    assert f"which are those of {newest.generations[0].folder} in the newest version" in problem
    rewrite(
        plain_cache,
        0,
        generations=newest.generations,
        columns=newest.columns,
        content_orders=newest.content_orders,
    )
    rewrite(plain_cache, 1, generations=newest.generations[:1])
    (problem,) = verify_store(plain_cache).problems
    assert problem == (
        "manifest-0001.json: has 24 frames, an earlier version has 47; a cache never loses frames"
    )
    (plain_cache / "manifest-0001.json").unlink()
    with pytest.raises(
        StoreFormatError, match=r"manifest-0001\.json: is missing, and manifest-0002\.json is there"
    ):
        verify_store(plain_cache)


def test_a_path_may_come_again_only_where_the_first_one_is_forgotten(plain_cache):
    _, (other,) = write_grown(plain_cache.parent / "more", generations=[(6,)], container="zarr")
    tree = read_tree(other)
    videos = [msgspec.structs.replace(tree.read_videos()[0], path="episode_000004")]
    entry = write_videos(tree.generations[0].path, videos)
    files = [entry if file.name == entry.name else file for file in tree.common.files]
    changed = write_generation_json(other, msgspec.structs.replace(tree.common, files=files))
    rewrite(other, 0, generations=[changed])
    grow(plain_cache, other)
    folder = tree.generations[0].folder
    assert verify_store(plain_cache).problems == [
        f"{folder}/videos.jsonl: videos 4 and 7 of the cache are both 'episode_000004'"
    ]
    commit(plain_cache, forgotten_videos=[4])
    assert verify_store(plain_cache).problems == []


def test_parts_that_are_not_those_of_the_frames_are_found(tmp_path):
    cache, _ = write_grown(tmp_path, columns=False, content=False)
    join(cache, 0, 2)
    assert verify_store(cache).problems == []
    joined = read_tree(cache).generations[0]
    first, second = joined.generation.parts
    shifted = [
        msgspec.structs.replace(part, num_frames=num_frames, shard_sizes=[(num_frames, 1)])
        for part, num_frames in ((first, first.num_frames - 1), (second, second.num_frames + 1))
    ]
    entry = write_generation_json(cache, msgspec.structs.replace(joined.generation, parts=shifted))
    newest = read_manifest(cache)
    rewrite(cache, newest.version, generations=[entry, *newest.generations[1:]])
    problems = verify_store(cache).problems
    assert (
        f"{joined.folder}/index.npy: frame 23: is of a video of part 0; frames 23 to 35 are those of part 1"
        in problems
    )
    assert any("no version changes the frames" in problem for problem in problems)


def test_changed_caches_are_refused_reported_or_harmless(written, tmp_path):
    told = Counter()
    for seed in range(24):
        cache = copied(written, tmp_path / "cache")
        done = spoil_grown(cache, seed)
        try:
            told[read_grown(cache)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {done}") from error
    assert told["refused"] > 3 and told["reported"] > 6


def test_columns_and_orders_of_no_whole_generations_are_found(plain_cache):
    newest = read_manifest(plain_cache)
    columns = [
        msgspec.structs.replace(newest.columns[0], num_videos=3),
        msgspec.structs.replace(newest.columns[1], first_video=3, num_videos=1),
        *newest.columns[1:],
    ]
    orders = [
        msgspec.structs.replace(newest.content_orders[0], num_frames=20),
        msgspec.structs.replace(newest.content_orders[1], first_frame=20, num_frames=16),
        newest.content_orders[2],
    ]
    rewrite(plain_cache, 2, columns=columns, content_orders=orders)
    problems = verify_store(plain_cache).problems
    assert len(problems) == 4
    assert (
        "columns.json: is of " in problems[0]
        and "the manifest names it for 3 videos from 0 on" in problems[0]
    )
    assert "the manifest names it for 20 frames from 0 on, and these are no whole generations" in problems[2]
