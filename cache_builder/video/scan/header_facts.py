"""What a container's header claims about the chosen stream, and how much of the file was read."""

from typing import Literal, Protocol

from av.container import InputContainer
from av.video.stream import VideoStream

from cache_builder.video.opening import OpenContainer

_NOT_FILLED_IN = 2**30
"""Frames that an AVI claims if FFmpeg wrote it to a pipe, or if its recorder was killed: libavformat/avienc.c."""


def num_frames_in_header(stream: VideoStream) -> int | None:
    """Frames that the header claims; None where it states no number."""
    return stream.frames if stream.frames not in {0, _NOT_FILLED_IN} else None


def duration_in_header(container: InputContainer, stream: VideoStream) -> float | None:
    """Duration that the header claims, in seconds. A file that was cut off later is shorter."""
    container_names = set(container.format.name.split(","))
    if "mov" in container_names and stream.duration is not None and stream.time_base:
        return float(stream.duration * stream.time_base)
    if "matroska" in container_names:
        # A tag of each track, "00:00:03.666000000"; the segment's own duration may be that of the sound.
        hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
        minutes, _, seconds = rest.partition(":")
        try:
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        except ValueError:
            pass
    is_alone = len(container.streams) == 1 and container_names & {"matroska", "flv"}
    return container.duration / 1e6 if is_alone and container.duration is not None else None


def bytes_not_read(opened: OpenContainer, *, num_bytes: int) -> tuple[int, int] | None:
    """See `VideoFacts.bytes_not_read`."""
    first, end = opened.file.longest_unread()
    return (first, end) if len(opened.container.streams) == 1 and end - first >= num_bytes / 20 else None


def end_seconds(end_pts: int | None, stream: VideoStream) -> float | None:
    """Seconds of a pts; None without a pts or without a time base."""
    return float(end_pts * stream.time_base) if end_pts is not None and stream.time_base else None


def stream_choice(container: InputContainer, stream: VideoStream) -> Literal["only", "best", "first"]:
    """See `VideoFacts.stream_choice`."""
    if len(container.streams.video) == 1:
        return "only"
    best = container.streams.best("video")
    return "best" if best is not None and best.index == stream.index else "first"


class Rational(Protocol):
    """A ratio in PyAV: a Fraction in PyAV 18, an `av.AVRational` in later versions."""

    @property
    def numerator(self) -> int:
        """Numerator, not reduced."""
        ...

    @property
    def denominator(self) -> int:
        """Denominator, not reduced."""
        ...


def ratio(value: Rational | None) -> tuple[int, int] | None:
    """The ratio; None where FFmpeg has none.

    PyAV 18 gives None for it, later versions 0 or a denominator of 0. All of them are false.
    """
    return (value.numerator, value.denominator) if value else None
