"""Rows of the index read back out of shards, golden ones and wrong ones."""

import numpy as np
import pytest

from frame_store.containers import (
    read_side_array,
    side_array_names,
    tar_shard_rows,
    zarr,
    zarr_shard_rows,
)
from frame_store.index import open_index
from tests.support.caches.golden_stores import FRAMES_PER_SHARD, GOLDEN_ENCODINGS
from tests.support.caches.tree import generation_folder, generation_of

TAR = [name for name, (container, _) in GOLDEN_ENCODINGS.items() if container == "wds"]
ZARR = [name for name, (container, _) in GOLDEN_ENCODINGS.items() if container == "zarr"]


def rows_of(cache, shard_id=1):
    generation, folder = generation_of(cache), generation_folder(cache)
    first = sum(shard.num_frames for shard in generation.shards[:shard_id])
    if generation.container == "wds":
        return tar_shard_rows(folder, generation=generation, shard_id=shard_id, first_frame_id=first)
    return zarr_shard_rows(
        folder, generation=generation, shard_id=shard_id, frames_per_shard=FRAMES_PER_SHARD
    )


@pytest.mark.parametrize("name", GOLDEN_ENCODINGS)
def test_rows_are_those_of_the_index_to_the_byte(golden_caches, name):
    cache = golden_caches / name
    index = np.array(open_index(generation_folder(cache), num_frames=10))  # half of its pts are NaN
    if name in ZARR:
        for column in ("video_id", "frame_in_video", "pts_seconds"):
            index[column] = 0
    assert b"".join(rows_of(cache, shard_id).tobytes() for shard_id in range(3)) == index.tobytes()


@pytest.mark.parametrize("name", TAR)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\0ustar", b"\1ustar"),
        (b'"video_id":1', b'"video_id":x'),
        (b'"video_id":1', b'"video_i_":1'),
        (b'"frame_in_video":0', b'"frame_in_video":-'),
        (b'"video_id":1,"video":"more/second', b'"video_id":9999999999,"video":"no'),
    ],
)
def test_a_tar_shard_that_is_wrong_is_a_value_error(golden_cache_of, name, old, new):
    shard = generation_folder(golden_cache_of(name)) / "shards/000001.tar"
    content = shard.read_bytes()
    assert old in content and len(old) == len(new)
    shard.write_bytes(content.replace(old, new))
    with pytest.raises(ValueError):
        rows_of(shard.parents[2])


@pytest.mark.parametrize("name", TAR)
def test_no_size_in_a_tar_shard_is_trusted(golden_cache_of, name):
    shard = generation_folder(golden_cache_of(name)) / "shards/000001.tar"
    sound = shard.read_bytes()
    too_small = "expected the tar header" if name == "wds-jpeg" else "-128 bytes at byte"
    for start, field, message in (
        (0, b"000000000005.", "expected the tar header of 000000000004"),
        (124, b"77777777777", "expected at most"),
        (124, b"00010000000", "expected at most"),
        (124, b"00000000000", too_small),
    ):
        content = bytearray(sound)
        content[start : start + len(field)] = field
        content[148:156] = b" " * 8
        content[148:156] = b"%06o\0 " % sum(content[:512])
        shard.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            rows_of(shard.parents[2])
    for length in (0, 100, 700, len(sound) // 3):
        shard.write_bytes(sound[:length])
        with pytest.raises(ValueError, match=f"it ends at byte {length}"):
            rows_of(shard.parents[2])


@pytest.mark.parametrize("name", ZARR)
def test_no_offset_in_a_zarr_shard_is_trusted(golden_cache_of, name):
    cache = golden_cache_of(name)
    shard = generation_folder(cache) / "frames.zarr/frames/c/1/0/0/0"
    sound = shard.read_bytes()
    for slot, word, value in ((0, 0, 1), (2, 0, 0), (2, 0, 2**63), (2, 1, 2**40), (3, 1, 5000), (2, 1, 1)):
        content = bytearray(sound)
        at = len(content) - 4 - 16 * FRAMES_PER_SHARD + 16 * slot + 8 * word
        content[at : at + 8] = value.to_bytes(8, "little")
        shard.write_bytes(content)
        with pytest.raises(ValueError):
            rows_of(cache)
    shard.write_bytes(sound[:50])
    with pytest.raises(ValueError):
        rows_of(cache)


def test_a_zarr_shard_holds_no_more_frames_than_it_can(golden_caches):
    cache = golden_caches / "zarr-raw"
    for frames_per_shard in (3, 10**8):
        with pytest.raises(ValueError, match="4 frames in a shard of"):
            zarr_shard_rows(
                generation_folder(cache),
                generation=generation_of(cache),
                shard_id=1,
                frames_per_shard=frames_per_shard,
            )


def test_a_side_array_of_many_chunks_is_read_across_them(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr, "FRAMES_PER_SIDE_CHUNK", 4)
    values = np.arange(10, dtype="<u4")
    for number, name in enumerate(side_array_names("video_id", num_frames=10)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        chunk = np.zeros(4, "<u4")
        chunk[: len(values[4 * number : 4 * number + 4])] = values[4 * number : 4 * number + 4]
        (tmp_path / name).write_bytes(chunk.tobytes())
    for first, end in ((0, 10), (0, 4), (3, 5), (4, 8), (9, 10), (1, 9)):
        found = read_side_array(tmp_path, "video_id", first=first, end=end, num_frames=10)
        assert found.dtype == "<u4" and found.tolist() == list(range(first, end))
    (tmp_path / "frames.zarr/video_id/c/1").write_bytes(bytes(8))
    with pytest.raises(ValueError, match="video_id: ends before frame 9"):
        read_side_array(tmp_path, "video_id", first=1, end=9, num_frames=10)
