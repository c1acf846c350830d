"""What is measured: ways to read frames, and the limits of the machine."""

from frame_cache_tools.bench.cases.cases import (
    TAKE_LIMIT,
    BenchPlan,
    BenchSubject,
    cache_subjects,
    video_subjects,
)
from frame_cache_tools.bench.cases.sources import Lookahead, usable_cpus
from frame_cache_tools.bench.usual_loader import USUAL_NUM_WORKERS, unservable, why_not_installed

__all__ = [
    "TAKE_LIMIT",
    "USUAL_NUM_WORKERS",
    "BenchPlan",
    "BenchSubject",
    "Lookahead",
    "cache_subjects",
    "unservable",
    "usable_cpus",
    "video_subjects",
    "why_not_installed",
]
