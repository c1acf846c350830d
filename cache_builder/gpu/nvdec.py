"""NVIDIA's video decoder, as FFmpeg inside PyAV drives it: frames that come out in the GPU's memory and stay there.

How it is opened, and why so:

- In torch's primary context (`current_ctx`), made current in the thread that opens. A context of FFmpeg's own would
  cost 400 MB a video, and asked for the primary one (`primary_ctx`) FFmpeg refuses it once torch has started it:
  "Primary context already active with incompatible flags".
- With one thread a decoder: its pool of surfaces grows with threads, and over 32 it cannot be made.
- Without FFmpeg's own way back to software, which is silent: `is_hwaccel` stays true, and frames come out in the CPU's
  memory. Only a frame in format `cuda` is proof that the GPU decoded it.

FFmpeg copies each frame out of the decoder's surfaces on the default stream, and takes a frame's memory back when
the last reference to it is gone, whatever other streams still do with it. So what reads a frame goes on the default
stream, too, and is queued before the frame is dropped.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import av
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext
from av.video.plane import VideoPlane
from av.video.stream import VideoStream

from cache_builder.errors import DeviceError, VideoError
from cache_builder.video.opening import (
    OpenContainer,
    choose_video_stream,
    describe_error,
    open_container,
    read_packets,
    set_single_thread,
)
from cache_builder.video.scan import VideoFacts
from frame_store.errors import CudaUnavailableError
from frame_store.shared import NVDEC_LIBRARY, CudaCallError, CudaDriver, check_cuda_usable_here, load_library

if TYPE_CHECKING:
    import torch

Device = Literal["cpu", "cuda", "auto"]
"""What decodes: the CPU; the GPU, or it is an error; the GPU for what it can decode, where there is one."""

MAX_PACKETS_TO_FIRST_FRAME: Final = 256
"""A video that gives no frame after so many packets has none to prove anything with."""

BIT_DEPTHS: Final = {"nv12": 8, "p010le": 10, "p016le": 12}
"""Bits of a sample in the formats that NVDEC gives 4:2:0 video in."""

_PIXEL_FORMATS: Final = frozenset({"yuv420p", "yuvj420p", "yuv420p10le", "yuv420p12le"})
"""What the CPU decodes such video to."""

_REFUSALS: Final = (VideoError, av.FFmpegError, RuntimeError)
"""What PyAV and FFmpeg raise where a video is not for the GPU (NotImplementedError is a RuntimeError)."""

_log_lock = threading.Lock()
"""FFmpeg's level of logging is one for the whole process."""


@dataclass(frozen=True, kw_only=True)
class NvdecDevice:
    """A GPU to decode on."""

    ordinal: int = 0
    """Its number, as CUDA counts: the N of `cuda:N`."""
    decoder: str | None = None
    """A decoder of FFmpeg by name, such as `h264_cuvid`, for videos of its codec; None for FFmpeg's own decoders with
    NVDEC under them, which take every codec that the chip does, and mark every frame with the packet that it comes
    from. The cuvid ones hand on nothing but a frame's pts."""

    def __post_init__(self) -> None:
        """Refuse a decoder that there is none of."""
        if self.decoder is not None and self.decoder not in av.codecs_available:
            raise ValueError(
                f"decoder must be one that FFmpeg has, such as h264_cuvid, found {self.decoder!r}"
            )

    def check(self) -> CudaDriver:
        """Start CUDA in this process and see whether there is a decoder to be had.

        Raises:
            CudaForkError: this process was forked from one that had started CUDA.
            CudaUnavailableError: no driver, no such GPU, or no video decoder in the driver.
        """
        driver = check_cuda_usable_here(self.ordinal)
        if load_library(NVDEC_LIBRARY) is None:
            raise CudaUnavailableError(
                f"the NVIDIA driver is there, but not its video decoder ({NVDEC_LIBRARY}). In a container it takes the "
                "driver capability video: NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
            )
        return driver

    def describe(self) -> str:
        """Such as `NVIDIA H100 80GB HBM3, driver for CUDA 13.0`.

        Raises:
            CudaError: it cannot be used.
        """
        driver = self.check()
        return f"{driver.device_name(self.ordinal)}, driver for CUDA {driver.cuda_version()}"

    @property
    def torch_device(self) -> "torch.device":
        """Where its frames are."""
        import torch

        return torch.device("cuda", self.ordinal)

    def import_plane(self, plane: VideoPlane) -> "torch.Tensor":
        """A plane of a frame as a tensor over the same memory, which it keeps from FFmpeg while it lives.

        torch asks for a stream when it is given the plane itself, which PyAV refuses; so it is given the capsule.
        """
        from torch.utils.dlpack import from_dlpack

        return from_dlpack(plane.__dlpack__())

    @property
    def tells_aspect(self) -> bool:
        """Whether the decoder says of which shape a picture's pixels are; one by name guesses."""
        return self.decoder is None

    def error_of_opening(self, relative_path: str, reason: str) -> DeviceError:
        """The GPU does not take the video; the CPU may well."""
        return DeviceError(relative_path, f"NVDEC: {reason}")

    def hwaccel(self) -> HWAccel:
        """What to open a container with, in the calling thread.

        Raises:
            CudaForkError, CudaUnavailableError: as `check`, or there is no memory on the GPU for a context.
        """
        driver = self.check()
        try:
            driver.bind_primary_context(self.ordinal)
        except CudaCallError as error:
            raise CudaUnavailableError(f"cuda:{self.ordinal}: {error}") from error
        return HWAccel(
            "cuda",
            device=str(self.ordinal),
            is_hw_owned=True,
            allow_software_fallback=False,
            options={"primary_ctx": "0", "current_ctx": "1"},
        )

    def open_container(
        self, path: Path, relative_path: str, *, decodes_nothing: bool = False
    ) -> OpenContainer:
        """As `open_video.open_container`, in the calling thread; `open_decoder` is for a stream of it.

        Raises:
            VideoError: FFmpeg cannot read it.
            OSError: the machine failed to read it.
            CudaForkError, CudaUnavailableError: as `hwaccel`.
        """
        if self.decoder is not None:
            return open_container(path, relative_path)
        return open_container(path, relative_path, decodes_nothing=decodes_nothing, hwaccel=self.hwaccel())

    def open_decoder(self, stream: VideoStream, relative_path: str) -> VideoCodecContext:
        """The decoder of a stream that `open_container` opened, set to one thread.

        Raises:
            DeviceError: the decoder named is for another codec.
            CudaForkError, CudaUnavailableError: as `hwaccel`.
        """
        set_single_thread(stream)
        if self.decoder is None:
            return stream.codec_context
        codec = stream.codec_context.codec.canonical_name
        if av.Codec(self.decoder, "r").canonical_name != codec:
            raise DeviceError(relative_path, f"{self.decoder} is no decoder for {codec}")
        decoder = av.CodecContext.create(self.decoder, "r", hwaccel=self.hwaccel())
        assert isinstance(decoder, VideoCodecContext)
        decoder.extradata = stream.codec_context.extradata
        # Unless it knows the format, FFmpeg asks the driver for 4:4:4, which few chips have.
        decoder.width, decoder.height = stream.codec_context.width, stream.codec_context.height
        decoder.pix_fmt = stream.codec_context.pix_fmt
        decoder.thread_type = "NONE"
        decoder.thread_count = 1
        return decoder


