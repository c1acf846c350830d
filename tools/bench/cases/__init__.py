"""What is measured: ways to read frames, and the limits of the machine."""

from frame_cache_tools.bench.cases.cases import (
    TAKE_LIMIT,
    BenchPlan,
    BenchSubject,
    cache_subjects,
    video_subjects,
)
from frame_cache_tools.bench.cases.sources import Lookahead, usable_cpus

__all__ = [
    "TAKE_LIMIT",
    "BenchPlan",
    "BenchSubject",
    "Lookahead",
    "cache_subjects",
    "usable_cpus",
    "video_subjects",
]
