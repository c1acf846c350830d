"""Messages of FFmpeg's decoders about pictures whose references are missing. No frame is flagged for it.

A packet may be lost before the file is written, for example in a recording over a network. The container has no trace
of it. An H.264 decoder then decodes later pictures from other references and hands out the result. An HEVC decoder
hands out nothing until the next keyframe. Both report it in the log alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import av
import av.logging
from av.bitstream import BitStreamFilterContext
from av.video.stream import VideoStream

from cache_builder.video.ffmpeg_log.capture import LogMessages, capture_log, printable_line

_GAP: Final = "Frame num gap"
_MISSING_REFERENCE: Final = {
    "h264": (av.logging.DEBUG, (_GAP, "reference picture missing", "Missing reference picture")),
    "hevc": (av.logging.ERROR, ("Could not find ref with POC",)),
}
"""Codec -> log level, and how messages about a missing picture begin (h264_slice.c, h264_refs.c, hevc/refs.c)."""


class DecoderLog:
    """Complaints of one stream's decoder about missing references."""

    def __init__(self, codec: str, messages: LogMessages) -> None:
        self._messages = messages
        self._beginnings = _MISSING_REFERENCE[codec][1]
        self._may_have_gaps: bool | None = None

    def take(self, stream: VideoStream) -> str | None:
        """The first complaint since the last call."""
        if not self._messages:
            return None
        messages = [text for _, _, text in self._messages if text.startswith(self._beginnings)]
        self._messages.clear()
        for text in messages:
            if not text.startswith(_GAP) or not self._gaps_are_meant(stream):
                return f"{printable_line(text)}: a picture before it is missing"
        return None

    def _gaps_are_meant(self, stream: VideoStream) -> bool:
        """Whether an H.264 stream allows pictures to be left out of it (H.264, 7.4.2.1.1)."""
        if self._may_have_gaps is None:
            with capture_log(av.logging.INFO) as lines:
                with suppress(av.FFmpegError):  # parameters that only the decoder can parse
                    BitStreamFilterContext("trace_headers", stream)
                flags = [text.split() for _, _, text in lines if "gaps_in_frame_num_allowed_flag" in text]
            self._may_have_gaps = any(flag[-1] == "1" for flag in flags)
        return self._may_have_gaps


@contextmanager
def decoder_log(codec: str) -> Iterator[DecoderLog | None]:
    """Capture the complaints of this thread's decoders; None for a codec whose decoder logs nothing of use."""
    if codec not in _MISSING_REFERENCE:
        yield None
        return
    with capture_log(_MISSING_REFERENCE[codec][0]) as messages:
        yield DecoderLog(codec, messages)
