"""The Zarr container: written, checked, and read back into rows of the index (FORMAT.md section 6).

Shard files are written after the `sharding_indexed` specification, metadata and side arrays by zarr-python.
"""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from frame_store.codec import crc32c
from frame_store.containers.shards import (
    FrameRecord,
    ShardFile,
    ShardReceipt,
    empty_rows,
    read_exactly,
)
from frame_store.files import OpenFile, open_inside, read_inside
from frame_store.index import FrameIndex, max_payload_bytes
from frame_store.manifest import Encoding, Generation
from frame_store.names import INDEX_DTYPE, ZARR_FOLDER, PixelDtype
from frame_store.shared import counted, raise_if_out_of_files

SIDE_ARRAYS: Final = ("video_id", "frame_in_video", "pts_seconds")
"""Columns of `index.npy` that are Zarr arrays as well."""

FRAMES_PER_SIDE_CHUNK: Final = 1 << 20
MAX_METADATA_BYTES: Final = 1 << 20
MAX_SHARD_LENGTH: Final = 10_000_000
"""Most frames in a shard: its index, which is read at once, then takes 160 MB."""

_ABSENT: Final = 0xFFFF_FFFF_FFFF_FFFF
"""Offset and length, in a shard's index, of a frame that the shard does not hold."""
_ENTRY_BYTES: Final = 16
_CHECKSUM_BYTES: Final = 4


class ZarrShardWriter:
    """Appends encoded chunks, one per frame, then the shard's index with its crc32c.

    zarr-python would leave out a chunk that equals the fill value. This writer stores black frames like any other.
    """

    def __init__(self, file: ShardFile, *, frames_per_shard: int) -> None:
        self._file = file
        self._chunks = np.full((frames_per_shard, 2), _ABSENT, "<u8")
        self._num_frames = 0

    def append(self, record: FrameRecord, payload: bytes) -> int:
        """Write a frame's chunk; returns its byte offset."""
        byte_offset = self._file.append(payload)
        self._chunks[self._num_frames] = byte_offset, len(payload)
        self._num_frames += 1
        return byte_offset

    def seal(self) -> ShardReceipt:
        """Write the shard's index, sync and close."""
        index = self._chunks.tobytes()
        self._file.append(index + crc32c(index).to_bytes(_CHECKSUM_BYTES, "little"))
        return self._file.seal(num_frames=self._num_frames)


def write_zarr_metadata(
    folder: Path,
    *,
    index: FrameIndex,
    frame_shape: tuple[int, int, int],
    frame_dtype: PixelDtype,
    frames_per_shard: int,
    encoding: Encoding,
) -> None:
    """Create the group, the metadata of `frames` and the side arrays, with standard codecs only.

    `ZarrShardWriter` writes the chunks of `frames`.
    """
    import zarr
    from zarr.codecs import ZstdCodec

    for leftover in (folder / ZARR_FOLDER).rglob("zarr.json"):
        leftover.unlink()  # of an earlier call that was interrupted
    group = zarr.create_group(folder / ZARR_FOLDER, zarr_format=3, overwrite=False)
    compressor = ZstdCodec(level=encoding.level) if encoding.level is not None else None
    options: dict[str, Any] = {"filters": None, "fill_value": 0, "config": {"write_empty_chunks": True}}
    group.create_array(
        "frames",
        shape=(len(index), *frame_shape),
        chunks=(1, *frame_shape),
        shards=(frames_per_shard, *frame_shape),
        dtype=frame_dtype.name,
        compressors=compressor,
        dimension_names=("frame", "y", "x", "channel"),
        **options,
    )
    for name in SIDE_ARRAYS:
        array = group.create_array(
            name,
            shape=(len(index),),
            chunks=(_side_chunk_length(len(index)),),
            dtype=index.dtype[name],
            compressors=None,
            dimension_names=("frame",),
            **options,
        )
        array[:] = np.ascontiguousarray(index[name])


def frames_per_shard(generation: Generation, index: FrameIndex) -> int:
    """Frames of a whole shard: the entries in the first shard's index, which begins after the last payload."""
    last = index[generation.shards[0].num_frames - 1]
    num_bytes = generation.shards[0].num_bytes - int(last["byte_offset"]) - int(last["byte_length"])
    return (num_bytes - _CHECKSUM_BYTES) // _ENTRY_BYTES


