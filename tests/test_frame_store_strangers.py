"""Caches from strangers: nothing is followed out of the folder, no size is believed, nothing in them is run."""

import hashlib
import json
import os
import pickle
import random
import shutil
import tracemalloc

import msgspec
import numpy as np
import pytest
from frame_cache_tools.golden_stores import GOLDEN_ENCODINGS

import frame_store
from frame_store.errors import StoreDamagedError, StoreFormatError
from frame_store.manifest import MAX_MANIFEST_BYTES, StoreManifest, read_manifest
from frame_store.pixel_codec import crc32c
from frame_store.verify import verify_store
from loader import webdataset_batches
from tests.bench.fuzz_caches import frame_at, problems_of
from tests.support.cache_mutations import (
    Mutator,
    files_of,
    opened_paths,
    paths_outside,
    read_everything,
    resign,
    sign,
    write_golden_caches,
)

TAR = [name for name, (container, _) in GOLDEN_ENCODINGS.items() if container == "wds"]
ZARR = [name for name in GOLDEN_ENCODINGS if name not in TAR]
OPENED = opened_paths()


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    write_golden_caches(folder)
    return folder


@pytest.fixture
def cache_of(caches, tmp_path):
    return lambda name: shutil.copytree(caches / name, tmp_path / name)


def edit_manifest(cache, change):
    document = json.loads((cache / "manifest.json").read_bytes())
    del document["digest"]
    change(document)
    (cache / "manifest.json").write_bytes(sign(document))


def edit_index(cache, row, **fields):
    index = np.load(cache / "index.npy")
    for name, value in fields.items():
        index[name][row] = value
    np.save(cache / "index.npy", index)
    resign(cache)


def replace_bytes(cache, name, old, new):
    content = (cache / name).read_bytes()
    assert old in content
    (cache / name).write_bytes(content.replace(old, new, 1))
    resign(cache)


class TestLinks:
    @pytest.mark.parametrize("name", GOLDEN_ENCODINGS)
    def test_no_link_is_followed_whatever_it_stands_for(self, cache_of, tmp_path, name):
        cache = cache_of(name)
        entries = [
            cache / "manifest.json",
            cache / "index.npy",
            *sorted(cache.iterdir()),
            *list(cache.rglob("*"))[-7:],
        ]
        for path in entries:
            outside = tmp_path / "outside"
            path.rename(outside)
            path.symlink_to(outside)
            OPENED.clear()
            told = read_everything(cache, with_loader=False)
            assert "verify" in told and "link" in told["verify"], (path, told)
            assert paths_outside(OPENED, cache) == [], path
            path.unlink()
            outside.rename(path)
        assert read_everything(cache, with_loader=False) == {}

    @pytest.mark.parametrize("name", ["shards", "shards/000001.tar"])
    def test_webdataset_follows_none_either(self, cache_of, tmp_path, name):
        cache = cache_of("wds-jpeg")
        path = cache / name
        path.rename(tmp_path / "outside")
        path.symlink_to(tmp_path / "outside")
        OPENED.clear()
        with pytest.raises(StoreDamagedError, match="is a symbolic link"):
            list(webdataset_batches(cache, batch_size=3))
        assert paths_outside(OPENED, cache) == []

    def test_the_folder_itself_may_be_one(self, cache_of, tmp_path):
        cache = cache_of("wds-raw")
        (tmp_path / "link").symlink_to(cache)
        assert read_everything(tmp_path / "link", with_loader=False) == {}

    @pytest.mark.parametrize("name", ["manifest.json", "index.npy", "shards/000001.tar"])
    def test_pipes_and_devices_are_not_waited_for(self, cache_of, name):
        cache = cache_of("wds-jpeg")
        (cache / name).unlink()
        os.mkfifo(cache / name)
        told = read_everything(cache, with_loader=False)
        assert "regular file" in told["verify"]

    def test_into_a_strangers_folder_nobody_looks(self, cache_of):
        """It may be nested deeper than a path can be long."""
        cache = cache_of("wds-jpeg")
        (cache / "d/d/d").mkdir(parents=True)
        (cache / "shards/d/d").mkdir(parents=True)
        assert verify_store(cache).problems == [
            "d: is not in the manifest",
            "shards/d: is not in the manifest",
        ]

    def test_a_strangers_name_is_shown_without_its_control_characters(self, cache_of):
        cache = cache_of("wds-jpeg")
        (cache / "a\x1b[2J\nb").write_text("")
        (cache / os.fsdecode(b"\xff")).write_text("")
        assert verify_store(cache).problems == [
            r"a\x1b[2J\nb: is not in the manifest",
            r"\udcff: is not in the manifest",
        ]
        msgspec.json.encode(verify_store(cache))


