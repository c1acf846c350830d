"""Whether the Zarr files of a cache are what FORMAT.md section 6 says, before any Zarr reader is let near them.

Metadata of a stranger name codecs, and a reader runs what they name; shard indexes say where it reads. Here both
must say what the manifest and `index.npy` say, so that nothing is left to choose.
"""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from frame_store.codec import crc32c
from frame_store.index import FrameIndex
from frame_store.manifest import StoreManifest
from frame_store.names import ZARR_FOLDER
from frame_store.open_file import OpenFile, read_inside
from frame_store.shared import counted, raise_if_out_of_files

MAX_METADATA_BYTES: Final = 1 << 20
SIDE_ARRAYS: Final = {"video_id": "uint32", "frame_in_video": "uint32", "pts_seconds": "float64"}
FRAMES_PER_SIDE_CHUNK: Final = 1 << 20
MAX_SHARD_LENGTH: Final = 10_000_000
ENTRY_BYTES: Final = 16
CHECKSUM_BYTES: Final = 4
_ABSENT: Final = 0xFFFF_FFFF_FFFF_FFFF
_LITTLE_ENDIAN: Final = {"name": "bytes", "configuration": {"endian": "little"}}
_BYTES: Final = {"name": "bytes"}
_INFORMATIVE: Final = {"attributes", "dimension_names", "consolidated_metadata", "storage_transformers"}


def frames_per_shard(manifest: StoreManifest, index: FrameIndex) -> int:
    """Frames that a whole shard has: entries of the first one's index, which begins behind the last payload."""
    last = index[manifest.shards[0].num_frames - 1]
    num_bytes = manifest.shards[0].num_bytes - int(last["byte_offset"]) - int(last["byte_length"])
    return (num_bytes - CHECKSUM_BYTES) // ENTRY_BYTES


def check_zarr_metadata(store_path: Path, manifest: StoreManifest, *, shard_length: int) -> Iterator[str]:
    """One line for each `zarr.json` that is missing, or says something else than the manifest."""
    num_frames, frame_shape = manifest.num_frames, list(manifest.frame_shape)
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [1, *frame_shape],
            "codecs": [_BYTES],
            "index_codecs": [_LITTLE_ENDIAN, {"name": "crc32c"}],
            "index_location": "end",
        },
    }
    if manifest.encoding.name == "zstd":
        zstd = {"name": "zstd", "configuration": {"level": manifest.encoding.level, "checksum": False}}
        sharding["configuration"]["codecs"] = [_BYTES, zstd]  # type: ignore[index]
    found = {"": _GROUP} | {
        name: _array([num_frames], dtype, [min(num_frames, FRAMES_PER_SIDE_CHUNK)], [_LITTLE_ENDIAN])
        for name, dtype in SIDE_ARRAYS.items()
    }
    found["frames"] = _array([num_frames, *frame_shape], "uint8", [shard_length, *frame_shape], [sharding])
    for name, expected in found.items():
        path = "/".join(filter(None, [ZARR_FOLDER, name, "zarr.json"]))
        try:
            problem = _compare(expected, _read_json(store_path, path))
        except (OSError, ValueError, RecursionError) as error:
            raise_if_out_of_files(error)
            problem = str(error)
        if problem:
            yield f"{path}: {problem}"


def check_zarr_shard(
    file: OpenFile, *, rows: FrameIndex, first_frame_id: int, shard_length: int
) -> Iterator[str]:
    """One line for each frame that the shard's own index places elsewhere than `index.npy`, and for a damaged one.

    `rows` are the shard's rows of the index, found sound by `find_row_problem`; their payloads must lie without gaps.
    """
    ends = rows["byte_offset"] + rows["byte_length"]
    num_bytes = os.fstat(file.number).st_size - int(ends[-1])
    num_entries, rest = divmod(num_bytes - CHECKSUM_BYTES, ENTRY_BYTES)
    if rest or num_entries != shard_length or not len(rows) <= num_entries <= MAX_SHARD_LENGTH:
        behind = counted(num_bytes, "byte")
        yield f"{behind} behind its last frame, which are no index of {counted(shard_length, 'frame')}"
        return
    raw = os.pread(file.number, num_bytes, int(ends[-1]))
    chunks = np.frombuffer(raw, "<u8", 2 * num_entries).reshape(-1, 2)
    if crc32c(raw[:-CHECKSUM_BYTES]) != int.from_bytes(raw[-CHECKSUM_BYTES:], "little"):
        yield "the crc32c of its index is wrong"
    is_wrong = (chunks[: len(rows), 0] != rows["byte_offset"]) | (
        chunks[: len(rows), 1] != rows["byte_length"]
    )
    is_wrong[0] |= rows["byte_offset"][0] != 0
    is_wrong[1:] |= rows["byte_offset"][1:] != ends[:-1]
    for slot in np.flatnonzero(is_wrong)[:10]:
        yield f"frame {first_frame_id + slot}: lies elsewhere in the shard's index than in index.npy"
    if (chunks[len(rows) :] != _ABSENT).any():
        yield "its index holds more frames than the manifest"


def check_side_arrays(store_path: Path, index: FrameIndex) -> Iterator[str]:
    """One line for each file of a side array that differs from its part of the index."""
    for name in SIDE_ARRAYS:
        for chunk, first in enumerate(range(0, len(index), FRAMES_PER_SIDE_CHUNK)):
            path = f"{ZARR_FOLDER}/{name}/c/{chunk}"
            column = index[name][first : first + FRAMES_PER_SIDE_CHUNK]
            expected = np.zeros(min(len(index), FRAMES_PER_SIDE_CHUNK), column.dtype)
            expected[: len(column)] = column
            try:
                found = np.frombuffer(read_inside(store_path, path, max_bytes=expected.nbytes), column.dtype)
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


def _read_json(store_path: Path, path: str) -> dict[str, Any]:
    try:
        raw = read_inside(store_path, path, max_bytes=MAX_METADATA_BYTES)
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror) from error
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - what a file holds is a value
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
