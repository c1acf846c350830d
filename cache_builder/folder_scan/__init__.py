"""Scans of many videos in worker processes, kept between builds."""

from cache_builder.folder_scan.scan_cache import ScanPool, forget_scans, scan_frames, scan_videos

__all__ = ["ScanPool", "forget_scans", "scan_frames", "scan_videos"]
