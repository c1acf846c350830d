"""Whether the GPU decodes a video: it decodes one frame of it, which is the only proof."""

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
"""A video that gives no frame after so many packets has none to prove anything with."""

_PIXEL_FORMATS: Final = frozenset({"yuv420p", "yuvj420p", "yuv420p10le", "yuv420p12le"})
"""What the CPU decodes such video to."""

_REFUSALS: Final = (VideoError, av.FFmpegError, RuntimeError)
"""What PyAV and FFmpeg raise where a video is not for the GPU (NotImplementedError is a RuntimeError)."""

_log_lock = threading.Lock()
"""FFmpeg's level of logging is one for the whole process."""


def probe_nvdec(
    path: Path,
    facts: VideoFacts,
    device: NvdecDevice,
    *,
    look: Callable[[av.VideoFrame], None] | None = None,
) -> None:
    """Decode one frame on the GPU, which is the only proof that it can be done, and let `look` have a look at it.

    `facts` are of the frames as the CPU decodes them.

    Raises:
        DeviceError: the GPU does not decode this video; with the driver's or FFmpeg's own reason.
        CudaForkError, CudaUnavailableError: no video can be decoded.
        OSError: the machine failed to read the file.
    """
    if facts.pixel_format not in _PIXEL_FORMATS:
        # Gray ones too: what the GPU makes of them differs from the CPU's in range.
        taken = ", ".join(sorted(_PIXEL_FORMATS))
        raise DeviceError(
            facts.path, f"NVDEC: {facts.pixel_format} frames are not taken over from it, only {taken}"
        )
    if facts.width % 2 or facts.height % 2:
        # Such frames come out a row or a column larger, which nobody has written.
        raise DeviceError(
            facts.path, f"NVDEC: frames of an odd size ({facts.width}x{facts.height}) come out of it damaged"
        )

    def look_closely(frame: av.VideoFrame) -> None:
        if (frame.width, frame.height) != (facts.width, facts.height):
            # FFmpeg cuts what a stream crops at its left and top from no frame in a GPU's memory.
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
    """Why a video was refused, from what FFmpeg logs when it is tried once more.

    The exception alone says little: `PermissionError` or "no frame!", by codec. Logging stays off otherwise, as
    tearing down a decoder while FFmpeg logs can lock up.
    """
    with _log_lock, capture_log(av.logging.ERROR) as messages, suppress(*_REFUSALS):
        _decode_one_frame(path, relative_path, device)
    logged = " ".join("".join(text for text, _ in groupby(text for _, _, text in messages)).split())
    own = error.reason if isinstance(error, VideoError) else describe_error(error)
    return f"{own} ({logged})" if logged else own
