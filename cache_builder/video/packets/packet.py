"""The type of a packet of a video stream."""

from typing import TYPE_CHECKING, TypeAlias

from av.packet import Packet
from av.video.stream import VideoStream

if TYPE_CHECKING:
    VideoPacket: TypeAlias = Packet[VideoStream]
else:
    VideoPacket = Packet  # generic in PyAV's stubs alone
