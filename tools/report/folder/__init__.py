"""A folder of videos before anything is built, as a page: what its packets and a few decoded frames show."""

from frame_cache_tools.report.folder.gather import report_of_folder
from frame_cache_tools.report.folder.page import page_of_folder
from frame_cache_tools.report.folder.records import FolderReport, FolderVideo

__all__ = ["FolderReport", "FolderVideo", "page_of_folder", "report_of_folder"]
