"""Scans of many videos in worker processes, kept between builds."""
