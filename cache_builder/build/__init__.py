"""A build, from a folder of videos to a published cache and its report."""

from cache_builder.build.changes import changes_since
from cache_builder.build.pipeline import run_build
from cache_builder.build.report import BuildReport, report_text

__all__ = ["BuildReport", "changes_since", "report_text", "run_build"]