class TestManifest:
    def test_a_gigabyte_is_refused_unread(self, cache_of):
        cache = cache_of("wds-jpeg")
        os.truncate(cache / "manifest.json", 10**9)
        tracemalloc.start()
        with pytest.raises(StoreFormatError, match=f"1000000000 bytes, at most {MAX_MANIFEST_BYTES}"):
            frame_store.open_store(cache)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()

    def test_a_manifest_of_empty_lists_is_refused_before_they_are_made(self, cache_of):
        cache = cache_of("wds-jpeg")
        edit_manifest(cache, lambda m: m.update(config={"a": "@"}))
        raw = (cache / "manifest.json").read_bytes()
        body = raw[: raw.index(b',\n "digest"')].replace(b'"@"', b"[" + b"[]," * 1_000_000 + b"[]]")
        digest = hashlib.sha256(body).hexdigest().encode()
        (cache / "manifest.json").write_bytes(body + b',\n "digest": "' + digest + b'"\n}\n')
        with pytest.raises(StoreFormatError, match="more than any manifest has"):
            read_manifest(cache)

    @pytest.mark.parametrize("depth", [4, 10_000, 500_000])
    @pytest.mark.parametrize("place", ["config", "facts", "unknown"])
    def test_deep_nesting_is_refused_though_the_digest_is_right(self, cache_of, depth, place):
        cache = cache_of("wds-jpeg")
        mark = "here goes the nest"

        def change(document):
            if place == "facts":
                document["videos"][0]["facts"] = {"a": mark}
            else:
                document[place] = {"a": mark}

        edit_manifest(cache, change)
        content = (cache / "manifest.json").read_bytes()
        body = content[: content.index(b',\n "digest"')]
        body = body.replace(b'"%s"' % mark.encode(), b"[" * depth + b"]" * depth)
        digest = hashlib.sha256(body).hexdigest().encode()
        (cache / "manifest.json").write_bytes(body + b',\n "digest": "' + digest + b'"\n}\n')
        with pytest.raises(StoreFormatError, match=r"manifest\.json: "):
            read_manifest(cache)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda m: m["shards"][0].update(name="../000000.tar"), "plain relative path"),
            (lambda m: m["shards"][0].update(name="/etc/passwd"), "plain relative path"),
            (lambda m: m["shards"][0].update(name="shards/{0..9}.tar"), "plain relative path"),
            (
                lambda m: m["shards"][1].update(name="shards/000000.tar"),
                "shard 1 must be 'shards/000001.tar'",
            ),
            (lambda m: m["shards"][0].update(name="manifest.json"), "shard 0 must be"),
            (lambda m: m["shards"][0].update(num_frames=-4), "num_frames is -4"),
            (lambda m: m["shards"][0].update(num_bytes=2**63), f"num_bytes is {2**63}"),
            (lambda m: m["shards"][0].update(num_bytes=10**40), "num_bytes is 1000"),
            (lambda m: m.update(shards=[], num_frames=0, videos=[]), "there are no shards"),
            (lambda m: m["files"].append(m["files"][0]), "index.npy is listed twice"),
            (lambda m: m["files"][0].update(name="manifest.json"), "is the manifest itself"),
            (lambda m: m["files"][0].update(name="a\x1b[2J"), "plain relative path"),
            (lambda m: m["files"][0].update(name="a/../../b"), "plain relative path"),
            (lambda m: m.update(frame_shape=[8193, 24, 3]), "H and W are 1..8192"),
            (lambda m: m.update(frame_shape=[16, 2**40, 3]), "H and W are 1..8192"),
            (lambda m: m["videos"][0].update(num_frames_stored=-1), "num_frames_stored is -1"),
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
    def test_what_would_break_a_reader_is_refused(self, cache_of, change, said):
        cache = cache_of("wds-jpeg")
        edit_manifest(cache, change)
        with pytest.raises(StoreFormatError) as caught:
            frame_store.open_store(cache)
        assert said in str(caught.value)

    def test_what_a_build_notes_is_kept_as_it_is(self, cache_of):
        cache = cache_of("wds-jpeg")
        facts = {"spans": [{"first": 1, "last": [2, None, 1.5, "x", True]}], "n": 2**70}
        edit_manifest(cache, lambda m: m["videos"][0].update(facts=facts))
        manifest = read_manifest(cache)
        assert isinstance(manifest, StoreManifest) and manifest.videos[0].facts == facts