def choose_nvdec(
    device: Device | str, *, decoder: str | None = None, say: Callable[[str], None]
) -> NvdecDevice | None:
    """The GPU that `device` (`cpu`, `cuda`, `cuda:N` or `auto`) stands for; None for the CPU.

    `say` is told why `auto` means the CPU here. `decoder` is for `NvdecDevice`.

    Raises:
        ValueError: `device` is something else, or `decoder` none of FFmpeg's or for the CPU.
        CudaForkError: this process was forked from one that had started CUDA.
        CudaUnavailableError: the GPU was asked for by name and cannot be used.
    """
    kind, _, number = device.partition(":")
    if device == "cpu":
        if decoder is not None:
            raise ValueError(f"decoder={decoder!r} is for a GPU, and device is 'cpu'")
        return None
    if device == "auto":
        nvdec = NvdecDevice(decoder=decoder)
        try:
            nvdec.check()
        except CudaUnavailableError as error:
            say(f"decoding on the CPU: {error}")
            return None
        return nvdec
    if kind != "cuda" or not (device == "cuda" or (number.isascii() and number.isdigit())):
        raise ValueError(f"device must be cpu, cuda, cuda:N or auto, found {device!r}")
    nvdec = NvdecDevice(ordinal=int(number or 0), decoder=decoder)
    nvdec.check()
    return nvdec


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


def check_on_device(frame: av.VideoFrame, relative_path: str) -> int:
    """Bits of a sample, once it is certain that the GPU decoded the frame to a format that can be taken over.

    Raises:
        DeviceError: it is not.
    """
    if frame.format.name != "cuda":
        raise DeviceError(
            relative_path,
            f"decoded by software, to {frame.format.name}: the GPU does not take this codec or profile",
        )
    samples = frame.sw_format.name if frame.sw_format is not None else "unknown samples"
    if samples not in BIT_DEPTHS:
        raise DeviceError(
            relative_path, f"its {samples} frames cannot be taken over from the GPU, only 4:2:0 ones"
        )
    return BIT_DEPTHS[samples]


def _reason(path: Path, relative_path: str, device: NvdecDevice, error: Exception) -> str:
    """Why a video was refused, from what FFmpeg logs when it is tried once more.

    The exception alone says little: `PermissionError` or "no frame!", by codec. Logging stays off otherwise, as
    tearing down a decoder while FFmpeg logs can lock up.
    """
    with _log_lock:
        before = av.logging.get_level()
        av.logging.set_level(av.logging.ERROR)
        try:
            with av.logging.Capture() as logs, suppress(*_REFUSALS):
                _decode_one_frame(path, relative_path, device)
        finally:
            av.logging.set_level(before)
    said = " ".join("".join(message for _, _, message in logs).split())
    own = error.reason if isinstance(error, VideoError) else describe_error(error)
    return f"{own} ({said})" if said else own
