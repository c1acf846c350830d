"""The scan of a video: it reads every packet once and decodes the first frame only."""

from cache_builder.video.scan.facts import VideoFacts, picture_notes
from cache_builder.video.scan.packet_pass import ONE_FRAME_A_PACKET
from cache_builder.video.scan.video_scan import VideoScan, scan_video, tick_to_seconds, ticks_to_seconds

__all__ = [
    "ONE_FRAME_A_PACKET",
    "VideoFacts",
    "VideoScan",
    "picture_notes",
    "scan_video",
    "tick_to_seconds",
    "ticks_to_seconds",
]
