"""What a source of videos is (a folder, a video, a list, a data set), which videos it has, and which are taken."""

from cache_builder.sources.camera_pattern import CameraPattern
from cache_builder.sources.contents import (
    NOTHING_PASSED_OVER,
    EpisodeSpan,
    PassedOver,
    SourceContents,
    SourceDataset,
    SourceVideo,
)
from cache_builder.sources.filters import VideoFilter
from cache_builder.sources.look import Sources, default_output, discover_videos, look_into
from cache_builder.sources.names import Place, place_of, printable
from cache_builder.sources.patterns import PathPattern

__all__ = [
    "NOTHING_PASSED_OVER",
    "CameraPattern",
    "EpisodeSpan",
    "PassedOver",
    "PathPattern",
    "Place",
    "SourceContents",
    "SourceDataset",
    "SourceVideo",
    "Sources",
    "VideoFilter",
    "default_output",
    "discover_videos",
    "look_into",
    "place_of",
    "printable",
]
