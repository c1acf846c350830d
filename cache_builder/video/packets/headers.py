"""What the first bytes of a packet show about its pictures, for codecs whose headers are simple enough to read.

A container may mark a packet as a keyframe although a decoder still needs earlier pictures: some muxers do. The codec's
own headers are proof.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class PacketHeader:
    """Facts about a packet; all False where this module does not read the codec's headers."""

    resets_decoder: bool = False
    """The packet's first picture makes the decoder forget all earlier ones."""
    is_closed: bool = False
    """In addition, no picture of a later packet needs one from before this packet: no picture leads up to it."""
    hides_picture: bool = False
    """The packet contains one picture, which is not shown."""
    shows_again: bool = False
    """The packet contains no picture, and shows a picture of an earlier packet again."""
    holds_no_picture: bool = False
    """The packet contains and shows no picture: it ends a stream, or contains metadata."""
    is_skippable: bool = False
    """HEVC's RASL picture: it leads up to a keyframe, and a decoder that starts at the keyframe leaves it out."""


HeaderReader = Callable[[memoryview], PacketHeader]
"""Bytes of a packet, at least one -> its header's facts."""

_UNKNOWN: Final = PacketHeader()

# VP8: RFC 6386, 9.1.
_VP8_INTER_FRAME = 0x01
_VP8_SHOW_FRAME = 0x10

# H.264, table 7-1; HEVC, table 7-1.
_H264_IDR = frozenset({5})
_HEVC_IDR = frozenset({19, 20})
_HEVC_IRAP = frozenset(range(16, 24))
_HEVC_RASL = frozenset({8, 9})
_H264_PICTURES = frozenset({1, 2, 3, 4, 5, 19, 20, 21})
_HEVC_PICTURES = frozenset(range(32))

_MAX_HEADER_BYTES: Final = 4096
"""More than the header of a slice takes: at most two lists of 32 references, each with weights of three planes."""

# AV1, 5.3 and 5.9.
_AV1_SEQUENCE_HEADER = 1
_AV1_WITH_FRAME_HEADER = (3, 6)
_AV1_KEY_FRAME = 0


def header_reader(codec: str, extradata: bytes | None, *, is_intra_only: bool) -> HeaderReader:
    """The reader for packets of `codec`, a canonical name, of a stream with this `extradata`.

    `is_intra_only`: every picture of the codec is decoded without others.
    """
    if is_intra_only:
        return lambda packet: PacketHeader(resets_decoder=True, is_closed=True)
    if codec in {"h264", "hevc"}:
        return _nal_header_reader(codec, extradata or b"")
    return _READERS.get(codec, lambda packet: _UNKNOWN)


def nal_length_bytes(codec: str, extradata: bytes) -> int:
    """Bytes of the length before each NAL unit of H.264 or HEVC; 0 where start codes separate the units (Annex B).

    ISO/IEC 14496-15, 5.3.3.1 (`avcC`) and 8.3.3.1 (`hvcC`).
    """
    offset = 4 if codec == "h264" else 21
    is_configuration = len(extradata) > offset and extradata[0] == 1
    return (extradata[offset] & 3) + 1 if is_configuration else 0


def nal_unit_types(packet: memoryview, codec: str, num_length_bytes: int) -> Iterator[int]:
    """Types of the NAL units of a packet, in order, up to the first unit that is cut off.

    >>> list(nal_unit_types(memoryview(bytes([0, 0, 1, 0x09, 0xF0, 0, 0, 0, 1, 0x65, 0x88])), "h264", 0))
    [9, 5]
    """
    starts = _length_prefixed(packet, num_length_bytes) if num_length_bytes else _start_coded(packet)
    for start in starts:
        yield _nal_unit_type(packet[start], codec)


def without_picture_data(packet: memoryview, codec: str, num_length_bytes: int) -> bytes:
    """A packet of H.264 or HEVC whose pictures are cut off behind their headers, with lengths that fit.

    A copy of the packet where its units have start codes, or do not fill it.
    """
    if not num_length_bytes or not _is_whole(packet, num_length_bytes):
        return bytes(packet)
    pictures = _H264_PICTURES if codec == "h264" else _HEVC_PICTURES
    parts: list[bytes | memoryview] = []
    position = 0
    while position + num_length_bytes < len(packet):
        start = position + num_length_bytes
        length = int.from_bytes(packet[position:start], "big")
        position = start + length
        if length > _MAX_HEADER_BYTES and _nal_unit_type(packet[start], codec) in pictures:
            length = _MAX_HEADER_BYTES
        parts += (length.to_bytes(num_length_bytes, "big"), packet[start : start + length])
    return b"".join(parts)


def _nal_unit_type(first_byte: int, codec: str) -> int:
    return first_byte & 0x1F if codec == "h264" else first_byte >> 1 & 0x3F


