"""Turns folders of videos into frame stores. Importing this package is cheap: PyAV is imported at first use."""

from typing import TYPE_CHECKING

from frame_store.shared import lazy_names

if TYPE_CHECKING:
    from cache_builder.api import build_cache, estimate_build
    from cache_builder.build import BuildEstimate, BuildReport
    from cache_builder.columns import ColumnsReport, add_columns
    from cache_builder.compaction import CompactionReport, compact_cache
    from cache_builder.content_order import ContentOrderReport, write_content_order
    from cache_builder.fetching import FetchReport, fetch_cache
    from cache_builder.growing import ForgetReport, forget_videos
    from cache_builder.live import LiveStore, open_videos
    from cache_builder.progress import Progress

__all__ = [
    "BuildEstimate",
    "BuildReport",
    "ColumnsReport",
    "CompactionReport",
    "ContentOrderReport",
    "FetchReport",
    "ForgetReport",
    "LiveStore",
    "Progress",
    "add_columns",
    "build_cache",
    "compact_cache",
    "estimate_build",
    "fetch_cache",
    "forget_videos",
    "open_videos",
    "write_content_order",
]

__getattr__ = lazy_names(
    __name__,
    {
        "cache_builder.build.estimate": ["BuildEstimate"],
        "cache_builder.build.report": ["BuildReport"],
        "cache_builder.columns": ["ColumnsReport", "add_columns"],
        "cache_builder.compaction": ["CompactionReport", "compact_cache"],
        "cache_builder.content_order": ["ContentOrderReport", "write_content_order"],
        "cache_builder.fetching": ["FetchReport", "fetch_cache"],
        "cache_builder.growing": ["ForgetReport", "forget_videos"],
        "cache_builder.live.store": ["LiveStore"],
        "cache_builder.progress": ["Progress"],
        "cache_builder.api": ["build_cache", "estimate_build"],
        "cache_builder.live.open": ["open_videos"],
    },
)
