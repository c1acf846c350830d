"""Why a file that FFmpeg opens gives no frame: what the file is instead, or what it lacks."""

from itertools import islice
from pathlib import Path
from typing import Final

import av

from cache_builder.errors import VideoError
from cache_builder.video.opening.encryption import why_scrambled
from cache_builder.video.opening.limits import VideoLimits
from cache_builder.video.opening.mp4_boxes import announces_fragments_without_any
from cache_builder.video.opening.not_a_video import name_what_it_is
from cache_builder.video.opening.open_video import choose_video_stream, open_container, read_packets
from cache_builder.video.packets import nal_length_bytes, nal_unit_types
from frame_store.shared import counted

_PACKETS_LOOKED_AT: Final = 1000

_PARAMETER_SETS: Final = {
    "h264": {7: "sequence parameter set (SPS)", 8: "picture parameter set (PPS)"},
    "hevc": {
        32: "video parameter set (VPS)",
        33: "sequence parameter set (SPS)",
        34: "picture parameter set (PPS)",
    },
}
"""Types of NAL units that every picture needs: ITU-T H.264, table 7-1, and H.265, table 7-1."""


class NothingReadError(VideoError):
    """A file that FFmpeg opened gave no packet, or no frame."""


def explain_nothing_read(path: Path, error: NothingReadError, *, limits: VideoLimits) -> str:
    """A better reason than `error` has, if the file shows one; else the reason of `error`.

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
        codec = stream.codec_context.codec.canonical_name
        extradata = stream.codec_context.extradata or b""
        num_length_bytes = nal_length_bytes(codec, extradata)
        needed = _PARAMETER_SETS.get(codec, {})
        lacking = needed.keys() - _types_in_header(codec, extradata)
        num_packets, has_keyframe = 0, False
        for packet in islice(read_packets(opened, stream), _PACKETS_LOOKED_AT):
            num_packets += 1
            has_keyframe |= packet.is_keyframe
            if lacking and packet.size:
                lacking.difference_update(nal_unit_types(memoryview(packet), codec, num_length_bytes))
    finally:
        opened.close()
    missing = [name for kind, name in needed.items() if kind in lacking]
    if num_packets and missing:
        return f"none of its frames can be decoded: it has no {' and no '.join(missing)}"
    if num_packets and not has_keyframe:
        return f"none of its frames can be decoded: it has no keyframe among {counted(num_packets, 'packet')}"
    return None


def _types_in_header(codec: str, extradata: bytes) -> set[int]:
    """Types of the parameter sets in a header of H.264 or HEVC: ISO/IEC 14496-15, 5.3.3.1 (avcC) and 8.3.3.1 (hvcC)."""
    if not nal_length_bytes(codec, extradata):
        return set(nal_unit_types(memoryview(extradata), codec, 0))
    if codec == "h264":
        position = 6
        num_sequence_sets = extradata[5] & 31 if len(extradata) > 5 else 0
        for _ in range(num_sequence_sets):
            position += 2 + int.from_bytes(extradata[position : position + 2], "big")
        has_picture_sets = extradata[position : position + 1] > b"\0"
        return ({7} if num_sequence_sets else set()) | ({8} if has_picture_sets else set())
    found, position = set(), 23
    for _ in range(extradata[22] if len(extradata) > 22 else 0):
        num_units = int.from_bytes(extradata[position + 1 : position + 3], "big")
        found |= {extradata[position] & 63} if num_units else set()
        position += 3
        for _ in range(num_units):
            position += 2 + int.from_bytes(extradata[position : position + 2], "big")
    return found
