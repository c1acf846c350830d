"""Which files count as videos, by name alone."""

from typing import Final

EXTENSIONS_TEXT: Final = (
    "264 265 3g2 3gp asf av1 avi dv f4v flv gxf h264 h265 hevc ivf m2t m2ts m2v m4v mjpeg mjpg mkv mov mp4 "
    "mpe mpeg mpg mpv mts mxf nut obu ogm ogv qt rm rmvb ts vob webm wmv wtv y4m"
)
VIDEO_EXTENSIONS: Final = frozenset(EXTENSIONS_TEXT.split())
"""Lower-case extensions of files that are taken for videos. The scan then finds out what a file really holds."""


def is_video_name(name: str) -> bool:
    """Whether a file of this name is taken as a video.

    >>> is_video_name("clip.MP4"), is_video_name("mp4"), is_video_name(".mp4")
    (True, False, False)
    """
    stem, dot, extension = name.rpartition(".")
    return bool(stem and dot) and extension.lower() in VIDEO_EXTENSIONS
