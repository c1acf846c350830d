"""Caches of unknown origin: no link is followed out of the folder, each size is checked, nothing in them is run."""

import hashlib
import os
import pickle
import random
import shutil
import tracemalloc

import msgspec
import numpy as np
import pytest

import frame_store
from frame_store.errors import StoreDamagedError, StoreError, StoreFormatError
from frame_store.manifest import read_tree
from frame_store.verify import verify_store
from tests.campaigns.fuzz_caches import frame_at, is_superseded, problems_of
from tests.support.caches.cache_edits import (
    edit_generation,
    edit_index,
    edit_manifest,
    edit_videos,
    resign_without_hashing,
)
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS, STRIDED, WITH_ORDER
from tests.support.caches.opened_paths import opened_paths, paths_outside
from tests.support.caches.tree import FIRST_MANIFEST, generation_folder
from tests.support.mutations.of_caches import (
    GOLDEN_WITH_COLUMNS,
    Mutator,
    files_of,
    read_everything,
    resign,
    resign_manifest,
)

TAR = [name for name, (container, _) in GOLDEN_ENCODINGS.items() if container == "wds"]
ZARR = [name for name in GOLDEN_ENCODINGS if name not in TAR]
OPENED = opened_paths()


class TestLinks:
    @pytest.mark.parametrize("name", GOLDEN_ENCODINGS)
    def test_no_link_is_followed_whatever_it_stands_for(self, golden_cache_of, tmp_path, name):
        cache = golden_cache_of(name)
        entries = [
            *sorted(cache.iterdir()),
            *sorted(generation_folder(cache).iterdir()),
            *list(cache.rglob("*"))[-7:],
        ]
        for path in entries:
            outside = tmp_path / "outside"
            path.rename(outside)
            path.symlink_to(outside)
            OPENED.clear()
            errors = read_everything(cache, with_loader=False)
            assert "verify" in errors and "link" in errors["verify"], (path, errors)
            assert paths_outside(OPENED, cache) == [], path
            path.unlink()
            outside.rename(path)
        assert read_everything(cache, with_loader=False) == {}

    @pytest.mark.parametrize("name", ["shards", "shards/000001.tar"])
    def test_webdataset_follows_none_either(self, golden_cache_of, tmp_path, name):
        pytest.importorskip("torch")
        from loader import webdataset_batches

        cache = golden_cache_of("wds-jpeg")
        path = generation_folder(cache) / name
        path.rename(tmp_path / "outside")
        path.symlink_to(tmp_path / "outside")
        OPENED.clear()
        with pytest.raises(StoreDamagedError, match="is a symbolic link"):
            list(webdataset_batches(cache, batch_size=3))
        assert paths_outside(OPENED, cache) == []

    def test_the_folder_itself_may_be_one(self, golden_cache_of, tmp_path):
        cache = golden_cache_of("wds-raw")
        (tmp_path / "link").symlink_to(cache)
        assert read_everything(tmp_path / "link", with_loader=False) == {}

    @pytest.mark.parametrize(
        "pattern",
        [FIRST_MANIFEST, "*/generation.json", "*/videos.jsonl", "*/index.npy", "*/shards/000001.tar"],
    )
    def test_pipes_and_devices_are_not_waited_for(self, golden_cache_of, pattern):
        cache = golden_cache_of("wds-jpeg")
        (path,) = cache.glob(pattern)
        path.unlink()
        os.mkfifo(path)
        errors = read_everything(cache, with_loader=False)
        assert "regular file" in errors["verify"]

    def test_an_unknown_folder_is_not_opened(self, golden_cache_of):
        """Folders in it may be nested so deep that their path is too long to open."""
        cache = golden_cache_of("wds-jpeg")
        (cache / "d/d/d").mkdir(parents=True)
        (generation_folder(cache) / "shards/d/d").mkdir(parents=True)
        assert verify_store(cache).notes == [
            "d: is no part of the cache",
            f"{generation_folder(cache).name}/shards/d: is no part of the cache",
        ]

    def test_an_unknown_name_is_shown_without_its_control_characters(self, golden_cache_of):
        cache = golden_cache_of("wds-jpeg")
        (cache / "a\x1b[2J\nb").write_text("")
        (cache / os.fsdecode(b"\xff")).write_text("")
        assert verify_store(cache).notes == [
            r"a\x1b[2J\nb: is no part of the cache",
            r"\udcff: is no part of the cache",
        ]
        msgspec.json.encode(verify_store(cache))


