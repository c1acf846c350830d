"""What a report states, gathered from a cache as plain values."""

from frame_cache_tools.report.data.cameras import video_facts
from frame_cache_tools.report.data.gather import report_of_cache
from frame_cache_tools.report.data.records import (
    BuildRecord,
    CacheReport,
    CameraFacts,
    ColumnFacts,
    ComparedFrame,
    Curve,
    DatasetFacts,
    FidelityFacts,
    GenerationFacts,
    SamplerFacts,
    SamplingFacts,
    VideoFidelity,
)
from frame_cache_tools.report.data.time_lines import Axis, axis_of, time_line
from frame_cache_tools.report.data.video_records import (
    MARK_WORDS,
    Bar,
    Loss,
    Mark,
    MarkKind,
    SheetPicture,
    TimeLine,
    VideoFacts,
    VideosSummary,
)
from frame_cache_tools.report.data.videos import MAX_SHOWN, look_through

__all__ = [
    "MARK_WORDS",
    "MAX_SHOWN",
    "Axis",
    "Bar",
    "BuildRecord",
    "CacheReport",
    "CameraFacts",
    "ColumnFacts",
    "ComparedFrame",
    "Curve",
    "DatasetFacts",
    "FidelityFacts",
    "GenerationFacts",
    "Loss",
    "Mark",
    "MarkKind",
    "SamplerFacts",
    "SamplingFacts",
    "SheetPicture",
    "TimeLine",
    "VideoFacts",
    "VideoFidelity",
    "VideosSummary",
    "axis_of",
    "look_through",
    "report_of_cache",
    "time_line",
    "video_facts",
]
