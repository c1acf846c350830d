"""Decodes all planned units in the worker pool, and decodes some again, for reasons that only decoding shows.

- A unit whose first frame depends on earlier packets is joined to the unit before it.
- The frames after the edge of two units are decoded twice: from the edge, and from the unit before. If they differ, the
  video is decoded in one piece.
- With `--stride` a unit needs the ordinal of its first frame. With `--fps` a unit needs the timestamps of its frames,
  if these are the sorted timestamps of the packets. Both are guessed from the packets, and a unit with a wrong guess
  is decoded again.
- A file that holds several episodes has a mask of the frames to keep. It is guessed from the packets, computed again
  from the frames that came, and a unit with a wrong guess is decoded again.
- A unit whose process died is decoded once more, alone. If that process dies, too, the unit counts as damaged.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.errors import MachineError, UnitNotIndependentError, VideoError, VideosNotWholeError
from cache_builder.executors import Executor, JobDied, JobDone, JobRaised, Outcome
from cache_builder.findings import DecodedVideo, UnitReceipt, output_pts_seconds
from cache_builder.gpu import DecoderChoice
from cache_builder.jobs import SpillPlace, UnitJob, empty_receipt
from cache_builder.plan import DecodeUnit, claimed_frames, claimed_seconds, kept_of_file, plan_units
from cache_builder.settings import BuildConfig, ErrorPolicy
from cache_builder.sources import EpisodeSpan, SourceVideo
from cache_builder.video.decode import first_wrong_edge, sorted_packet_pts
from cache_builder.video.scan import VideoScan
from frame_store.errors import CudaError, ObjectStoreError

UnitPool = Executor[UnitJob, UnitReceipt]


class DecodeResult(msgspec.Struct, frozen=True, kw_only=True):
    """Every file after decoding."""

    videos: list[DecodedVideo | VideoError]
    """Row per file: an error where nothing of it can be used."""
    unit_names: list[str]
    """Spill names of the units, as `DecodedVideo.unit_numbers` counts them."""


class DecodeStage:
    """One run over all units. An instance runs once: `DecodeStage(...).run()`."""

    def __init__(
        self,
        pool: UnitPool,
        *,
        files: Sequence[SourceVideo],
        spill: SpillPlace,
        scans: Sequence[VideoScan | VideoError],
        decoders: DecoderChoice,
        configs: Sequence[BuildConfig],
        on_error: ErrorPolicy,
        progress: Callable[[int], None],
        episodes: Mapping[int, Sequence[tuple[str, EpisodeSpan]]] | None = None,
    ) -> None:
        """Files to decode: `files`, `scans` and `configs` have a row per file.

        `episodes` has name and span of the episodes of the files that are not one video each. Whoever cuts them judges
        their damage: such a file does not stop the run.
        """
        self._pool = pool
        self._files = files
        self._spill = spill
        self._scans = list(scans)
        """Row per file: an error as soon as nothing of it can be used."""
        self._decoders = decoders
        self._configs = configs
        self._episodes = episodes or {}
        self._on_error = on_error
        self._progress = progress
        self._jobs: dict[int, dict[DecodeUnit, UnitJob]] = {}
        """The current units of each video. A unit that was merged into another is removed, and its result ignored."""
        self._receipts: dict[DecodeUnit, UnitReceipt] = {}
        self._guesses: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]] = {}
        self._wrong_edges: dict[int, int] = {}
        """Packet of each video at which it must not be cut into units; see `first_wrong_edge`."""

    def run(self) -> DecodeResult:
        """Decode everything.

        Raises:
            VideosNotWholeError: a video is not whole and the policy is `fail`.
            MachineError: disk full, I/O error, out of memory outside a decoder.
        """
        for unit in self._in_order(plan_units(self._scans)):
            self._submit_first(unit)
        while True:
            for outcome in self._pool.outcomes(retry_deaths=True):
                self._take(outcome)
            if not self._submit_uncut() and not self._submit_misplaced():
                return self._result()

    def _in_order(self, units: list[DecodeUnit]) -> list[DecodeUnit]:
        """The units in the order in which they are decoded.

        The largest come first: a large unit that comes last keeps one process at work while the others wait. Those of a
        video that is downloaded follow one another, so that it is downloaded once.
        """
        if all(file.staged is None for file in self._files):
            return sorted(units, key=self._pixels_of, reverse=True)
        first = {unit.video_id: place for place, unit in reversed([*enumerate(units)])}
        return sorted(units, key=lambda unit: (first[unit.video_id], unit.first_packet))

    def _pixels_of(self, unit: DecodeUnit) -> int:
        facts = self._scan_of(unit.video_id).facts
        return unit.num_packets * facts.width * facts.height

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
        elif isinstance(outcome.error, OSError | MemoryError | CudaError | ObjectStoreError):
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
        """Queue again the units whose first ordinal, timestamps or frames to keep were guessed wrong."""
        any_misplaced = False
        for video_id, jobs in list(self._jobs.items()):
            units = sorted(jobs)
            receipts = [self._receipts[unit] for unit in units]
            pts = self._output_pts(video_id, receipts)
            keep = self._keep(video_id, receipts)
            first_ordinal = 0
            for unit, receipt in zip(units, receipts, strict=True):
                end_ordinal = first_ordinal + receipt.num_frames_decoded
                right = msgspec.structs.replace(
                    self._jobs[video_id][unit],
                    first_ordinal=first_ordinal,
                    output_pts=None if pts is None else pts[first_ordinal : end_ordinal + 1].tobytes(),
                    keep=None if keep is None else keep[first_ordinal:end_ordinal].tobytes(),
                )
                if receipt.num_frames_decoded and self._is_misplaced(unit, right, receipt):
                    del self._receipts[unit]
                    self._queue(right)
                    any_misplaced = True
                first_ordinal = end_ordinal
        return any_misplaced

    def _is_misplaced(self, unit: DecodeUnit, right: UnitJob, receipt: UnitReceipt) -> bool:
        """Whether a unit was decoded with another guess than what is right, and this decides its frames."""
        job = self._jobs[unit.video_id][unit]
        if right.keep is not None and job.keep is not None:
            return job.keep[: receipt.num_frames_decoded].ljust(len(right.keep), b"\0") != right.keep
        is_other_phase = (job.first_ordinal - right.first_ordinal) % job.config.stride
        return bool(is_other_phase or job.output_pts != right.output_pts)

    def _keep(
        self, video_id: int, receipts: Sequence[UnitReceipt] | None = None
    ) -> npt.NDArray[np.bool_] | None:
        """Which frames of a file of several episodes are kept; None for other files.

        These are the decoded frames, or, without `receipts`, those that its packets claim.
        """
        episodes = self._episodes.get(video_id)
        if episodes is None:
            return None
        scan = self._scan_of(video_id)
        pts_seconds = claimed_seconds(scan) if receipts is None else output_pts_seconds(scan, receipts)
        return kept_of_file(pts_seconds, episodes, scan, self._configs[video_id])

    def _output_pts(
        self, video_id: int, receipts: Sequence[UnitReceipt] | None = None
    ) -> npt.NDArray[np.int64] | None:
        """Ticks of a video's frames in output order: of the decoded frames; without `receipts`, of all expected ones.

        None if each frame has the timestamp of its packet, or if nothing depends on timestamps.
        """
        scan = self._scan_of(video_id)
        if self._configs[video_id].fps is None or not scan.sorts_pts or video_id in self._episodes:
            return None
        packets = np.flatnonzero((scan.packets.size > 0) & ~scan.packets.is_discarded)
        if receipts is not None:
            rows = [receipt.frame_rows["packet"].astype(np.int64) for receipt in receipts]
            packets = np.concatenate([np.zeros(0, np.int64), *rows])
        return sorted_packet_pts(scan.packets, packets)

    def _submit_first(self, unit: DecodeUnit) -> None:
        """Queue a unit with a guess of its frames: one a packet, or those that the packets claim."""
        pts = self._output_pts(unit.video_id)
        first, keep = unit.first_packet, None
        if unit.video_id in self._episodes:
            packets, keep_of_file = self._guess_of(unit.video_id)
            first, end = np.searchsorted(packets, [unit.first_packet, unit.end_packet]).tolist()
            keep = keep_of_file[first:end].tobytes()
        file = self._files[unit.video_id]
        self._queue(
            UnitJob(
                path=file.path,
                staged=file.staged,
                scan=self._scan_of(unit.video_id),
                unit=unit,
                first_ordinal=first,
                output_pts=None if pts is None else pts[unit.first_packet : unit.end_packet + 1].tobytes(),
                keep=keep,
                config=self._configs[unit.video_id],
                spill=self._spill,
                backend=self._decoders.backend_of(unit.video_id),
            )
        )

    def _guess_of(self, video_id: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Packets that give a frame, and which frames are kept, as far as the packets show it."""
        if video_id not in self._guesses:
            keep = self._keep(video_id)
            assert keep is not None  # asked for files of episodes alone
            self._guesses[video_id] = claimed_frames(self._scan_of(video_id)).packets, keep
        return self._guesses[video_id]

    def _queue(self, job: UnitJob) -> None:
        self._jobs.setdefault(job.unit.video_id, {})[job.unit] = job
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
            pixel=self._configs[video_id].pixel,
            wrong_edge=self._wrong_edges.get(video_id),
        )

    def _stop_unless_skipping(self, video_id: int) -> None:
        scan = self._scans[video_id]
        if self._on_error == "fail" and isinstance(scan, VideoScan) and video_id not in self._episodes:
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
