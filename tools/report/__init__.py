"""The command cache-report: a cache as one HTML page."""

from pathlib import Path
from typing import Any

from frame_cache_tools.report.data import CacheReport, report_of_cache
from frame_cache_tools.report.page import page_of_cache
from frame_cache_tools.report.writing import write_page

__all__ = ["CacheReport", "page_of_cache", "report_of_cache", "write_page", "write_report"]


def write_report(
    cache: Path | str,
    html: Path | str,
    *,
    overwrite: bool = False,
    **options: Any,  # noqa: ANN401 - those of report_of_cache
) -> CacheReport:
    """Write the page about the cache at `cache` to the file `html`; returns what it states.

    `options` are those of `report_of_cache`. Raises what `report_of_cache` and `write_page` raise.
    """
    report = report_of_cache(cache, **options)
    write_page(Path(html), page_of_cache(report), overwrite=overwrite)
    return report
