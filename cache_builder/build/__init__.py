"""The stages of a build, from a folder of videos to a published cache."""

from cache_builder.build.changes import changes_since
from cache_builder.build.decode_stage import DecodeResult, DecodeStage
from cache_builder.build.differences import json_differences
from cache_builder.build.gather_stage import library_versions, write_index, write_plan, write_shards
from cache_builder.build.pipeline import default_output, resolved, run_build
from cache_builder.build.report import BuildReport, report_text
from cache_builder.build.workspace import Workspace

__all__ = [
    "BuildReport",
    "DecodeResult",
    "DecodeStage",
    "Workspace",
    "changes_since",
    "default_output",
    "json_differences",
    "library_versions",
    "report_text",
    "resolved",
    "run_build",
    "write_index",
    "write_plan",
    "write_shards",
]
