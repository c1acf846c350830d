"""Opens a video to scan it, without decoding a picture where the container tells all that this would show."""

from pathlib import Path
from typing import Final

from av.video.stream import VideoStream

from cache_builder.video.ffmpeg_log import DemuxerLog
from cache_builder.video.opening import (
    OpenContainer,
    VideoLimits,
    choose_video_stream,
    open_container,
    top_level_boxes,
)

_SAMPLE_ENTRIES: Final = (b"avc1", b"avc3")
"""Sample descriptions of H.264 (ISO/IEC 14496-15, 5.4)."""
_BYTES_TO_SEARCH: Final = 1 << 16
"""Of the moov box. The description of the first track comes before its long tables."""


def open_to_scan(
    path: Path, relative_path: str, *, limits: VideoLimits, log: DemuxerLog
) -> tuple[OpenContainer, VideoStream, bool]:
    """The open file, its video stream, and whether FFmpeg has decoded nothing of it yet.

    Nothing is decoded of an MP4 that has one video stream, H.264, and about which the demuxer does not complain: 3 ms
    instead of 17 for 1080p. The decoder knows what the stream states, such as its reordering, after the first packet.

    Raises:
        VideoError: the file cannot be read as a video.
        OSError: the machine failed to read the file.
    """
    if _may_be_avc_in_mp4(path):
        opened = open_container(path, relative_path, decodes_nothing=True, limits=limits)
        try:
            stream = choose_video_stream(opened.container, relative_path, limits=limits)
            if _is_known(opened, stream) and not log.has_messages:
                return opened, stream, True
        except BaseException:
            opened.close()
            raise
        opened.close()
        log.forget()
    opened = open_container(path, relative_path, limits=limits)
    try:
        return opened, choose_video_stream(opened.container, relative_path, limits=limits), False
    except BaseException:
        opened.close()
        raise


def _is_known(opened: OpenContainer, stream: VideoStream) -> bool:
    return stream.codec_context.codec.canonical_name == "h264" and len(opened.container.streams.video) == 1


def _may_be_avc_in_mp4(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe would wait for a writer
            return False
        place = next((offset for kind, offset in top_level_boxes(path) if kind == b"moov"), None)
        if place is None:
            return False
        with path.open("rb") as file:
            file.seek(place)
            head = file.read(_BYTES_TO_SEARCH)
    except OSError:  # opening reports it
        return False
    return any(entry in head for entry in _SAMPLE_ENTRIES)
