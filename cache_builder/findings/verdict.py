"""A video whose units are all decoded: its counts, its verdict and the rows of its stored frames."""

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.errors import VideoError
from cache_builder.findings.fidelity import measured_fidelity
from cache_builder.findings.receipt import SOURCE_DTYPE, UnitReceipt
from cache_builder.findings.spans import VideoFrames, output_pts_seconds
from cache_builder.video.scan import VideoScan, picture_notes
from frame_store.frame_findings import FormatChange, FrameFindings
from frame_store.manifest import VideoEntry
from frame_store.names import PixelName, Verdict
from frame_store.shared import counted, counted_in_groups

MAX_REASONS_LISTED = 3

FROZEN_STEPS = 10
"""A run of equal frames this long gets a note; the record lists shorter ones, too."""

ON_DEVICE_COUNT = "num_frames_decoded_on_device"
"""Key in `facts` of a video that was meant for a GPU; the facts of other videos do not have it."""


class DecodedVideo(msgspec.Struct, frozen=True, kw_only=True):
    """The units of one readable video, in packet order, and what went wrong."""

    scan: VideoScan
    receipts: list[UnitReceipt]
    unit_numbers: list[int]
    """Row of each unit in the plan's table of names."""
    is_for_device: bool = False
    """Whether it was meant for the GPU."""
    device_refusal: str | None = None
    """Why the GPU cannot decode it, if that was tried."""
    name: str | None = None
    """What the video is called, where that is not the path of its file."""
    pixel: PixelName = "rgb8"
    """What is stored of a picture."""
    wrong_edge: int | None = None
    """First packet of a unit that could not be decoded by itself, so that the video was decoded in one piece."""

    @property
    def first_ordinals(self) -> list[int]:
        """Ordinal in the video of each unit's first decoded frame."""
        counts = (receipt.num_frames_decoded for receipt in self.receipts)
        return list(itertools.accumulate(counts, initial=0))[:-1]

    @property
    def problems(self) -> list[str]:
        """Why the video is not whole, empty if it is."""
        problems = damage_text(
            self.receipts,
            errors=[error for receipt in self.receipts for error in receipt.decoder_errors],
            num_frames_corrupt=sum(len(receipt.corrupt_positions) for receipt in self.receipts),
            num_packets_corrupt=sum(len(receipt.corrupt_packets) for receipt in self.receipts),
        )
        lost = self._packets_lost()
        if len(lost):
            problems.append(
                f"{counted(len(lost), 'packet')} gave no frame, and nothing says why (the first: packet {lost[0]})"
            )
        return problems + self.scan.damage_texts

    def _packets_lost(self) -> npt.NDArray[np.int64]:
        """Like `VideoFrames.packets_lost`; empty while units are not decoded yet, since they may hold the frames."""
        if sum(receipt.end_packet - receipt.first_packet for receipt in self.receipts) < len(
            self.scan.packets
        ):
            return np.zeros(0, np.int64)
        return VideoFrames(self.scan, self.receipts).packets_lost

    @property
    def pts_seconds(self) -> npt.NDArray[np.float64]:
        """Of all decoded frames in output order, stored or not; NaN where a frame has no pts."""
        return output_pts_seconds(self.scan, self.receipts)

    @property
    def sampled_errors(self) -> list[tuple[int, float]]:
        """(position in its unit, mean squared error) of the sampled frames."""
        return [error for receipt in self.receipts for error in receipt.sampled_errors]

    def sources(self, video_id: int) -> npt.NDArray[np.void]:
        """The stored frames in output order, `SOURCE_DTYPE`."""
        pts_seconds = self.pts_seconds
        parts = []
        for first, unit, receipt in zip(self.first_ordinals, self.unit_numbers, self.receipts, strict=True):
            kept = receipt.kept_rows
            rows = np.zeros(len(kept), SOURCE_DTYPE)
            rows["video_id"] = video_id
            rows["frame_in_video"] = first + kept["position"]
            rows["pts_seconds"] = pts_seconds[rows["frame_in_video"]]
            rows["unit"] = unit
            for field in ("byte_length", "byte_offset", "crc32c"):
                rows[field] = kept[field]
            parts.append(rows)
        return np.concatenate(parts) if parts else np.zeros(0, SOURCE_DTYPE)

    def entry(self) -> VideoEntry:
        """The video's row of the table of videos."""
        facts = self.scan.facts
        num_decoded = sum(receipt.num_frames_decoded for receipt in self.receipts)
        problems = self.problems
        verdict: Verdict = "damaged" if problems else "whole"
        frames = VideoFrames(self.scan, self.receipts)
        findings = frames.findings()
        return VideoEntry(
            path=facts.path if self.name is None else self.name,
            span=None,
            verdict=verdict,
            reason="; ".join([*problems, *spans_text(findings)]) or None,
            notes=[
                *self._notes(num_decoded, frames),
                *findings_notes(findings, num_hidden=self._num_hidden()),
            ],
            num_bytes=facts.num_bytes,
            sha256=facts.sha256,
            num_frames_in_header=facts.num_frames_in_header,
            num_packets=facts.num_packets,
            num_frames_decoded=num_decoded,
            num_frames_stored=sum(len(receipt.kept_rows) for receipt in self.receipts),
            num_frames_corrupt=sum(len(receipt.corrupt_positions) for receipt in self.receipts),
            num_decoder_errors=sum(len(receipt.decoder_errors) for receipt in self.receipts),
            pts_monotonic=self._pts_monotonic(),
            fidelity=measured_fidelity(self.sampled_errors),
            findings=findings,
            facts=self.informative_facts(),
        )

    def _num_decoded_on_device(self) -> int:
        return sum(receipt.num_frames_decoded for receipt in self.receipts if receipt.is_by_device)

    def informative_facts(self) -> dict[str, object]:
        """The facts that are no fields of an entry."""
        fields_of_entry = {"path", "num_bytes", "sha256", "num_frames_in_header", "num_packets"}
        facts: dict[str, object] = msgspec.to_builtins(self.scan.facts)
        others = {name: value for name, value in facts.items() if name not in fields_of_entry}
        return others | ({ON_DEVICE_COUNT: self._num_decoded_on_device()} if self.is_for_device else {})

    def _notes(self, num_decoded: int, frames: VideoFrames) -> list[str]:
        facts = self.scan.facts
        notes = []
        if facts.num_frames_in_header is not None and facts.num_frames_in_header != num_decoded:
            notes.append(
                f"the header claims {counted(facts.num_frames_in_header, 'frame')}, {num_decoded} decoded"
            )
        if facts.num_packets != num_decoded:
            counts: dict[str, int] = {
                reason: len(packets) for reason, packets in frames.packets_without_frame.items()
            }
            num_in_damage = counts.pop("without a reason", 0)
            counts |= {"where it is damaged": num_in_damage} if num_in_damage else {}
            reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
            notes.append(
                f"{counted(facts.num_packets, 'packet')} gave {counted(num_decoded, 'frame')}"
                + f": {reasons}" * bool(reasons)
            )
        claimed, end = facts.duration_seconds_in_header, self._end_seconds()
        if claimed is not None and end is not None and claimed - end > max(0.5, 0.05 * claimed):
            notes.append(f"cut off? The header claims {claimed:.1f} s, its last frame ends at {end:.1f} s")
        notes += self._keyframe_notes()
        if facts.num_demuxer_errors and not self.scan.packets.is_at_demuxer_error.any():
            notes.append(f"{self.scan.demuxer_errors_text}, all before its first packet")
        if facts.second_file is not None and facts.second_file.is_read:
            notes.append(facts.second_file.text)
        if facts.bytes_not_read is not None and facts.second_file is None:
            first, end = facts.bytes_not_read
            notes.append(
                f"about {counted_in_groups(end - first, 'byte')} of it, from byte {first:,} on, "
                "are not part of what was read"
            )
        if facts.stream_choice != "only":
            chosen = "FFmpeg's best" if facts.stream_choice == "best" else "the first that is no cover art"
            notes.append(
                f"of its {facts.num_video_streams} video streams number {facts.stream_index} is taken, {chosen}"
            )
        if facts.unsplittable_reason is not None:
            notes.append(f"decoded in one piece: {facts.unsplittable_reason}")
        if self.wrong_edge is not None:
            notes.append(
                f"decoded in one piece: its frames from packet {self.wrong_edge} on need what was decoded before"
            )
        notes += picture_notes(
            facts,
            [picture for receipt in self.receipts for _, picture in receipt.formats],
            pixel=self.pixel,
        )
        if self._pts_monotonic() is False:
            notes.append("its timestamps do not rise from frame to frame")
        if self.device_refusal is not None:
            notes.append(f"decoded on the CPU: {self.device_refusal}")
        elif self.is_for_device and self._num_decoded_on_device() < num_decoded:
            num_on_cpu = num_decoded - self._num_decoded_on_device()
            failures = sorted({receipt.device_failure for receipt in self.receipts if receipt.device_failure})
            notes.append(
                f"{counted(num_on_cpu, 'frame')} decoded on the CPU, as the GPU did not decode them cleanly: "
                f"{'; '.join(failures)}"
            )
        return notes

    def _num_hidden(self) -> int:
        """Packets that an edit list hides. Packets of a second file in this one have their own note."""
        second_file = self.scan.facts.second_file
        is_left_out = second_file is not None and not second_file.is_read
        end = second_file.packet_before if second_file is not None and is_left_out else None
        return int(self.scan.packets.is_discarded[:end].sum())

    def _pts_seconds(self) -> npt.NDArray[np.float64]:
        """Timestamps of all decoded frames, empty where none has one."""
        pts_seconds = self.pts_seconds
        return np.zeros(0) if np.isnan(pts_seconds).all() else pts_seconds

    def _end_seconds(self) -> float | None:
        """The end of the last frame: by the duration of its packet, or, if that is unknown, by the median step."""
        pts_seconds = self._pts_seconds()
        if not len(pts_seconds):
            return None
        last = float(np.nanmax(pts_seconds))
        steps = np.diff(pts_seconds)
        rising = steps[steps > 0]
        step = float(np.median(rising)) if len(rising) else 0.0
        return max(last + step, self.scan.facts.end_seconds_of_packets or 0.0)

    def _keyframe_notes(self) -> list[str]:
        keyframes = np.flatnonzero(self.scan.packets.is_keyframe)
        if not len(keyframes):
            return ["no packet of it is a keyframe"]
        return [f"it begins without a keyframe: packet {keyframes[0]} is the first"] if keyframes[0] else []

    def _pts_monotonic(self) -> bool | None:
        pts_seconds = self._pts_seconds()
        return bool((np.diff(pts_seconds) > 0).all()) if len(pts_seconds) else None


