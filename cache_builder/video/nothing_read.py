"""Why a file that FFmpeg opens gives no frame: named by what it is, or by what it lacks."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import av
from av.video.stream import VideoStream

from cache_builder.errors import VideoError
from cache_builder.video.encryption import why_scrambled
from cache_builder.video.limits import VideoLimits
from cache_builder.video.mp4_boxes import announces_fragments_without_any
from cache_builder.video.not_a_video import name_what_it_is
from cache_builder.video.open_video import choose_video_stream, open_container, read_packets

_PACKETS_LOOKED_AT: Final = 1000

_PARAMETER_SETS: Final = {
    "h264": {7: "sequence parameter set (SPS)", 8: "picture parameter set (PPS)"},
    "hevc": {
        32: "video parameter set (VPS)",
        33: "sequence parameter set (SPS)",
        34: "picture parameter set (PPS)",
    },
}
"""Types of NAL units without which no picture can be decoded: ITU-T H.264, table 7-1, and H.265, table 7-1."""


class NothingReadError(VideoError):
    """A file that FFmpeg opened gave no packet, or no frame."""


def explain_nothing_read(path: Path, error: NothingReadError, *, limits: VideoLimits) -> str:
    """A better reason than that of `error`, where the file tells one; else that.

    Raises:
        OSError: the machine failed to read the file.
    """
    what = name_what_it_is(path, was_opened=True) or why_scrambled(path)
    if what is not None:
        return what
    if announces_fragments_without_any(path):
        return "an init segment without its media segments (a moov box that announces fragments, and no moof box)"
    try:
        return _name_what_is_missing(path, error.path, limits) or error.reason
    except (VideoError, av.FFmpegError):
        return error.reason


def _name_what_is_missing(path: Path, relative_path: str, limits: VideoLimits) -> str | None:
    opened = open_container(path, relative_path, limits=limits)
    try:
        stream = choose_video_stream(opened.container, relative_path, limits=limits)
        packets = list(islice(read_packets(opened, stream), _PACKETS_LOOKED_AT))
        missing = _missing_parameter_sets(stream, (bytes(packet) for packet in packets))
        has_keyframe = any(packet.is_keyframe for packet in packets)
    finally:
        opened.close()
    if packets and missing:
        return f"none of its frames can be decoded: it has no {' and no '.join(missing)}"
    if packets and not has_keyframe:
        return f"none of its frames can be decoded: it has no keyframe among {len(packets)} packets"
    return None


def _missing_parameter_sets(stream: VideoStream, packets: Iterable[bytes]) -> list[str]:
    """Names of the parameter sets that neither header nor packets hold."""
    codec = stream.codec_context.codec.canonical_name
    extradata = stream.codec_context.extradata or b""
    needed = _PARAMETER_SETS.get(codec, {})
    length_bytes, found = _read_configuration(codec, extradata)
    for data in packets:
        units = _annex_b_units(data) if length_bytes is None else _sized_units(data, length_bytes)
        found |= {_unit_type(codec, first) for first in units}
    return [name for kind, name in needed.items() if kind not in found]


def _unit_type(codec: str, first_byte: int) -> int:
    return first_byte & 31 if codec == "h264" else first_byte >> 1 & 63


def _read_configuration(codec: str, extradata: bytes) -> tuple[int | None, set[int]]:
    """Bytes of a unit's length, None where start codes stand before units; and the types of the units in the header.

    ISO/IEC 14496-15, 5.3.3.1 (avcC) and 8.3.3.1 (hvcC).
    """
    if codec == "h264" and len(extradata) >= 7 and extradata[0] == 1:
        position = 6
        for _ in range(extradata[5] & 31):
            position += 2 + int.from_bytes(extradata[position : position + 2], "big")
        found = {7} if extradata[5] & 31 else set()
        return (extradata[4] & 3) + 1, found | ({8} if extradata[position : position + 1] > b"\0" else set())
    if codec == "hevc" and len(extradata) >= 23 and extradata[0] == 1:
        found, position = set(), 23
        for _ in range(extradata[22]):
            num_units = int.from_bytes(extradata[position + 1 : position + 3], "big")
            found |= {extradata[position] & 63} if num_units and position < len(extradata) else set()
            position += 3
            for _ in range(num_units):
                position += 2 + int.from_bytes(extradata[position : position + 2], "big")
        return (extradata[21] & 3) + 1, found
    return None, {_unit_type(codec, first) for first in _annex_b_units(extradata)}


def _annex_b_units(data: bytes) -> Iterator[int]:
    """First byte of each unit behind a start code."""
    place = data.find(b"\0\0\1")
    while 0 <= place < len(data) - 3:
        yield data[place + 3]
        place = data.find(b"\0\0\1", place + 3)


def _sized_units(data: bytes, length_bytes: int) -> Iterator[int]:
    """First byte of each unit behind its length."""
    position = 0
    while position + length_bytes < len(data):
        yield data[position + length_bytes]
        position += length_bytes + int.from_bytes(data[position : position + length_bytes], "big")
