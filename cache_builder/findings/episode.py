"""An episode of a decoded file: its counts, its verdict and the rows of its stored frames, of its frames alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cache_builder.findings.fidelity import measured_fidelity
from cache_builder.findings.receipt import UnitReceipt
from cache_builder.findings.spans import VideoFrames, is_within
from cache_builder.findings.verdict import (
    ON_DEVICE_COUNT,
    DecodedVideo,
    damage_text,
    findings_notes,
    spans_text,
)
from cache_builder.video.scan import picture_notes
from frame_store.frame_findings import DamagedSpan, FrameFindings
from frame_store.manifest import VideoEntry, VideoSpan
from frame_store.shared import counted


class EpisodeFile:
    """A decoded file that holds several episodes."""

    def __init__(self, video: DecodedVideo) -> None:
        self.video = video

    @property
    def pts_seconds(self) -> npt.NDArray[np.float64]:
        """Of all decoded frames in output order; NaN where a frame has no pts."""
        return self.frames.pts_seconds

    @cached_property
    def frames(self) -> VideoFrames:
        """All decoded frames."""
        return VideoFrames(self.video.scan, self.video.receipts)

    @cached_property
    def sources(self) -> npt.NDArray[np.void]:
        """The stored frames in output order, `SOURCE_DTYPE`, numbered as in the file."""
        return self.video.sources(0)

    @cached_property
    def sampled_errors(self) -> list[tuple[int, float]]:
        """(frame of the file, mean squared error) of the sampled frames."""
        firsts = self.video.first_ordinals
        return [
            (first + position, error)
            for first, receipt in zip(firsts, self.video.receipts, strict=True)
            for position, error in receipt.sampled_errors
        ]

    def receipts_of(self, first: int, end: int) -> list[UnitReceipt]:
        """The units that hold frames [first, end)."""
        return [
            receipt
            for begin, receipt in zip(self.video.first_ordinals, self.video.receipts, strict=True)
            if begin < end and begin + receipt.num_frames_decoded > first
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedEpisode:
    """Frames [first, end) of a decoded file, which are one episode."""

    file: EpisodeFile
    name: str
    span: VideoSpan
    num_frames: int

    @property
    def first(self) -> int:
        """Number of its first frame in the file."""
        return self.span.first_frame

    @property
    def end(self) -> int:
        """Number of the frame after its last one."""
        return self.first + self.num_frames

    @property
    def pts_seconds(self) -> npt.NDArray[np.float64]:
        """Of its frames in output order: pts of the file."""
        return self.file.pts_seconds[self.first : self.end]

    @cached_property
    def sampled_errors(self) -> list[tuple[int, float]]:
        """(frame, mean squared error) of its sampled frames."""
        return [
            (frame - self.first, error)
            for frame, error in self.file.sampled_errors
            if self.first <= frame < self.end
        ]

    def sources(self, video_id: int) -> npt.NDArray[np.void]:
        """Its stored frames in output order, `SOURCE_DTYPE`."""
        rows = self.file.sources
        begin, end = np.searchsorted(rows["frame_in_video"], [self.first, self.end])
        own = rows[begin:end].copy()
        own["video_id"] = video_id
        own["frame_in_video"] -= np.uint32(self.first)
        return own

    @property
    def problems(self) -> list[str]:
        """Why it is not whole, empty if it is. Damage of the file that reaches none of its frames does not count."""
        return self._problems(self.file.frames.spans_within(self.first, self.end))

    def _problems(self, spans: Sequence[DamagedSpan]) -> list[str]:
        if not spans:
            return []
        frames = self.file.frames
        deaths = [
            receipt
            for receipt in self.file.video.receipts
            if any(
                receipt.first_packet <= span.last_packet and span.first_packet < receipt.end_packet
                for span in spans
            )
        ]
        problems = damage_text(
            deaths,
            errors=self._decoder_errors(spans),
            num_frames_corrupt=frames.num_corrupt(self.first, self.end),
            num_packets_corrupt=len(frames.corrupt_packets_of(spans)),
        )
        return problems or list(dict.fromkeys(span.reason for span in spans))

    def _decoder_errors(self, spans: Sequence[DamagedSpan]) -> list[tuple[int, str]]:
        last_packet = len(self.file.video.scan.packets) - 1
        errors = [error for receipt in self.file.video.receipts for error in receipt.decoder_errors]
        return [error for error in errors if is_within(min(error[0], last_packet), spans)]

    def entry(self) -> VideoEntry:
        """The episode's row of the table of videos."""
        frames, facts = self.file.frames, self.file.video.scan.facts
        spans = frames.spans_within(self.first, self.end)
        findings = frames.findings(self.first, self.end)
        problems = self._problems(spans)
        return VideoEntry(
            path=self.name,
            span=self.span,
            verdict="damaged" if problems else "whole",
            reason="; ".join([*problems, *spans_text(findings)]) or None,
            notes=self._notes(findings),
            num_bytes=facts.num_bytes,
            sha256=facts.sha256,
            num_frames_in_header=None,
            num_packets=facts.num_packets,
            num_frames_decoded=self.num_frames,
            num_frames_stored=len(self.sources(0)),
            num_frames_corrupt=frames.num_corrupt(self.first, self.end),
            num_decoder_errors=len(self._decoder_errors(spans)),
            pts_monotonic=bool((np.diff(self.pts_seconds) > 0).all()),
            fidelity=measured_fidelity(self.sampled_errors),
            findings=findings,
            facts=self._facts(),
        )

    def _num_on_device(self) -> int:
        """How many of its frames the GPU decoded."""
        ends = zip(self.file.video.first_ordinals, self.file.video.receipts, strict=True)
        return sum(
            max(0, min(self.end, first + receipt.num_frames_decoded) - max(self.first, first))
            for first, receipt in ends
            if receipt.is_by_device
        )

    def _facts(self) -> dict[str, object]:
        facts = self.file.video.informative_facts()
        return facts | ({ON_DEVICE_COUNT: self._num_on_device()} if ON_DEVICE_COUNT in facts else {})

    def _notes(self, findings: FrameFindings) -> list[str]:
        video = self.file.video
        pictures = [
            picture
            for receipt in self.file.receipts_of(self.first, self.end)
            for _, picture in receipt.formats
        ]
        notes = picture_notes(video.scan.facts, pictures, pixel=video.pixel)
        if not (np.diff(self.pts_seconds) > 0).all():
            notes.append("its timestamps do not rise from frame to frame")
        if video.device_refusal is not None:
            notes.append(f"decoded on the CPU: {video.device_refusal}")
        elif video.is_for_device and self._num_on_device() < self.num_frames:
            number = counted(self.num_frames - self._num_on_device(), "frame")
            notes.append(f"{number} decoded on the CPU, as the GPU did not decode them cleanly")
        return [*notes, *findings_notes(findings, num_hidden=0)]
