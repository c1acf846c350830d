"""Facts that a scan finds about a video, and notes about its pictures that the pictures do not show themselves."""

from collections.abc import Collection
from functools import cache
from typing import Literal

import av
import msgspec

from cache_builder.video.opening import ScrambledPart
from cache_builder.video.picture import HDR_TRANSFERS, TRANSFER_NAMES, PresentationFacts
from cache_builder.video.scan.second_file import SecondFile
from frame_store.frame_findings import PictureFormat
from frame_store.names import PixelName

_BITS_STORED = 8


class VideoFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the scan found out about a readable video. The table of videos contains these facts."""

    path: str
    """Relative to the folder of videos, posix."""
    num_bytes: int
    sha256: str
    container: str
    stream_index: int
    num_video_streams: int
    """Cover art included."""
    stream_choice: Literal["only", "best", "first"]
    """How the stream was chosen: FFmpeg's best video stream, or the first where the best is cover art."""
    codec: str
    width: int
    """Coded pixels of the first decoded frame, before `presentation`."""
    height: int
    pixel_format: str
    color_matrix: str
    color_range: str
    color_transfer: str
    presentation: PresentationFacts
    """How the frames are to be shown."""
    time_base: tuple[int, int] | None
    """Seconds per tick of pts, as a fraction."""
    average_rate: tuple[int, int] | None
    """Frames per second that the header claims."""
    num_frames_in_header: int | None
    """None where the container has no such field or leaves it zero."""
    duration_seconds_in_header: float | None
    """Of the chosen stream; None where the header states none and FFmpeg would only guess it."""
    end_seconds_of_packets: float | None
    """When the last packet ends, by its pts and duration; None where no packet has a pts."""
    num_packets: int
    num_keyframes: int
    num_demuxer_errors: int
    """Errors that FFmpeg's demuxer reported while it opened and read the file. It went on after each."""
    first_demuxer_error: str | None
    second_file: SecondFile | None
    """Where another file was joined to the first, for containers whose beginnings can be recognized."""
    scrambled_part: ScrambledPart | None
    """The encrypted part of a transport stream whose other parts are clear."""
    bytes_not_read: tuple[int, int] | None
    """The longest stretch that FFmpeg passed over: its first byte and the byte after it.

    Exact to a thousandth of the file. None if the stretch is shorter than a twentieth of the file, or may contain other
    streams, which are passed over.
    """
    has_pts: bool
    """Every packet has a pts."""
    unsplittable_reason: str | None
    """Why the video is one unit, decoded from its start."""
    uncounted_reason: str | None
    """Why the packets do not give the order of frames, so that only decoding counts them."""
    reorder_depth: int | None
    """H.264: frames that a decoder must hold back so that all come out in order. The pts of all packets give it where
    the container stores pts; else it is what the stream states or its level allows. None for other codecs."""

    @property
    def notes(self) -> list[str]:
        """One line for each fact that the pictures do not show themselves, as far as the first frame reveals it."""
        return picture_notes(self)


def picture_notes(
    facts: VideoFacts, formats: Collection[PictureFormat] = (), *, pixel: PixelName = "rgb8"
) -> list[str]:
    """As `VideoFacts.notes`; `formats` adds the formats of all frames, where they are known.

    `pixel` is what is stored. Levels of `gray16` are as they are decoded, so nothing is lost that needs a note.
    """
    transfers = {facts.color_transfer, *(TRANSFER_NAMES.get(one.color_transfer) for one in formats)}
    pixel_formats = {facts.pixel_format, *(one.pixel_format for one in formats)} - {None}
    notes = [
        f"HDR ({name}, {transfer}): its colours are stored as they are coded, not tone-mapped"
        for transfer, name in HDR_TRANSFERS.items()
        if transfer in transfers
    ]
    notes += [
        f"{bits} bits a sample stored as {_BITS_STORED} ({pixel_format})"
        for pixel_format in sorted(filter(None, pixel_formats))
        if pixel == "rgb8" and (bits := bits_of_sample(pixel_format)) > _BITS_STORED
    ]
    presentation = facts.presentation
    if any(presentation.container_crop):
        notes.append(f"cropped by its container: {presentation.plain.crop}")
    if presentation.is_display_matrix_degenerate:
        notes.append("its display matrix would show no picture (zeros, or flat): stored unturned")
    return notes


@cache
def bits_of_sample(pixel_format: str) -> int:
    """The most bits that a component of FFmpeg's pixel format has.

    >>> bits_of_sample("yuv420p"), bits_of_sample("gray16le"), bits_of_sample("rgb565le")
    (8, 16, 6)
    """
    return max((component.bits for component in av.VideoFormat(pixel_format).components), default=0)
