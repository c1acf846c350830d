"""A second reading of a file, to find the packets between which its demuxer complains."""

from pathlib import Path
from typing import Final

from av.video.stream import VideoStream

from cache_builder.errors import VideoError
from cache_builder.video.ffmpeg_log import DemuxerLog, demuxer_log
from cache_builder.video.opening import (
    OpenContainer,
    VideoLimits,
    describe_error,
    discard_others,
    open_container,
    read_packets,
)

_PROBE_BYTES: Final = (32, 1 << 12, 1 << 16, None)
"""The least that FFmpeg takes, and as much as it likes."""


def place_errors(path: Path, relative_path: str, *, stream_index: int, limits: VideoLimits) -> DemuxerLog:
    """Read a file once more, for which packets its demuxer's complaints come before.

    What FFmpeg says while it probes, for up to the first five seconds, is said before the first packet is handed out.

    Raises:
        VideoError: it cannot be opened again.
        OSError: the machine failed to read the file.
    """
    with demuxer_log() as log:
        opened, stream = _open_early(path, relative_path, stream_index, limits)
        try:
            container = opened.container
            log.note(container, next_packet=0)
            num_packets = 0
            for _ in read_packets(
                opened, stream, on_error=lambda error: log.note_returned(describe_error(error))
            ):
                log.note(container, next_packet=num_packets)
                num_packets += 1
            log.note(container, next_packet=num_packets)
        finally:
            opened.close()
    return log


def _open_early(
    path: Path, relative_path: str, stream_index: int, limits: VideoLimits
) -> tuple[OpenContainer, VideoStream]:
    """The file, probed no further than it takes until its stream shows: FLV tells its streams by their packets."""
    for probe_bytes in _PROBE_BYTES:
        opened = open_container(path, relative_path, probe_bytes=probe_bytes, limits=limits)
        stream = next((one for one in opened.container.streams.video if one.index == stream_index), None)
        if stream is not None:
            discard_others(opened.container, stream)
            return opened, stream
        opened.close()
    raise VideoError(relative_path, "its streams are not those of a moment ago: the file has changed")
