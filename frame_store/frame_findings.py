"""What a build found out about the frames of one video, beyond its counts (FORMAT.md section 3.5).

A frame is named by its ordinal among the frames that decoded (`frame_in_video` of the index), a packet by its ordinal
in the file. A list holds at most the first `MAX_LISTED` entries; the count beside it counts all of them.
"""

from typing import Final

import msgspec

MAX_LISTED: Final = 16

FrameRun = tuple[int, int]
"""Ordinals of the first and the last frame of a run."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An immutable record. Unknown JSON keys are refused by name."""


class DamagedSpan(Record, frozen=True, kw_only=True):
    """Packets and frames that may be wrong: from a decoder's error to the packet before the next clean keyframe."""

    first_packet: int
    last_packet: int
    first_frame: int | None
    """None where the span gave no frame."""
    last_frame: int | None
    first_pts_seconds: float | None
    """Earliest pts of the span's packets and frames; None without pts."""
    last_pts_seconds: float | None
    num_frames_corrupt: int
    """Frames of the span that the decoder flagged. The others may be predicted from damaged ones."""
    num_packets_without_frame: int
    reason: str
    """The first error."""


class PtsGap(Record, frozen=True, kw_only=True):
    """A frame whose pts is more than 1.5 median steps after that of the frame before it."""

    frame: int
    """Ordinal of the first frame after the gap."""
    seconds: float
    """Its pts minus that of the frame before, rounded to a microsecond."""


class PictureFormat(Record, frozen=True, kw_only=True):
    """Layout of a decoded picture in memory, and the meaning of its colours."""

    width: int
    height: int
    pixel_format: str | None
    """FFmpeg's name; None for frames in a GPU's memory."""
    color_matrix: int
    """ITU-T H.273 code, as are primaries and transfer; 2 is unspecified."""
    color_range: int
    """FFmpeg's AVColorRange: 0 unspecified, 1 limited, 2 full."""
    color_primaries: int
    color_transfer: int
    sample_aspect_ratio: tuple[int, int] | None
    """Width over height of a pixel, from the picture's headers; None where they do not contain it."""
    orientation: str
    """What the display matrix does, such as `mirrored, turned by 90 degrees`; `as stored` without a matrix."""


class FormatChange(Record, frozen=True, kw_only=True):
    """From this frame on, pictures have another format."""

    frame: int
    before: PictureFormat
    after: PictureFormat


class FrameFindings(Record, frozen=True, kw_only=True):
    """Facts about one video's decoded frames."""

    num_packets_discarded: int
    """Packets outside an edit list: decoded where other packets need them, not shown."""
    num_packets_corrupt: int
    """Packets that the demuxer flagged as damaged."""
    num_corrupt_runs: int
    corrupt_runs: list[FrameRun]
    """Frames that the decoder flagged corrupt or concealed."""
    num_damaged_spans: int
    damaged_spans: list[DamagedSpan]
    num_frames_hashed: int
    """Frames that were compared with the frame before; frames decoded on a GPU are not compared."""
    num_frames_duplicate: int | None
    """Frames equal to the frame before in every fourth row of luma; None where no frame was hashed."""
    num_duplicate_runs: int
    duplicate_runs: list[FrameRun]
    """Runs of two or more equal frames."""
    longest_duplicate_run: FrameRun | None
    start_offset_seconds: float | None
    """pts of the first frame; None where that frame has no pts."""
    median_step_seconds: float | None
    """Median of the positive differences between neighbours' pts, rounded to a microsecond."""
    num_frames_without_pts: int
    num_pts_gaps: int
    pts_gaps: list[PtsGap]
    num_pts_repeats: int
    """Frames whose pts is not after that of the frame before."""
    pts_repeats: list[int]
    """Ordinals of these frames."""
    num_frames_interlaced: int
    """Frames that the decoder flagged interlaced."""
    num_format_changes: int
    format_changes: list[FormatChange]
