"""Findings about a video from all its units: damaged spans, equal frames, timestamps, changes of format.

They do not depend on how the video was cut into units: any cut gives the same record.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.findings.packets_without_frame import Reason, packets_without_frame
from cache_builder.findings.receipt import FRAME_DTYPE, UnitReceipt
from cache_builder.video.decode import sorted_packet_pts
from cache_builder.video.packets import NO_PTS, PacketTable
from cache_builder.video.scan import VideoScan, ticks_to_seconds
from frame_store.frame_findings import (
    MAX_LISTED,
    DamagedSpan,
    FormatChange,
    FrameFindings,
    FrameRun,
    PtsGap,
)

GAP_IN_MEDIAN_STEPS: Final = 1.5
"""A step between two frames that is longer than this many median steps is a gap."""

MAX_REFERENCE_FRAMES: Final = 16
"""H.264, A.3.1: pictures that a decoder may keep to predict others from."""


class VideoFrames:
    """All decoded frames of one video, from the receipts of its units in packet order."""

    def __init__(self, scan: VideoScan, receipts: Sequence[UnitReceipt]) -> None:
        self._scan = scan
        self._receipts = receipts
        counts = [receipt.num_frames_decoded for receipt in receipts]
        self._firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)[:-1]
        rows = np.concatenate([np.zeros(0, FRAME_DTYPE), *(receipt.frame_rows for receipt in receipts)])
        self._packets = rows["packet"].astype(np.int64)
        self.pts_seconds = output_pts_seconds(scan, receipts)
        """float64 per frame, NaN where it has none."""
        by_gpu = np.repeat([receipt.is_by_device for receipt in receipts], counts).astype(bool)
        # A GPU does not report the type of a picture. Each unit that it decodes without errors begins with a keyframe.
        self._is_intra = rows["is_intra"] | by_gpu
        self._is_interlaced = rows["is_interlaced"]
        compared = [receipt.edge_hashes is not None for receipt in receipts]
        self._is_compared = np.repeat(compared, counts).astype(bool)
        self._is_corrupt = np.zeros(len(rows), bool)
        for first, receipt in zip(self._firsts, receipts, strict=True):
            self._is_corrupt[first + np.array(receipt.corrupt_positions, np.int64)] = True

    def findings(self, first: int = 0, end: int | None = None) -> FrameFindings:
        """The record of the frames [first, end), numbered from `first`; of the whole video by default.

        Of a part of the video, damage counts that reaches into these frames.
        """
        end = len(self._packets) if end is None else end
        is_whole = (first, end) == (0, len(self._packets))
        spans = self.damaged_spans if is_whole else self.spans_within(first, end)
        changes = [
            msgspec.structs.replace(change, frame=change.frame - first)
            for change in self._format_changes
            if first < change.frame < end
        ]
        corrupt_runs = runs_of_true(self._is_corrupt[first:end])
        is_equal = self._is_repeat[first:end].copy()
        is_equal[:1] = False
        is_equal[[change.frame for change in changes]] = False
        equal_runs = [(first - 1, last) for first, last in runs_of_true(is_equal)]
        num_hashed = int(self._is_compared[first:end].sum())
        pts_seconds = self.pts_seconds[first:end]
        steps = np.diff(pts_seconds)
        rising = steps[steps > 0]
        median_step = _rounded(np.median(rising)) if len(rising) else None
        late = np.flatnonzero(steps > GAP_IN_MEDIAN_STEPS * (median_step or np.inf))
        repeats = np.flatnonzero(steps <= 0)
        return FrameFindings(
            num_packets_discarded=int(self._scan.packets.is_discarded.sum()) if is_whole else 0,
            num_packets_corrupt=len(self.corrupt_packets_of(None if is_whole else spans)),
            num_corrupt_runs=len(corrupt_runs),
            corrupt_runs=corrupt_runs[:MAX_LISTED],
            num_damaged_spans=len(spans),
            damaged_spans=spans[:MAX_LISTED],
            num_frames_hashed=num_hashed,
            num_frames_duplicate=int(is_equal.sum()) if num_hashed else None,
            num_duplicate_runs=len(equal_runs),
            duplicate_runs=equal_runs[:MAX_LISTED],
            longest_duplicate_run=max(equal_runs, key=lambda run: run[1] - run[0], default=None),
            start_offset_seconds=_none_if_nan(pts_seconds[0]) if len(pts_seconds) else None,
            median_step_seconds=median_step,
            num_frames_without_pts=int(np.isnan(pts_seconds).sum()),
            num_pts_gaps=len(late),
            pts_gaps=[
                PtsGap(frame=int(step) + 1, seconds=_rounded(steps[step])) for step in late[:MAX_LISTED]
            ],
            num_pts_repeats=len(repeats),
            pts_repeats=(repeats[:MAX_LISTED] + 1).tolist(),
            num_frames_interlaced=int(self._is_interlaced[first:end].sum()),
            num_format_changes=len(changes),
            format_changes=changes[:MAX_LISTED],
        )

    @cached_property
    def damaged_spans(self) -> list[DamagedSpan]:
        """All damaged spans, also those of packets that were lost silently."""
        if not len(self.packets_lost):
            return self._spans_reported
        lost = dict.fromkeys(self.packets_lost.tolist(), "no frame came of it, and nothing says why")
        return self._damaged_spans(dict(sorted((self._complaints() | lost).items())))

    def spans_within(self, first: int, end: int) -> list[DamagedSpan]:
        """The damaged spans that reach into the frames [first, end), cut to these frames and numbered from `first`.

        Packets are numbered as in the whole video.
        """
        return [
            self._span_within(span, first, end)
            for span in self.damaged_spans
            if span.first_frame is not None
            and span.last_frame is not None
            and span.first_frame < end
            and span.last_frame >= first
        ]

    def _span_within(self, span: DamagedSpan, first: int, end: int) -> DamagedSpan:
        assert span.first_frame is not None and span.last_frame is not None
        if first <= span.first_frame and span.last_frame < end:
            return msgspec.structs.replace(
                span, first_frame=span.first_frame - first, last_frame=span.last_frame - first
            )
        frames = slice(max(first, span.first_frame), min(end, span.last_frame + 1))
        pts_seconds = self.pts_seconds[frames]
        pts_seconds = pts_seconds[~np.isnan(pts_seconds)]
        return msgspec.structs.replace(
            span,
            first_frame=frames.start - first,
            last_frame=frames.stop - 1 - first,
            first_pts_seconds=float(pts_seconds.min()) if len(pts_seconds) else None,
            last_pts_seconds=float(pts_seconds.max()) if len(pts_seconds) else None,
            num_frames_corrupt=int(self._is_corrupt[frames].sum()),
            num_packets_without_frame=0,
        )

    def corrupt_packets_of(self, spans: Sequence[DamagedSpan] | None) -> list[int]:
        """Packets in these spans, or in the whole video, that the demuxer flagged corrupt."""
        corrupt = [packet for receipt in self._receipts for packet in receipt.corrupt_packets]
        return [packet for packet in corrupt if spans is None or is_within(packet, spans)]

    def num_corrupt(self, first: int, end: int) -> int:
        """How many of the frames [first, end) the decoder flagged corrupt."""
        return int(self._is_corrupt[first:end].sum())

    @cached_property
    def packets_without_frame(self) -> dict[Reason, npt.NDArray[np.int64]]:
        """Ordinals of the packets that gave no frame, by reason."""
        return packets_without_frame(self._scan, self._packets, self._is_interlaced)

    @cached_property
    def packets_lost(self) -> npt.NDArray[np.int64]:
        """Ordinals of the packets outside all damaged spans that gave no frame, though no error was reported."""
        lost = self.packets_without_frame.get("without a reason", np.zeros(0, np.int64))
        for span in self._spans_reported if len(lost) else []:
            lost = lost[(lost < span.first_packet) | (lost > span.last_packet)]
        return lost

    @cached_property
    def _spans_reported(self) -> list[DamagedSpan]:
        """Damaged spans of the errors that demuxer and decoder reported."""
        return self._damaged_spans(self._complaints())

    @cached_property
    def _is_repeat(self) -> npt.NDArray[np.bool_]:
        """Of each frame, whether it is equal to the one before; across the edge of two units by their hashes."""
        is_repeat = np.zeros(len(self._packets), bool)
        hash_before: int | None = None
        for first, receipt in zip(self._firsts.tolist(), self._receipts, strict=True):
            if receipt.edge_hashes is not None:
                first_hash, last_hash = receipt.edge_hashes
                repeats = np.frombuffer(receipt.repeats, bool)
                is_repeat[first : first + len(repeats)] = repeats
                is_repeat[first] = first_hash == hash_before
                hash_before = last_hash
            elif receipt.num_frames_decoded:
                hash_before = None
        return is_repeat

    @cached_property
    def _format_changes(self) -> list[FormatChange]:
        formats = [
            (int(first) + position, picture_format, receipt.is_by_device)
            for first, receipt in zip(self._firsts, self._receipts, strict=True)
            for position, picture_format in receipt.formats
        ]
        return [
            FormatChange(frame=frame, before=before, after=after)
            for (_, before, was_by_gpu), (frame, after, is_by_gpu) in pairwise(formats)
            # The GPU's decoder names other formats for the same pictures.
            if before != after and was_by_gpu == is_by_gpu
        ]

    def _complaints(self) -> dict[int, str]:
        """The first error reported at each packet, in packet order."""
        last_packet = len(self._scan.packets) - 1
        complaints: dict[int, str] = {}
        for receipt in self._receipts:
            if receipt.death is not None:
                reason = f"the decoder process {receipt.death}, twice"
                complaints |= dict.fromkeys(range(receipt.first_packet, receipt.end_packet), reason)
            for packet, reason in receipt.decoder_errors:
                # An error at the end of the stream concerns the last packets, which the decoder still held.
                complaints.setdefault(min(packet, last_packet), reason)
            for packet in receipt.corrupt_packets:
                # FFmpeg may set the corrupt flag one packet too early, so the next packet is suspected too: the parser
                # completes a picture when the next one begins, and missing data of the next then flags the first.
                for suspect in range(packet, min(packet + 2, last_packet + 1)):
                    complaints.setdefault(suspect, f"packet {packet} flagged corrupt by the demuxer")
        for packet in np.flatnonzero(self._scan.packets.is_at_demuxer_error).tolist():
            complaints.setdefault(packet, f"error of the demuxer at packet {packet}")
        for part in self._scan.parts_not_read:
            complaints.setdefault(part.packet_before, part.text)
        for packet in self._packets[self._is_corrupt].tolist():
            complaints.setdefault(packet, "frame flagged corrupt")
        return dict(sorted(complaints.items()))

    def _damaged_spans(self, complaints: dict[int, str]) -> list[DamagedSpan]:
        """Group errors into spans. A span ends before the next clean keyframe, in coding order and in display order.

        Leading frames of an open GOP's keyframe are coded after it, and predicted from the GOP before it.
        """
        if not complaints:
            return []
        packets = self._scan.packets
        is_bad = np.zeros(len(packets), bool)
        is_bad[list(complaints)] = True
        frame_of_packet = np.full(len(packets), -1, np.int64)
        frame_of_packet[self._packets[::-1]] = np.arange(len(self._packets))[::-1]
        is_clean_start = packets.is_keyframe & ~is_bad & (frame_of_packet >= 0)
        is_clean_start[self._packets[~self._is_intra]] = False
        clean_starts = np.flatnonzero(is_clean_start)
        # After the keyframe of an open GOP, an H.264 decoder still counts the pictures before the keyframe among its
        # references. If one of these pictures is missing, the decoder uses wrong references until it has dropped all of
        # them. Other codecs name their references, or drop them at a keyframe.
        keeps_references = self._scan.facts.codec == "h264" and _has_open_gops(packets, frame_of_packet)
        groups: dict[int, list[int]] = {}
        for packet in complaints:
            place = int(np.searchsorted(clean_starts, packet))
            if place and _leads_to(packet, int(clean_starts[place - 1]), packets, frame_of_packet):
                place -= 1
            if keeps_references and place < len(clean_starts):
                place = int(np.searchsorted(clean_starts, clean_starts[place] + MAX_REFERENCE_FRAMES))
            last = max(groups, default=None)
            if last is not None and (last == len(clean_starts) or packet < clean_starts[last]):
                # This packet lies in the span of the error before it.
                groups[max(last, place)] = groups.pop(last)
                place = max(last, place)
            groups.setdefault(place, []).append(packet)
        return [
            self._span(
                group,
                complaints[group[0]],
                end_packet=int(clean_starts[place]) if place < len(clean_starts) else len(packets),
                frame_of_packet=frame_of_packet,
            )
            for place, group in sorted(groups.items())
        ]

    def _span(
        self, bad: list[int], reason: str, *, end_packet: int, frame_of_packet: npt.NDArray[np.int64]
    ) -> DamagedSpan:
        packets = self._scan.packets
        has_end = end_packet < len(packets)
        end_frame = int(frame_of_packet[end_packet]) if has_end else len(self._packets)
        frames = np.flatnonzero(self._packets[:end_frame] >= bad[0])
        span = np.arange(bad[0], len(packets))
        is_lost = frame_of_packet[span] < 0
        is_in_time = frame_of_packet[span] < end_frame
        if has_end:
            # After the keyframe that ends the span come its leading pictures, whose packets may have given no frame.
            pts, end_pts = packets.pts[span], packets.pts[end_packet]
            is_led_up = (pts != NO_PTS) & (pts < end_pts) & (end_pts != NO_PTS)
            is_led_up &= ~np.logical_or.accumulate(packets.is_keyframe[span] & (span > end_packet))
            is_in_time &= (span < end_packet) | ~is_lost | is_led_up
        span = np.union1d(span[is_in_time], bad)
        shown = span[~packets.is_discarded[span]]
        ticks = packets.pts[shown]
        pts_seconds = np.concatenate(
            [ticks_to_seconds(ticks[ticks != NO_PTS], self._scan.time_base), self.pts_seconds[frames]]
        )
        pts_seconds = pts_seconds[~np.isnan(pts_seconds)]
        return DamagedSpan(
            first_packet=bad[0],
            last_packet=int(span[-1]),
            first_frame=int(frames[0]) if len(frames) else None,
            last_frame=int(frames[-1]) if len(frames) else None,
            first_pts_seconds=float(pts_seconds.min()) if len(pts_seconds) else None,
            last_pts_seconds=float(pts_seconds.max()) if len(pts_seconds) else None,
            num_frames_corrupt=int(self._is_corrupt[frames].sum()),
            num_packets_without_frame=int((frame_of_packet[shown] < 0).sum()),
            reason=reason,
        )


def is_within(packet: int, spans: Sequence[DamagedSpan]) -> bool:
    """Whether a packet lies in one of the spans."""
    return any(span.first_packet <= packet <= span.last_packet for span in spans)


def output_pts_seconds(scan: VideoScan, receipts: Sequence[UnitReceipt]) -> npt.NDArray[np.float64]:
    """Seconds of all frames of a video in output order, shape (num_frames,), from its units in packet order."""
    rows = np.concatenate([np.zeros(0, FRAME_DTYPE), *(receipt.frame_rows for receipt in receipts)])
    if scan.sorts_pts:
        ticks = sorted_packet_pts(scan.packets, rows["packet"].astype(np.int64))
        return ticks_to_seconds(ticks, scan.time_base)
    return np.ascontiguousarray(rows["pts_seconds"])


def _leads_to(
    packet: int, keyframe: int, packets: PacketTable, frame_of_packet: npt.NDArray[np.int64]
) -> bool:
    """Whether a packet that is coded between `keyframe` and the next keyframe is shown before `keyframe`."""
    if packets.is_keyframe[keyframe + 1 : packet + 1].any():
        return False
    frame, keyframe_frame = frame_of_packet[[packet, keyframe]].tolist()
    if frame >= 0:
        return bool(frame < keyframe_frame)
    pts, keyframe_pts = packets.pts[[packet, keyframe]].tolist()
    return NO_PTS not in (pts, keyframe_pts) and bool(pts < keyframe_pts)


def _has_open_gops(packets: PacketTable, frame_of_packet: npt.NDArray[np.int64]) -> bool:
    """Whether any packet is coded after a keyframe and shown before this keyframe."""
    keyframes = np.flatnonzero(packets.is_keyframe)
    coded = np.arange(keyframes[0], len(packets)) if len(keyframes) else np.zeros(0, np.int64)
    last_keyframe = keyframes[np.searchsorted(keyframes, coded, side="right") - 1]
    frames, pts = frame_of_packet, packets.pts
    is_led_up = (frames[coded] >= 0) & (frames[coded] < frames[last_keyframe])
    has_pts = (pts[coded] != NO_PTS) & (pts[last_keyframe] != NO_PTS)
    return bool((is_led_up | has_pts & (pts[coded] < pts[last_keyframe])).any())


def runs_of_true(flags: npt.NDArray[np.bool_]) -> list[FrameRun]:
    """First and last position of every run of True.

    >>> runs_of_true(np.array([True, False, True, True]))
    [(0, 0), (2, 3)]
    """
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return list(
        zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True)
    )


def _rounded(seconds: float) -> float:
    """Rounded to a microsecond: differences of float64 have meaningless digits."""
    return round(float(seconds), 6)


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