def _length_prefixed(packet: memoryview, num_length_bytes: int) -> Iterator[int]:
    position = 0
    while position + num_length_bytes < len(packet):
        length = int.from_bytes(packet[position : position + num_length_bytes], "big")
        position += num_length_bytes
        if length:
            yield position
        position += length


def _start_coded(packet: memoryview) -> Iterator[int]:
    data = bytes(packet)
    position = data.find(b"\0\0\1")
    while 0 <= position < len(data) - 3:
        yield position + 3
        position = data.find(b"\0\0\1", position + 3)


def _is_whole(packet: memoryview, num_length_bytes: int) -> bool:
    """Whether a packet is NAL units and nothing else, by their lengths or by its first start code."""
    if not num_length_bytes:
        return bytes(packet[:4]) == b"\0\0\0\1" or bytes(packet[:3]) == b"\0\0\1"
    position = 0
    while position + num_length_bytes < len(packet):
        position += num_length_bytes + int.from_bytes(packet[position : position + num_length_bytes], "big")
    return position == len(packet)


def _nal_header_reader(codec: str, extradata: bytes) -> HeaderReader:
    num_length_bytes = nal_length_bytes(codec, extradata)
    is_h264 = codec == "h264"
    closed, resetting = (_H264_IDR, _H264_IDR) if is_h264 else (_HEVC_IDR, _HEVC_IRAP)
    pictures, skippable = (_H264_PICTURES, frozenset()) if is_h264 else (_HEVC_PICTURES, _HEVC_RASL)

    def read(packet: memoryview) -> PacketHeader:
        for kind in nal_unit_types(packet, codec, num_length_bytes):
            if kind in pictures:
                return PacketHeader(
                    resets_decoder=kind in resetting,
                    is_closed=kind in closed,
                    is_skippable=kind in skippable,
                )
        # Parsers put an end of stream, and metadata after the last picture, into packets of their own.
        return PacketHeader(holds_no_picture=_is_whole(packet, num_length_bytes))

    return read


def _read_vp8(packet: memoryview) -> PacketHeader:
    first = packet[0]
    is_key = not first & _VP8_INTER_FRAME
    return PacketHeader(resets_decoder=is_key, is_closed=is_key, hides_picture=not first & _VP8_SHOW_FRAME)


def _read_vp9(packet: memoryview) -> PacketHeader:
    """VP9 bitstream specification, 6.2 and annex B."""
    first = packet[0]
    # A fourth bit of the profile, reserved, shifts the bits after it.
    flags = first if first & 0x30 == 0x30 else first >> 1
    shows_existing, is_inter, is_shown = bool(flags & 0x4), bool(flags & 0x2), bool(flags & 0x1)
    if shows_existing:
        return PacketHeader(shows_again=True)
    has_several = len(packet) > 1 and packet[-1] & 0xE0 == 0xC0  # a superframe: the last of them is shown
    return PacketHeader(
        resets_decoder=not is_inter, is_closed=not is_inter, hides_picture=not is_shown and not has_several
    )


def _read_av1(packet: memoryview) -> PacketHeader:
    """AV1 bitstream specification, 5.3.1, 5.5.1 and 5.9.2, up to the first frame header of the temporal unit.

    A temporal unit shows one frame (7.5). The decoder gives that frame the unit's timestamp, also if it is shown again.
    """
    position = 0
    while position < len(packet):
        header = packet[position]
        kind, has_extension, has_size = header >> 3 & 0xF, bool(header & 4), bool(header & 2)
        position += 1 + has_extension
        size = len(packet) - position
        if has_size:
            size, position = _leb128(packet, position)
        if size < 1 or position >= len(packet):
            break
        first = packet[position]
        if (
            kind == _AV1_SEQUENCE_HEADER and first & 0x08
        ):  # reduced_still_picture_header: every picture is a keyframe
            return PacketHeader(resets_decoder=True, is_closed=True)
        if kind in _AV1_WITH_FRAME_HEADER:
            shows_existing, frame_type, is_shown = first >> 7, first >> 5 & 3, first >> 4 & 1
            is_key = not shows_existing and frame_type == _AV1_KEY_FRAME and bool(is_shown)
            return PacketHeader(resets_decoder=is_key, is_closed=is_key)
        position += size
    return _UNKNOWN


def _leb128(packet: memoryview, position: int) -> tuple[int, int]:
    """A number and the position after it (AV1, 4.10.5)."""
    value = 0
    for index, byte in enumerate(packet[position : position + 8]):
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value, position + index + 1
    return 0, len(packet)


_READERS: Final[dict[str, HeaderReader]] = {"vp8": _read_vp8, "vp9": _read_vp9, "av1": _read_av1}
