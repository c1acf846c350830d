"""What decodes a video: the CPU, or a device that another room knows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from cache_builder.errors import VideoChangedError, VideoError
from cache_builder.video.opening.open_video import OpenContainer, open_container, set_single_thread


class Opener(Protocol):
    """Opens a video, and the decoder of its stream, in the calling thread."""

    @property
    def tells_aspect(self) -> bool:
        """Whether the decoder says of which shape a picture's pixels are."""
        ...

    def open_container(
        self, path: Path, relative_path: str, *, decodes_nothing: bool = False
    ) -> OpenContainer:
        """As `open_video.open_container`; `open_decoder` is for a stream of it.

        Raises:
            VideoError: FFmpeg cannot read it.
            OSError: the machine failed to read it.
        """
        ...

    def open_decoder(self, stream: VideoStream, relative_path: str) -> VideoCodecContext:
        """The decoder of a stream that `open_container` opened, set to one thread.

        Raises:
            VideoError: there is no such decoder for this stream.
        """
        ...

    def error_of_opening(self, relative_path: str, reason: str) -> VideoError:
        """What to raise where a video that was scanned cannot be opened for `reason`."""
        ...


@dataclass(frozen=True, kw_only=True)
class CpuOpener:
    """FFmpeg's own decoders, on the CPU."""

    @property
    def tells_aspect(self) -> bool:
        """They do."""
        return True

    def open_container(
        self, path: Path, relative_path: str, *, decodes_nothing: bool = False
    ) -> OpenContainer:
        """See `Opener`."""
        return open_container(path, relative_path, decodes_nothing=decodes_nothing)

    def open_decoder(self, stream: VideoStream, relative_path: str) -> VideoCodecContext:
        """See `Opener`."""
        set_single_thread(stream)
        return stream.codec_context

    def error_of_opening(self, relative_path: str, reason: str) -> VideoError:
        """The video was readable when it was scanned, so the file has changed."""
        return VideoChangedError(relative_path, f"{reason}; the file has changed since the scan")
