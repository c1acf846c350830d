"""What a scan found out about a video, and what is to be known of its pictures that they do not show themselves."""

from collections.abc import Collection
from functools import cache
from typing import Literal

import av
import msgspec

from cache_builder.video.opening import ScrambledPart
from cache_builder.video.picture import HDR_TRANSFERS, TRANSFER_NAMES, PresentationFacts
from cache_builder.video.scan.second_file import SecondFile
from frame_store.frame_findings import PictureFormat

_BITS_STORED = 8


class VideoFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the scan found out about a readable video; lands in the manifest."""

    path: str
    """Relative to the folder of videos, posix."""
    num_bytes: int
    sha256: str
    container: str
    stream_index: int
    num_video_streams: int
    """Cover art counts."""
    stream_choice: Literal["only", "best", "first"]
    """Of several video streams FFmpeg's best is taken, or the first where that is cover art."""
    codec: str
    width: int
    """Coded pixels of the first decoded frame, before `presentation`."""
    height: int
    pixel_format: str
    color_matrix: str
    color_range: str
    color_transfer: str
    presentation: PresentationFacts
    """How its frames are to be shown."""
    time_base: tuple[int, int] | None
    """Seconds per tick of pts, as a fraction."""
    average_rate: tuple[int, int] | None
    """Frames per second that the header claims."""
    num_frames_in_header: int | None
    """None where the container has no such field or leaves it zero."""
    duration_seconds_in_header: float | None
    """Of the chosen stream; None where the header has none and FFmpeg would only guess it."""
    end_seconds_of_packets: float | None
    """When the last packet's time is over, by its pts and duration; None where no packet has a pts."""
    num_packets: int
    num_keyframes: int
    num_demuxer_errors: int
    """Errors that FFmpeg's demuxer reported while it opened and read the file, and then went on after."""
    first_demuxer_error: str | None
    second_file: SecondFile | None
    """Where another file was joined to the first, in containers whose beginnings can be told."""
    scrambled_part: ScrambledPart | None
    """Of a transport stream: what is encrypted of it, where the rest is not."""
    bytes_not_read: tuple[int, int] | None
    """The longest stretch that FFmpeg passed over, first byte and byte behind, to a thousandth of the file.

    None where it is under a twentieth, or may hold other streams, which are passed over.
    """
    has_pts: bool
    """Every packet has a pts."""
    unsplittable_reason: str | None
    """Why the video is one unit, decoded from its start."""
    uncounted_reason: str | None
    """Why the order of frames cannot be told from the packets, so that only decoding counts them."""
    reorder_depth: int | None
    """H.264: frames that a decoder must hold back so that all come out, in order; from the pts of all packets where the
    container holds true ones, else as many as the stream says or its level allows. None for other codecs."""

    @property
    def notes(self) -> list[str]:
        """What is to be known of its pictures beside what they show, as far as the first one tells; a line each."""
        return picture_notes(self)


def picture_notes(facts: VideoFacts, formats: Collection[PictureFormat] = ()) -> list[str]:
    """A line for each thing; `formats` are those of all frames, where they are known, beside the first one's."""
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
        if (bits := bits_of_sample(pixel_format)) > _BITS_STORED
    ]
    presentation = facts.presentation
    if any(presentation.container_crop):
        notes.append(f"cropped, as its container says: {presentation.plain.crop}")
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
