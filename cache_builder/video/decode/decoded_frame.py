"""A frame as it left the decoder."""

from dataclasses import dataclass

from av.video.frame import VideoFrame


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedFrame:
    """One frame as it left the decoder."""

    packet: int
    """Ordinal of the packet that the frame was coded in."""
    pts: int | None
    """Ticks of the stream's time base."""
    pts_seconds: float
    """NaN where there is no pts."""
    is_corrupt: bool
    """Whether the decoder marked the frame as damaged."""
    frame: VideoFrame
    sample_aspect_ratio: tuple[int, int] | None
    """Width over height of one pixel, from the frame's headers; None where they do not state it. A backend that does
    not report the aspect (`DecodeBackend.reports_aspect`) gives every frame the aspect of the video's first."""
