"""What is noted of every frame as it leaves the decoder, stored or not."""

from functools import cache
from typing import Final

import av
import numpy as np
from av.video.frame import PictureType

from cache_builder.video.decode import DecodedFrame
from frame_store.frame_truth import PictureFormat
from frame_store.pixel_codec import crc32c

LUMA_ROW_STEP: Final = 4
"""Rows of luma that go into a frame's hash: 0.1 ms a 1080p frame, where all rows cost 0.3 to 4 ms."""


class FrameNotes:
    """Notes of one unit's frames, in output order; lists have a row per frame."""

    def __init__(self) -> None:
        self.packets: list[int] = []
        self.pts_seconds: list[float] = []
        self.is_intra: list[bool] = []
        self.luma_hashes: list[int] = []
        """Empty where frames are in a GPU's memory."""
        self.corrupt_positions: list[int] = []
        self.num_interlaced = 0
        self.formats: list[tuple[int, PictureFormat]] = []
        """(position from which on, format): the first frame's, and every other that follows."""

    def take(self, decoded: DecodedFrame) -> None:
        """Note the next frame."""
        frame, position = decoded.frame, len(self.packets)
        self.packets.append(decoded.packet)
        self.pts_seconds.append(decoded.pts_seconds)
        self.is_intra.append(frame.pict_type == PictureType.I)
        if decoded.is_corrupt:
            self.corrupt_positions.append(position)
        if frame.interlaced_frame:
            self.num_interlaced += 1
        is_on_gpu = frame.format.name == "cuda"
        if not is_on_gpu:
            self.luma_hashes.append(luma_hash(frame))
        picture_format = PictureFormat(
            width=frame.width,
            height=frame.height,
            pixel_format=None if is_on_gpu else frame.format.name,
            color_matrix=int(frame.colorspace),
            color_range=int(frame.color_range),
            color_primaries=int(frame.color_primaries),
            color_transfer=int(frame.color_trc),
        )
        if not self.formats or picture_format != self.formats[-1][1]:
            self.formats.append((position, picture_format))


def luma_hash(frame: av.VideoFrame) -> int:
    """CRC-32C of every fourth row of a frame's first plane: luma, green (planar RGB) or all colours (packed)."""
    plane = frame.planes[0]
    row_bytes = -(-frame.width * _bits_per_pixel(frame.format.name) // 8)
    # A negative line size means rows from bottom to top; the buffer holds them all the same.
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    # Behind a row's pixels lies what the decoder left there before.
    return crc32c(rows[::LUMA_ROW_STEP, :row_bytes].tobytes())


@cache
def _bits_per_pixel(pixel_format: str) -> int:
    """Bits that a pixel takes in the first plane."""
    layout = av.VideoFormat(pixel_format)
    in_plane = [component for component in layout.components if component.plane == 0]
    if len(in_plane) > 1:
        return layout.padded_bits_per_pixel
    bits = in_plane[0].bits
    return bits if bits <= 8 else -(-bits // 8) * 8
