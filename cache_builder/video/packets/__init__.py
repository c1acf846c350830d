"""Packets of a video: the table of them, their headers and their order."""

from cache_builder.video.packets.headers import (
    PacketHeader,
    header_reader,
    nal_length_bytes,
    nal_unit_types,
    without_picture_data,
)
from cache_builder.video.packets.packet import VideoPacket
from cache_builder.video.packets.reordering import reorder_depth
from cache_builder.video.packets.table import NO_POS, NO_PTS, PACKET_COLUMNS, PacketTable

__all__ = [
    "NO_POS",
    "NO_PTS",
    "PACKET_COLUMNS",
    "PacketHeader",
    "PacketTable",
    "VideoPacket",
    "header_reader",
    "nal_length_bytes",
    "nal_unit_types",
    "reorder_depth",
    "without_picture_data",
]
