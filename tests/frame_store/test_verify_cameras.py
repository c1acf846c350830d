"""`verify_store` of caches of cameras: each camera, and the cameras against each other."""

import random
import re
import shutil

import pytest

from frame_store.errors import StoreFormatError
from frame_store.manifest import Encoding, VideoSpan, read_manifest, read_trees
from frame_store.verify import verify_store
from tests.support.caches.camera_cache import SIZES, write_camera, write_camera_cache
from tests.support.mutations.of_cameras import (
    edit_camera,
    edit_camera_json,
    read_cameras,
    spoil_cameras,
)

KINDS = [("wds", "raw"), ("zarr", "zstd")]


@pytest.fixture
def cache(tmp_path):
    write_camera_cache(tmp_path / "cache")
    return tmp_path / "cache"


@pytest.mark.parametrize(("container", "encoding"), KINDS)
def test_a_sound_cache_of_cameras_is_counted_once(tmp_path, container, encoding):
    encoding = Encoding(name=encoding, level=3 if encoding == "zstd" else None)
    write_camera_cache(tmp_path / "cache", container=container, encoding=encoding, stride=2)
    done = []
    result = verify_store(tmp_path / "cache", progress=done.append)
    assert result.problems == result.notes == []
    assert result.num_frames_checked == sum(done) == 2 * sum((size + 1) // 2 for size in SIZES)
    assert result.num_files_checked == len(
        [*filter(lambda path: path.is_file(), (tmp_path / "cache").rglob("*"))]
    )
    assert result.summary == (
        f"{tmp_path / 'cache'}: sound (26 frames in {result.num_files_checked} files checked)"
    )


@pytest.mark.parametrize(("container", "encoding"), KINDS)
def test_a_flipped_bit_of_any_file_is_found_with_its_file(tmp_path, container, encoding):
    encoding = Encoding(name=encoding, level=3 if encoding == "zstd" else None)
    cache = tmp_path / "cache"
    write_camera_cache(cache, container=container, encoding=encoding, sizes=(3, 2), stride=2)
    generator = random.Random(0)
    for file in sorted(path for path in cache.rglob("*") if path.is_file()):
        sound = file.read_bytes()
        altered = bytearray(sound)
        altered[generator.randrange(len(sound))] ^= 1 << generator.randrange(8)
        file.write_bytes(altered)
        try:
            problems = verify_store(cache).problems
        except StoreFormatError as error:
            problems = [str(error)]
        name = file.relative_to(cache).as_posix()
        assert any(name in problem for problem in problems), (name, problems)
        if name.startswith("camera-01/gen-") and "generation.json" not in name:
            assert any("camera 'wrist'" in problem for problem in problems), (name, problems)
        file.write_bytes(sound)


def test_a_camera_that_cannot_be_opened_hides_nothing_of_the_others(cache):
    (record,) = cache.glob("camera-01/gen-*/generation.json")
    record.write_bytes(b"{}")
    (shard,) = cache.glob("camera-00/gen-*/shards/000001.tar")
    shard.write_bytes(bytes(shard.stat().st_size))
    problems = verify_store(cache).problems
    assert any(
        "camera-01" in problem and "sha256 differs from the manifest's" in problem for problem in problems
    )
    assert any("camera-00" in problem and "shards/000001.tar: sha256" in problem for problem in problems)
    assert not any("no part of the cache" in problem for problem in problems)


def test_columns_are_checked_where_their_camera_cannot_be_opened(cache):
    (record,) = cache.glob("camera-00/gen-*/generation.json")
    record.write_bytes(b"{}")
    assert len(verify_store(cache).problems) == 1
    (values,) = cache.glob("columns-*/0000.npy")
    values.write_bytes(values.read_bytes()[:-1] + b"x")
    assert any("0000.npy: sha256 differs" in problem for problem in verify_store(cache).problems)


def test_entries_that_belong_to_no_camera_are_noted(cache, tmp_path):
    write_camera(cache / "camera-02", 2)
    shutil.copytree(next((cache / "camera-00").glob("gen-*")), cache / "camera-00" / "gen-0123456789abcdef")
    (cache / "camera-01" / "notes.txt").write_text("mine")
    (cache / "gen-0123456789abcdef").mkdir()
    result = verify_store(cache)
    assert result.problems == []
    assert [note.partition(": no manifest")[0] for note in result.notes] == [
        "camera-00/gen-0123456789abcdef: is no part of the cache",
        "camera-01/notes.txt: is no part of the cache",
        "camera-02: is no part of the cache",
        "gen-0123456789abcdef: is no part of the cache",
    ]
    (cache / "camera-01" / "more.tar").write_bytes(b"")
    assert verify_store(cache).problems == ["camera-01/more.tar: is no part of the cache"]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            {"names": ["a", "b"]},
            {"names": ["b", "a"]},
            "videos.jsonl: video 0, 'a': path is 'b' in camera 'wrist'",
        ),
        (
            {"sizes": (6, 3)},
            {"sizes": (5, 4)},
            "videos.jsonl: video 0, .*: num_frames_decoded is 5 in camera 'wrist', 6",
        ),
        (
            {"stride": 2, "sizes": (5, 3)},
            {"stride": 1, "sizes": (3, 2)},
            "num_frames_decoded is 3 in camera 'wrist', 5",
        ),
    ],
)
def test_cameras_that_show_other_moments_are_found(tmp_path, first, second, said):
    options = {"sizes": (4, 4), "names": ["x", "y"], "stride": 1}
    lists = {key: [(options | first)[key], (options | second)[key]] for key in options}
    write_camera_cache(tmp_path / "cache", columns=False, **lists)
    (problem,) = verify_store(tmp_path / "cache").problems
    assert problem.startswith("camera-01/gen-")
    assert re.search(said, problem), problem


