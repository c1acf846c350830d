import errno
import hashlib
import os
import random
import re
import shutil

import msgspec
import numpy as np
import pytest

import frame_store
from frame_store import verify
from frame_store.errors import StoreDamagedError, StoreFormatError
from frame_store.manifest import encode_manifest, read_manifest
from frame_store.verify import verify_store
from tests.support.caches.cache_edits import edit_videos
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS, golden_frames, write_store
from tests.support.caches.tree import FIRST_MANIFEST, generation_folder, generation_of, problems_inside
from tests.support.mutations.of_caches import resign


@pytest.fixture(params=list(GOLDEN_ENCODINGS))
def store_path(request, tmp_path):
    path = tmp_path / request.param
    write_store(path, *GOLDEN_ENCODINGS[request.param], golden_frames(request.param))
    return path


def files_of(path):
    return sorted(file for file in path.rglob("*") if file.is_file())


def test_a_sound_store_is_sound(store_path):
    counted = []
    result = verify_store(store_path, progress=counted.append)
    assert result.problems == []
    assert result.num_frames_checked == sum(counted) == 10
    assert result.num_files_checked == len(files_of(store_path))


def test_any_flipped_bit_is_found(store_path):
    """Random bits of every file: a wrong manifest is refused, any other wrong file is named."""
    generator = random.Random(0)
    for file in files_of(store_path):
        content = file.read_bytes()
        for _ in range(8):
            altered = bytearray(content)
            altered[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
            file.write_bytes(altered)
            if file.name == FIRST_MANIFEST:
                with pytest.raises(StoreFormatError, match=FIRST_MANIFEST):
                    verify_store(store_path)
            else:
                problems = verify_store(store_path).problems
                assert any(file.relative_to(store_path).as_posix() in problem for problem in problems), file
        file.write_bytes(content)
    assert verify_store(store_path).problems == []


def test_a_flipped_bit_in_a_frame_names_shard_and_frame(store_path):
    store = frame_store.open_store(store_path)
    row = store.index[6]
    shard = store.common.shards[1].name
    with (store.generations[0].path / shard).open("r+b") as file:
        file.seek(int(row["byte_offset"]) + int(row["byte_length"]) // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 4]))
    problems = problems_inside(store_path)
    assert f"{shard}: sha256 differs from that in generation.json" in problems
    assert f"{shard}: frame 6 (video 1, frame 1): crc32c differs from the index's" in problems
    assert len(problems) == 2


def test_truncated_missing_and_stray_files_are_named(store_path, tmp_path):
    for file in files_of(store_path):
        name = file.relative_to(store_path).as_posix()
        if name == FIRST_MANIFEST:
            continue
        copy = shutil.copytree(store_path, tmp_path / "copy")
        (copy / name).write_bytes(file.read_bytes()[:-3])
        assert any(name in problem for problem in verify_store(copy).problems)
        (copy / name).unlink()
        assert any(name in problem for problem in verify_store(copy).problems)
        shutil.rmtree(copy)


def test_what_an_editor_or_a_desktop_leaves_is_a_note(store_path):
    is_tar, folder = generation_of(store_path).container == "wds", generation_folder(store_path)
    for name in ("index.npy~", "shards/000000.tar.tmp", "frames.zarr/x", "new/y"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("?")
    (folder / "shards/000099.tar").write_text("?")
    (store_path / f"{FIRST_MANIFEST}~").write_text("?")
    os.mkfifo(store_path / "pipe")
    result = verify_store(store_path)
    harmless = ["index.npy~", "new", "shards/000000.tar.tmp" if is_tar else "shards"]
    strange = ["frames.zarr", "shards/000099.tar"] if is_tar else ["frames.zarr/x"]
    assert result.notes == [
        *(f"{folder.name}/{name}: is no part of the cache" for name in harmless),
        f"{FIRST_MANIFEST}~: is no part of the cache",
    ]
    assert result.problems == [
        *(f"{folder.name}/{name}: is no part of the cache" for name in strange),
        "pipe: is no part of the cache",
    ]


def test_a_generation_that_no_manifest_names_is_a_note_and_is_not_opened(store_path):
    leftover = store_path / "gen-0123456789abcdef"
    shutil.copytree(generation_folder(store_path), leftover)
    (leftover / "link").symlink_to("/etc")
    result = verify_store(store_path)
    assert result.problems == []
    (note,) = result.notes
    assert note.startswith(f"{leftover.name}: is no part of the cache: no manifest names it")


def test_a_manifest_of_an_older_version_is_checked_too(store_path):
    manifest = store_path / FIRST_MANIFEST
    newer = msgspec.structs.replace(read_manifest(store_path), version=1)
    (store_path / "manifest-0001.json").write_bytes(encode_manifest(newer))
    result = verify_store(store_path)
    assert (result.problems, result.notes) == ([], [])
    assert result.num_files_checked == len(files_of(store_path))
    manifest.write_bytes(manifest.read_bytes().replace(b"gen-", b"gem-"))
    (problem,) = verify_store(store_path).problems
    assert problem.startswith(f"{FIRST_MANIFEST}: ") and "the file was altered" in problem


@pytest.mark.parametrize("name", GOLDEN_ENCODINGS)
def test_a_table_of_videos_that_lies_with_right_hashes_is_found(golden_cache_of, name):
    cache = golden_cache_of(name)
    edit_videos(
        cache,
        lambda videos: [
            video.update(num_frames_stored=count, num_frames_decoded=6)
            for video, count in zip(videos, (4, 6), strict=True)
        ],
    )
    assert problems_inside(cache) == [
        "index.npy: 5 frames of video 0, the table of videos has 4",
        "index.npy: 5 frames of video 1, the table of videos has 6",
    ]
    edit_videos(cache, lambda videos: videos.pop())
    (problem,) = problems_inside(cache)
    assert problem.startswith("videos.jsonl: ") and "expected 2 lines, found 1" in problem


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("shard_id", 0, "frame 5: .* cannot lie in shard 1"),
        ("slot", 3, "frame 5: .* cannot lie in shard 1"),
        ("byte_offset", 10**9, "frame 5: .* cannot lie in shard 1"),
        ("video_id", 0, "6 frames of video 0, the table of videos has 5"),
        ("video_id", 7, "frame 5: .* of a video beyond the 2 of the generation"),
        ("frame_in_video", 1, "stored twice"),
        ("crc32c", 1, r"frame 5 .*: crc32c differs"),
    ],
)
def test_an_index_that_lies_with_matching_hashes_is_found(store_path, field, value, expected):
    """As a writer with a bug leaves it: the manifest's hash of the index is right, the index is wrong."""
    index = np.load(generation_folder(store_path) / "index.npy")
    index[field][5] = value
    np.save(generation_folder(store_path) / "index.npy", index)
    resign(store_path)
    problems = verify_store(store_path).problems
    assert any(re.search(expected, problem) for problem in problems), problems


def test_links_and_empty_folders_are_no_part_of_a_cache(store_path):
    (store_path / "link").symlink_to("/etc")
    (store_path / "empty").mkdir()
    result = verify_store(store_path)
    assert result.problems == ["link: is no part of the cache"]
    assert result.notes == ["empty: is no part of the cache"]


def test_a_shard_that_is_gone_is_one_line(store_path):
    name = generation_of(store_path).shards[1].name
    (generation_folder(store_path) / name).unlink()
    assert problems_inside(store_path) == [f"{name}: No such file or directory"]


@pytest.mark.parametrize("field", ["video_id", "shard_id", "byte_offset", "byte_length"])
def test_an_index_row_that_points_anywhere_is_damage_and_no_crash(store_path, field):
    index = np.load(generation_folder(store_path) / "index.npy")
    index[field][0] = np.iinfo(index.dtype[field]).max - 1
    np.save(generation_folder(store_path) / "index.npy", index)
    assert any(problem.startswith("index.npy: ") for problem in problems_inside(store_path))
    if field != "video_id":
        with pytest.raises(StoreDamagedError, match=r"index row 0 points at byte .* run cache-verify"):
            frame_store.open_store(store_path).read_frames([0])


def test_every_flipped_bit_of_the_index_header_is_damage_and_no_crash(store_path):
    content = (generation_folder(store_path) / "index.npy").read_bytes()
    for position in range(128):
        for bit in (0, 7):
            altered = bytearray(content)
            altered[position] ^= 1 << bit
            (generation_folder(store_path) / "index.npy").write_bytes(altered)
            assert verify_store(store_path).problems, (position, bit)


def test_an_index_that_cannot_be_read_is_not_looked_into(store_path, monkeypatch):
    """The index is mapped: a page that the disk cannot read would kill the process."""
    digest = hashlib.file_digest

    def fail(file, name):
        if os.path.sameopenfile(file.fileno(), index.fileno()):
            raise OSError(errno.EIO, "Input/output error")
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", fail)
    monkeypatch.setattr(verify.generation, "check_index", None)
    with (generation_folder(store_path) / "index.npy").open("rb") as index:
        assert problems_inside(store_path) == ["index.npy: Input/output error"]
