"""Complaints of FFmpeg's demuxer while it reads a file.

A demuxer that meets damage searches for the next place where it can go on. Often it returns no error and flags no
packet, and decoders of codecs without checksums (VP9, AV1) make wrong pictures of what follows without any report. Only
the log shows the damage.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import av.logging
import numpy as np
import numpy.typing as npt
from av.container import InputContainer

from cache_builder.video.ffmpeg_log.capture import LogMessages, capture_log, printable_line


@contextmanager
def demuxer_log() -> Iterator["DemuxerLog"]:
    """Capture the complaints of this thread's demuxers."""
    with capture_log(av.logging.ERROR) as messages:
        yield DemuxerLog(messages)


class DemuxerLog:
    """Complaints of one demuxer, and between which packets they came."""

    def __init__(self, messages: LogMessages) -> None:
        self.num_errors = 0
        self.first_error: str | None = None
        self._messages = messages
        self._returned: list[str] = []
        self._before_packets: set[int] = set()

    @property
    def is_early(self) -> bool:
        """Whether the demuxer complained before the first packet: about the header, or about what FFmpeg probed."""
        return 0 in self._before_packets

    @property
    def has_messages(self) -> bool:
        """Whether FFmpeg has said something since the last `note`."""
        return bool(self._messages)

    def forget(self) -> None:
        """Do not count what FFmpeg has said since the last `note`: the file is opened once more."""
        self._messages.clear()

    def note_returned(self, error: str) -> None:
        """Note the text of an error that the demuxer returned. For most such errors the log has a better message."""
        self._returned.append(error)

    def note(self, container: InputContainer, *, next_packet: int) -> None:
        """Count the demuxer's messages since the last call, before the packet of ordinal `next_packet`.

        Messages of decoders and parsers do not count: they report other problems for pictures without references.
        """
        if not self._messages and not self._returned:
            return
        demuxer = container.format.name
        # A bare stream's demuxer and decoder have the same name, and the messages are the decoder's.
        is_bare = any(
            stream.codec_context is not None and stream.codec_context.codec.canonical_name == demuxer
            for stream in container.streams.video
        )
        messages = [
            text for _, name, text in self._messages if name == demuxer and not is_bare
        ] or self._returned
        if messages:
            self.num_errors += len(messages)
            self.first_error = self.first_error or printable_line(messages[0])
            self._before_packets.add(next_packet)
        self._messages.clear()
        self._returned = []

    def packets_at_errors(self, is_keyframe: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """bool per packet: which packet a complaint between two packets counts against.

        A keyframe needs no packet before it, so a complaint before a keyframe counts against the packet before. A
        complaint before the first packet counts against none: nothing is known to be lost.
        """
        num_packets = len(is_keyframe)
        is_at_error = np.zeros(num_packets, np.bool_)
        for place in self._before_packets - {0}:
            packet = min(place, num_packets)
            is_after_gap = packet < num_packets and not is_keyframe[packet]
            is_at_error[packet if is_after_gap else packet - 1] = True
        return is_at_error
