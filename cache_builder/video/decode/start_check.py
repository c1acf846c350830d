"""Checks whether decoding may start at a keyframe that only the container marks as one.

A keyframe with proof in its codec's header needs no check (`PacketTable.resets_decoder`). A few of the other keyframes,
at the beginning of the video, are tried: decoding from such a keyframe must give the same pictures as decoding from the
video's start.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from cache_builder.errors import UnitNotIndependentError
from cache_builder.video.decode.unit_decoder import VideoReader
from cache_builder.video.decode.unit_edges import Pictures
from cache_builder.video.picture import picture_hash
from cache_builder.video.scan import VideoScan

PACKETS_TO_SECOND_CHECK: Final = 64
"""In addition to the first start, the last start within this many packets is tried."""

MAX_PACKETS_DECODED: Final = 400
MAX_PIXELS_DECODED: Final = 400 * 1920 * 1080
"""A start further into the video is not tried, so that a scan stays short."""

_NUM_PICTURES: Final = 8
_MAX_PACKETS_AFTER: Final = 64
"""The most packets that the first pictures after a start may take."""


def check_starts(path: Path, scan: VideoScan) -> VideoScan:
    """The scan. If decoding cannot start at one of the keyframes that were tried, the video is one unit in it.

    Raises:
        VideoError: the file is not the one that was scanned.
        OSError: the machine failed to read the file.
    """
    starts = starts_to_try(scan)
    if not starts:
        return scan
    try:
        expected = _pictures_after(path, scan, starts, first=0)
        for start in starts:
            found = None if expected is None else _pictures_after(path, scan, [start], first=start)
            if expected is None or found is None:  # pictures of damaged packets differ in any case
                return scan
            if not _agree(expected[start], found[start]):
                return _in_one_piece(scan, start)
    except UnitNotIndependentError:
        pass  # A build meets this error again at each such start and merges the units.
    return scan


def starts_to_try(scan: VideoScan) -> list[int]:
    """Ordinals of the packets at which decoding is tried: one or two, or none if all starts have proof."""
    packets, facts = scan.packets, scan.facts
    claimed = np.flatnonzero(packets.can_start_unit & ~packets.resets_decoder)
    claimed = claimed[claimed > 0]
    most = min(MAX_PACKETS_DECODED, MAX_PIXELS_DECODED // (facts.width * facts.height)) - _MAX_PACKETS_AFTER
    if not len(claimed) or claimed[0] > most:
        return []
    near = claimed[claimed <= min(PACKETS_TO_SECOND_CHECK, most)]
    return sorted({int(claimed[0]), *near[-1:].tolist()})


def _pictures_after(
    path: Path, scan: VideoScan, starts: list[int], *, first: int
) -> dict[int, Pictures] | None:
    """The first pictures from each of `starts` on, decoded from packet `first`; None if there is damage."""
    pictures: dict[int, Pictures] = {start: [] for start in starts}
    end = starts[-1] + _MAX_PACKETS_AFTER
    with VideoReader(path, scan) as reader:
        decoder = reader.decode(first, len(scan.packets))
        for decoded in decoder:
            if decoded.is_corrupt or decoder.errors:
                return None
            if decoded.packet >= end:
                break
            wanting = [
                begun
                for start, begun in pictures.items()
                if (begun or decoded.packet == start) and len(begun) < _NUM_PICTURES
            ]
            if wanting:
                picture = (decoded.packet, picture_hash(decoded.frame))
                for begun in wanting:
                    begun.append(picture)
            if all(len(begun) == _NUM_PICTURES for begun in pictures.values()):
                break
    return pictures


def _agree(expected: Pictures, found: Pictures) -> bool:
    """Whether decoding from a start gives the pictures of decoding from the video's start, as far as both go."""
    return bool(expected) and all(one == other for one, other in zip(expected, found, strict=False))


def _in_one_piece(scan: VideoScan, start: int) -> VideoScan:
    can_start_unit = np.zeros(len(scan.packets), np.bool_)
    can_start_unit[0] = True
    reason = f"its frames from packet {start} on need what was decoded before"
    return replace(
        scan,
        facts=msgspec.structs.replace(scan.facts, unsplittable_reason=reason),
        packets=replace(scan.packets, can_start_unit=can_start_unit),
    )
