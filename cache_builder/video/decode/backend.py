"""What decodes a video: the CPU, or a device such as a GPU. Only the room of a device knows how it works."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from cache_builder.errors import VideoChangedError, VideoError
from cache_builder.video.decode.decoded_frame import DecodedFrame
from cache_builder.video.opening import OpenContainer, open_container, set_single_thread
from cache_builder.video.picture import FrameGeometry, converter_of
from cache_builder.video.scan import VideoFacts
from frame_store.names import NUM_CHANNELS, PIXEL_DTYPE, PixelName
from frame_store.protocol import Frames

NumberedFrames: TypeAlias = Iterator[tuple[int, DecodedFrame]]
"""(a number of the caller's, a frame that the backend decoded)."""
NumberedPixels: TypeAlias = Iterator[tuple[int, Frames]]
"""(the same number, the frame as it is stored, in the CPU's memory), each valid until the next."""


class DecodeBackend(Protocol):
    """Opens a video and the decoder of its stream, in the calling thread, and converts the frames."""

    @property
    def is_device(self) -> bool:
        """Whether a device decodes. A device may fail on a sound video, and then the CPU decodes that video."""
        ...

    @property
    def reports_aspect(self) -> bool:
        """Whether the decoder reports the shape of a frame's pixels."""
        ...

    def open_container(
        self, path: Path, relative_path: str, *, decodes_nothing: bool = False
    ) -> OpenContainer:
        """Open a file as `video.opening.open_container` does; `open_decoder` is for a stream of it.

        Raises:
            VideoError: FFmpeg cannot read it.
            OSError: the machine failed to read the file.
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

    def convert_frames(
        self, frames: NumberedFrames, facts: VideoFacts, geometry: FrameGeometry, pixel: PixelName
    ) -> NumberedPixels:
        """Convert frames of the video that `facts` describe: upright, of the size in `geometry`, of that pixel.

        Raises:
            VideoError: a frame cannot be converted.
            MemoryError: the device has too little memory.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class CpuBackend:
    """FFmpeg's own decoders, on the CPU."""

    @property
    def is_device(self) -> bool:
        """False: the CPU's result is final."""
        return False

    @property
    def reports_aspect(self) -> bool:
        """True."""
        return True

    def open_container(
        self, path: Path, relative_path: str, *, decodes_nothing: bool = False
    ) -> OpenContainer:
        """See `DecodeBackend`."""
        return open_container(path, relative_path, decodes_nothing=decodes_nothing)

    def open_decoder(self, stream: VideoStream, relative_path: str) -> VideoCodecContext:
        """See `DecodeBackend`."""
        set_single_thread(stream)
        return stream.codec_context

    def error_of_opening(self, relative_path: str, reason: str) -> VideoError:
        """The video was readable when it was scanned, so the file has changed."""
        return VideoChangedError(relative_path, f"{reason}; the file has changed since the scan")

    def convert_frames(
        self, frames: NumberedFrames, facts: VideoFacts, geometry: FrameGeometry, pixel: PixelName
    ) -> NumberedPixels:
        """See `DecodeBackend`."""
        converter = converter_of(pixel, geometry, facts.presentation.plain)
        pixels: Any = np.empty((geometry.height, geometry.width, NUM_CHANNELS[pixel]), PIXEL_DTYPE[pixel])
        for number, decoded in frames:
            aspect = facts.presentation.aspect_of_frame(decoded.sample_aspect_ratio)
            try:
                converter.convert(decoded.frame, pixels, sample_aspect_ratio=aspect)
            except (ValueError, av.FFmpegError) as error:
                raise VideoError(facts.path, str(error)) from error
            yield number, pixels


CPU: Final = CpuBackend()
"""Decodes where no device is asked for, and where a device fails."""
