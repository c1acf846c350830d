"""What a source of videos is (a folder, a video, a list), which videos are in it, and which of them are taken."""

from cache_builder.sources.contents import (
    EpisodeSpan,
    PassedOver,
    SourceContents,
    SourceDataset,
    SourceVideo,
)
from cache_builder.sources.filters import VideoFilter
from cache_builder.sources.look import Sources, default_output, discover_videos, look_into
from cache_builder.sources.names import printable
from cache_builder.sources.patterns import PathPattern

__all__ = [
    "EpisodeSpan",
    "PassedOver",
    "PathPattern",
    "SourceContents",
    "SourceDataset",
    "SourceVideo",
    "Sources",
    "VideoFilter",
    "default_output",
    "discover_videos",
    "look_into",
    "printable",
]