def damage_text(
    receipts: Sequence[UnitReceipt],
    *,
    errors: Sequence[tuple[int, str]],
    num_frames_corrupt: int,
    num_packets_corrupt: int,
) -> list[str]:
    """What demuxer and decoder reported about units, one line a kind. `errors` are (packet, the decoder's message)."""
    problems = [
        f"packets {receipt.first_packet} to {receipt.end_packet - 1}: the decoder process {receipt.death}, twice"
        for receipt in receipts
        if receipt.death is not None
    ]
    if errors:
        listed = ", ".join(f"packet {packet}: {message}" for packet, message in errors[:MAX_REASONS_LISTED])
        problems.append(
            f"{counted(len(errors), 'decoder error')} ({listed}{', ...' * (len(errors) > MAX_REASONS_LISTED)})"
        )
    if num_frames_corrupt:
        problems.append(f"{counted(num_frames_corrupt, 'frame')} flagged corrupt by the decoder")
    if num_packets_corrupt:
        problems.append(f"{counted(num_packets_corrupt, 'packet')} flagged corrupt by the demuxer")
    return problems


def unreadable_entry(error: VideoError) -> VideoEntry:
    """The row of the table of videos for a video that gave no frame."""
    return VideoEntry(
        path=error.path,
        span=None,
        verdict="unreadable",
        reason=error.reason,
        notes=[],
        num_bytes=None,
        sha256=None,
        num_frames_in_header=None,
        num_packets=None,
        num_frames_decoded=0,
        num_frames_stored=0,
        num_frames_corrupt=0,
        num_decoder_errors=0,
        pts_monotonic=None,
        fidelity=None,
        findings=None,
        facts={},
    )


