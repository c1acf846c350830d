"""What is measured: ways to read frames, and the limits of the machine."""

from frame_cache_tools.bench.cases.cases import (
    LESS,
    MORE,
    MOST,
    TAKE_LIMIT,
    BenchPlan,
    BenchSubject,
    cache_subjects,
    video_subjects,
)
from frame_cache_tools.bench.cases.sources import CachedFrames, LiveFrames, Lookahead, usable_cpus

__all__ = [
    "LESS",
    "MORE",
    "MOST",
    "TAKE_LIMIT",
    "BenchPlan",
    "BenchSubject",
    "CachedFrames",
    "LiveFrames",
    "Lookahead",
    "cache_subjects",
    "usable_cpus",
    "video_subjects",
]
