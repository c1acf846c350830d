"""A shard while it is written: bytes appended once, in order, hashed on the way, synced before they count."""

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

BUFFER_BYTES = 1 << 20


class ShardReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished shard file must be found to be."""

    num_frames: int
    num_bytes: int
    sha256: str


class FrameRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who a frame is, as stored beside its pixels."""

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
    """A new file that is appended to; `seal` flushes it to the disk and says what it holds."""

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
