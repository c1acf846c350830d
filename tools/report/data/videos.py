"""The videos of a cache: all of them counted, and those that a page shows."""

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from frame_cache_tools.report.data.losses import loss_of, unread_text
from frame_cache_tools.report.data.video_records import Bar, VideosSummary

from frame_store.manifest import VideoEntry

MAX_SHOWN: Final = 200
"""Videos that a page shows; cameras share them."""
LEAST_SHOWN: Final = 12
"""Videos of a camera that a page shows, however many cameras there are."""
MAX_BARS: Final = 12
MAX_FORGOTTEN: Final = 50


@dataclass(frozen=True, kw_only=True)
class ShownVideos:
    """The videos to show, by video_id, in the order of the page."""

    attention: list[tuple[int, VideoEntry]]
    """Those that are not whole: damaged ones before unreadable ones, and the worst first."""
    sample: list[tuple[int, VideoEntry]]
    """An even sample of the whole ones."""

    @property
    def all(self) -> list[tuple[int, VideoEntry]]:
        """Both."""
        return [*self.attention, *self.sample]


@dataclass
class _Counts:
    num_videos: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    seconds_missing: float = 0.0
    files: set[str] = field(default_factory=set)
    lengths: Counter[int] = field(default_factory=Counter)
    rates: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    codecs: Counter[str] = field(default_factory=Counter)
    forgotten: list[str] = field(default_factory=list)


def look_through(
    entries: Iterable[VideoEntry],
    *,
    num_videos: int,
    forgotten: frozenset[int] = frozenset(),
    at_most: int = MAX_SHOWN,
) -> tuple[VideosSummary, ShownVideos]:
    """Count all videos in one pass, and keep the records of those to show: memory does not grow with the videos.

    `num_videos` is the number of entries, from which the even sample follows. Forgotten videos count for nothing.
    `at_most` videos are kept to be shown.
    """
    counts = _Counts()
    attention: list[tuple[tuple[bool, float], int, VideoEntry]] = []
    wanted = even_sample(num_videos, at_most)
    sample: list[tuple[int, VideoEntry]] = []
    for video_id, entry in enumerate(entries):
        if video_id in forgotten:
            counts.totals["forgotten"] += 1
            counts.totals["frames_forgotten"] += entry.num_frames_stored
            if len(counts.forgotten) < MAX_FORGOTTEN:
                counts.forgotten.append(entry.path)
            continue
        _count(counts, entry)
        if entry.verdict != "whole":
            severity = (entry.verdict == "damaged", loss_of(entry).share)
            if len(attention) < at_most:
                heapq.heappush(attention, (severity, -video_id, entry))
            else:
                heapq.heappushpop(attention, (severity, -video_id, entry))
        elif video_id in wanted:
            sample.append((video_id, entry))
    room = at_most - len(attention)
    kept = even_sample(len(sample), room)
    shown = ShownVideos(
        attention=[(-number, entry) for _, number, entry in sorted(attention, reverse=True)],
        sample=[video for place, video in enumerate(sample) if place in kept],
    )
    return _summary(counts), shown


