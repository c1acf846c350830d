"""A build, from a folder of videos to a published cache and its report."""

from cache_builder.build.changes import changes_since
from cache_builder.build.dry_run import estimate_build
from cache_builder.build.estimate import BuildEstimate, SampleSize
from cache_builder.build.pipeline import run_build
from cache_builder.build.report import AppendSummary, BuildReport, report_text

__all__ = [
    "AppendSummary",
    "BuildEstimate",
    "BuildReport",
    "SampleSize",
    "changes_since",
    "estimate_build",
    "report_text",
    "run_build",
]
