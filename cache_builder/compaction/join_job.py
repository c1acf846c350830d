"""Writes one shard of a joined generation: copies payloads out of the shards that hold them, and decodes nothing."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.executors import JobLimits
from cache_builder.jobs import finished_shard
from frame_store.containers import FrameRecord, ShardFile, ShardReceipt, make_shard_writer
from frame_store.index import FrameIndex
from frame_store.manifest import FramesPerShard, read_tree
from frame_store.names import INDEX_DTYPE, Container, shard_name
from frame_store.reader import CacheStore

BYTES_AT_ONCE: Final = 8 << 20
"""Payloads that are in memory together; a single one may be larger."""


class JoinJob(msgspec.Struct, frozen=True, kw_only=True):
    """Write shard `shard_id` of a joined generation, its frames [first_frame_id, end_frame_id), into `folder`."""

    cache: Path
    camera: str | None
    version: int
    """Of the manifest that names the generations to join."""
    digest: str
    """Of the first of these."""
    first_frame: int
    """Frame id, in the cache, of frame 0 of the joined generation."""
    first_video: int
    names: Path
    """The paths of the videos of the joined generation, by video_id in it: a JSON list."""
    receipts: Path
    folder: Path
    """Of the joined generation."""
    container: Container
    frames_per_shard: FramesPerShard
    shard_id: int
    first_frame_id: int
    end_frame_id: int

    @property
    def limits(self) -> JobLimits:
        """None: payloads are copied, and no library looks into them."""
        return JobLimits()

    def run(self) -> ShardReceipt:
        """Write the shard and its rows of the index, unless an intact shard exists.

        Raises:
            StoreDamagedError: a payload has another CRC-32C than in the index, or cannot be read. The message has shard
                and frame.
            OSError: disk full or failing.
        """
        path = self.folder / shard_name(self.container, self.shard_id)
        return finished_shard(
            path, receipts=self.receipts, work=self.receipts, shard_id=self.shard_id, write=self._write
        )

    def _write(self, file: ShardFile) -> tuple[FrameIndex, ShardReceipt]:
        store = _open_store(self.cache, self.camera, self.version, self.digest)
        names = _read_names(self.names)
        ids = np.arange(self.first_frame + self.first_frame_id, self.first_frame + self.end_frame_id)
        found = store.rows_of(ids)
        rows = np.zeros(len(ids), INDEX_DTYPE)
        for field in ("frame_in_video", "pts_seconds", "byte_length", "crc32c"):
            rows[field] = found[field]
        rows["video_id"] = found["video_id"] - self.first_video
        rows["shard_id"] = self.shard_id
        rows["slot"] = np.arange(len(ids))
        writer = make_shard_writer(
            file,
            self.container,
            encoding=store.common.encoding,
            frame_shape=store.frame_shape,
            frame_dtype=store.frame_dtype,
            frames_per_shard=self.frames_per_shard,
        )
        for first, end in _stretches(found["byte_length"]):
            for slot, payload in enumerate(store.read_encoded(ids[first:end]), first):
                row = rows[slot]
                record = FrameRecord(
                    frame_id=self.first_frame_id + slot,
                    video_id=int(row["video_id"]),
                    video_path=names[row["video_id"]],
                    frame_in_video=int(row["frame_in_video"]),
                    pts_seconds=float(row["pts_seconds"]),
                )
                rows["byte_offset"][slot] = writer.append(record, payload.tobytes())
        return rows, writer.seal()


def _stretches(lengths: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of neighbours of about `BYTES_AT_ONCE` together, one or more in each."""
    steps = np.cumsum(lengths) // BYTES_AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(lengths)]
    yield from pairwise(edges)


@lru_cache(maxsize=1)
def _open_store(cache: Path, camera: str | None, version: int, digest: str) -> CacheStore:
    """The cache, open in this process for all jobs of a camera. `digest` tells it from another one at this path.

    It holds no manifest: the process that hands out the jobs does.
    """
    tree = read_tree(cache, camera=camera, version=version)
    return CacheStore.of_tree(replace(tree, held=None), verify_reads=True)


@lru_cache(maxsize=1)
def _read_names(path: Path) -> list[str]:
    return msgspec.json.decode(path.read_bytes(), type=list[str])
