"""What a build found out about the frames of one video, beyond its counts (FORMAT.md section 3.3).

Frames are named by their ordinal among the frames that decoded, as `frame_in_video` of the index; packets by
their ordinal in the file. Lists hold the first `MAX_LISTED` entries of what the count beside them counts.
"""

from typing import Final

import msgspec

MAX_LISTED: Final = 16

FrameRun = tuple[int, int]
"""Ordinals of the first and the last frame of a run, both in it."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable, named fields only, unknown JSON keys refused by name."""


class DamagedSpan(Record, frozen=True, kw_only=True):
    """A stretch that may be wrong: from what the decoder complained about to before the next clean keyframe."""

    first_packet: int
    last_packet: int
    first_frame: int | None
    """None where no frame came of the span."""
    last_frame: int | None
    first_pts_seconds: float | None
    """Earliest pts of the span's packets and frames; None without pts."""
    last_pts_seconds: float | None
    num_frames_corrupt: int
    """Frames in it that the decoder flagged. The others may be predicted from what is damaged."""
    num_packets_without_frame: int
    reason: str
    """The first complaint."""


class PtsGap(Record, frozen=True, kw_only=True):
    """A frame that comes late: more than 1.5 times the median step after the one before it."""

    frame: int
    """Ordinal of the frame behind the gap."""
    seconds: float
    """Its pts minus that of the frame before, rounded to a microsecond."""


class PictureFormat(Record, frozen=True, kw_only=True):
    """How a decoded picture lies in memory and what its colours mean."""

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
    """Width over height of a pixel, as the picture's headers say; None where they do not."""
    orientation: str
    """How its display matrix turns it, such as `mirrored, turned by 90 degrees`; `as stored` without one."""


class FormatChange(Record, frozen=True, kw_only=True):
    """From this frame on pictures are of another format."""

    frame: int
    before: PictureFormat
    after: PictureFormat


class FrameFindings(Record, frozen=True, kw_only=True):
    """Facts of one video's decoded frames."""

    num_packets_discarded: int
    """Packets outside an edit list: decoded where others need them, not shown."""
    num_packets_corrupt: int
    """Packets that the demuxer flagged as damaged."""
    num_corrupt_runs: int
    corrupt_runs: list[FrameRun]
    """Frames that the decoder flagged corrupt or concealed."""
    num_damaged_spans: int
    damaged_spans: list[DamagedSpan]
    num_frames_hashed: int
    """Frames that were compared with the one before; those decoded on a GPU are not."""
    num_frames_duplicate: int | None
    """Frames equal to the one before in every fourth row of luma; None where none was hashed."""
    num_duplicate_runs: int
    duplicate_runs: list[FrameRun]
    """Runs of two or more equal frames."""
    longest_duplicate_run: FrameRun | None
    start_offset_seconds: float | None
    """pts of the first frame; None where it has none."""
    median_step_seconds: float | None
    """Median of the positive differences of pts from frame to frame, rounded to a microsecond."""
    num_frames_without_pts: int
    num_pts_gaps: int
    pts_gaps: list[PtsGap]
    num_pts_repeats: int
    """Frames whose pts is that of the frame before, or earlier."""
    pts_repeats: list[int]
    """Ordinals of those."""
    num_frames_interlaced: int
    """Frames that the decoder flagged interlaced."""
    num_format_changes: int
    format_changes: list[FormatChange]