def test_cameras_that_store_other_frames_of_equal_numbers_are_found(tmp_path):
    """Frames 0, 2, 4 of a video in one camera, 0, 1, 2 in the other."""
    write_camera_cache(tmp_path / "cache", sizes=[(5,), (5,)], stride=[2, 1], columns=False, limit=[None, 3])
    (problem,) = verify_store(tmp_path / "cache").problems
    assert problem.startswith("camera-01/gen-")
    assert "source_frames.npy: differs from that of camera 'front'" in problem


def span(first, file="videos/1/file-000.mp4"):
    return VideoSpan(file=file, first_frame=first, from_seconds=0.0, to_seconds=1.0)


@pytest.mark.parametrize(
    ("videos", "said"),
    [
        (
            {2: {"span": span(6)}},
            "videos 'episode_000000' and 'episode_000002': "
            "both hold frames of 'videos/1/file-000.mp4': 0 to 6, and 6 to 17",
        ),
        ({3: {"span": span(0)}}, "videos 'episode_000003' and 'episode_000000': both hold frames"),
        (
            {3: {"sha256": "f" * 64}},
            "videos 'episode_000000' and 'episode_000003' lie in .*, and state other sha256",
        ),
        ({3: {"span": span((1 << 32) - 4)}}, "'episode_000003': ends with frame 4294967296 of"),
    ],
)
def test_spans_that_contradict_each_other_are_found(cache, videos, said):
    edit_camera(cache, "wrist", videos=videos)
    (problem,) = verify_store(cache).problems
    assert problem.startswith("camera-01/gen-")
    assert problem.endswith(" (camera 'wrist')")
    assert re.search(f"videos.jsonl: .*{said}", problem), problem


def test_a_negative_span_is_no_record_of_a_video(cache):
    trees = read_trees(cache)
    with pytest.raises(ValueError, match="a span begins at frame -1"):
        span(-1)
    table = trees[1].generations[0].path / "videos.jsonl"
    table.write_bytes(table.read_bytes().replace(b'"first_frame":7', b'"first_frame":-7'))
    assert any("videos.jsonl" in problem for problem in verify_store(cache).problems)


def swap(document, key):
    first, second = document["cameras"]
    first[key], second[key] = second[key], first[key]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda document: swap(document, "folder"),
            "camera 0 must have the folder camera-00, found 'camera-01'",
        ),
        (lambda document: document["cameras"][1].update(folder="../x"), "must have the folder camera-01"),
        (lambda document: document["cameras"][1].update(name="front"), "two cameras have the same name"),
        (lambda document: document["cameras"].reverse(), "camera 0 must have the folder camera-00"),
        (
            lambda document: document["cameras"][1]["generations"][0].update(num_frames=23),
            r"camera 'wrist' has \(frames, videos\) \[\(23, 4\)\], camera 'front' has \[\(24, 4\)\]",
        ),
        (lambda document: document["cameras"][1].update(generations=[]), "there are no generations"),
        (
            lambda document: document["generations"].append(document["cameras"][0]["generations"][0]),
            "has its generations under cameras",
        ),
        (
            lambda document: document.update(cameras=document["cameras"][:1] * 101),
            "there are 101 cameras, at most 100",
        ),
        (
            lambda document: document["columns"][0].update(first_video=1),
            "videos of columns begin at 1, expected 0",
        ),
    ],
)
def test_manifests_that_a_reader_must_reject(cache, change, said):
    edit_camera_json(cache, change)
    with pytest.raises(StoreFormatError, match=said):
        verify_store(cache)
    with pytest.raises(StoreFormatError, match=said):
        read_manifest(cache)


def test_swapped_generations_are_found(tmp_path):
    """With columns the manifest is refused, as they count by the first camera's generation."""
    cache = tmp_path / "cache"
    write_camera_cache(cache, columns=False)
    edit_camera_json(cache, lambda document: swap(document, "generations"))
    problems = verify_store(cache).problems
    assert problems
    assert all("camera-0" in problem for problem in problems)


def test_swapped_names_alone_are_another_sound_cache(cache):
    """A name lies in the manifest alone: nothing else states which camera a folder is of."""
    edit_camera_json(cache, lambda document: swap(document, "name"))
    assert verify_store(cache).problems == []


def test_columns_of_another_camera_s_generation_are_found(cache):
    """They count by the first camera's generation."""
    edit_camera(cache, "front", seed=77)
    assert verify_store(cache).problems == []
    trees = read_trees(cache)
    (record,) = cache.glob("columns-*/columns.json")
    assert trees[0].common.fingerprint in record.read_text()
    record.write_text(record.read_text().replace(trees[0].common.fingerprint, trees[1].common.fingerprint))
    (problem,) = [problem for problem in verify_store(cache).problems if "columns.json" in problem]
    assert "sha256 differs from the manifest's" in problem


@pytest.mark.parametrize("layout", ["shuffled", "video"])
def test_changed_caches_are_refused_reported_or_harmless(tmp_path, layout):
    """`python -m tests.campaigns.fuzz_caches --cameras` does more of them."""
    write_camera_cache(tmp_path / "original", layout=layout, stride=2)
    told = set()
    for seed in range(60):
        cache = tmp_path / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(tmp_path / "original", cache)
        done = spoil_cameras(cache, seed)
        try:
            told.add(read_cameras(cache))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {done}") from error
    assert told == {"refused", "reported", "harmless"}
