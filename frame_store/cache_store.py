"""Frames out of a cache, tar or Zarr alike: `index.npy` says where each payload lies, so one reader serves both."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.frame_index import FrameIndex, check_frame_ids, check_out, open_index
from frame_store.manifest import ShardEntry, StoreManifest, read_manifest
from frame_store.open_file import OpenFile
from frame_store.pixel_codec import make_codec
from frame_store.protocol import FrameIds, Frames

MAX_OPEN_SHARDS = 256
"""File descriptors kept per process; random reads over more shards reopen the least recently used."""


class CacheStore:
    """A finished cache, read with `pread` at indexed offsets. Implements `FrameStore`."""

    def __init__(self, path: Path | str) -> None:
        """Open the cache at `path`.

        Raises:
            StoreNotFoundError: no cache there.
            StoreFormatError: unknown version or broken manifest.
            StoreDamagedError: the index does not fit the manifest.
        """
        self.path = Path(path)
        self.manifest: StoreManifest = read_manifest(self.path)
        self._index = open_index(self.path, num_frames=self.manifest.num_frames)
        self._is_raw = self.manifest.encoding.name == "raw"
        self._codec = make_codec(self.manifest.encoding)
        self._shard_sizes = np.array([shard.num_frames for shard in self.manifest.shards], np.int64)
        self._shard_sizes.flags.writeable = False
        self._shard_bytes = np.array([shard.num_bytes for shard in self.manifest.shards], np.uint64)
        self._shard_files = _ShardFiles(self.path, self.manifest.shards)

    @property
    def index(self) -> FrameIndex:
        """Rows of `frame_store.layout.INDEX_DTYPE`, shape (N,), memory-mapped and read-only."""
        return self._index

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, 3)."""
        return self.manifest.frame_shape

    @property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Frames per shard, shape (S,)."""
        return self._shard_sizes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the inputs and the configuration, from the manifest."""
        return self.manifest.fingerprint

    def __len__(self) -> int:
        return self.manifest.num_frames

    def __repr__(self) -> str:
        return (
            f"CacheStore({str(self.path)!r}, {len(self)} frames of {self.frame_shape}, "
            f"{self.manifest.container} {self.manifest.encoding.name}, {len(self._shard_sizes)} shards)"
        )

    def __reduce__(self) -> tuple[type["CacheStore"], tuple[Path]]:
        return (CacheStore, (self.path,))

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """Frames in request order: uint8 RGB (B, H, W, 3), into `out` where given.

        Raises:
            FrameIdError: an id outside [0, len(self)).
            ValueError: `out` has another shape or dtype, or is not contiguous.
            StoreDamagedError: a shard is missing, truncated or does not decode; names shard and frame.
        """
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        out = check_out(out, num_frames=len(ids), frame_shape=self.frame_shape)
        rows = self._index[ids]
        self._require_inside(ids, rows)
        for position in np.argsort(ids, kind="stable"):  # disk order, so that cold reads move forward
            self._read_one(int(ids[position]), rows[position], out[position])
        return out

    def read_payload(self, frame_id: int) -> bytes:
        """Encoded bytes of one frame, as `index.npy` locates them (past tar and npy headers)."""
        ids = check_frame_ids([frame_id], num_frames=len(self))
        self._require_inside(ids, self._index[ids])
        row = self._index[ids[0]]
        return self._read_bytes(frame_id, row)

    def close(self) -> None:
        """Release the shard files; reading afterwards reopens them."""
        self._shard_files = _ShardFiles(self.path, self.manifest.shards)

    def _read_one(self, frame_id: int, row: np.void, out: Frames) -> None:
        if self._is_raw and int(row["byte_length"]) == out.nbytes:
            num_bytes = os.preadv(self._descriptor(row).number, [out.data], int(row["byte_offset"]))
            self._require_whole(frame_id, row, num_bytes)
            return
        payload = self._read_bytes(frame_id, row)
        try:
            self._codec.decode_into(payload, out)
        except ValueError as error:
            raise StoreDamagedError(
                f"{self._where(frame_id, row)}: {error}; run cache-verify on {self.path}"
            ) from error

    def _read_bytes(self, frame_id: int, row: np.void) -> bytes:
        descriptor = self._descriptor(row)
        payload = os.pread(descriptor.number, int(row["byte_length"]), int(row["byte_offset"]))
        self._require_whole(frame_id, row, len(payload))
        return payload

    def _descriptor(self, row: np.void) -> OpenFile:
        return self._files().descriptor(int(row["shard_id"]))

    def _require_inside(self, ids: npt.NDArray[np.int64], rows: FrameIndex) -> None:
        """Refuse index rows that point at no shard, or outside theirs (FORMAT.md section 4)."""
        num_shards = len(self._shard_sizes)
        outside = rows["shard_id"] >= num_shards
        ends = self._shard_bytes[np.where(outside, 0, rows["shard_id"])]
        outside |= (rows["byte_length"] > ends) | (rows["byte_offset"] > ends - rows["byte_length"])
        if outside.any():
            first = int(np.flatnonzero(outside)[0])
            raise StoreDamagedError(
                f"{self.path}: index row {ids[first]} points at byte {rows['byte_offset'][first]} of shard "
                f"{rows['shard_id'][first]}, outside the {num_shards} shards; run cache-verify on {self.path}"
            )

    def _require_whole(self, frame_id: int, row: np.void, num_bytes_read: int) -> None:
        if num_bytes_read != int(row["byte_length"]):
            raise StoreDamagedError(
                f"{self._where(frame_id, row)}: expected {int(row['byte_length'])} bytes, found "
                f"{num_bytes_read}: the shard is shorter than it was; run cache-verify on {self.path}"
            )

    def _where(self, frame_id: int, row: np.void) -> str:
        shard = self.manifest.shards[int(row["shard_id"])].name
        return f"{self.path / shard}: frame {frame_id} at byte {int(row['byte_offset'])}"

    def _files(self) -> "_ShardFiles":
        # A forked child gets its own table: the parent's lock may have been held when it forked.
        if self._shard_files.pid != os.getpid():
            self._shard_files = _ShardFiles(self.path, self.manifest.shards)
        return self._shard_files


