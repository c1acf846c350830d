"""Decodes all planned units in the worker pool, and decodes some again, for reasons that only decoding shows.

- A unit whose first frame depends on earlier packets is joined to the unit before it.
- The frames after the edge of two units are decoded twice: from the edge, and from the unit before. If they differ, the
  video is decoded in one piece.
- With `--stride` a unit needs the ordinal of its first frame. With `--fps` a unit needs the timestamps of its frames,
  if these are the sorted timestamps of the packets. Both are guessed from the packets, and a unit with a wrong guess
  is decoded again.
- A unit whose process died is decoded once more, alone. If that process dies, too, the unit counts as damaged.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.errors import MachineError, UnitNotIndependentError, VideoError, VideosNotWholeError
from cache_builder.findings import DecodedVideo, UnitReceipt
from cache_builder.gpu import DecoderChoice
from cache_builder.jobs import UnitJob, empty_receipt
from cache_builder.plan import DecodeUnit, plan_units
from cache_builder.settings import BuildConfig, ErrorPolicy
from cache_builder.video.decode import first_wrong_edge, sorted_packet_pts
from cache_builder.video.scan import VideoScan
from cache_builder.worker_pool import JobDied, JobDone, JobRaised, Outcome, WorkerPool
from frame_store.errors import CudaError

UnitPool = WorkerPool[UnitJob, UnitReceipt]


class DecodeResult(msgspec.Struct, frozen=True, kw_only=True):
    """Every video after decoding."""

    videos: list[DecodedVideo | VideoError]
    """Row per video: an error where nothing of it can be used."""
    unit_names: list[str]
    """Spill names of the units, as `DecodedVideo.unit_numbers` counts them."""


class DecodeStage:
    """One run over all units. An instance runs once: `DecodeStage(...).run()`."""

    def __init__(
        self,
        pool: UnitPool,
        *,
        paths: Sequence[Path],
        spill: Path,
        scans: Sequence[VideoScan | VideoError],
        decoders: DecoderChoice,
        config: BuildConfig,
        on_error: ErrorPolicy,
        progress: Callable[[int], None],
    ) -> None:
        self._pool = pool
        self._paths = paths
        self._spill = spill
        self._scans = list(scans)
        """Row per video: an error as soon as nothing of it can be used."""
        self._decoders = decoders
        self._config = config
        self._on_error = on_error
        self._progress = progress
        self._jobs: dict[int, dict[DecodeUnit, UnitJob]] = {}
        """The current units of each video. A unit that was merged into another is removed, and its result ignored."""
        self._receipts: dict[DecodeUnit, UnitReceipt] = {}
        self._wrong_edges: dict[int, int] = {}
        """Packet of each video at which it must not be cut into units; see `first_wrong_edge`."""

    def run(self) -> DecodeResult:
        """Decode everything.

        Raises:
            VideosNotWholeError: a video is not whole and the policy is `fail`.
            MachineError: disk full, I/O error, out of memory outside a decoder.
        """
        for unit in plan_units(self._scans):
            self._submit_first(unit)
        while True:
            for outcome in self._pool.outcomes(retry_deaths=True):
                self._take(outcome)
            if not self._submit_uncut() and not self._submit_misplaced():
                return self._result()

    def _take(self, outcome: Outcome[UnitJob, UnitReceipt]) -> None:
        unit = outcome.job.unit
        if self._jobs.get(unit.video_id, {}).get(unit) is not outcome.job:
            return  # meanwhile merged into another unit, queued again with another ordinal, or of a failed video
        if isinstance(outcome, JobDone):
            self._receipts[unit] = outcome.result
            self._progress(unit.num_packets)
            if outcome.result.is_damaged:
                self._stop_unless_skipping(unit.video_id)
        elif isinstance(outcome, JobDied):
            self._receipts[unit] = empty_receipt(unit, death=outcome.how)
            self._stop_unless_skipping(unit.video_id)
        else:
            self._take_error(outcome)

    def _take_error(self, outcome: JobRaised[UnitJob]) -> None:
        unit = outcome.job.unit
        if isinstance(outcome.error, UnitNotIndependentError):
            self._merge_into_previous(unit.video_id, outcome.error.first_packet)
        elif isinstance(outcome.error, VideoError):
            self._scans[unit.video_id] = outcome.error
            del self._jobs[unit.video_id]
            if self._on_error == "fail":
                raise VideosNotWholeError([str(outcome.error)]) from outcome.error
        elif isinstance(outcome.error, OSError | MemoryError | CudaError):
            path = outcome.job.scan.facts.path
            raise MachineError(
                f"decoding {path!r}: {outcome.error}; the same command resumes"
            ) from outcome.error
        else:
            raise outcome.error

    def _merge_into_previous(self, video_id: int, first_packet: int) -> None:
        """Join the unit that begins at `first_packet` to the unit before, and decode both as one."""
        jobs = self._jobs[video_id]
        unit = next(unit for unit in jobs if unit.first_packet == first_packet)
        previous = max(other for other in jobs if other.first_packet < first_packet)
        for gone in (previous, unit):
            del jobs[gone]
            self._receipts.pop(gone, None)
        self._submit_first(msgspec.structs.replace(previous, end_packet=unit.end_packet))

    def _submit_uncut(self) -> bool:
        """Queue as one unit each video whose units do not fit together."""
        any_uncut = False
        for video_id, jobs in list(self._jobs.items()):
            units = sorted(jobs)
            edge = first_wrong_edge([self._receipts[unit] for unit in units])
            if edge is None:
                continue
            self._wrong_edges[video_id] = edge
            for unit in units:
                del jobs[unit], self._receipts[unit]
            self._submit_first(msgspec.structs.replace(units[0], end_packet=units[-1].end_packet))
            any_uncut = True
        return any_uncut

    def _submit_misplaced(self) -> bool:
        """Queue again the units whose first ordinal, or whose timestamps, were guessed wrong."""
        any_misplaced = False
        for video_id, jobs in list(self._jobs.items()):
            units = sorted(jobs)
            pts = self._output_pts(video_id, [self._receipts[unit] for unit in units])
            first_ordinal = 0
            for unit in units:
                num_decoded = self._receipts[unit].num_frames_decoded
                unit_pts = (
                    None if pts is None else pts[first_ordinal : first_ordinal + num_decoded + 1].tobytes()
                )
                job = self._jobs[video_id][unit]
                is_other_phase = (job.first_ordinal - first_ordinal) % self._config.stride
                if num_decoded and (is_other_phase or job.output_pts != unit_pts):
                    del self._receipts[unit]
                    self._submit(unit, first_ordinal=first_ordinal, output_pts=unit_pts)
                    any_misplaced = True
                first_ordinal += num_decoded
        return any_misplaced

    def _output_pts(
        self, video_id: int, receipts: Sequence[UnitReceipt] | None = None
    ) -> npt.NDArray[np.int64] | None:
        """Ticks of a video's frames in output order: of the decoded frames; without `receipts`, of all expected ones.

        None if each frame has the timestamp of its packet, or if nothing depends on timestamps.
        """
        scan = self._scan_of(video_id)
        if self._config.fps is None or not scan.sorts_pts:
            return None
        packets = np.flatnonzero((scan.packets.size > 0) & ~scan.packets.is_discarded)
        if receipts is not None:
            rows = [receipt.frame_rows["packet"].astype(np.int64) for receipt in receipts]
            packets = np.concatenate([np.zeros(0, np.int64), *rows])
        return sorted_packet_pts(scan.packets, packets)

    def _submit_first(self, unit: DecodeUnit) -> None:
        """Queue a unit with the guess that every packet gives one frame."""
        pts = self._output_pts(unit.video_id)
        self._submit(
            unit,
            first_ordinal=unit.first_packet,
            output_pts=None if pts is None else pts[unit.first_packet : unit.end_packet + 1].tobytes(),
        )

    def _submit(self, unit: DecodeUnit, *, first_ordinal: int, output_pts: bytes | None) -> None:
        job = UnitJob(
            path=self._paths[unit.video_id],
            scan=self._scan_of(unit.video_id),
            unit=unit,
            first_ordinal=first_ordinal,
            output_pts=output_pts,
            config=self._config,
            spill=self._spill,
            backend=self._decoders.backend_of(unit.video_id),
        )
        self._jobs.setdefault(unit.video_id, {})[unit] = job
        self._pool.submit(job)

    def _scan_of(self, video_id: int) -> VideoScan:
        scan = self._scans[video_id]
        assert isinstance(scan, VideoScan)  # only readable videos have units
        return scan

    def _units_of(self, video_id: int) -> list[DecodeUnit]:
        return sorted(self._jobs.get(video_id, ()))

    def _decoded(self, video_id: int, scan: VideoScan, *, first_unit_number: int) -> DecodedVideo:
        units = [unit for unit in self._units_of(video_id) if unit in self._receipts]
        return DecodedVideo(
            scan=scan,
            receipts=[self._receipts[unit] for unit in units],
            unit_numbers=list(range(first_unit_number, first_unit_number + len(units))),
            is_for_device=self._decoders.backend_of(video_id).is_device,
            device_refusal=self._decoders.refusals.get(video_id),
            pixel=self._config.pixel,
            wrong_edge=self._wrong_edges.get(video_id),
        )

    def _stop_unless_skipping(self, video_id: int) -> None:
        scan = self._scans[video_id]
        if self._on_error == "fail" and isinstance(scan, VideoScan):
            problems = self._decoded(video_id, scan, first_unit_number=0).problems
            if problems:
                raise VideosNotWholeError([str(VideoError(scan.facts.path, "; ".join(problems)))])

    def _result(self) -> DecodeResult:
        for video_id in self._jobs:  # some problems show only when all units of a video are decoded
            self._stop_unless_skipping(video_id)
        videos: list[DecodedVideo | VideoError] = []
        unit_names: list[str] = []
        for video_id, scan in enumerate(self._scans):
            if isinstance(scan, VideoError):
                videos.append(scan)
            else:
                videos.append(self._decoded(video_id, scan, first_unit_number=len(unit_names)))
                unit_names += [self._jobs[video_id][unit].spill_name for unit in self._units_of(video_id)]
        return DecodeResult(videos=videos, unit_names=unit_names)