def check_zarr_metadata(folder: Path, generation: Generation, *, shard_length: int) -> Iterator[str]:
    """One line for each `zarr.json` that is missing or differs from what `generation.json` demands.

    Metadata of unknown files name codecs, and a reader runs what they name. So this comes before any Zarr reader.
    """
    for name, expected in _expected_metadata(generation, shard_length).items():
        path = "/".join(filter(None, [ZARR_FOLDER, name, "zarr.json"]))
        try:
            problem = _compare(expected, _read_json(folder, path))
        except (OSError, ValueError, RecursionError) as error:
            raise_if_out_of_files(error)
            problem = str(error)
        if problem:
            yield f"{path}: {problem}"


def check_zarr_shard(
    file: OpenFile, *, rows: FrameIndex, first_frame_id: int, shard_length: int
) -> Iterator[str]:
    """One line for each frame that the shard's own index places elsewhere than `index.npy`, and for a damaged one.

    `rows` are the shard's rows of the index, which `find_row_problem` has found sound. Payloads must lie without gaps.
    """
    ends = rows["byte_offset"] + rows["byte_length"]
    num_bytes = os.fstat(file.number).st_size - int(ends[-1])
    num_entries, rest = divmod(num_bytes - _CHECKSUM_BYTES, _ENTRY_BYTES)
    if rest or num_entries != shard_length or not len(rows) <= num_entries <= MAX_SHARD_LENGTH:
        found = counted(num_bytes, "byte")
        yield f"{found} after its last frame, which are not an index of {counted(shard_length, 'frame')}"
        return
    raw = os.pread(file.number, num_bytes, int(ends[-1]))
    chunks = np.frombuffer(raw, "<u8", 2 * num_entries).reshape(-1, 2)
    if crc32c(raw[:-_CHECKSUM_BYTES]) != int.from_bytes(raw[-_CHECKSUM_BYTES:], "little"):
        yield "the crc32c of its index is wrong"
    is_wrong = (chunks[: len(rows), 0] != rows["byte_offset"]) | (
        chunks[: len(rows), 1] != rows["byte_length"]
    )
    is_wrong[0] |= rows["byte_offset"][0] != 0
    is_wrong[1:] |= rows["byte_offset"][1:] != ends[:-1]
    for slot in np.flatnonzero(is_wrong)[:10]:
        yield f"frame {first_frame_id + slot}: lies elsewhere in the shard's index than in index.npy"
    if (chunks[len(rows) :] != _ABSENT).any():
        yield "its index holds more frames than generation.json gives it"


def check_side_arrays(folder: Path, index: FrameIndex) -> Iterator[str]:
    """One line for each file of a side array that differs from its part of the index."""
    for name in SIDE_ARRAYS:
        for chunk, path in enumerate(side_array_names(name, num_frames=len(index))):
            first = chunk * FRAMES_PER_SIDE_CHUNK
            column = index[name][first : first + FRAMES_PER_SIDE_CHUNK]
            expected = np.zeros(_side_chunk_length(len(index)), column.dtype)
            expected[: len(column)] = column
            try:
                found = np.frombuffer(read_inside(folder, path, max_bytes=expected.nbytes), column.dtype)
                if len(found) != len(expected):
                    raise ValueError(f"expected {counted(len(expected), 'value')}, found {len(found)}")
            except (OSError, ValueError) as error:
                raise_if_out_of_files(error)
                yield f"{path}: {error}"
                continue
            differs = found.view(f"u{column.itemsize}") != expected.view(f"u{column.itemsize}")
            if differs.any():
                yield f"{path}: differs from the index, first at frame {first + int(np.argmax(differs))}"


_GROUP: Final[dict[str, Any]] = {"zarr_format": 3, "node_type": "group"}
_BYTES: Final = {"name": "bytes"}
_LITTLE_ENDIAN: Final = {"name": "bytes", "configuration": {"endian": "little"}}
_INFORMATIVE: Final = {"attributes", "dimension_names", "consolidated_metadata", "storage_transformers"}


def _expected_metadata(generation: Generation, shard_length: int) -> dict[str, dict[str, Any]]:
    """What the `zarr.json` of the group and of each array must contain, by name."""
    num_frames, frame_shape = generation.num_frames, list(generation.frame_shape)
    dtype = generation.frame_dtype
    codecs: list[dict[str, Any]] = [_BYTES if dtype.itemsize == 1 else _LITTLE_ENDIAN]
    if generation.encoding.name == "zstd":
        zstd = {"level": generation.encoding.level, "checksum": False}
        codecs.append({"name": "zstd", "configuration": zstd})
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [1, *frame_shape],
            "codecs": codecs,
            "index_codecs": [_LITTLE_ENDIAN, {"name": "crc32c"}],
            "index_location": "end",
        },
    }
    expected = {"": _GROUP}
    for name in SIDE_ARRAYS:
        chunk_shape = [_side_chunk_length(num_frames)]
        expected[name] = _array([num_frames], INDEX_DTYPE[name].name, chunk_shape, [_LITTLE_ENDIAN])
    expected["frames"] = _array(
        [num_frames, *frame_shape], dtype.name, [shard_length, *frame_shape], [sharding]
    )
    return expected


