"""What damaged and unreadable videos have lost, and what a person can do about it."""

from collections.abc import Sequence
from typing import Any, Final

from frame_cache_tools.report.data.video_records import Loss

from frame_store.frame_findings import DamagedSpan, FrameFindings, PtsGap
from frame_store.manifest import VideoEntry
from frame_store.shared import counted_in_groups

_UNREADABLE: Final[tuple[tuple[str, str], ...]] = (
    ("LFS", "Run `git lfs pull` where the videos are."),
    ("encrypt", "Get a copy that is not encrypted."),
    (
        "Dolby",
        "Get a copy in ordinary colours (SDR, HDR10), or convert it with a tool that knows Dolby Vision.",
    ),
    ("no conversion", "Convert it to RGB or ordinary YUV first."),
)
_FETCH: Final = "Copy the file again from where it came; if that copy is the same, leave it out."
_SPLIT: Final = "Split the file into the videos that were joined, and build those."
_COPY: Final = (
    "Copy the file again from where it came: bytes of it are missing or overwritten. If that copy is the same, leave "
    "the video out."
)


def loss_of(entry: VideoEntry) -> Loss:
    """What a video has lost; nothing for a whole one."""
    if entry.verdict == "whole":
        return Loss()
    if entry.verdict == "unreadable":
        reason = entry.reason or ""
        remedy = next((remedy for sign, remedy in _UNREADABLE if sign in reason), _FETCH)
        return Loss(remedy=remedy, share=1.0)
    findings = entry.findings
    untrusted = entry.num_frames_corrupt
    packets, seconds, end = 0, 0.0, claimed_end(entry)
    texts = []
    step = 0.0
    if findings is not None:
        spans, step = findings.damaged_spans, findings.median_step_seconds or 0.0
        untrusted = max(untrusted, num_frames_of(spans))
        packets = sum(span.num_packets_without_frame for span in spans)
        seconds = sum(max(0.0, gap.seconds - step) for gap in gaps_beside_damage(findings))
    if seconds >= 0.05:
        texts.append(f"{seconds:.2f} s lost beside the damage")
    tail = 0.0 if end is None else max(0.0, end - (entry.row.duration_seconds or 0.0))
    if tail:
        texts.append(f"the last {tail:.2f} s lost")
    if packets:
        texts.append(f"{counted_in_groups(packets, 'packet')} gave no frame")
    if (unread := unread_text(entry)) is not None:
        texts.append(unread)
    lost = max((seconds + tail) / step if step else 0.0, packets)
    decoded = entry.num_frames_decoded
    return Loss(
        num_frames_untrusted=untrusted,
        num_packets_missing=packets,
        seconds_missing=seconds + tail,
        texts=tuple(texts),
        remedy=_SPLIT if _second_file(entry) is not None else _COPY,
        share=(untrusted + lost) / ((decoded + lost) or 1),
    )


def num_frames_of(spans: Sequence[DamagedSpan]) -> int:
    """Frames of damaged stretches, each once."""
    number, after = 0, 0
    for span in sorted(spans, key=lambda span: span.first_frame or 0):
        if span.first_frame is not None and span.last_frame is not None:
            number += max(0, span.last_frame + 1 - max(span.first_frame, after))
            after = max(after, span.last_frame + 1)
    return number


def gaps_beside_damage(findings: FrameFindings) -> list[PtsGap]:
    """The gaps in time that lie in damage, or right before or behind it: frames were lost there."""
    return [
        gap
        for gap in findings.pts_gaps
        for span in findings.damaged_spans
        if span.first_frame is not None
        and span.last_frame is not None
        and span.first_frame <= gap.frame <= span.last_frame + 1
    ]


def claimed_end(entry: VideoEntry) -> float | None:
    """Where the header says that a cut-off video ends, in seconds; None for a video that is not cut off."""
    claimed: Any = entry.facts.get("duration_seconds_in_header")
    is_cut_off = any(note.startswith("cut off?") for note in entry.notes)
    return float(claimed) if is_cut_off and isinstance(claimed, int | float) else None


def unread_text(entry: VideoEntry) -> str | None:
    """What part of a file of joined videos was not read; None if nothing is known to be unread."""
    second = _second_file(entry)
    offset = None if second is None else second.get("offset")
    if second is None or not isinstance(offset, int) or not entry.num_bytes or entry.verdict == "whole":
        return None
    left = entry.num_bytes - offset
    return (
        f"the {second.get('container')} file that is joined on from byte {offset:,} on was not read: {left:,} of "
        f"{entry.num_bytes:,} bytes, {100 * left / entry.num_bytes:.0f}%"
    )


def _second_file(entry: VideoEntry) -> dict[str, Any] | None:
    second: Any = entry.facts.get("second_file")
    return second if isinstance(second, dict) else None
