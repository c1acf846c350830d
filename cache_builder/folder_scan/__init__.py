"""Scans of many videos in worker processes, kept between builds."""

from cache_builder.folder_scan.scan_cache import (
    ScannedFile,
    ScanPool,
    forget_scans,
    scan_frames,
    scan_videos,
    scanned_files,
)

__all__ = ["ScanPool", "ScannedFile", "forget_scans", "scan_frames", "scan_videos", "scanned_files"]
