"""Packets of a video: the table of them, their headers and their order."""