class TestIndex:
    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"shard_id": 0}, "another's place"),
            ({"shard_id": 2**32 - 1}, "another's place"),
            ({"slot": 0}, "another's place"),
            ({"byte_offset": 2**64 - 1}, "outside the shard"),
            ({"byte_offset": 2**63}, "outside the shard"),
            ({"byte_length": 2**32 - 1}, "outside the shard"),
            ({"byte_offset": 0}, "into the frame before it"),
            ({"video_id": 2}, "of a video that is none of 2"),
        ],
    )
    @pytest.mark.parametrize("name", GOLDEN_ENCODINGS)
    def test_a_row_that_cannot_be_is_refused_though_the_hashes_are_right(self, cache_of, name, fields, said):
        cache = cache_of(name)
        edit_index(cache, 6, **fields)
        assert any("frame 6: " in problem and said in problem for problem in verify_store(cache).problems)
        for reads in ("map", "pread"):
            store = frame_store.open_store(cache, reads=reads)
            store.read_frames([0, 9])  # other shards are as they were
            for ids in ([6], [4]):  # a shard with such a row gives no frame
                for read in (store.read_frames, store.read_encoded):
                    with pytest.raises(StoreDamagedError, match=rf"index row 6 .*{said}; run cache-verify"):
                        read(ids)

    @pytest.mark.parametrize("name", GOLDEN_ENCODINGS)
    def test_rows_that_share_bytes_or_repeat_a_frame_are_found(self, cache_of, name):
        cache = cache_of(name)
        index = np.load(cache / "index.npy")
        edit_index(cache, 6, byte_offset=int(index["byte_offset"][6]) - 1)
        assert any("frame 6: " in problem for problem in verify_store(cache).problems)
        cache = shutil.copytree(cache, cache.with_name("again"))
        np.save(cache / "index.npy", index)
        edit_index(cache, 6, video_id=index["video_id"][5], frame_in_video=index["frame_in_video"][5])
        assert "index.npy: a frame of a video is stored twice" in verify_store(cache).problems

    def test_one_frame_is_not_gigabytes(self, cache_of):
        cache = cache_of("wds-jpeg")
        shard = cache / "shards/000002.tar"
        os.truncate(shard, 3 << 30)
        resign_without_hashing(cache, "shards/000002.tar", 3 << 30)
        edit = np.load(cache / "index.npy")
        edit["byte_length"][9] = (3 << 30) - int(edit["byte_offset"][9])
        np.save(cache / "index.npy", edit)
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
    def test_headers_that_claim_anything_are_damage(self, cache_of, header):
        cache = cache_of("wds-jpeg")
        with (cache / "index.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.write(pickle.dumps([1]) * 100)
        with pytest.raises(StoreDamagedError, match="index"):
            frame_store.open_store(cache)

    @pytest.mark.parametrize("version", [2, 3])
    def test_a_header_of_gigabytes_is_not_read(self, cache_of, version):
        cache = cache_of("wds-jpeg")
        with (cache / "index.npy").open("wb") as file:
            file.write(b"\x93NUMPY" + bytes([version, 0]) + (2**32 - 1).to_bytes(4, "little"))
            file.truncate(1 << 33)
        with pytest.raises(StoreDamagedError, match=r"no \.npy of version 1\.0"):
            frame_store.open_store(cache)

    @pytest.mark.parametrize("reads", ["map", "pread"])
    @pytest.mark.parametrize(
        ("harm", "said"),
        [
            (lambda path: os.truncate(path, 500), "expected 720 bytes, found 500"),
            (os.unlink, "No such file"),
        ],
    )
    def test_an_index_cut_under_a_reader_is_raised_with_the_next_batch(self, cache_of, reads, harm, said):
        """It is mapped either way: touching what is gone of it would kill the process."""
        store = frame_store.open_store(cache_of("wds-raw"), reads=reads)
        store.read_frames([0])
        harm(store.path / "index.npy")
        for read in (store.read_frames, store.read_encoded):
            with pytest.raises(StoreDamagedError, match=rf"index\.npy: {said}.*; run cache-verify"):
                read([9])


def resign_without_hashing(cache, name, num_bytes):
    def change(document):
        for entry in document["shards"]:
            if entry["name"] == name:
                entry["num_bytes"] = num_bytes

    edit_manifest(cache, change)


class TestTar:
    @pytest.mark.parametrize("name", TAR)
    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            (b"000000000005.json", b"000000000006.json", "frame 5: expected the tar header of 000000000005"),
            (b'"frame_in_video":0', b'"frame_in_video":1', "frame 5: its .json says other than index.npy"),
            (b'"video_id":1', b'"video_id":[', "frame 5: its .json is damaged"),
        ],
    )
    def test_what_lies_between_frames_is_checked_though_the_hashes_are_right(
        self, cache_of, name, old, new, said
    ):
        cache = cache_of(name)
        replace_bytes(cache, "shards/000001.tar", old, new)
        problems = verify_store(cache).problems
        assert any(problem.startswith(f"shards/000001.tar: {said}") for problem in problems), problems

    @pytest.mark.parametrize("name", TAR)
    @pytest.mark.parametrize("kind", [b"1", b"2", b"S", b"x", b"L"])
    def test_headers_that_lie_reach_no_reader_of_tar_files(self, cache_of, name, kind):
        """Links, sparse files and sizes of gigabytes, with checksums that are right."""
        cache = cache_of(name)
        frames = frame_store.open_store(cache).read_frames(range(10))
        content = bytearray((cache / "shards/000001.tar").read_bytes())
        for change in (kind, b"77777777777"):
            altered = bytearray(content)
            header = altered[:512]
            if change is kind:
                header[156:157] = kind
                header[157:170] = b"../../../etc\0"
            else:
                header[124:135] = change
            header[148:156] = b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
            altered[:512] = header
            (cache / "shards/000001.tar").write_bytes(altered)
            resign(cache)
            problems = verify_store(cache).problems
            assert len(problems) == 1 and "000001.tar: frame 4: " in problems[0], problems
            np.testing.assert_array_equal(frame_store.open_store(cache).read_frames(range(10)), frames)

    @pytest.mark.parametrize("harm", [lambda c: c[:-100], lambda c: c[:-1] + b"x", lambda c: c.rstrip(b"\0")])
    def test_the_end_is_zeros(self, cache_of, harm):
        cache = cache_of("wds-raw")
        shard = cache / "shards/000001.tar"
        shard.write_bytes(harm(shard.read_bytes()))
        resign(cache)
        problems = verify_store(cache).problems
        assert len(problems) == 1 and problems[0].startswith("shards/000001.tar: "), problems

    def test_webdataset_raises_our_errors(self, cache_of):
        cache = cache_of("wds-raw")
        for old, new in (
            (b"(16, 24, 3)", b"(99999999, 99999, 3)"),
            (b'{"video_id"', b'["video_id"'),
            (b"ustar\x0000", b"\x1f\x8b\x0800000"),
        ):
            copy = shutil.copytree(cache, cache.with_name(f"copy{len(old)}{len(new)}"))
            content = (copy / "shards/000001.tar").read_bytes()
            (copy / "shards/000001.tar").write_bytes(content.replace(old, new)[: len(content)])
            resign(copy)
            with pytest.raises(StoreDamagedError):
                list(webdataset_batches(copy, batch_size=3))


