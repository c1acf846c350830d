"""Makes the live store of a camera: by its pixels, its size and what decodes."""

import warnings
from collections.abc import Collection
from dataclasses import dataclass

from cache_builder.errors import ConfigError, VideoError, VideosNotWholeError
from cache_builder.gpu import NvdecDevice
from cache_builder.live.footage import Footage
from cache_builder.live.store import LiveStore
from cache_builder.plan import resolved_geometry
from cache_builder.sources import PassedOver
from cache_builder.video.decode import DecodeBackend
from cache_builder.video.picture import FrameGeometry, why_no_levels
from frame_store.names import PixelName


@dataclass(frozen=True, kw_only=True)
class StoreMaker:
    """What all cameras of a source have in common."""

    geometry: FrameGeometry
    """Native: each camera has the size of its own videos."""
    pixel: PixelName | None
    """None: `gray16` for depth cameras, `rgb8` for others."""
    depth_cameras: Collection[str]
    backend: DecodeBackend
    device: str
    """As the caller named it."""
    max_open: int
    passed_over: PassedOver

    def make(self, footage: Footage, camera: str | None) -> LiveStore:
        """The store of a camera; for None, of a source without cameras.

        Raises:
            ConfigError: the size is to be native and videos differ in size, or a GPU is to decode
                16-bit gray.
            VideosNotWholeError: videos of colours that are to be 16-bit gray; or the size is to be native, and none can
                be read.
        """
        if self.geometry.is_native and not footage.files:
            where = "" if camera is None else f"of camera {camera!r} "
            raise VideosNotWholeError(
                [str(place) for place in footage.places if isinstance(place, VideoError)],
                fault=f"{where}cannot be read, so {{--size native}} is unknown",
                remedy="repair one, or give {--size} a number",
            )
        geometry = resolved_geometry(
            self.geometry,
            [file.scan.facts for file in footage.files],
            where="" if camera is None else f"camera {camera}: ",
        )
        pixel = self.pixel or ("gray16" if camera in self.depth_cameras else "rgb8")
        if pixel == "gray16":
            _require_levels(footage)
        if isinstance(self.backend, NvdecDevice):
            if pixel == "rgb8":
                return self._on_device(footage, geometry, self.backend)
            self._leave_to_cpu()
        return LiveStore(
            footage, geometry=geometry, pixel=pixel, max_open=self.max_open, passed_over=self.passed_over
        )

    def _on_device(self, footage: Footage, geometry: FrameGeometry, nvdec: NvdecDevice) -> LiveStore:
        from cache_builder.live.gpu_store import CudaLiveStore  # needs torch

        return CudaLiveStore(
            footage,
            geometry=geometry,
            max_open=self.max_open,
            passed_over=self.passed_over,
            nvdec=nvdec,
            falls_back=self.device == "auto",
        )

    def _leave_to_cpu(self) -> None:
        """Say that the CPU decodes 16-bit gray; raise ConfigError where only the GPU may decode."""
        if self.device != "auto":
            raise ConfigError(
                f"device={self.device!r}: no GPU decodes 16-bit gray (pixel 'gray16'); take device='auto' or 'cpu'"
            )
        warnings.warn("device='auto': 16-bit gray (pixel 'gray16') is decoded on the CPU", stacklevel=4)


def _require_levels(footage: Footage) -> None:
    """Raise VideosNotWholeError if there are videos of colours, which have no levels."""
    formats = {file.scan.facts.path: file.scan.facts.pixel_format for file in footage.files}
    problems = {path: why_no_levels(pixel_format) for path, pixel_format in formats.items()}
    if any(problems.values()):
        raise VideosNotWholeError(
            [str(VideoError(path, reason)) for path, reason in problems.items() if reason is not None],
            fault="cannot be opened with {--pixel gray16}",
            remedy="open them with {--pixel rgb8}, or leave them out with {--exclude}",
        )
