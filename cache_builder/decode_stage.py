"""Decodes all planned units in the worker pool and settles what only decoding can tell.

A unit whose first frame depends on what comes before it joins the unit in front of it. With `--stride` a
unit is told which ordinal it begins at, guessed from the packets; where decoding shows the guess wrong, it
is decoded again. A unit that kills its process is tried once more, alone, and then written off.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from cache_builder.config import BuildConfig, ErrorPolicy
from cache_builder.decoded_video import DecodedVideo
from cache_builder.decoder_choice import DecoderChoice
from cache_builder.errors import MachineError, UnitNotIndependentError, VideoError, VideosError
from cache_builder.plan import DecodeUnit, plan_units
from cache_builder.spill import UnitReceipt
from cache_builder.unit_job import UnitJob, empty_receipt
from cache_builder.video.scan import VideoScan
from cache_builder.worker_pool import JobDied, JobDone, JobRaised, WorkerPool
from frame_store.errors import CudaError

UnitPool = WorkerPool[UnitJob, UnitReceipt]


class DecodeResult(msgspec.Struct, frozen=True, kw_only=True):
    """Every video after decoding."""

    videos: list[DecodedVideo | VideoError | None]
    """Row per video; an error where nothing of it can be used, None where the scan had refused it already."""
    unit_names: list[str]
    """Spill names of the units, as `DecodedVideo.unit_numbers` counts them."""


class DecodeStage:
    """One run over all units. Use once: `DecodeStage(...).run()`."""

    def __init__(
        self,
        pool: UnitPool,
        *,
        paths: Sequence[Path],
        spill: Path,
        scans: Sequence[VideoScan | None],
        decoders: DecoderChoice,
        config: BuildConfig,
        on_error: ErrorPolicy,
        progress: Callable[[int], None],
    ) -> None:
        self._pool = pool
        self._paths = paths
        self._spill = spill
        self._scans = scans
        self._decoders = decoders
        self._config = config
        self._on_error = on_error
        self._progress = progress
        self._jobs: dict[int, dict[DecodeUnit, UnitJob]] = {}
        """Per video the units that count; one merged away is dropped from here and its result ignored."""
        self._receipts: dict[DecodeUnit, UnitReceipt] = {}
        self._failed: dict[int, VideoError] = {}
        self._to_retry_alone: list[UnitJob] = []

    def run(self) -> DecodeResult:
        """Decode everything.

        Raises:
            VideosError: a video is not whole and the policy is `fail`.
            MachineError: disk full, I/O error, out of memory outside a decoder.
        """
        for unit in plan_units(self._scans, self._config):
            self._submit(unit, first_ordinal=unit.first_packet)
        while True:
            self._drain()
            if self._to_retry_alone:
                self._pool.submit(self._to_retry_alone.pop())
            elif not self._submit_misplaced():
                return self._result()

    def _drain(self) -> None:
        while self._pool.num_unfinished:
            outcome = self._pool.next_outcome()
            unit = outcome.job.unit
            if self._jobs[unit.video_id].get(unit) is not outcome.job:
                continue  # merged into another unit, or to be decoded from another ordinal, meanwhile
            if isinstance(outcome, JobDone):
                self._receipts[unit] = outcome.result
                self._progress(unit.num_packets)
                if outcome.result.is_damaged:
                    self._stop_unless_skipping(unit.video_id)
            elif isinstance(outcome, JobDied):
                self._take_death(outcome)
            else:
                self._take_error(outcome)

    def _take_error(self, outcome: JobRaised[UnitJob]) -> None:
        unit = outcome.job.unit
        if isinstance(outcome.error, UnitNotIndependentError):
            self._merge_into_previous(unit.video_id, outcome.error.first_packet)
        elif isinstance(outcome.error, VideoError):
            self._failed[unit.video_id] = outcome.error
            self._jobs[unit.video_id].clear()
            if self._on_error == "fail":
                raise VideosError([str(outcome.error)]) from outcome.error
        elif isinstance(outcome.error, OSError | MemoryError | CudaError):
            path = outcome.job.scan.facts.path
            raise MachineError(
                f"decoding {path!r}: {outcome.error}; the same command resumes"
            ) from outcome.error
        else:
            raise outcome.error from RuntimeError(outcome.trace)

    def _take_death(self, outcome: JobDied[UnitJob]) -> None:
        job = outcome.job
        if not job.is_retry:
            retry = msgspec.structs.replace(job, is_retry=True)
            self._jobs[job.unit.video_id][job.unit] = retry
            self._to_retry_alone.append(retry)
            return
        self._receipts[job.unit] = empty_receipt(job.unit, death=outcome.how)
        self._stop_unless_skipping(job.unit.video_id)

    def _merge_into_previous(self, video_id: int, first_packet: int) -> None:
        """Join the unit that begins at `first_packet` to the one before it and decode the two as one."""
        jobs = self._jobs[video_id]
        unit = next(unit for unit in jobs if unit.first_packet == first_packet)
        previous = max(other for other in jobs if other.first_packet < first_packet)
        for gone in (previous, unit):
            del jobs[gone]
            self._receipts.pop(gone, None)
        merged = msgspec.structs.replace(previous, end_packet=unit.end_packet)
        self._submit(merged, first_ordinal=merged.first_packet)

    def _submit_misplaced(self) -> bool:
        """Queue again what was decoded from an ordinal that `--stride` would have counted otherwise."""
        any_misplaced = False
        for jobs in list(self._jobs.values()):
            first_ordinal = 0
            for unit in sorted(jobs):
                num_decoded = self._receipts[unit].num_frames_decoded
                if num_decoded and (jobs[unit].first_ordinal - first_ordinal) % self._config.stride:
                    del self._receipts[unit]
                    self._submit(unit, first_ordinal=first_ordinal)
                    any_misplaced = True
                first_ordinal += num_decoded
        return any_misplaced

    def _submit(self, unit: DecodeUnit, *, first_ordinal: int) -> None:
        scan = self._scans[unit.video_id]
        assert scan is not None  # only readable videos have units
        job = UnitJob(
            path=self._paths[unit.video_id],
            scan=scan,
            unit=unit,
            first_ordinal=first_ordinal,
            config=self._config,
            spill=self._spill,
            nvdec=self._decoders.decoder_of(unit.video_id),
        )
        self._jobs.setdefault(unit.video_id, {})[unit] = job
        self._pool.submit(job)

    def _units_of(self, video_id: int) -> list[DecodeUnit]:
        return sorted(self._jobs.get(video_id, ()))

    def _decoded(self, video_id: int, scan: VideoScan, *, first_unit_number: int) -> DecodedVideo:
        units = [unit for unit in self._units_of(video_id) if unit in self._receipts]
        return DecodedVideo(
            scan=scan,
            receipts=[self._receipts[unit] for unit in units],
            unit_numbers=list(range(first_unit_number, first_unit_number + len(units))),
            is_for_nvdec=self._decoders.decoder_of(video_id) is not None,
            nvdec_refusal=self._decoders.refusals.get(video_id),
        )

    def _stop_unless_skipping(self, video_id: int) -> None:
        scan = self._scans[video_id]
        if self._on_error == "fail" and scan is not None:
            video = self._decoded(video_id, scan, first_unit_number=0)
            raise VideosError([str(VideoError(scan.facts.path, "; ".join(video.problems)))])

    def _result(self) -> DecodeResult:
        videos: list[DecodedVideo | VideoError | None] = []
        unit_names: list[str] = []
        for video_id, scan in enumerate(self._scans):
            if scan is None:
                videos.append(None)
            elif video_id in self._failed:
                videos.append(self._failed[video_id])
            else:
                videos.append(self._decoded(video_id, scan, first_unit_number=len(unit_names)))
                unit_names += [self._jobs[video_id][unit].spill_name for unit in self._units_of(video_id)]
        return DecodeResult(videos=videos, unit_names=unit_names)
