"""A report as one HTML page, and the parts that other pages are made of."""

from frame_cache_tools.report.page.drawings import (
    bars_table,
    curves_plot,
    histogram,
    marks_legend,
    marks_list,
    meter,
    time_line_figure,
)
from frame_cache_tools.report.page.parts import (
    badge,
    box,
    data_table,
    facts_table,
    folded,
    limited,
    link,
    plain_list,
    scrolling,
    section,
    warnings_box,
)
from frame_cache_tools.report.page.sections import column_plot, snippet_of
from frame_cache_tools.report.page.videos import contact_sheet, lengths_part, video_card, videos_part
from frame_cache_tools.report.page.whole_page import GENERATOR, document, page_of_cache
from frame_cache_tools.report.page.wording import bytes_text, duration_text, percent_text, three_digits

__all__ = [
    "GENERATOR",
    "badge",
    "bars_table",
    "box",
    "bytes_text",
    "column_plot",
    "contact_sheet",
    "curves_plot",
    "data_table",
    "document",
    "duration_text",
    "facts_table",
    "folded",
    "histogram",
    "lengths_part",
    "limited",
    "link",
    "marks_legend",
    "marks_list",
    "meter",
    "page_of_cache",
    "percent_text",
    "plain_list",
    "scrolling",
    "section",
    "snippet_of",
    "three_digits",
    "time_line_figure",
    "video_card",
    "videos_part",
    "warnings_box",
]
