"""Whether the GPU can decode a video. The only proof is to decode a frame of it."""

import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, groupby
from pathlib import Path
from typing import Final

import av
import av.logging

from cache_builder.errors import DeviceError, VideoError
from cache_builder.gpu.device_frames import check_on_device
from cache_builder.gpu.nvdec import NvdecDevice
from cache_builder.video.ffmpeg_log import capture_log
from cache_builder.video.opening import choose_video_stream, describe_error, read_packets
from cache_builder.video.scan import VideoFacts

MAX_PACKETS_TO_FIRST_FRAME: Final = 256
"""A video that gives no frame from this many packets counts as refused."""

_PIXEL_FORMATS: Final = frozenset({"yuv420p", "yuvj420p", "yuv420p10le", "yuv420p12le"})
"""Formats to which the CPU decodes the videos that the GPU may decode."""

_REFUSALS: Final = (VideoError, av.FFmpegError, RuntimeError)
"""Errors of PyAV and FFmpeg for a video that the GPU does not decode (NotImplementedError is a RuntimeError)."""

_log_lock = threading.Lock()
"""FFmpeg has one level of logging for the whole process."""


def probe_nvdec(
    path: Path,
    facts: VideoFacts,
    device: NvdecDevice,
    *,
    look: Callable[[av.VideoFrame], None] | None = None,
) -> None:
    """Decode one frame on the GPU, and call `look` with it. `facts` describe the frames as the CPU decodes them.

    Raises:
        DeviceError: the GPU does not decode this video; contains the reason of the driver or of FFmpeg.
        CudaForkError, CudaUnavailableError: the GPU can decode no video.
        OSError: the machine failed to read the file.
    """
    if facts.pixel_format not in _PIXEL_FORMATS:
        # Gray is refused, too: the GPU's frames differ from the CPU's in range.
        taken = ", ".join(sorted(_PIXEL_FORMATS))
        raise DeviceError(
            facts.path, f"NVDEC: {facts.pixel_format} frames are not taken over from it, only {taken}"
        )
    if facts.width % 2 or facts.height % 2:
        # Such frames come out a row or a column larger, and that row or column is not filled.
        raise DeviceError(
            facts.path, f"NVDEC: frames of an odd size ({facts.width}x{facts.height}) come out of it damaged"
        )

    def look_closely(frame: av.VideoFrame) -> None:
        if (frame.width, frame.height) != (facts.width, facts.height):
            # For frames in a GPU's memory FFmpeg ignores a stream's crop at the left and the top.
            raise DeviceError(
                facts.path,
                f"its frames come out {frame.width}x{frame.height}, on the CPU {facts.width}x{facts.height}",
            )
        if look is not None:
            look(frame)

    try:
        _decode_one_frame(path, facts.path, device, look_closely)
    except _REFUSALS as error:
        raise DeviceError(facts.path, f"NVDEC: {_reason(path, facts.path, device, error)}") from error


def _decode_one_frame(
    path: Path,
    relative_path: str,
    device: NvdecDevice,
    look: Callable[[av.VideoFrame], None] | None = None,
) -> None:
    opened = device.open_container(path, relative_path)
    try:
        stream = choose_video_stream(opened.container, relative_path)
        decoder = device.open_decoder(stream, relative_path)
        packets = chain(read_packets(opened, stream), (None,))
        for _, packet in zip(range(MAX_PACKETS_TO_FIRST_FRAME), packets, strict=False):
            for frame in decoder.decode(packet):
                check_on_device(frame, relative_path)
                if look is not None:
                    look(frame)
                return
        raise DeviceError(relative_path, "no frame came out")
    finally:
        opened.close()


def _reason(path: Path, relative_path: str, device: NvdecDevice, error: Exception) -> str:
    """Why a video was refused: the error, and FFmpeg's log of a second try.

    The exception alone is vague: `PermissionError` or "no frame!", by codec. Logging is off in the first try, because
    closing a decoder while FFmpeg logs can deadlock.
    """
    with _log_lock, capture_log(av.logging.ERROR) as messages, suppress(*_REFUSALS):
        _decode_one_frame(path, relative_path, device)
    logged = " ".join("".join(text for text, _ in groupby(text for _, _, text in messages)).split())
    own = error.reason if isinstance(error, VideoError) else describe_error(error)
    return f"{own} ({logged})" if logged else own
