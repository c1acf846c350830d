"""Tar shards of unknown origin: every byte between payloads is checked before a reader of tar files sees it."""

import shutil
import string
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frame_store
from frame_store.containers.tar import member_header
from frame_store.errors import StoreDamagedError
from tests.support.caches.cache_edits import replace_bytes
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS
from tests.support.caches.tree import generation_folder, problems_inside
from tests.support.mutations.of_caches import (
    resign,
)

TAR = [name for name, (container, _) in GOLDEN_ENCODINGS.items() if container == "wds"]


@given(
    name=st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=100),
    num_bytes=st.integers(0, 8**11 - 1),
)
def test_a_header_is_that_of_tarfile(name, num_bytes):
    member = tarfile.TarInfo(name)
    member.size, member.mode = num_bytes, 0o444
    assert member_header(name, num_bytes) == member.tobuf(tarfile.USTAR_FORMAT)


class TestTar:
    @pytest.mark.parametrize("name", TAR)
    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (b"000000000005.json", b"000000000006.json", "frame 5: expected the tar header of 000000000005"),
            (b'"frame_in_video":0', b'"frame_in_video":1', "frame 5: its .json differs from index.npy"),
            (b'"video_id":1', b'"video_id":[', "frame 5: its .json is damaged"),
        ],
    )
    def test_what_lies_between_frames_is_checked_though_the_hashes_are_right(
        self, golden_cache_of, name, old, new, message
    ):
        cache = golden_cache_of(name)
        replace_bytes(cache, "shards/000001.tar", old, new)
        problems = problems_inside(cache)
        assert any(problem.startswith(f"shards/000001.tar: {message}") for problem in problems), problems

    @pytest.mark.parametrize("name", TAR)
    @pytest.mark.parametrize("kind", [b"1", b"2", b"S", b"x", b"L"])
    def test_headers_that_are_wrong_reach_no_reader_of_tar_files(self, golden_cache_of, name, kind):
        """Links, sparse files and sizes of gigabytes, with right checksums."""
        cache = golden_cache_of(name)
        frames = frame_store.open_store(cache).read_frames(range(10))
        content = bytearray((generation_folder(cache) / "shards/000001.tar").read_bytes())
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
            (generation_folder(cache) / "shards/000001.tar").write_bytes(altered)
            resign(cache)
            problems = problems_inside(cache)
            assert len(problems) == 1 and "000001.tar: frame 4: " in problems[0], problems
            np.testing.assert_array_equal(frame_store.open_store(cache).read_frames(range(10)), frames)

    @pytest.mark.parametrize("harm", [lambda c: c[:-100], lambda c: c[:-1] + b"x", lambda c: c.rstrip(b"\0")])
    def test_the_end_is_zeros(self, golden_cache_of, harm):
        cache = golden_cache_of("wds-raw")
        shard = generation_folder(cache) / "shards/000001.tar"
        shard.write_bytes(harm(shard.read_bytes()))
        resign(cache)
        problems = problems_inside(cache)
        assert len(problems) == 1 and problems[0].startswith("shards/000001.tar: "), problems

    def test_webdataset_raises_our_errors(self, golden_cache_of):
        pytest.importorskip("torch")
        from loader import webdataset_batches

        cache = golden_cache_of("wds-raw")
        for old, new in (
            (b"(16, 24, 3)", b"(99999999, 99999, 3)"),
            (b'{"video_id"', b'["video_id"'),
            (b"ustar\x0000", b"\x1f\x8b\x0800000"),
        ):
            copy = shutil.copytree(cache, cache.with_name(f"copy{len(old)}{len(new)}"))
            content = (generation_folder(copy) / "shards/000001.tar").read_bytes()
            (generation_folder(copy) / "shards/000001.tar").write_bytes(
                content.replace(old, new)[: len(content)]
            )
            resign(copy)
            with pytest.raises(StoreDamagedError):
                list(webdataset_batches(copy, batch_size=3))
