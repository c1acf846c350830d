"""Writes one shard: reads each of its frames from the spill file of the frame's unit."""

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.executors import JobLimits
from cache_builder.jobs.gather_places import GatherPlaces, PlanNames, plan_at_hand
from cache_builder.jobs.put_shards import put_shard
from cache_builder.jobs.shard_receipts import finished_shard
from cache_builder.jobs.spilled_frames import spilled_payloads
from cache_builder.settings import BuildConfig
from frame_store.containers import (
    FrameRecord,
    ShardFile,
    ShardReceipt,
    ShardWriter,
    make_shard_writer,
)
from frame_store.names import INDEX_DTYPE, shard_name


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
            ObjectStoreError: an object store cannot be reached.
            OutputError: another process has published the cache meanwhile, with other content.
        """
        name = shard_name(self.config.format, self.shard_id)
        if self.places.objects is not None:
            return put_shard(
                self.places.objects, f"{self.folder.name}/{name}", shard_id=self.shard_id, write=self._write
            )
        return finished_shard(
            self.folder / name,
            receipts=self.places.receipts,
            work=self.places.work,
            shard_id=self.shard_id,
            write=self._write,
        )

    def _write(self, file: ShardFile) -> tuple[npt.NDArray[np.void], ShardReceipt]:
        plan = plan_at_hand(self.places)
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
        payloads = spilled_payloads(self.places.spill, names.units, picked)
        for slot, (source, payload) in enumerate(zip(picked, payloads, strict=True)):
            record = FrameRecord(
                frame_id=self.first_frame_id + slot,
                video_id=int(source["video_id"]),
                video_path=names.videos[source["video_id"]],
                frame_in_video=int(source["frame_in_video"]),
                pts_seconds=float(source["pts_seconds"]),
            )
            rows["byte_offset"][slot] = writer.append(record, payload)
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