class _ShardFiles:
    """Least recently used table of open shards, checked for size when opened."""

    def __init__(self, store_path: Path, shards: Sequence[ShardEntry]) -> None:
        self.pid = os.getpid()
        self._store_path = store_path
        self._shards = shards
        self._lock = threading.Lock()
        self._open: OrderedDict[int, OpenFile] = OrderedDict()

    def descriptor(self, shard_id: int) -> OpenFile:
        with self._lock:
            descriptor = self._open.get(shard_id)
            if descriptor is None:
                descriptor = self._open[shard_id] = self._open_shard(self._shards[shard_id])
                if len(self._open) > MAX_OPEN_SHARDS:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(shard_id)
            return descriptor

    def _open_shard(self, shard: ShardEntry) -> OpenFile:
        path = self._store_path / shard.name
        try:
            descriptor = OpenFile(path)
        except OSError as error:
            raise StoreDamagedError(
                f"{path}: {error.strerror}; run cache-verify on {self._store_path}"
            ) from error
        num_bytes = os.fstat(descriptor.number).st_size
        if num_bytes != shard.num_bytes:
            raise StoreDamagedError(
                f"{path}: expected {shard.num_bytes} bytes, found {num_bytes}; "
                f"run cache-verify on {self._store_path}"
            )
        return descriptor


def open_store(path: Path | str) -> CacheStore:
    """Open the finished cache at `path`, whatever its container and encoding.

    Raises:
        StoreNotFoundError: no cache there.
        StoreFormatError: unknown version or broken manifest.
        StoreDamagedError: the index does not fit the manifest.
    """
    return CacheStore(path)
