"""Whether decoded pictures are equal: by their rows within a process, by checksums across processes."""

from functools import cache
from typing import Final, TypeAlias

import av
import numpy as np
from av.video.plane import VideoPlane

from frame_store.codec import crc32c

LUMA_ROW_STEP: Final = 4
"""Every fourth row of luma is compared. A change of a picture is coded in blocks of at least four rows."""

_NUM_FIRST_ROWS: Final = 8
"""So many of the rows are compared first, one after the other: most frames that differ do so there, too."""

Rows: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


def luma_rows(frame: av.VideoFrame) -> Rows:
    """A view of every fourth row of a frame's first plane: luma, green (planar RGB) or all colours (packed).

    It keeps the frame in memory.
    """
    return _pixels_of(frame.planes[0], frame.width, frame.format.name)[::LUMA_ROW_STEP]


def has_equal_rows(one: Rows, other: Rows) -> bool:
    """Whether the `luma_rows` of two frames are equal."""
    step = max(1, len(one) // _NUM_FIRST_ROWS)
    return (
        one.shape == other.shape
        and all(one[row].tobytes() == other[row].tobytes() for row in range(step // 2, len(one), step))
        and np.array_equal(one, other)
    )


def hash_of_rows(rows: Rows) -> int:
    """CRC-32C of the `luma_rows` of a frame, to compare frames of different processes."""
    return crc32c(rows.tobytes())


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


def _pixels_of(plane: VideoPlane, width: int, pixel_format: str, number: int = 0) -> Rows:
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
