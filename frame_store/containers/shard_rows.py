"""Rows of `index.npy` read back out of the shards themselves, for a cache whose index is damaged.

A tar shard says all that its rows do. A Zarr shard says where its frames lie; which frames they are, side arrays say.
Whoever calls has seen that the shard is the one that was written; still, no size in it is believed.
"""

import os
import tarfile
from pathlib import Path
from typing import Annotated, BinaryIO, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from frame_store.codec import crc32c
from frame_store.containers.tar_check import MAX_GAP_BYTES
from frame_store.containers.zarr_check import (
    CHECKSUM_BYTES,
    ENTRY_BYTES,
    FRAMES_PER_SIDE_CHUNK,
    MAX_SHARD_LENGTH,
    SIDE_ARRAYS,
)
from frame_store.index import FrameIndex, max_payload_bytes, read_npy_header
from frame_store.manifest import StoreManifest
from frame_store.names import INDEX_DTYPE, ZARR_FOLDER, frame_key
from frame_store.open_file import open_inside
from frame_store.shared import counted

_U4: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


class _FrameMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a `.json` member of a tar shard says of its frame."""

    video_id: _U4
    frame_in_video: _U4
    pts_seconds: float | None


def tar_shard_rows(
    store_path: Path, *, manifest: StoreManifest, shard_id: int, first_frame_id: int
) -> FrameIndex:
    """The rows of a tar shard, shape (frames of the shard,), of `INDEX_DTYPE`.

    Raises:
        ValueError: it is not as FORMAT.md section 5 says.
        OSError: it cannot be read, or is a link.
    """
    shard = manifest.shards[shard_id]
    rows = _empty_rows(shard_id, shard.num_frames)
    suffix = "jpg" if manifest.encoding.name == "jpeg" else "npy"
    max_bytes = max_payload_bytes(manifest)
    descriptor = open_inside(store_path, shard.name)
    with os.fdopen(os.dup(descriptor.number), "rb") as file:
        for slot, row in enumerate(rows):
            key = frame_key(first_frame_id + slot)
            end = _enter_member(file, f"{key}.{suffix}")
            if suffix == "npy":
                read_npy_header(file)
            row["byte_offset"] = file.tell()
            payload = _read(file, end - file.tell(), at_most=max_bytes)
            row["byte_length"], row["crc32c"] = len(payload), crc32c(payload)
            _skip_padding(file)
            end = _enter_member(file, f"{key}.json")
            raw = _read(file, end - file.tell(), at_most=MAX_GAP_BYTES)
            metadata = msgspec.json.decode(raw, type=_FrameMetadata)
            row["video_id"], row["frame_in_video"] = metadata.video_id, metadata.frame_in_video
            row["pts_seconds"] = np.nan if metadata.pts_seconds is None else metadata.pts_seconds
            _skip_padding(file)
    return rows


def zarr_shard_rows(
    store_path: Path, *, manifest: StoreManifest, shard_id: int, frames_per_shard: int
) -> FrameIndex:
    """The rows of a Zarr shard as above, with zeros in the three columns that side arrays hold.

    Raises:
        ValueError: it is not as FORMAT.md section 6 says.
        OSError: it cannot be read, or is a link.
    """
    shard = manifest.shards[shard_id]
    rows = _empty_rows(shard_id, shard.num_frames)
    if not shard.num_frames <= frames_per_shard <= MAX_SHARD_LENGTH:
        raise ValueError(f"{counted(shard.num_frames, 'frame')} in a shard of {frames_per_shard}")
    max_bytes = max_payload_bytes(manifest)
    descriptor = open_inside(store_path, shard.name)
    with os.fdopen(os.dup(descriptor.number), "rb") as file:
        index_bytes = ENTRY_BYTES * frames_per_shard + CHECKSUM_BYTES
        file.seek(-min(index_bytes, os.fstat(file.fileno()).st_size), os.SEEK_END)
        raw = _read(file, index_bytes, at_most=index_bytes)
        chunks = np.frombuffer(raw, "<u8", 2 * shard.num_frames).reshape(-1, 2)
        file.seek(0)
        for row, (byte_offset, byte_length) in zip(rows, chunks.tolist(), strict=True):
            if byte_offset != file.tell():
                raise ValueError("its index leaves gaps between frames")
            payload = _read(file, byte_length, at_most=max_bytes)
            row["byte_offset"], row["byte_length"], row["crc32c"] = byte_offset, byte_length, crc32c(payload)
    return rows


def side_array_names(name: str, *, num_frames: int) -> list[str]:
    """Files of the store that hold a side array, in the order of the frames."""
    num_chunks = -(-num_frames // FRAMES_PER_SIDE_CHUNK)
    return [f"{ZARR_FOLDER}/{name}/c/{chunk}" for chunk in range(num_chunks)]


def read_side_array(
    store_path: Path, name: str, *, first: int, end: int, num_frames: int
) -> npt.NDArray[np.generic]:
    """Values of frames [first, end) of a side array, shape (end - first,), of the dtype of its column of the index.

    Raises:
        ValueError: the array ends before.
        OSError: it cannot be read, or is a link.
    """
    assert name in SIDE_ARRAYS
    dtype = INDEX_DTYPE[name]
    parts = []
    for chunk, path in enumerate(side_array_names(name, num_frames=num_frames)):
        chunk_start = chunk * FRAMES_PER_SIDE_CHUNK
        start, stop = max(first, chunk_start), min(end, chunk_start + FRAMES_PER_SIDE_CHUNK)
        if start < stop:
            file = open_inside(store_path, path)
            raw = os.pread(
                file.number, (stop - start) * dtype.itemsize, (start - chunk_start) * dtype.itemsize
            )
            parts.append(np.frombuffer(raw, dtype))
    values = np.concatenate(parts)
    if len(values) != end - first:
        raise ValueError(f"{ZARR_FOLDER}/{name}: ends before frame {end}")
    return values


def _empty_rows(shard_id: int, num_frames: int) -> FrameIndex:
    rows = np.zeros(num_frames, INDEX_DTYPE)
    rows["shard_id"], rows["slot"] = shard_id, np.arange(num_frames)
    return rows


def _enter_member(file: BinaryIO, name: str) -> int:
    """Read a member's header; returns where its content ends."""
    try:
        member = tarfile.TarInfo.frombuf(
            _read(file, tarfile.BLOCKSIZE, at_most=tarfile.BLOCKSIZE), "utf-8", "strict"
        )
    except tarfile.TarError as error:
        raise ValueError(f"expected the tar header of {name}: {error}") from error
    if member.name != name:
        raise ValueError(f"expected the tar header of {name}, found one of {member.name!r}")
    return file.tell() + int(member.size)


def _skip_padding(file: BinaryIO) -> None:
    _read(file, -file.tell() % tarfile.BLOCKSIZE, at_most=tarfile.BLOCKSIZE)


def _read(file: BinaryIO, num_bytes: int, *, at_most: int) -> bytes:
    if not 0 <= num_bytes <= at_most:
        raise ValueError(f"{counted(num_bytes, 'byte')} at byte {file.tell()}, expected at most {at_most}")
    content = file.read(num_bytes)
    if len(content) != num_bytes:
        raise ValueError(f"it ends at byte {file.tell()}")
    return content
