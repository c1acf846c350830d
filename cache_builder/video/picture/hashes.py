"""Checksums of decoded pictures, to find out whether two are equal."""

from functools import cache
from typing import Final

import av
import numpy as np
from av.video.plane import VideoPlane

from frame_store.codec import crc32c

LUMA_ROW_STEP: Final = 4
"""`LumaHasher` reads every fourth row of luma: 0.1 ms a 1080p frame, where all rows cost 0.3 to 4 ms."""


class LumaHasher:
    """CRC-32C of every fourth row of a frame's first plane: luma, green (planar RGB) or all colours (packed).

    It keeps the memory of the rows: fresh memory pages cost more than filling them.
    """

    def __init__(self) -> None:
        """Keeps none yet."""
        self._rows = np.empty((0, 0), np.uint8)

    def __call__(self, frame: av.VideoFrame) -> int:
        """The checksum of a frame in memory."""
        rows = _pixels_of(frame.planes[0], frame.width, frame.format.name)[::LUMA_ROW_STEP]
        if rows.shape != self._rows.shape:
            self._rows = np.empty(rows.shape, np.uint8)
        np.copyto(self._rows, rows)
        return crc32c(self._rows.data)


def picture_hash(frame: av.VideoFrame) -> int | None:
    """CRC-32C over all pixels of all planes and the palette; None for a frame in a GPU's memory."""
    if frame.format.name == "cuda":
        return None
    checksums = []
    for number, plane in enumerate(frame.planes):
        if _bits_per_pixel(frame.format.name, number):
            width = plane.width if number else frame.width
            pixels = _pixels_of(plane, width, frame.format.name, number).tobytes()
        else:
            pixels = bytes(plane)  # a palette
        checksums.append(crc32c(pixels).to_bytes(4, "little"))
    return crc32c(b"".join(checksums))


def _pixels_of(
    plane: VideoPlane, width: int, pixel_format: str, number: int = 0
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Bytes (rows, bytes of a row's pixels) of plane `number`."""
    row_bytes = -(-width * _bits_per_pixel(pixel_format, number) // 8)
    # A negative line size means rows from bottom to top; the buffer contains the same rows.
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    # After a row's pixels come undefined bytes of the decoder.
    return rows[:, :row_bytes]


@cache
def _bits_per_pixel(pixel_format: str, plane: int) -> int:
    """Bits that a pixel takes in a plane; 0 where the plane has no component."""
    layout = av.VideoFormat(pixel_format)
    in_plane = [component for component in layout.components if component.plane == plane]
    if not in_plane:
        return 0
    padded = [bits if bits <= 8 else -(-bits // 8) * 8 for bits in (one.bits for one in in_plane)]
    if len(in_plane) > 1:
        # Interleaved chroma (nv12) has two samples a pixel of its plane; packed pixels may have unused bits.
        return layout.padded_bits_per_pixel if plane == 0 else sum(padded)
    return padded[0]
