"""The shape of each frame's pixels. PyAV's frames do not have it; the decoder has it for the packet it decodes."""

from bisect import bisect_right

from av.video.codeccontext import VideoCodecContext

from cache_builder.video.picture.presentation import positive_ratio


class FrameAspects:
    """Sample aspect ratios of the pictures that one run of a single-threaded decoder has decoded.

    Such a decoder has read the headers of a packet when `decode` returns; the frame may come out later.
    """

    def __init__(self) -> None:
        self._packets: list[int] = []
        self._aspects: list[tuple[int, int] | None] = []

    def note(self, packet: int, decoder: VideoCodecContext) -> None:
        """Note the aspect of `decoder` after it has decoded a packet. Call it in the order of packets."""
        aspect = positive_ratio(decoder.sample_aspect_ratio)
        if not self._aspects or aspect != self._aspects[-1]:
            self._packets.append(packet)
            self._aspects.append(aspect)

    def of_packet(self, packet: int) -> tuple[int, int] | None:
        """Width over height of a pixel of the picture coded in a packet; None where that is unknown."""
        if not self._packets:
            return None
        return self._aspects[max(bisect_right(self._packets, packet) - 1, 0)]
