"""What both containers share: a shard file while it is written, and while rows of the index are read back out of it."""

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

import msgspec
import numpy as np

from frame_store.index import FrameIndex
from frame_store.names import INDEX_DTYPE
from frame_store.shared import counted

BUFFER_BYTES: Final = 1 << 20


class ShardReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """Size and hash of a finished shard file, for `generation.json`."""

    num_frames: int
    num_bytes: int
    sha256: str


class FrameRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where a frame comes from, as stored beside its pixels."""

    frame_id: int
    video_id: int
    video_path: str
    frame_in_video: int
    pts_seconds: float
    """NaN where the source has no pts."""


class ShardWriter(Protocol):
    """Appends frames to one shard, in slot order."""

    def append(self, record: FrameRecord, payload: bytes) -> int:
        """Write a frame; returns the byte offset of the payload itself."""
        ...

    def seal(self) -> ShardReceipt:
        """Write what ends the shard, sync and close it."""
        ...


class ShardFile:
    """A new file that is hashed while it is appended to; `seal` flushes it to the disk and returns size and hash."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=BUFFER_BYTES)
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    def append(self, data: bytes) -> int:
        """Append and return the byte offset at which `data` begins."""
        byte_offset = self.num_bytes
        self._file.write(data)
        self._hash.update(data)
        self.num_bytes += len(data)
        return byte_offset

    def seal(self, *, num_frames: int) -> ShardReceipt:
        """Flush, fsync and close."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return ShardReceipt(num_frames=num_frames, num_bytes=self.num_bytes, sha256=self._hash.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def empty_rows(shard_id: int, num_frames: int) -> FrameIndex:
    """Rows of the index for a shard, shape (num_frames,), with nothing but their shard and slots."""
    rows = np.zeros(num_frames, INDEX_DTYPE)
    rows["shard_id"], rows["slot"] = shard_id, np.arange(num_frames)
    return rows


def read_exactly(file: BinaryIO, num_bytes: int, *, at_most: int) -> bytes:
    """The next bytes of a file.

    Raises:
        ValueError: fewer than 0 or more than `at_most` bytes are asked for, or the file ends before.
    """
    if not 0 <= num_bytes <= at_most:
        raise ValueError(f"{counted(num_bytes, 'byte')} at byte {file.tell()}, expected at most {at_most}")
    content = file.read(num_bytes)
    if len(content) != num_bytes:
        raise ValueError(f"it ends at byte {file.tell()}")
    return content
