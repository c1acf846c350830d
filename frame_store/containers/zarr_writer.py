"""Zarr v3 (FORMAT.md section 6).

Shard files are written after the `sharding_indexed` specification, metadata and side arrays by zarr-python.
"""

from pathlib import Path
from typing import Any

import numpy as np

from frame_store.codec import crc32c
from frame_store.containers.writing import FrameRecord, ShardFile, ShardReceipt
from frame_store.index import FrameIndex
from frame_store.manifest import Encoding
from frame_store.names import ZARR_FOLDER

ABSENT_CHUNK = 0xFFFF_FFFF_FFFF_FFFF


class ZarrShardWriter:
    """Appends encoded chunks, one per frame, then the shard index with its crc32c.

    zarr-python would leave out a chunk that equals the fill value; here black frames are stored like any other.
    """

    def __init__(self, file: ShardFile, *, frames_per_shard: int) -> None:
        self._file = file
        self._chunks = np.full((frames_per_shard, 2), ABSENT_CHUNK, "<u8")
        self._num_frames = 0

    def append(self, record: FrameRecord, payload: bytes) -> int:
        """Write a frame's chunk; returns its byte offset."""
        byte_offset = self._file.append(payload)
        self._chunks[self._num_frames] = byte_offset, len(payload)
        self._num_frames += 1
        return byte_offset

    def seal(self) -> ShardReceipt:
        """Write the shard index, sync and close."""
        index = self._chunks.tobytes()
        self._file.append(index + crc32c(index).to_bytes(4, "little"))
        return self._file.seal(num_frames=self._num_frames)


def write_zarr_metadata(
    store_path: Path,
    *,
    index: FrameIndex,
    frame_shape: tuple[int, int, int],
    frames_per_shard: int,
    encoding: Encoding,
) -> None:
    """Create the group, the metadata of `frames` and the arrays `video_id`, `frame_in_video`, `pts_seconds`.

    The chunk data of `frames` is what `ZarrShardWriter` wrote. Standard codecs only.
    """
    import zarr
    from zarr.codecs import ZstdCodec

    for leftover in (store_path / ZARR_FOLDER).rglob("zarr.json"):
        leftover.unlink()  # of an earlier call that was interrupted
    group = zarr.create_group(store_path / ZARR_FOLDER, zarr_format=3, overwrite=False)
    compressor = ZstdCodec(level=encoding.level) if encoding.level is not None else None
    options: dict[str, Any] = {"filters": None, "fill_value": 0, "config": {"write_empty_chunks": True}}
    group.create_array(
        "frames",
        shape=(len(index), *frame_shape),
        chunks=(1, *frame_shape),
        shards=(frames_per_shard, *frame_shape),
        dtype="uint8",
        compressors=compressor,
        dimension_names=("frame", "y", "x", "channel"),
        **options,
    )
    for name in ("video_id", "frame_in_video", "pts_seconds"):
        array = group.create_array(
            name,
            shape=(len(index),),
            chunks=(min(len(index), 1 << 20),),
            dtype=index.dtype[name],
            compressors=None,
            dimension_names=("frame",),
            **options,
        )
        array[:] = np.ascontiguousarray(index[name])
