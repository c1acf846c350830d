"""The time line of a video: what its record says about spans of frames, placed on an axis of seconds or frames."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from frame_cache_tools.report.data.losses import claimed_end, gaps_beside_damage, unread_text
from frame_cache_tools.report.data.video_records import MARK_WORDS, Mark, MarkKind, TimeLine

from frame_store.frame_findings import DamagedSpan, FrameFindings, FrameRun, PtsGap
from frame_store.manifest import VideoEntry
from frame_store.shared import counted, counted_in_groups

MAX_STORED_DRAWN: Final = 160
"""Stored frames that are drawn one by one; more are one bar."""
MAX_GAPS: Final = 200
"""Gaps of a video that are drawn."""
_RANKS: Final[dict[MarkKind, int]] = {kind: rank for rank, kind in enumerate(MARK_WORDS)}


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

    def has_frames_between(self, first: float, last: float) -> bool:
        """Whether a frame stands between two moments, at neither of them."""
        return self._pts is not None and bool(((self._pts > first + 1e-6) & (self._pts < last - 1e-6)).any())

    def gaps(self) -> list[PtsGap]:
        """All gaps between neighbours, as the build finds them: more than 1.5 median steps. At most `MAX_GAPS`."""
        if self._pts is None or not self._step:
            return []
        steps = np.diff(self._pts)
        places = np.flatnonzero(steps > 1.5 * self._step)[:MAX_GAPS].tolist()
        return [PtsGap(frame=place + 1, seconds=float(steps[place])) for place in places]


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
    marks = (
        []
        if findings is None
        else [*_marks(findings, axis), *_lost_ends(entry, axis), *_unlisted(findings, axis)]
    )
    start, end = axis.ends
    start = min([start, *(mark.first for mark in marks)])
    end = max([end, *(mark.last for mark in marks)])
    if len(stored) > MAX_STORED_DRAWN or len(stored) == entry.num_frames_decoded:
        stored = ()
    return TimeLine(
        unit="s" if axis.has_seconds else "frame",
        start=start,
        end=start + ((end - start) or 1.0),
        marks=tuple(sorted(marks, key=_severity)),
        num_marks_left_out=0 if findings is None else max(0, findings.num_pts_gaps - MAX_GAPS),
        stored=tuple(axis.at(frame) for frame in stored),
        shown=tuple(axis.at(frame) for frame in shown),
    )


def _severity(mark: Mark) -> tuple[int, float, float]:
    """The worst first: by kind, then the longest, then by time."""
    return _RANKS[mark.kind], mark.first - mark.last, mark.first


def _marks(findings: FrameFindings, axis: Axis) -> list[Mark]:
    marks = [mark for span in findings.damaged_spans if (mark := _damage(span, axis)) is not None]
    marks += [_run(run, axis, kind="corrupt") for run in findings.corrupt_runs]
    marks += [_run(run, axis, kind="duplicate") for run in findings.duplicate_runs]
    beside = {gap.frame for gap in gaps_beside_damage(findings)}
    gaps = axis.gaps() if findings.num_pts_gaps > len(findings.pts_gaps) else findings.pts_gaps
    for gap in gaps or findings.pts_gaps:
        at = axis.at(gap.frame)
        first = at - gap.seconds if axis.has_seconds else at
        if axis.has_frames_between(first, at):
            continue  # frames out of order, and no time without frames
        text = f"no frame from {first:.2f} to {at:.2f} s, between frames {gap.frame - 1} and {gap.frame}"
        if not axis.has_seconds:
            text = f"no frame for {gap.seconds:.2f} s between frames {gap.frame - 1} and {gap.frame}"
        marks.append(Mark(kind="lost" if gap.frame in beside else "gap", first=first, last=at, text=text))
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
            text=f"{of}{times(axis, first, last)}: by the decoder",
        )
    return Mark(
        kind="duplicate",
        first=axis.at(first),
        last=axis.after(last),
        text=f"{of}{times(axis, first, last)}: {frames} with equal pictures",
    )


def _damage(span: DamagedSpan, axis: Axis) -> Mark | None:
    words = [span.reason.split(": another ", 1)[0]]
    if span.num_frames_corrupt and "flagged corrupt" not in span.reason:
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
        of = (
            f"packet {span.first_packet}"
            if span.first_packet == span.last_packet
            else f"packets {span.first_packet} to {span.last_packet}"
        )
        of += ", no frame of which is stored"
        first = last = axis.ends[1]
    if axis.has_seconds and span.first_pts_seconds is not None and span.last_pts_seconds is not None:
        first, last = span.first_pts_seconds, max(span.last_pts_seconds, span.first_pts_seconds)
        of += _moments(first, last)
    return Mark(kind="damage", first=first, last=last, text=f"{of}: {'; '.join(words)}")


def times(axis: Axis, first: int, last: int) -> str:
    """The times of a run of frames, in brackets; empty where they are not known."""
    if not axis.has_seconds:
        return ""
    return _moments(axis.at(first), axis.at(last))


def _moments(first: float, last: float) -> str:
    return f" (at {first:.2f} s)" if f"{first:.2f}" == f"{last:.2f}" else f" ({first:.2f} to {last:.2f} s)"


def _lost_ends(entry: VideoEntry, axis: Axis) -> list[Mark]:
    """The end that the header claims and the file does not have, and parts of the file that were not read."""
    end = axis.ends[1]
    claimed, unread, marks = claimed_end(entry), unread_text(entry), []
    if claimed is not None:
        text = f"the last {claimed - end:.2f} s: the header claims {claimed:.2f} s, the last frame ends at {end:.2f} s"
        marks.append(
            Mark(kind="lost", first=end, last=max(end, claimed if axis.has_seconds else end), text=text)
        )
    if unread is not None:
        marks.append(Mark(kind="lost", first=end, last=end, text=unread))
    return marks


_PLURALS: Final = {
    "damaged stretch": "damaged stretches",
    "run of frames flagged corrupt": "runs of frames flagged corrupt",
    "run of equal frames": "runs of equal frames",
    "time that goes back": "times that go back",
    "change of format": "changes of format",
}


def _unlisted(findings: FrameFindings, axis: Axis) -> list[Mark]:
    """Where those stretches lie that the cache counts and does not list: behind the last listed one."""
    marks = []
    counts = (
        findings.num_damaged_spans,
        findings.num_corrupt_runs,
        findings.num_duplicate_runs,
        findings.num_pts_repeats,
        findings.num_format_changes,
    )
    lasts = (
        [span.last_frame or 0 for span in findings.damaged_spans],
        [last for _, last in findings.corrupt_runs],
        [last for _, last in findings.duplicate_runs],
        findings.pts_repeats,
        [change.frame for change in findings.format_changes],
    )
    for (noun, plural), count, listed in zip(_PLURALS.items(), counts, lasts, strict=True):
        more = count - len(listed)
        if more > 0 and listed:
            last = listed[-1]
            text = (
                f"{counted_in_groups(more, noun, plural)} after frame {last}{times(axis, last, last)}; the cache "
                f"records the first {len(listed)}"
            )
            marks.append(Mark(kind="unlisted", first=axis.after(last), last=axis.ends[1], text=text))
    return marks
