"""PyAV's CUDA path as a user writes it, without our guards. Call it in a process on the stub driver."""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.logging
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


def load_cuda() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def bind_primary_context() -> None:
    """Initialise CUDA in this process and make the device's primary context the calling thread's."""
    cuda, context = load_cuda(), ctypes.c_void_p()
    assert cuda.cuInit(0) == 0
    assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert cuda.cuCtxSetCurrent(context) == 0


def nvdec_hwaccel() -> HWAccel:
    """Options for decoding in the thread's current context, to frames on the device."""
    return HWAccel(
        "cuda",
        device="0",
        is_hw_owned=True,
        allow_software_fallback=False,
        options={"primary_ctx": "0", "current_ctx": "1"},
    )


def open_nvdec(path: Path | str) -> tuple[InputContainer, VideoStream]:
    """Open a video for decoding in the thread's current context."""
    container = av.open(str(path), hwaccel=nvdec_hwaccel())
    stream = container.streams.video[0]
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return container, stream


@dataclass(frozen=True)
class Ordinal:
    """Travels with a packet through the decoder."""

    packet: int


def decode_tagged(
    container: InputContainer, stream: VideoStream, *, skip_others_of: int = 1
) -> Iterator[tuple[int, VideoFrame]]:
    """Frames with the ordinals of their packets.

    With `skip_others_of` > 1, the decoder may leave out what is not referred to, but for each such packet.
    """
    decoder = stream.codec_context
    decoder.copy_opaque = True
    for ordinal, packet in enumerate(container.demux(stream)):
        packet.opaque = Ordinal(ordinal)
        decoder.skip_frame = "NONREF" if ordinal % skip_others_of else "DEFAULT"
        for frame in decoder.decode(packet if packet.size else None):
            assert isinstance(frame.opaque, Ordinal)
            yield frame.opaque.packet, frame


def failure_of(action: Callable[[], Any]) -> dict[str, Any]:
    """The exception that `action` raises (None if it raises none), and FFmpeg's log meanwhile."""
    av.logging.set_level(av.logging.ERROR)
    error: Exception | None = None
    with av.logging.Capture() as messages:
        try:
            action()
        except Exception as raised:  # noqa: BLE001 - every exception is reported
            error = raised
    av.logging.set_level(None)
    return {
        "error": None if error is None else f"{type(error).__module__}.{type(error).__name__}",
        "errno": getattr(error, "errno", None),
        "text": str(error),
        "log": "".join(text for _, _, text in messages),
    }


def first_frame_format(path: Path | str) -> str:
    """Open, decode a frame and close."""
    container, stream = open_nvdec(path)
    with container:
        return next(container.decode(stream)).format.name
