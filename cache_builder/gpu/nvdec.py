"""NVIDIA's video decoder, driven by FFmpeg inside PyAV. Its frames come out in the GPU's memory and stay there.

How a decoder is opened, and why:

- In torch's primary context (`current_ctx`), made current in the thread that opens. A context of FFmpeg's own would
  cost 400 MB a video. With `primary_ctx` FFmpeg refuses the primary context once torch has started it: "Primary context
  already active with incompatible flags".
- With one thread a decoder. The decoder's pool of surfaces grows with threads, and over 32 surfaces it cannot be made.
- Without FFmpeg's fallback to software, which is silent: `is_hwaccel` stays true, and frames come out in the CPU's
  memory. Only a frame in format `cuda` is proof that the GPU decoded it.

FFmpeg copies each frame out of the decoder's surfaces on the default stream. It reuses a frame's memory once the last
reference to the frame is gone, even if another stream still reads it. So every read of a frame goes on the default
stream, and is queued before the frame is dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext
from av.video.plane import VideoPlane
from av.video.stream import VideoStream

from cache_builder.errors import DeviceError, VideoError
from cache_builder.video.decode import CPU, DecodeBackend, NumberedFrames, NumberedPixels
from cache_builder.video.opening import OpenContainer, open_container, set_single_thread
from cache_builder.video.picture import FrameGeometry
from cache_builder.video.scan import VideoFacts
from frame_store.errors import CudaUnavailableError
from frame_store.names import PixelName
from frame_store.shared import NVDEC_LIBRARY, CudaCallError, CudaDriver, check_cuda_usable_here, load_library

if TYPE_CHECKING:
    import torch

FRAMES_PER_DOWNLOAD: Final = 32
"""Frames that leave the GPU in one copy. The host waits once for all of them."""


@dataclass(frozen=True, kw_only=True)
class NvdecDevice:
    """A GPU to decode on. Implements `DecodeBackend`."""

    ordinal: int = 0
    """CUDA's number of the GPU: the N of `cuda:N`."""
    decoder: str | None = None
    """Name of one of FFmpeg's decoders, such as `h264_cuvid`, for videos of its codec. None means FFmpeg's own decoders
    on top of NVDEC: they take every codec of the chip, and tag every frame with its packet. The cuvid decoders pass
    on only a frame's pts."""

    def __post_init__(self) -> None:
        """Refuse a decoder that FFmpeg does not have."""
        if self.decoder is not None and self.decoder not in av.codecs_available:
            raise ValueError(
                f"decoder must be one that FFmpeg has, such as h264_cuvid, found {self.decoder!r}"
            )

    def check(self) -> CudaDriver:
        """Start CUDA in this process and check that the driver has a video decoder.

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
        """Name and driver, such as `NVIDIA H100 80GB HBM3, driver for CUDA 13.0`.

        Raises:
            CudaError: the GPU cannot be used.
        """
        driver = self.check()
        return f"{driver.device_name(self.ordinal)}, driver for CUDA {driver.cuda_version()}"

    @property
    def torch_device(self) -> "torch.device":
        """Where the frames are."""
        import torch

        return torch.device("cuda", self.ordinal)

    def import_plane(self, plane: VideoPlane) -> "torch.Tensor":
        """A tensor over the memory of a frame's plane. FFmpeg cannot reuse the memory while the tensor exists.

        `from_dlpack(plane)` would pass a stream, which PyAV refuses. So torch gets the capsule.
        """
        from torch.utils.dlpack import from_dlpack

        return from_dlpack(plane.__dlpack__())

    @property
    def is_device(self) -> bool:
        """True: the GPU may fail on a sound video."""
        return True

    @property
    def reports_aspect(self) -> bool:
        """Whether the decoder reports the shape of a frame's pixels. A decoder by name guesses it."""
        return self.decoder is None

    def error_of_opening(self, relative_path: str, reason: str) -> DeviceError:
        """The GPU does not decode the video. The CPU may."""
        return DeviceError(relative_path, f"NVDEC: {reason}")

    def hwaccel(self) -> HWAccel:
        """What to open a container with; for the calling thread.

        Raises:
            CudaForkError, CudaUnavailableError: as `check`, or the GPU has no memory for a context.
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
        """As `DecodeBackend.open_container`, in the calling thread.

        Raises:
            VideoError: FFmpeg cannot read it.
            OSError: the machine failed to read the file.
            CudaForkError, CudaUnavailableError: as `hwaccel`.
        """
        if self.decoder is not None:
            return open_container(path, relative_path)
        return open_container(path, relative_path, decodes_nothing=decodes_nothing, hwaccel=self.hwaccel())

    def open_decoder(self, stream: VideoStream, relative_path: str) -> VideoCodecContext:
        """The decoder of a stream that `open_container` opened, set to one thread.

        Raises:
            DeviceError: `self.decoder` is for another codec.
            CudaForkError, CudaUnavailableError: as `hwaccel`.
        """
        set_single_thread(stream)
        if self.decoder is None:
            return stream.codec_context
        codec = stream.codec_context.codec.canonical_name
        if av.Codec(self.decoder, "r").canonical_name != codec:
            raise DeviceError(relative_path, f"{self.decoder} is not a decoder for {codec}")
        decoder = av.CodecContext.create(self.decoder, "r", hwaccel=self.hwaccel())
        assert isinstance(decoder, VideoCodecContext)
        decoder.extradata = stream.codec_context.extradata
        # Without the format FFmpeg asks the driver for 4:4:4, which few chips have.
        decoder.width, decoder.height = stream.codec_context.width, stream.codec_context.height
        decoder.pix_fmt = stream.codec_context.pix_fmt
        decoder.thread_type = "NONE"
        decoder.thread_count = 1
        return decoder

    def convert_frames(
        self, frames: NumberedFrames, facts: VideoFacts, geometry: FrameGeometry, pixel: PixelName
    ) -> NumberedPixels:
        """Convert on the GPU, where the frames are, and copy the small results to the CPU, many at a time.

        Raises:
            DeviceError: `pixel` is not `rgb8`, the only one that is made on the GPU.
            VideoError: a frame cannot be converted, or the GPU did not decode it.
            MemoryError: the GPU has too little memory.
        """
        if pixel != "rgb8":
            raise DeviceError(facts.path, f"NVDEC: frames of pixel {pixel!r} are decoded on the CPU alone")
        import torch

        from cache_builder.gpu.convert import CudaFrameConverter, YuvConverters

        converter = CudaFrameConverter(
            YuvConverters(geometry),
            facts.presentation.plain,
            path=facts.path,
            import_plane=self.import_plane,
        )
        numbers: list[int] = []
        try:
            converted = torch.empty(
                (FRAMES_PER_DOWNLOAD, geometry.height, geometry.width, 3),
                dtype=torch.uint8,
                device=self.torch_device,
            )
            for number, decoded in frames:
                aspect = facts.presentation.aspect_of_frame(decoded.sample_aspect_ratio)
                try:
                    converter.convert(decoded.frame, converted[len(numbers)], sample_aspect_ratio=aspect)
                except ValueError as error:
                    raise VideoError(facts.path, str(error)) from error
                numbers.append(number)
                if len(numbers) == len(converted):
                    yield from zip(numbers, converted.cpu().numpy(), strict=True)
                    numbers.clear()
            yield from zip(numbers, converted[: len(numbers)].cpu().numpy(), strict=True)
        except torch.cuda.OutOfMemoryError as error:
            raise MemoryError(f"out of memory on the GPU; try fewer workers ({error})") from error


def choose_backend(
    device: str, *, decoder: str | None = None, notify: Callable[[str], None]
) -> DecodeBackend:
    """The CPU or the GPU that `device` (`cpu`, `cuda`, `cuda:N` or `auto`) names.

    Where `auto` comes to mean the CPU, `notify` is called with the reason. `decoder` is for `NvdecDevice`.

    Raises:
        ValueError: another `device`, or a `decoder` that FFmpeg does not have, or a `decoder` for the CPU.
        CudaForkError: this process was forked from one that had started CUDA.
        CudaUnavailableError: `device` names a GPU that cannot be used.
    """
    kind, _, number = device.partition(":")
    if device == "cpu":
        if decoder is not None:
            raise ValueError(f"decoder={decoder!r} is for a GPU, and device is 'cpu'")
        return CPU
    if device == "auto":
        nvdec = NvdecDevice(decoder=decoder)
        try:
            nvdec.check()
        except CudaUnavailableError as error:
            notify(f"decoding on the CPU: {error}")
            return CPU
        return nvdec
    if kind != "cuda" or not (device == "cuda" or (number.isascii() and number.isdigit())):
        raise ValueError(f"device must be cpu, cuda, cuda:N or auto, found {device!r}")
    nvdec = NvdecDevice(ordinal=int(number or 0), decoder=decoder)
    nvdec.check()
    return nvdec
