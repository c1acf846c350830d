"""The results of a run as a table, as JSON and as a plot."""

from frame_cache_tools.bench.report.break_even import break_even_rows
from frame_cache_tools.bench.report.lerobot_part import LeRobotPart, compare_with_lerobot
from frame_cache_tools.bench.report.notes import make_notes
from frame_cache_tools.bench.report.plot import plot_report, require_matplotlib
from frame_cache_tools.bench.report.report import (
    BenchReport,
    TimeUsed,
    fastest_row,
    make_rows,
)
from frame_cache_tools.bench.report.table import report_text

__all__ = [
    "BenchReport",
    "LeRobotPart",
    "TimeUsed",
    "break_even_rows",
    "compare_with_lerobot",
    "fastest_row",
    "make_notes",
    "make_rows",
    "plot_report",
    "report_text",
    "require_matplotlib",
]
