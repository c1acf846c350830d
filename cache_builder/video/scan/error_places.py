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
"""From the least that FFmpeg accepts to its own choice (None)."""


def place_errors(path: Path, relative_path: str, *, stream_index: int, limits: VideoLimits) -> DemuxerLog:
    """Read a file once more, to find before which packet each of its demuxer's complaints comes.

    In the scan's first reading FFmpeg probes up to five seconds, and all their complaints come before the first packet.

    Raises:
        VideoError: the file cannot be opened again.
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
    """Open the file with as little probing as the stream needs. FLV shows its streams only in the packets."""
    for probe_bytes in _PROBE_BYTES:
        opened = open_container(path, relative_path, probe_bytes=probe_bytes, limits=limits)
        stream = next((one for one in opened.container.streams.video if one.index == stream_index), None)
        if stream is not None:
            discard_others(opened.container, stream)
            return opened, stream
        opened.close()
    raise VideoError(relative_path, "its streams are not those of a moment ago: the file has changed")
