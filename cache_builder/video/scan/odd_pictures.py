"""What is to be known of a video's stored pictures that they do not show themselves."""

from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING

import av

from cache_builder.video.picture import HDR_TRANSFERS, TRANSFER_NAMES
from frame_store.frame_findings import PictureFormat

if TYPE_CHECKING:
    from cache_builder.video.scan.scan import VideoFacts

_BITS_STORED = 8


def picture_notes(facts: "VideoFacts", formats: Collection[PictureFormat] = ()) -> list[str]:
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
