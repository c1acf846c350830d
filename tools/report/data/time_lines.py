"""The time line of a video: what its record says about spans of frames, placed on an axis of seconds or frames."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from frame_cache_tools.report.data.video_records import Mark, TimeLine

from frame_store.frame_findings import DamagedSpan, FrameFindings, FrameRun
from frame_store.manifest import VideoEntry
from frame_store.shared import counted, counted_in_groups

MAX_STORED_DRAWN: Final = 160
"""Stored frames that are drawn one by one; more are one bar."""


class Axis:
    """Where the frames of one video stand: by pts if each has one, else by their numbers."""

    def __init__(self, pts: npt.NDArray[np.float64] | None, *, num_frames: int, step: float | None) -> None:
        """Take the pts of all decoded frames, (n,) in seconds, or None where they are not known."""
        self.num_frames = num_frames
        self._pts = pts if pts is not None and len(pts) == num_frames and _all_finite(pts) else None
        self._step = step or 0.0

    @property
    def has_seconds(self) -> bool:
        """Whether the axis is one of seconds."""
        return self._pts is not None

    def at(self, frame: int) -> float:
        """Where a frame stands; numbers beyond the last one stand there."""
        frame = min(max(frame, 0), max(0, self.num_frames - 1))
        return float(frame) if self._pts is None else float(self._pts[frame])

    def after(self, frame: int) -> float:
        """Where a frame ends."""
        return self.at(frame) + (1.0 if self._pts is None else self._step)

    def seconds_of(self, frame: int) -> float | None:
        """The pts of a frame, if the axis is one of seconds."""
        return self.at(frame) if self.has_seconds else None

    @property
    def ends(self) -> tuple[float, float]:
        """Start of the first and end of the last frame."""
        if not self.num_frames:
            return 0.0, 0.0
        if self._pts is None:
            return 0.0, float(self.num_frames)
        return float(self._pts.min()), float(self._pts.max()) + self._step


def _all_finite(pts: npt.NDArray[np.float64]) -> bool:
    return bool(len(pts)) and bool(np.isfinite(pts).all())


def axis_of(entry: VideoEntry, pts: npt.NDArray[np.float64] | None) -> Axis:
    """The axis of a video's time line; `pts` are those of its decoded frames, or None."""
    step = None if entry.findings is None else entry.findings.median_step_seconds
    return Axis(pts, num_frames=entry.num_frames_decoded, step=step)


def time_line(
    entry: VideoEntry, axis: Axis, *, stored: Sequence[int] = (), shown: Sequence[int] = ()
) -> TimeLine | None:
    """The time line of a video; None if it has no frame. `stored` and `shown` are frames of the video."""
    if not entry.num_frames_decoded:
        return None
    findings = entry.findings
    marks = [] if findings is None else list(_marks(findings, axis))
    start, end = axis.ends
    start = min([start, *(mark.first for mark in marks)])
    end = max([end, *(mark.last for mark in marks)])
    stretch = (end - start) or 1.0
    if len(stored) > MAX_STORED_DRAWN or len(stored) == entry.num_frames_decoded:
        stored = ()
    return TimeLine(
        unit="s" if axis.has_seconds else "frame",
        start=start,
        end=start + stretch,
        marks=tuple(sorted(marks, key=lambda mark: (mark.first, mark.last, mark.kind))),
        num_marks_left_out=0 if findings is None else _num_unlisted(findings),
        stored=tuple(axis.at(frame) for frame in stored),
        shown=tuple(axis.at(frame) for frame in shown),
    )


def num_missing(findings: FrameFindings | None) -> int:
    """Packets of the listed damaged spans that gave no frame."""
    return 0 if findings is None else sum(span.num_packets_without_frame for span in findings.damaged_spans)


def _marks(findings: FrameFindings, axis: Axis) -> list[Mark]:
    marks = [mark for span in findings.damaged_spans if (mark := _damage(span, axis)) is not None]
    marks += [_run(run, axis, kind="corrupt") for run in findings.corrupt_runs]
    marks += [_run(run, axis, kind="duplicate") for run in findings.duplicate_runs]
    for gap in findings.pts_gaps:
        at = axis.at(gap.frame)
        first = at - gap.seconds if axis.has_seconds else at
        text = f"no frames for {gap.seconds:.3f} s before frame {gap.frame}"
        marks.append(Mark(kind="gap", first=first, last=at, text=text))
    for frame in findings.pts_repeats:
        at = axis.at(frame)
        marks.append(
            Mark(
                kind="repeat",
                first=at,
                last=at,
                text=f"the time of frame {frame} is not after the one before",
            )
        )
    for change in findings.format_changes:
        at = axis.at(change.frame)
        text = (
            f"from frame {change.frame} on pictures are {change.after.width}x{change.after.height} "
            f"{change.after.pixel_format or 'in memory of a GPU'}"
        )
        marks.append(Mark(kind="format", first=at, last=at, text=text))
    return marks


def _run(run: FrameRun, axis: Axis, *, kind: str) -> Mark:
    first, last = run
    frames = counted_in_groups(last - first + 1, "frame")
    of = f"frame {first}" if first == last else f"frames {first} to {last}"
    if kind == "corrupt":
        return Mark(
            kind="corrupt",
            first=axis.at(first),
            last=axis.after(last),
            text=f"{of}: {frames} flagged corrupt by the decoder{times(axis, first, last)}",
        )
    return Mark(
        kind="duplicate",
        first=axis.at(first),
        last=axis.after(last),
        text=f"{of}: {frames} with equal pictures{times(axis, first, last)}",
    )


def _damage(span: DamagedSpan, axis: Axis) -> Mark | None:
    words = [span.reason]
    if span.num_frames_corrupt:
        words.append(f"{counted(span.num_frames_corrupt, 'frame')} flagged corrupt")
    if span.num_packets_without_frame:
        words.append(f"{counted(span.num_packets_without_frame, 'packet')} gave no frame")
    if span.first_frame is not None and span.last_frame is not None:
        of = (
            f"frame {span.first_frame}"
            if span.first_frame == span.last_frame
            else f"frames {span.first_frame} to {span.last_frame}"
        )
        first, last = axis.at(span.first_frame), axis.after(span.last_frame)
    else:
        of = f"packets {span.first_packet} to {span.last_packet}, no frame"
        first = last = axis.ends[1]
    if axis.has_seconds and span.first_pts_seconds is not None and span.last_pts_seconds is not None:
        first, last = span.first_pts_seconds, max(span.last_pts_seconds, span.first_pts_seconds)
        of += f" ({first:.3f} to {last:.3f} s)"
    return Mark(kind="damage", first=first, last=last, text=f"{of}: {'; '.join(words)}")


def times(axis: Axis, first: int, last: int) -> str:
    """The times of a run of frames, in brackets; empty where they are not known."""
    if not axis.has_seconds:
        return ""
    return f" ({axis.at(first):.3f} to {axis.at(last):.3f} s)"


def _num_unlisted(findings: FrameFindings) -> int:
    return sum(
        max(0, count - len(listed))
        for count, listed in (
            (findings.num_damaged_spans, findings.damaged_spans),
            (findings.num_corrupt_runs, findings.corrupt_runs),
            (findings.num_duplicate_runs, findings.duplicate_runs),
            (findings.num_pts_gaps, findings.pts_gaps),
            (findings.num_pts_repeats, findings.pts_repeats),
            (findings.num_format_changes, findings.format_changes),
        )
    )
