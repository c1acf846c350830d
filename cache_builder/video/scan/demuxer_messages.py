"""What FFmpeg's demuxer complains of while it reads a file.

A demuxer that meets damage looks for the next place where it can go on, and often that is all: no error is returned, no
packet flagged, and decoders of codecs without checksums (VP9, AV1) make wrong pictures of what follows without a word.
Only the log tells.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import av.logging
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from cache_builder.errors import VideoError
from cache_builder.video.ffmpeg_log import LogMessages, ffmpeg_log, printable_line
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


@contextmanager
def demuxer_log() -> Iterator["DemuxerLog"]:
    """Listen to the demuxers of this thread; see `ffmpeg_log`."""
    with ffmpeg_log(av.logging.ERROR) as messages:
        yield DemuxerLog(messages)


class DemuxerLog:
    """What one demuxer complained of, and between which packets."""

    def __init__(self, messages: LogMessages) -> None:
        self.num_errors = 0
        self.first_error: str | None = None
        self._messages = messages
        self._returned: list[str] = []
        self._before_packets: set[int] = set()

    @property
    def is_early(self) -> bool:
        """Whether the demuxer complained before the first packet: of the file's header, or of what FFmpeg probed."""
        return 0 in self._before_packets

    def hear(self, error: Exception) -> None:
        """Take an error that the demuxer returned. Most say more in the log."""
        self._returned.append(describe_error(error))

    def note(self, container: InputContainer, *, next_packet: int) -> None:
        """Count what the demuxer said since the last call, before the packet of that ordinal.

        Messages of decoders and parsers do not count: they say other things of pictures that lack their references.
        """
        if not self._messages and not self._returned:
            return
        demuxer = container.format.name
        # A bare stream's demuxer and decoder go by one name, and it is the decoder that speaks.
        is_bare = any(
            stream.codec_context is not None and stream.codec_context.codec.canonical_name == demuxer
            for stream in container.streams.video
        )
        said = [text for _, name, text in self._messages if name == demuxer and not is_bare] or self._returned
        if said:
            self.num_errors += len(said)
            self.first_error = self.first_error or printable_line(said[0])
            self._before_packets.add(next_packet)
        self._messages.clear()
        self._returned = []

    def packets_at_errors(self, is_keyframe: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """bool per packet: where a complaint about what lies between two packets is to be laid.

        A keyframe needs nothing of what was lost before it: the complaint is the packet's before. Nothing is known to
        be lost of what came before the first packet.
        """
        num_packets = len(is_keyframe)
        is_at_error = np.zeros(num_packets, np.bool_)
        for place in self._before_packets - {0}:
            packet = min(place, num_packets)
            is_behind_gap = packet < num_packets and not is_keyframe[packet]
            is_at_error[packet if is_behind_gap else packet - 1] = True
        return is_at_error


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
            for _ in read_packets(opened, stream, on_error=log.hear):
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