class TestJsonFiles:
    @pytest.mark.parametrize(
        ("pattern", "limit"), [(FIRST_MANIFEST, 1 << 24), ("*/generation.json", 1 << 29)]
    )
    def test_a_gigabyte_is_refused_unread(self, golden_cache_of, pattern, limit):
        cache = golden_cache_of("wds-jpeg")
        (path,) = cache.glob(pattern)
        os.truncate(path, 10**9)
        tracemalloc.start()
        with pytest.raises(StoreError, match=f"1000000000 bytes, at most {limit}"):
            frame_store.open_store(cache)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()

    def test_a_file_of_empty_lists_is_refused_before_they_are_made(self, golden_cache_of):
        cache = golden_cache_of("wds-jpeg")
        edit_generation(cache, lambda m: m.update(config={"a": "@"}))
        path = generation_folder(cache) / "generation.json"
        raw = path.read_bytes()
        body = raw[: raw.index(b',\n "digest"')].replace(b'"@"', b"[" + b"[]," * 1_000_000 + b"[]]")
        digest = hashlib.sha256(body).hexdigest().encode()
        path.write_bytes(body + b',\n "digest": "' + digest + b'"\n}\n')
        resign_manifest(cache)
        with pytest.raises(StoreFormatError, match="more than any cache has there"):
            read_tree(cache)

    @pytest.mark.parametrize("depth", [4, 10_000, 500_000])
    @pytest.mark.parametrize("place", ["manifest", "config", "facts", "unknown"])
    def test_deep_nesting_is_refused_though_the_digest_is_right(self, golden_cache_of, depth, place):
        cache = golden_cache_of("wds-jpeg")
        mark = "here goes the nest"
        folder = generation_folder(cache)
        if place == "facts":
            path = folder / "videos.jsonl"
            edit_videos(cache, lambda videos: videos[0].update(facts={"a": mark}))
        elif place == "manifest":
            path = cache / FIRST_MANIFEST
            edit_manifest(cache, lambda m: m.update(columns={"a": mark}))
        else:
            path = folder / "generation.json"
            edit_generation(cache, lambda m: m.update({place: {"a": mark}}))
        body, is_signed, _ = path.read_bytes().partition(b',\n "digest"')
        body = body.replace(b'"%s"' % mark.encode(), b"[" * depth + b"]" * depth)
        digest = hashlib.sha256(body).hexdigest().encode()
        path.write_bytes(body + b',\n "digest": "' + digest + b'"\n}\n' if is_signed else body)
        resign(cache) if place == "facts" else resign_manifest(cache) if place != "manifest" else None
        with pytest.raises(StoreFormatError, match=rf"{path.name}: "):
            read_tree(cache).read_videos()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda m: m["shards"][0].update(name="../000000.tar"), "plain relative path"),
            (lambda m: m["shards"][0].update(name="/etc/passwd"), "plain relative path"),
            (lambda m: m["shards"][0].update(name="shards/{0..9}.tar"), "plain relative path"),
            (
                lambda m: m["shards"][1].update(name="shards/000000.tar"),
                "shard 1 must be 'shards/000001.tar'",
            ),
            (lambda m: m["shards"][0].update(name="generation.json"), "shard 0 must be"),
            (lambda m: m["shards"][0].update(num_frames=-4), "num_frames is -4"),
            (lambda m: m["shards"][0].update(num_bytes=2**63), f"num_bytes is {2**63}"),
            (lambda m: m["shards"][0].update(num_bytes=10**40), "num_bytes is 1000"),
            (lambda m: m.update(shards=[], num_frames=0), "there are no shards"),
            (lambda m: m["files"].append(m["files"][0]), "first_row.npy is listed twice"),
            (lambda m: m["files"][0].update(name="generation.json"), "or is the file that lists it"),
            (lambda m: m["files"].pop(2), "index.npy is not among the files"),
            (lambda m: m["files"].pop(), "videos.jsonl is not among the files"),
            (lambda m: m.update(fingerprint="0" * 63), "fingerprint must be 64 hex digits"),
            (
                lambda m: m.update(fingerprint="0" * 64),
                "folder is gen-0000000000000000, the manifest has gen-",
            ),
            (lambda m: m.update(num_videos=10**18), f"num_videos is {10**18}, the manifest has 2"),
            (lambda m: m["files"][0].update(name="a\x1b[2J"), "plain relative path"),
            (lambda m: m["files"][0].update(name="a/../../b"), "plain relative path"),
            (lambda m: m.update(frame_shape=[8193, 24, 3]), "H and W are 1..8192"),
            (lambda m: m.update(frame_shape=[16, 2**40, 3]), "H and W are 1..8192"),
            (
                lambda m: m.update(
                    fidelity={
                        "num_frames_sampled": 1,
                        "psnr_db_of_mean_error": 1.0,
                        "psnr_db_worst_frame": None,
                    }
                ),
                "both numbers or both null",
            ),
        ],
    )
    def test_what_would_break_a_reader_is_refused(self, golden_cache_of, change, message):
        cache = golden_cache_of("wds-jpeg")
        edit_generation(cache, change)
        with pytest.raises(StoreFormatError) as caught:
            frame_store.open_store(cache)
        assert message in str(caught.value)

    def test_what_a_build_notes_is_kept_as_it_is(self, golden_cache_of):
        cache = golden_cache_of("wds-jpeg")
        facts = {"spans": [{"first": 1, "last": [2, None, 1.5, "x", True]}], "n": 2**70}
        edit_videos(cache, lambda videos: videos[0].update(facts=facts))
        assert frame_store.open_store(cache).video_entries[0].facts == facts


