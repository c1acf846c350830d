"""Decodes, encodes and packs a few frames of a video in a worker, to measure what a build will take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.executors import JobLimits
from cache_builder.findings import UnitReceipt
from cache_builder.jobs.shard_job import shard_writer
from cache_builder.jobs.spill import UnitSpill
from cache_builder.jobs.unit_job import UnitJob
from cache_builder.settings import BuildConfig
from frame_store.containers import FrameRecord, ShardFile

_NUM_PACKETS_FOR_SIZE = 8


class UnitSample(msgspec.Struct, frozen=True, kw_only=True):
    """What a sample of a unit took."""

    num_packets: int
    num_frames_decoded: int
    seconds_decode: float
    """To decode its packets, and to convert, encode and spill the frames that a build would store."""
    receipt_bytes: int
    num_frames_packed: int
    """Frames that sizes were measured on: those that a build would store, or, if these are none, the first few."""
    payload_bytes: int
    """Of those frames."""
    container_bytes: int
    """What the container adds to those frames, without the end of the shard."""
    shard_end_bytes: int
    """What the container writes at the end of a shard."""
    seconds_gather: float
    """To read those frames from the spill and to write them into a shard, synced."""


class SampleJob(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Do the work of `job`, write its frames into a shard, measure both, and remove what was written."""

    job: UnitJob
    """Its spill is a temporary folder, and its unit may be a part of one that a build would decode."""

    @property
    def needs_preparing(self) -> bool:
        """Whether its video is to be downloaded first."""
        return self.job.needs_preparing

    @contextmanager
    def prepare(self) -> Iterator[Self]:
        """The same job, with its video at hand."""
        with self.job.prepare() as job:
            yield msgspec.structs.replace(self, job=job)

    @property
    def limits(self) -> JobLimits:
        """Those of the job."""
        return self.job.limits

    def run(self) -> UnitSample:
        """Measure.

        Raises: as `UnitJob.run`.
        """
        job = self.job
        started = time.perf_counter()
        folder = job.spill
        assert isinstance(folder, Path)  # samples are measured on disk
        receipt = job.run()
        seconds_decode = time.perf_counter() - started
        spill = UnitSpill(folder, job.spill_name)
        receipt_bytes = spill.num_receipt_bytes
        num_frames_decoded = receipt.num_frames_decoded
        if not len(receipt.kept_rows):
            spill.remove()
            job = _every_frame_of_a_few_packets(job)
            receipt = job.run()
            spill = UnitSpill(folder, job.spill_name)
        shard = folder / f"{job.spill_name}.shard"
        try:
            started = time.perf_counter()
            rows = receipt.kept_rows[: _most_frames_of_a_shard(job.config)]
            container_bytes, shard_end_bytes = _pack(receipt, rows, spill, shard, job)
            seconds_gather = time.perf_counter() - started
        finally:
            spill.remove()
            shard.unlink(missing_ok=True)
        return UnitSample(
            num_packets=self.job.unit.num_packets,
            num_frames_decoded=num_frames_decoded,
            seconds_decode=seconds_decode,
            receipt_bytes=receipt_bytes,
            num_frames_packed=len(rows),
            payload_bytes=int(rows["byte_length"].sum()),
            container_bytes=container_bytes,
            shard_end_bytes=shard_end_bytes,
            seconds_gather=seconds_gather,
        )


def _every_frame_of_a_few_packets(job: UnitJob) -> UnitJob:
    """A job for the sizes of frames, where a build stores none of the sample's."""
    config: BuildConfig = msgspec.structs.replace(job.config, stride=1, fps=None)
    end = min(job.unit.first_packet + _NUM_PACKETS_FOR_SIZE, job.unit.end_packet)
    return msgspec.structs.replace(
        job, config=config, unit=msgspec.structs.replace(job.unit, end_packet=end), output_pts=None, keep=None
    )


def _most_frames_of_a_shard(config: BuildConfig) -> int | None:
    """A Zarr shard has a fixed number of places; None for tar."""
    return config.frames_per_zarr_shard if config.format == "zarr" else None


def _pack(
    receipt: UnitReceipt, rows: npt.NDArray[np.void], spill: UnitSpill, shard: Path, job: UnitJob
) -> tuple[int, int]:
    """Write the first kept frames into a shard; returns the bytes around their payloads, and those of its end."""
    with ShardFile(shard) as file, spill.frames_path.open("rb") as frames:
        writer = shard_writer(file, job.config)
        for number, row in enumerate(rows):
            record = FrameRecord(
                frame_id=number,
                video_id=job.unit.video_id,
                video_path=job.scan.facts.path,
                frame_in_video=job.first_ordinal + int(row["position"]),
                pts_seconds=float(receipt.frame_rows["pts_seconds"][row["position"]]),
            )
            writer.append(record, frames.read(int(row["byte_length"])))
        num_bytes = file.num_bytes
        return num_bytes - int(rows["byte_length"].sum()), writer.seal().num_bytes - num_bytes
