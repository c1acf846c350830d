"""Opens a video file within limits, and gives the reason where a file does not open."""

from cache_builder.video.opening.encryption import (
    ScrambledPart,
    find_scrambled_part,
    why_encrypted,
    why_packet_encrypted,
)
from cache_builder.video.opening.limits import DEFAULT_LIMITS, VideoLimits, seconds_to_decode, seconds_to_scan
from cache_builder.video.opening.mp4_boxes import top_level_boxes
from cache_builder.video.opening.nothing_read import NothingReadError, explain_nothing_read
from cache_builder.video.opening.open_video import (
    OpenContainer,
    choose_video_stream,
    describe_error,
    discard_others,
    hash_file,
    open_container,
    out_of_memory_text,
    read_packets,
    set_single_thread,
)

__all__ = [
    "DEFAULT_LIMITS",
    "NothingReadError",
    "OpenContainer",
    "ScrambledPart",
    "VideoLimits",
    "choose_video_stream",
    "describe_error",
    "discard_others",
    "explain_nothing_read",
    "find_scrambled_part",
    "hash_file",
    "open_container",
    "out_of_memory_text",
    "read_packets",
    "seconds_to_decode",
    "seconds_to_scan",
    "set_single_thread",
    "top_level_boxes",
    "why_encrypted",
    "why_packet_encrypted",
]