class TestIndex:
    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"shard_id": 0}, "another frame's place"),
            ({"shard_id": 2**32 - 1}, "another frame's place"),
            ({"slot": 0}, "another frame's place"),
            ({"byte_offset": 2**64 - 1}, "outside the shard"),
            ({"byte_offset": 2**63}, "outside the shard"),
            ({"byte_length": 2**32 - 1}, "outside the shard"),
            ({"byte_offset": 0}, "into the frame before it"),
            ({"video_id": 2}, "of a video beyond the 2 of the generation"),
        ],
    )
    @pytest.mark.parametrize("name", GOLDEN_ENCODINGS)
    def test_a_row_that_cannot_be_is_refused_though_the_hashes_are_right(
        self, golden_cache_of, name, fields, message
    ):
        cache = golden_cache_of(name)
        edit_index(cache, 6, **fields)
        assert any("frame 6: " in problem and message in problem for problem in verify_store(cache).problems)
        for reads in ("map", "pread"):
            store = frame_store.open_store(cache, reads=reads)
            store.read_frames([0, 9])  # other shards are as they were
            for ids in ([6], [4]):  # a shard with such a row gives no frame
                for read in (store.read_frames, store.read_encoded, store.rows_of):
                    with pytest.raises(
                        StoreDamagedError, match=rf"index row 6 .*{message}; run cache-verify"
                    ):
                        read(ids)

    @pytest.mark.parametrize("name", GOLDEN_ENCODINGS)
    def test_rows_that_share_bytes_or_repeat_a_frame_are_found(self, golden_cache_of, name):
        cache = golden_cache_of(name)
        index = np.load(generation_folder(cache) / "index.npy")
        edit_index(cache, 6, byte_offset=int(index["byte_offset"][6]) - 1)
        assert any("frame 6: " in problem for problem in verify_store(cache).problems)
        cache = shutil.copytree(cache, cache.with_name("again"))
        np.save(generation_folder(cache) / "index.npy", index)
        edit_index(cache, 6, video_id=index["video_id"][5], frame_in_video=index["frame_in_video"][5])
        expected = f"{generation_folder(cache).name}/index.npy: a frame of a video is stored twice"
        assert expected in verify_store(cache).problems

    def test_one_frame_is_not_gigabytes(self, golden_cache_of):
        cache = golden_cache_of("wds-jpeg")
        shard = generation_folder(cache) / "shards/000002.tar"
        os.truncate(shard, 3 << 30)
        resign_without_hashing(cache, "shards/000002.tar", 3 << 30)
        edit = np.load(generation_folder(cache) / "index.npy")
        edit["byte_length"][9] = (3 << 30) - int(edit["byte_offset"][9])
        np.save(generation_folder(cache) / "index.npy", edit)
        with pytest.raises(
            StoreDamagedError, match=r"index row 9 .* more than the .* bytes that a frame can"
        ):
            frame_store.open_store(cache).read_frames([9])

    @pytest.mark.parametrize(
        "header",
        [
            {"descr": "<u4", "fortran_order": False, "shape": (10**15,)},
            {"descr": "|O", "fortran_order": False, "shape": (10,)},
            {"descr": "<u4", "fortran_order": True, "shape": (-1,)},
            {"descr": "<u4", "fortran_order": False, "shape": (2**62, 2**62)},
        ],
    )
    def test_headers_that_claim_anything_are_damage(self, golden_cache_of, header):
        cache = golden_cache_of("wds-jpeg")
        with (generation_folder(cache) / "index.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.write(pickle.dumps([1]) * 100)
        with pytest.raises(StoreDamagedError, match="index"):
            frame_store.open_store(cache)

    @pytest.mark.parametrize("version", [2, 3])
    def test_a_header_of_gigabytes_is_not_read(self, golden_cache_of, version):
        cache = golden_cache_of("wds-jpeg")
        with (generation_folder(cache) / "index.npy").open("wb") as file:
            file.write(b"\x93NUMPY" + bytes([version, 0]) + (2**32 - 1).to_bytes(4, "little"))
            file.truncate(1 << 33)
        with pytest.raises(StoreDamagedError, match=r"no \.npy of version 1\.0"):
            frame_store.open_store(cache)

    @pytest.mark.parametrize("reads", ["map", "pread"])
    @pytest.mark.parametrize(
        ("harm", "message"),
        [
            (lambda path: os.truncate(path, 500), "expected 720 bytes, found 500"),
            (os.unlink, "No such file"),
        ],
    )
    def test_an_index_cut_under_a_reader_is_raised_with_the_next_batch(
        self, golden_cache_of, reads, harm, message
    ):
        """The index is mapped in both cases: touching a page that was cut off would kill the process."""
        store = frame_store.open_store(golden_cache_of("wds-raw"), reads=reads)
        store.read_frames([0])
        harm(store.generations[0].path / "index.npy")
        for read in (store.read_frames, store.read_encoded, store.rows_of):
            with pytest.raises(StoreDamagedError, match=rf"index\.npy: {message}.*; run cache-verify"):
                read([9])

    @pytest.mark.parametrize("reads", ["map", "pread"])
    @pytest.mark.parametrize(
        "fields",
        [
            {"shard_id": 0},
            {"shard_id": 2**32 - 1},
            {"byte_offset": 2**64 - 1},
            {"byte_offset": 2**63 - 1},
            {"byte_length": 2**32 - 1},
            {"byte_length": 0},
        ],
    )
    def test_a_row_that_changes_under_a_reader_leads_nowhere(self, golden_cache_of, reads, fields):
        """The map shows what is written to the file, so the row is not the one that was checked."""
        store = frame_store.open_store(golden_cache_of("wds-raw"), reads=reads)
        store.read_frames(range(len(store)))
        rows = np.lib.format.open_memmap(store.generations[0].path / "index.npy", mode="r+")
        for name, value in fields.items():
            rows[name][6] = value
        for read in (store.read_frames, store.read_encoded, store.rows_of):
            with pytest.raises(StoreDamagedError, match=r"index row 6 was changed .*; run cache-verify"):
                read([5, 6])
            read([5])


def test_any_one_of_many_flipped_bits_is_found_and_its_frame_named(golden_caches, tmp_path):
    """A sample; `python -m tests.campaigns.fuzz_caches --bits 500` is the campaign."""
    generator = random.Random(1)
    for name in [*GOLDEN_ENCODINGS, WITH_ORDER, GOLDEN_WITH_COLUMNS[0]]:
        cache = shutil.copytree(golden_caches / name, tmp_path / name)
        for file in [file for file in files_of(cache) if not is_superseded(file, cache)]:
            sound = file.read_bytes()
            position = generator.randrange(len(sound))
            altered = bytearray(sound)
            altered[position] ^= 1 << generator.randrange(8)
            file.write_bytes(altered)
            problems = [
                problem for problem in problems_of(cache) if file.relative_to(cache).as_posix() in problem
            ]
            file.write_bytes(sound)
            frame = frame_at(cache, file.relative_to(cache).as_posix(), position)
            assert problems
            assert frame is None or any(f"frame {frame} " in problem for problem in problems)


@pytest.mark.parametrize("seed", range(60))
def test_spoilt_caches_raise_only_documented_errors(golden_caches, tmp_path, seed):
    """A sample; `python -m tests.campaigns.fuzz_caches` is the campaign, with thousands."""
    with_loader = seed % 10 == 0
    if with_loader:
        pytest.importorskip("torch")
    names = [*GOLDEN_ENCODINGS, STRIDED, WITH_ORDER, *GOLDEN_WITH_COLUMNS]
    name = names[seed % len(names)]
    cache = shutil.copytree(golden_caches / name, tmp_path / "cache")
    Mutator(seed).spoil(cache)
    OPENED.clear()
    read_everything(cache, with_loader=with_loader)
    assert paths_outside(OPENED, cache) == []
