"""Writes one shard: reads each of its frames from the spill file of the frame's unit."""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.executors import JobLimits
from cache_builder.jobs.shard_receipts import finished_shard
from cache_builder.jobs.spill import UnitSpill
from cache_builder.settings import BuildConfig
from frame_store.codec import crc32c
from frame_store.containers import (
    FrameRecord,
    ShardFile,
    ShardReceipt,
    ShardWriter,
    make_shard_writer,
)
from frame_store.files import OpenFile
from frame_store.names import INDEX_DTYPE, shard_name
from frame_store.shared import descriptor_share

MAX_OPEN_SPILLS = 256


class SpillDamagedError(Exception):
    """A spilled frame does not match its unit's receipt: that unit must be decoded again."""


class GatherPlaces(msgspec.Struct, frozen=True, kw_only=True):
    """The folders from which shards are gathered, and into which."""

    spill: Path
    """Encoded frames of decoded units."""
    plan: Path
    receipts: Path
    """Of finished shards."""
    cache: Path
    """Where the generation lies."""


class ShardJob(msgspec.Struct, frozen=True, kw_only=True):
    """Write shard `shard_id`, frames [first_frame_id, end_frame_id) of the plan, into `folder`."""

    places: GatherPlaces
    folder: Path
    """The folder of the generation."""
    config: BuildConfig
    shard_id: int
    first_frame_id: int
    end_frame_id: int

    @property
    def limits(self) -> JobLimits:
        """None: the job reads only files that the build wrote itself."""
        return JobLimits()

    def run(self) -> ShardReceipt:
        """Write the shard and its rows of the index, unless an intact shard exists.

        Raises:
            SpillDamagedError: the spill was changed after it was written.
            OSError: disk full or failing.
        """
        path = self.folder / shard_name(self.config.format, self.shard_id)
        return finished_shard(path, receipts=self.places.receipts, shard_id=self.shard_id, write=self._write)

    def _write(self, file: ShardFile) -> tuple[npt.NDArray[np.void], ShardReceipt]:
        plan = self.places.plan
        source_of_frame = np.load(plan / "source_of_frame.npy", mmap_mode="r", allow_pickle=False)
        sources = np.load(plan / "sources.npy", mmap_mode="r", allow_pickle=False)
        names = msgspec.json.decode((plan / "names.json").read_bytes(), type=PlanNames)
        picked = sources[source_of_frame[self.first_frame_id : self.end_frame_id]]
        rows = np.zeros(len(picked), INDEX_DTYPE)
        for field in ("video_id", "frame_in_video", "pts_seconds", "byte_length", "crc32c"):
            rows[field] = picked[field]
        rows["shard_id"] = self.shard_id
        rows["slot"] = np.arange(len(picked))
        writer = shard_writer(file, self.config)
        spill = _SpilledFrames(self.places.spill, names.units)
        for slot, source in enumerate(picked):
            record = FrameRecord(
                frame_id=self.first_frame_id + slot,
                video_id=int(source["video_id"]),
                video_path=names.videos[source["video_id"]],
                frame_in_video=int(source["frame_in_video"]),
                pts_seconds=float(source["pts_seconds"]),
            )
            rows["byte_offset"][slot] = writer.append(record, spill.read(source))
        return rows, writer.seal()


def shard_writer(file: ShardFile, config: BuildConfig) -> ShardWriter:
    """What writes frames into a shard of a cache of these settings."""
    return make_shard_writer(
        file,
        config.format,
        encoding=config.encoding,
        frame_shape=config.frame_shape,
        frame_dtype=config.frame_dtype,
        frames_per_shard=config.frames_per_shard,
    )


class PlanNames(msgspec.Struct, frozen=True, kw_only=True):
    """`plan/names.json`: the names that the numbers in `sources.npy` stand for."""

    videos: list[str]
    units: list[str]


class _SpilledFrames:
    """Reads frames out of spill files, and keeps a bounded number of them open."""

    def __init__(self, folder: Path, unit_names: Sequence[str]) -> None:
        self._folder = folder
        self._unit_names = unit_names
        self._open = lru_cache(maxsize=descriptor_share(at_most=MAX_OPEN_SPILLS))(OpenFile)

    def read(self, source: np.void) -> bytes:
        name = self._unit_names[source["unit"]]
        file = self._open(UnitSpill(self._folder, name).frames_path)
        payload = os.pread(file.number, int(source["byte_length"]), int(source["byte_offset"]))
        if crc32c(payload) != source["crc32c"]:
            raise SpillDamagedError(name)
        return payload
