"""MP4 files of a kilobyte, written box by box (ISO/IEC 14496-12), so that every number in them can be wrong."""

import io
import struct
from dataclasses import dataclass

import av
import numpy as np

MDAT_OFFSET = 40
"""Byte at which the frames begin."""


def jpeg_picture(pixels: np.ndarray | None = None) -> bytes:
    """A JPEG of pixels (H, W, 3), grey 64 x 64 ones if not given."""
    pixels = np.full((64, 64, 3), 127, np.uint8) if pixels is None else pixels
    file = io.BytesIO()
    with av.open(file, "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", options={"q": "2"})
        stream.height, stream.width, _ = pixels.shape
        stream.pix_fmt = "yuvj444p"
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        container.mux([*stream.encode(frame.reformat(format="yuvj444p")), *stream.encode()])
    return file.getvalue()


def box(kind: bytes, *content: bytes) -> bytes:
    """A box."""
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, *content: bytes, flags: int = 0) -> bytes:
    """A box with version 0 and flags."""
    return box(kind, struct.pack(">I", flags), *content)


def numbers(*values: int) -> bytes:
    """Numbers of 32 bits."""
    return struct.pack(f">{len(values)}I", *values)


@dataclass(frozen=True, kw_only=True)
class HandMadeMp4:
    """An MP4 of one sample, `picture`, unless the fields below change the header."""

    picture: bytes
    sample_entry: bytes = b"jpeg"
    width: int = 64
    height: int = 64
    num_samples: int = 1
    num_samples_in_fragment: int | None = None
    duration: int = 40
    """In milliseconds."""
    num_tracks: int = 1
    data_reference: bytes = full_box(b"url ", flags=1)
    """The box of where the samples are; flag 1 means in this file."""
    display_matrix: tuple[int, ...] = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    """Of each track."""
    entry_boxes: bytes = b""
    """Boxes inside the sample entry."""

    def to_bytes(self) -> bytes:
        """The file."""
        tracks = [self._track(number + 1) for number in range(self.num_tracks)]
        header = full_box(b"mvhd", numbers(0, 0, 1000, self.duration, 1 << 16), bytes(12), _MATRIX, bytes(28))
        fragment = b""
        if self.num_samples_in_fragment is not None:
            tracks.append(box(b"mvex", full_box(b"trex", numbers(1, 1, 40, 0, 0))))
            run = full_box(b"trun", numbers(self.num_samples_in_fragment, 0), flags=1)
            track = box(b"traf", full_box(b"tfhd", numbers(1, len(self.picture)), flags=0x20010), run)
            fragment = box(b"moof", full_box(b"mfhd", numbers(1)), track)
        return b"".join(
            [
                box(b"ftyp", b"isom", numbers(512), b"isommp41"),
                box(b"free"),
                box(b"mdat", self.picture),
                box(b"moov", header, *tracks),
                fragment,
            ]
        )

    def _track(self, number: int) -> bytes:
        entry = box(
            self.sample_entry,
            bytes(6) + struct.pack(">H", 1) + bytes(16),
            struct.pack(">HHIIIH", self.width, self.height, 72 << 16, 72 << 16, 0, 1),
            bytes(32) + struct.pack(">Hh", 24, -1),
            self.entry_boxes,
        )
        table = box(
            b"stbl",
            full_box(b"stsd", numbers(1), entry),
            full_box(b"stts", numbers(1, self.num_samples, self.duration)),
            full_box(b"stsc", numbers(1, 1, self.num_samples, 1)),
            full_box(b"stsz", numbers(len(self.picture), self.num_samples)),
            full_box(b"stco", numbers(1, MDAT_OFFSET)),
        )
        references = box(b"dinf", full_box(b"dref", numbers(1), self.data_reference))
        media = box(
            b"mdia",
            full_box(b"mdhd", numbers(0, 0, 1000, self.duration), struct.pack(">HH", 0x55C4, 0)),
            full_box(b"hdlr", bytes(4), b"vide", bytes(13)),
            box(b"minf", full_box(b"vmhd", bytes(8), flags=1), references, table),
        )
        matrix = struct.pack(">9i", *self.display_matrix)
        size = numbers(self.width << 16 & 0xFFFFFFFF, self.height << 16 & 0xFFFFFFFF)
        shown = full_box(b"tkhd", numbers(0, 0, number, 0, self.duration), bytes(16), matrix, size, flags=3)
        return box(b"trak", shown, media)


_MATRIX = numbers(1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
