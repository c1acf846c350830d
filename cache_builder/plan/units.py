"""The plan of units: which packets of a video are decoded together."""

from collections.abc import Sequence

import msgspec

from cache_builder.errors import VideoError
from cache_builder.video.decode import gop_units
from cache_builder.video.scan import VideoScan


class DecodeUnit(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Packets [first_packet, end_packet) of a video: whole GOPs, decoded by one worker at once."""

    video_id: int
    first_packet: int
    end_packet: int

    @property
    def num_packets(self) -> int:
        """Number of packets, which is about the number of frames."""
        return self.end_packet - self.first_packet


def plan_units(scans: Sequence[VideoScan | VideoError]) -> list[DecodeUnit]:
    """Units of all readable videos, largest first, which is the order in which to decode them.

    `scans` has a row per video.
    """
    units = [
        DecodeUnit(video_id=video_id, first_packet=first, end_packet=end)
        for video_id, scan in enumerate(scans)
        if isinstance(scan, VideoScan)
        for first, end in gop_units(scan.packets)
    ]
    return sorted(units, key=lambda unit: (-unit.num_packets, unit))
