"""Generations of a cache that has grown, joined to fewer ones; and folders removed that no version needs any more."""

from cache_builder.compaction.compact import compact_cache
from cache_builder.compaction.removal import RemovedFolder, superseded_folders
from cache_builder.compaction.report import CompactionReport, JoinSummary, compaction_lines
from cache_builder.compaction.tiers import plan_joins

__all__ = [
    "CompactionReport",
    "JoinSummary",
    "RemovedFolder",
    "compact_cache",
    "compaction_lines",
    "plan_joins",
    "superseded_folders",
]