def even_sample(number: int, at_most: int) -> frozenset[int]:
    """At most so many of `number` places, spread evenly.

    >>> sorted(even_sample(10, 3)), sorted(even_sample(2, 3))
    ([1, 5, 8], [0, 1])
    """
    if number <= at_most:
        return frozenset(range(number))
    return frozenset((2 * place + 1) * number // (2 * at_most) for place in range(at_most))


def _count(counts: _Counts, entry: VideoEntry) -> None:
    counts.num_videos += 1
    counts.verdicts[entry.verdict] += 1
    row, totals, findings = entry.row, counts.totals, entry.findings
    totals["noted"] += entry.verdict == "whole" and bool(entry.notes)
    totals["decoded"] += entry.num_frames_decoded
    totals["stored"] += entry.num_frames_stored
    totals["stored_whole"] += entry.num_frames_stored if entry.verdict == "whole" else 0
    totals["corrupt"] += entry.num_frames_corrupt
    loss = loss_of(entry)
    totals["untrusted"] += loss.num_frames_untrusted
    totals["with_untrusted"] += loss.num_frames_untrusted > 0
    totals["packets_missing"] += loss.num_packets_missing
    totals["unread_parts"] += unread_text(entry) is not None
    counts.seconds_missing += loss.seconds_missing
    if findings is not None:
        totals["with_gaps"] += findings.num_pts_gaps > 0
        totals["with_duplicates"] += bool(findings.num_frames_duplicate)
        totals["duplicate"] += findings.num_frames_duplicate or 0
    if entry.span is None or entry.span.file not in counts.files:
        totals["source_bytes"] += entry.num_bytes or 0
        if entry.span is not None:
            counts.files.add(entry.span.file)
    counts.seconds += seconds_of(entry) or 0.0
    if entry.num_frames_stored:
        counts.lengths[entry.num_frames_stored] += 1
    if entry.verdict != "unreadable":
        counts.rates["not stated" if row.fps is None else f"{round(row.fps, 2):.12g} fps"] += 1
    if row.width and row.height:
        counts.sizes[f"{row.width} x {row.height}"] += 1
    codec = text_fact(entry, "codec")
    if codec is not None:
        counts.codecs[codec] += 1


def seconds_of(entry: VideoEntry) -> float | None:
    """How long a video lasts, from the start of its first frame to the end of its last one; None without pts."""
    end = entry.row.duration_seconds
    start = None if entry.findings is None else entry.findings.start_offset_seconds
    return None if end is None else max(0.0, end - (start or 0.0))


def text_fact(entry: VideoEntry, name: str) -> str | None:
    """A fact of the scan that is a text; None for anything else."""
    fact: Any = entry.facts.get(name)
    return fact if isinstance(fact, str) else None


def _summary(counts: _Counts) -> VideosSummary:
    totals = counts.totals
    return VideosSummary(
        num_videos=counts.num_videos,
        num_whole=counts.verdicts["whole"],
        num_damaged=counts.verdicts["damaged"],
        num_unreadable=counts.verdicts["unreadable"],
        num_noted=totals["noted"],
        num_frames_decoded=totals["decoded"],
        num_frames_stored=totals["stored"],
        num_frames_stored_whole=totals["stored_whole"],
        num_frames_corrupt=totals["corrupt"],
        num_frames_untrusted=totals["untrusted"],
        num_videos_untrusted=totals["with_untrusted"],
        num_packets_missing=totals["packets_missing"],
        seconds_missing=counts.seconds_missing,
        num_videos_unread_parts=totals["unread_parts"],
        num_videos_with_gaps=totals["with_gaps"],
        num_videos_with_duplicates=totals["with_duplicates"],
        num_frames_duplicate=totals["duplicate"],
        num_source_bytes=totals["source_bytes"],
        seconds=counts.seconds,
        lengths=bars_of_numbers(counts.lengths),
        rates=most_common(counts.rates),
        sizes=most_common(counts.sizes),
        codecs=most_common(counts.codecs),
        num_forgotten=totals["forgotten"],
        num_frames_forgotten=totals["frames_forgotten"],
        forgotten=tuple(counts.forgotten),
    )


def most_common(counts: Counter[str]) -> tuple[Bar, ...]:
    """A bar for each of the most frequent texts, and one for all others."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = len(ranked) if len(ranked) <= MAX_BARS + 2 else MAX_BARS
    bars = [Bar(label=label, count=count) for label, count in ranked[:shown]]
    rest = sum(count for _, count in ranked[shown:])
    return tuple([*bars, Bar(label="others", count=rest)] if rest else bars)


def bars_of_numbers(counts: Counter[int]) -> tuple[Bar, ...]:
    """Bars of equal width over whole numbers; one for each number where they are few."""
    if not counts:
        return ()
    if len(counts) <= MAX_BARS:
        return tuple(Bar(label=f"{number:,}", count=counts[number]) for number in sorted(counts))
    low, high = min(counts), max(counts)
    width = -(-(high - low + 1) // MAX_BARS)
    starts = range(low, high + 1, width)
    held = np.zeros(len(starts), np.int64)
    for number, count in counts.items():
        held[(number - low) // width] += count
    return tuple(
        Bar(label=f"{start:,} to {min(start + width - 1, high):,}", count=count)
        for start, count in zip(starts, held.tolist(), strict=True)
    )
