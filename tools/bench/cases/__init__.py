"""What is measured: ways to read frames, and the limits of the machine."""

from frame_cache_tools.bench.cases.cases import (
    LESS,
    MORE,
    MOST,
    TAKE_LIMIT,
    BenchCase,
    BenchPlan,
    cache_cases,
    video_cases,
)
from frame_cache_tools.bench.cases.sources import CachedFrames, LiveFrames, Lookahead, usable_cpus

__all__ = [
    "LESS",
    "MORE",
    "MOST",
    "TAKE_LIMIT",
    "BenchCase",
    "BenchPlan",
    "CachedFrames",
    "LiveFrames",
    "Lookahead",
    "cache_cases",
    "usable_cpus",
    "video_cases",
]
