"""The command cache-bench."""

from frame_cache_tools.bench.inputs import (
    CACHE_KINDS,
    SampleSize,
    build_bench_cache,
    link_copies,
    write_sample_videos,
)

__all__ = ["CACHE_KINDS", "SampleSize", "build_bench_cache", "link_copies", "write_sample_videos"]
