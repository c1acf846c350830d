"""What is measured: ways to read frames, and the limits of the machine."""

from frame_cache_tools.bench.cases.cases import (
    AUGMENTED,
    DATALOADER,
    MODES,
    TAKE_LIMIT,
    WEBDATASET,
    ZARR_PYTHON,
    BenchPlan,
    cache_cases,
    video_cases,
)
from frame_cache_tools.bench.cases.sources import CachedFrames, LiveFrames, LoaderSource, Lookahead

__all__ = [
    "AUGMENTED",
    "DATALOADER",
    "MODES",
    "TAKE_LIMIT",
    "WEBDATASET",
    "ZARR_PYTHON",
    "BenchPlan",
    "CachedFrames",
    "LiveFrames",
    "LoaderSource",
    "Lookahead",
    "cache_cases",
    "video_cases",
]