def _array(
    shape: list[int], dtype: str, chunk_shape: list[int], codecs: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": codecs,
    }


def _read_json(folder: Path, path: str) -> dict[str, Any]:
    try:
        raw = read_inside(folder, path, max_bytes=MAX_METADATA_BYTES)
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror) from error
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - what a file holds is a value
    return value


def _compare(expected: dict[str, Any], found: dict[str, Any]) -> str | None:
    for key, value in expected.items():
        if found.get(key) != value:
            return f"{key} must be {json.dumps(value)}"
    strange = sorted(found.keys() - expected.keys() - _INFORMATIVE)
    if strange:
        return f"unknown key {strange[0]!r}"
    for key in ("attributes", "consolidated_metadata", "storage_transformers"):
        if found.get(key):
            return f"{key} must be empty"
    return None


def zarr_shard_rows(
    folder: Path, *, generation: Generation, shard_id: int, frames_per_shard: int
) -> FrameIndex:
    """The rows of the index for a Zarr shard, as `tar_shard_rows`, with zeros in the columns that side arrays hold.

    Raises:
        ValueError: the shard does not follow FORMAT.md section 6.
        OSError: the shard cannot be read, or is a link.
    """
    shard = generation.shards[shard_id]
    rows = empty_rows(shard_id, shard.num_frames)
    if not shard.num_frames <= frames_per_shard <= MAX_SHARD_LENGTH:
        raise ValueError(f"{counted(shard.num_frames, 'frame')} in a shard of {frames_per_shard}")
    max_bytes = max_payload_bytes(generation)
    descriptor = open_inside(folder, shard.name)
    with os.fdopen(os.dup(descriptor.number), "rb") as file:
        index_bytes = _ENTRY_BYTES * frames_per_shard + _CHECKSUM_BYTES
        file.seek(-min(index_bytes, os.fstat(file.fileno()).st_size), os.SEEK_END)
        raw = read_exactly(file, index_bytes, at_most=index_bytes)
        chunks = np.frombuffer(raw, "<u8", 2 * shard.num_frames).reshape(-1, 2)
        file.seek(0)
        for row, (byte_offset, byte_length) in zip(rows, chunks.tolist(), strict=True):
            if byte_offset != file.tell():
                raise ValueError("its index leaves gaps between frames")
            payload = read_exactly(file, byte_length, at_most=max_bytes)
            row["byte_offset"], row["byte_length"], row["crc32c"] = byte_offset, byte_length, crc32c(payload)
    return rows


def side_array_names(name: str, *, num_frames: int) -> list[str]:
    """Files of the store that hold a side array, in the order of the frames."""
    num_chunks = -(-num_frames // FRAMES_PER_SIDE_CHUNK)
    return [f"{ZARR_FOLDER}/{name}/c/{chunk}" for chunk in range(num_chunks)]


def read_side_array(
    folder: Path, name: str, *, first: int, end: int, num_frames: int
) -> npt.NDArray[np.generic]:
    """Values of frames [first, end) of a side array, shape (end - first,), of the dtype of its column of the index.

    Raises:
        ValueError: the array ends before frame `end`.
        OSError: a file of the array cannot be read, or is a link.
    """
    assert name in SIDE_ARRAYS
    dtype = INDEX_DTYPE[name]
    parts = []
    for chunk, path in enumerate(side_array_names(name, num_frames=num_frames)):
        chunk_start = chunk * FRAMES_PER_SIDE_CHUNK
        start, stop = max(first, chunk_start), min(end, chunk_start + FRAMES_PER_SIDE_CHUNK)
        if start < stop:
            file = open_inside(folder, path)
            raw = os.pread(
                file.number, (stop - start) * dtype.itemsize, (start - chunk_start) * dtype.itemsize
            )
            parts.append(np.frombuffer(raw, dtype))
    values = np.concatenate(parts)
    if len(values) != end - first:
        raise ValueError(f"{ZARR_FOLDER}/{name}: ends before frame {end}")
    return values


def _side_chunk_length(num_frames: int) -> int:
    return min(num_frames, FRAMES_PER_SIDE_CHUNK)