def spans_text(findings: FrameFindings) -> list[str]:
    """One line for each damaged span."""
    lines = []
    for span in findings.damaged_spans[:MAX_REASONS_LISTED]:
        frames = "no frame" if span.first_frame is None else f"frames {span.first_frame} to {span.last_frame}"
        time = (
            f", {span.first_pts_seconds:.3f} to {span.last_pts_seconds:.3f} s"
            if span.first_pts_seconds is not None
            else ""
        )
        lost = f", {span.num_packets_without_frame} without a frame" * bool(span.num_packets_without_frame)
        lines.append(
            f"not to be trusted: {frames} (packets {span.first_packet} to {span.last_packet}{time}{lost})"
        )
    more = findings.num_damaged_spans - len(lines)
    return [*lines, f"and {counted(more, 'more span')}"] if more > 0 else lines


def findings_notes(findings: FrameFindings, *, num_hidden: int) -> list[str]:
    """Notes about frames that are not damage; `num_hidden` packets are hidden by an edit list."""
    notes = []
    if num_hidden:
        notes.append(f"an edit list hides {counted(num_hidden, 'packet')}")
    if findings.num_pts_gaps:
        gap = findings.pts_gaps[0]
        notes.append(
            f"{counted(findings.num_pts_gaps, 'gap')} in its timestamps, the first of {gap.seconds:.3f} s "
            f"before frame {gap.frame}"
        )
    if findings.num_frames_without_pts and findings.start_offset_seconds is not None:
        notes.append(f"{counted(findings.num_frames_without_pts, 'frame')} without a timestamp")
    run = findings.longest_duplicate_run
    if run is not None and run[1] - run[0] >= FROZEN_STEPS:
        notes.append(f"frozen from frame {run[0]} to {run[1]}")
    if findings.num_frames_interlaced:
        notes.append(f"{counted(findings.num_frames_interlaced, 'frame is', 'frames are')} interlaced")
    turned = next(
        (
            change
            for change in findings.format_changes
            if change.before.orientation != change.after.orientation
        ),
        None,
    )
    if turned is not None:
        notes.append(
            f"its display matrix changes at frame {turned.frame} ({turned.before.orientation} to "
            f"{turned.after.orientation}); the first matrix is used for all its frames"
        )
    changes = [(change.frame, _changed_text(change)) for change in findings.format_changes]
    first, text = next(((frame, text) for frame, text in changes if text), (0, ""))
    if text:
        count = findings.num_format_changes
        notes.append(f"{counted(count, 'change')} of picture format, the first at frame {first}: {text}")
    return notes


def _changed_text(change: FormatChange) -> str:
    """What changed, except the display matrix."""
    before, after = (msgspec.structs.asdict(picture) for picture in (change.before, change.after))
    return ", ".join(
        f"{name} {_ratio_text(before[name])} to {_ratio_text(after[name])}"
        for name in before
        if name != "orientation" and before[name] != after[name]
    )


def _ratio_text(value: object) -> str:
    return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)
