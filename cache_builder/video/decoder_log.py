"""What FFmpeg's decoders say of pictures whose references are missing, and flag nowhere.

A packet that was lost before the file was written (a recording over a network, copied into another container) leaves no
trace in the container. An H.264 decoder then takes other pictures for the missing one and hands out what comes of
that; an HEVC decoder hands out nothing until the next keyframe. Both tell their log alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import av.logging
from av.bitstream import BitStreamFilterContext
from av.video.stream import VideoStream

from cache_builder.video.ffmpeg_log import LogMessages, ffmpeg_log, printable_line

_TELLING: Final = {
    "h264": (av.logging.DEBUG, "Frame num gap"),
    "hevc": (av.logging.ERROR, "Could not find ref with POC"),
}
"""Codec -> level and beginning of the message that a picture before is missing (h264_slice.c, hevc/refs.c)."""


class DecoderLog:
    """Complaints of one stream's decoder about references that are missing."""

    def __init__(self, codec: str, messages: LogMessages) -> None:
        self._messages = messages
        self._beginning = _TELLING[codec][1] if codec in _TELLING else None
        self._may_have_gaps = None if codec == "h264" else False

    def take(self, stream: VideoStream) -> str | None:
        """The first complaint since the last call."""
        if not self._messages:
            return None
        said = [text for _, _, text in self._messages if self._beginning and text.startswith(self._beginning)]
        self._messages.clear()
        if not said or self._gaps_are_meant(stream):
            return None
        return f"{printable_line(said[0])}: a picture before it is missing"

    def _gaps_are_meant(self, stream: VideoStream) -> bool:
        """Whether an H.264 stream says that pictures may be left out of it (H.264, 7.4.2.1.1)."""
        if self._may_have_gaps is None:
            with ffmpeg_log(av.logging.INFO) as lines:
                BitStreamFilterContext("trace_headers", stream)
                flags = [text.split() for _, _, text in lines if "gaps_in_frame_num_allowed_flag" in text]
            self._may_have_gaps = any(flag[-1] == "1" for flag in flags)
        return self._may_have_gaps


@contextmanager
def decoder_log(codec: str) -> Iterator[DecoderLog | None]:
    """Listen to decoders of this thread; None for a codec whose decoder says nothing of use."""
    if codec not in _TELLING:
        yield None
        return
    with ffmpeg_log(_TELLING[codec][0]) as messages:
        yield DecoderLog(codec, messages)