class TestZarr:
    @pytest.mark.parametrize("name", ZARR)
    def test_metadata_of_an_older_version_that_names_pickle_runs_nothing(self, cache_of, name, tmp_path):
        class Harm:
            def __reduce__(self):
                return (os.system, (f"touch {tmp_path}/harmed",))

        cache = cache_of(name)
        for metadata in cache.rglob("zarr.json"):
            metadata.unlink()
        (cache / "frames.zarr/.zgroup").write_text('{"zarr_format": 2}')
        (cache / "frames.zarr/video_id/.zarray").write_text(
            json.dumps(
                {
                    "zarr_format": 2,
                    "shape": [10],
                    "chunks": [10],
                    "dtype": "|O",
                    "order": "C",
                    "fill_value": 0,
                    "compressor": None,
                    "filters": [{"id": "pickle", "protocol": 5}],
                }
            )
        )
        (cache / "frames.zarr/video_id/0").write_bytes(pickle.dumps([Harm()]))
        files = [path.relative_to(cache).as_posix() for path in files_of(cache)]
        edit_manifest(
            cache,
            lambda m: m.update(
                files=[
                    {"name": name, "num_bytes": 0, "sha256": ""}
                    for name in files
                    if name != "manifest.json" and "/c/" not in name.replace("video_id/c", "")
                ]
            ),
        )
        resign(cache)
        assert any("zarr.json: " in problem for problem in verify_store(cache).problems)
        assert not (tmp_path / "harmed").exists()

    @pytest.mark.parametrize("name", ZARR)
    @pytest.mark.parametrize(
        "change",
        [
            lambda m: m.update(shape=[10**12, 16, 24, 3]),
            lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[5, 16, 24, 3]),
            lambda m: m["codecs"].append({"name": "numcodecs.pickle"}),
            lambda m: m["codecs"][0]["configuration"].update(index_location="start"),
            lambda m: m.update(storage_transformers=[{"name": "x"}]),
            lambda m: m.update(fill_value=1),
            lambda m: m.update(surprise=1),
            lambda m: m.update(data_type="uint16"),
        ],
    )
    def test_metadata_say_what_the_manifest_says(self, cache_of, name, change):
        cache = cache_of(name)
        path = cache / "frames.zarr/frames/zarr.json"
        document = json.loads(path.read_bytes())
        change(document)
        path.write_text(json.dumps(document))
        resign(cache)
        problems = verify_store(cache).problems
        assert len(problems) == 1 and problems[0].startswith("frames.zarr/frames/zarr.json: "), problems

    def test_metadata_nested_without_end_or_huge_are_problems(self, cache_of):
        for content in (b"[" * 100_000, b" " * (1 << 20) + b"{}", b"[]", b"\xff"):
            cache = cache_of("zarr-raw")
            (cache / "frames.zarr/zarr.json").write_bytes(content)
            resign(cache)
            assert verify_store(cache).problems[0].startswith("frames.zarr/zarr.json: ")
            shutil.rmtree(cache)

    @pytest.mark.parametrize("name", ZARR)
    def test_a_shard_index_that_points_elsewhere_names_the_frame(self, cache_of, name):
        cache = cache_of(name)
        shard = cache / "frames.zarr/frames/c/1/0/0/0"
        sound = shard.read_bytes()
        for slot, word, value in ((2, 0, 2**63), (2, 0, 0), (2, 1, 2**40), (2, 1, 2**64 - 1)):
            content = bytearray(sound)
            at = len(content) - 4 - 16 * 4 + 16 * slot + 8 * word
            content[at : at + 8] = value.to_bytes(8, "little")
            content[-4:] = crc32c(content[-68:-4]).to_bytes(4, "little")
            shard.write_bytes(content)
            resign(cache)
            assert verify_store(cache).problems == [
                "frames.zarr/frames/c/1/0/0/0: frame 6: lies elsewhere in the shard's index than in index.npy"
            ]
        content = bytearray(sound)
        content[-2] ^= 1
        shard.write_bytes(content)
        resign(cache)
        assert verify_store(cache).problems == [
            "frames.zarr/frames/c/1/0/0/0: the crc32c of its index is wrong"
        ]

    @pytest.mark.parametrize("array", ["video_id", "frame_in_video", "pts_seconds"])
    def test_a_side_array_that_differs_names_the_frame(self, cache_of, array):
        cache = cache_of("zarr-raw")
        path = cache / f"frames.zarr/{array}/c/0"
        content = bytearray(path.read_bytes())
        content[7 * len(content) // 10] ^= 1
        path.write_bytes(content)
        resign(cache)
        assert verify_store(cache).problems == [
            f"frames.zarr/{array}/c/0: differs from the index, first at frame 7"
        ]


def test_any_one_of_many_flipped_bits_is_found_and_its_frame_named(caches, tmp_path):
    """A sample; `python -m tests.bench.fuzz_caches --bits 500` is the campaign."""
    generator = random.Random(1)
    for name in GOLDEN_ENCODINGS:
        cache = shutil.copytree(caches / name, tmp_path / name)
        for file in files_of(cache):
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
def test_spoilt_caches_raise_only_documented_errors(caches, tmp_path, seed):
    """A sample; `python -m tests.bench.fuzz_caches` is the campaign of thousands."""
    name = list(GOLDEN_ENCODINGS)[seed % len(GOLDEN_ENCODINGS)]
    cache = shutil.copytree(caches / name, tmp_path / "cache")
    Mutator(seed).spoil(cache)
    OPENED.clear()
    read_everything(cache, with_loader=seed % 10 == 0)
    assert paths_outside(OPENED, cache) == []
