"""Videos as a frame store: the GPU decodes them on demand to frames in its memory."""

import threading
import warnings
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from av.video.frame import VideoFrame

from cache_builder.errors import DeviceError, VideoChangedError, VideoError
from cache_builder.gpu import (
    ChromaLocation,
    CudaFrameConverter,
    NvdecDevice,
    YuvConverters,
    find_chroma_location,
    probe_nvdec,
)
from cache_builder.live.footage import Footage
from cache_builder.live.open_file import LiveFile, Outs
from cache_builder.live.store import LiveStore
from cache_builder.sources import PassedOver
from cache_builder.video.decode import CPU, VideoReader
from cache_builder.video.picture import FrameConverter, FrameGeometry
from cache_builder.video.scan import VideoScan
from frame_store.protocol import FrameIds, Frames, check_frame_ids, check_out, check_outs

MAX_IDLE_BYTES_ON_DEVICE: Final = 2 << 30
"""GPU memory of the decoders of files that are kept open. Opening a decoder costs more than on the CPU."""


class CudaLiveStore(LiveStore):
    """Frames of a table of videos, decoded on a GPU on demand. Implements `DecodesOnDevice`.

    The order of frames, ids and index are those of `LiveStore`; pixels agree with its pixels to rounding. Several
    threads should read at once: one video keeps one of the GPU's decoding engines busy (an H100 has 7).

    Args:
        nvdec: the GPU.
        falls_back: whether the CPU decodes the videos that the GPU cannot decode, and their frames are uploaded, with
            one warning for each reason; otherwise such a video is an error.
    """

    _max_idle_bytes = MAX_IDLE_BYTES_ON_DEVICE

    def __init__(
        self,
        footage: Footage,
        *,
        geometry: FrameGeometry,
        max_open: int,
        passed_over: PassedOver | None = None,
        nvdec: NvdecDevice,
        falls_back: bool,
    ) -> None:
        super().__init__(footage, geometry=geometry, max_open=max_open, passed_over=passed_over)
        self._nvdec = nvdec
        self._falls_back = falls_back
        self._fallback_reasons: dict[int, str] = {}
        self._proven: set[int] = set()
        self._chroma_locations: dict[int, ChromaLocation] = {}
        self._converters = YuvConverters(geometry)
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        stays_here = {"_lock", "_converters"}
        return {name: value for name, value in super().__getstate__().items() if name not in stays_here}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lock = threading.Lock()
        self._converters = YuvConverters(self._geometry)

    def __repr__(self) -> str:
        return f"{super().__repr__()} on {self.device}"

    @property
    def device(self) -> torch.device:
        """Where the frames of `read_frames_on_device` are."""
        return self._nvdec.torch_device

    @property
    def may_cross_fork(self) -> bool:
        """False: CUDA does not survive a fork."""
        return False

    @property
    def fallbacks(self) -> Counter[str]:
        """Number of files decoded on the CPU so far, by the reason why the GPU did not decode them."""
        with self._lock:
            return Counter(self._fallback_reasons.values())

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """Frames in request order in the CPU's memory: uint8 RGB (B, H, W, 3). One copy from the GPU brings all.

        Raises:
            The errors of `read_frames_on_device`.
        """
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        out = check_out(out, num_frames=len(ids), store=self)
        torch.from_numpy(out).copy_(self.read_frames_on_device(ids))
        return out

    def read_frames_into(self, frame_ids: FrameIds, outs: Sequence[Frames]) -> None:
        """Write frame frame_ids[i] to outs[i] in the CPU's memory; otherwise as `read_frames`."""
        check_outs(outs, num_frames=len(frame_ids), store=self)
        for frame, out in zip(self.read_frames(frame_ids), outs, strict=True):
            out[:] = frame

    def read_frames_on_device(self, frame_ids: FrameIds, out: torch.Tensor | None = None) -> torch.Tensor:
        """Frames in request order on `device`: uint8 RGB (B, H, W, 3), into `out` where given.

        The host waits for the decoder, not for the colour conversion: the result is ready for work on the caller's
        current stream.

        Raises:
            FrameIdError: an id outside [0, len(self)).
            ValueError: `out` has another shape, dtype or device, or is not contiguous.
            DeviceError: the GPU does not decode a video, and the store does not fall back; contains the reason.
            VideoError: a video changed since it was scanned, or decodes to other frames than the scan predicted.
            CudaForkError: this process was forked from one that had started CUDA.
        """
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        self._nvdec.check()
        out = self._check_device_out(out, num_frames=len(ids))
        with _DefaultStream(out.device):
            self._read(ids, out)
        return out

    def _identity(self) -> dict[str, Any]:
        return {**super()._identity(), "decoder": "nvdec, or the CPU" if self._falls_back else "nvdec"}

    def _check_device_out(self, out: torch.Tensor | None, *, num_frames: int) -> torch.Tensor:
        shape = (num_frames, *self.frame_shape)
        if out is None:
            return torch.empty(shape, dtype=torch.uint8, device=self.device)
        if (tuple(out.shape), out.dtype, out.device) != (shape, torch.uint8, self.device) or (
            not out.is_contiguous()
        ):
            raise ValueError(
                f"out must be contiguous torch.uint8 {shape} on {self.device}, "
                f"found {out.dtype} {tuple(out.shape)} on {out.device}, strides {out.stride()}"
            )
        return out

    def _read_file(self, file: int, wanted: list[int], positions: list[int], outs: Outs) -> None:
        try:
            super()._read_file(file, wanted, positions, outs)
        except VideoChangedError:
            raise
        except VideoError as error:
            if not self._falls_back or file in self._fallback_reasons:
                raise
            self._fall_back(file, error.reason)
            super()._read_file(file, wanted, positions, outs)

    def _make_file(self, file: int) -> LiveFile:
        path, scan = self._files[file]
        if file not in self._fallback_reasons and file not in self._proven:
            try:
                probe_nvdec(
                    path,
                    scan.facts,
                    self._nvdec,
                    look=partial(self._note_chroma, file),
                )
            except DeviceError as error:
                if not self._falls_back:
                    raise
                self._fall_back(file, error.reason)
            else:
                self._proven.add(file)
        if file in self._fallback_reasons:
            return self._assemble_file(file, converter=_UploadingConverter(self._geometry, scan), backend=CPU)
        converter = CudaFrameConverter(
            self._converters,
            scan.facts.presentation.plain,
            path=scan.facts.path,
            import_plane=self._nvdec.import_plane,
            chroma_location=self._chroma_locations.get(file),
        )
        return self._assemble_file(file, converter=converter, backend=self._nvdec)

    def _note_chroma(self, file: int, frame: VideoFrame) -> None:
        if self._nvdec.decoder is not None:  # a decoder chosen by name does not state the siting
            path, scan = self._files[file]
            with VideoReader(path, scan) as reader:
                frame = next(iter(reader.decode(0, len(scan.packets)))).frame
        self._chroma_locations[file] = find_chroma_location(frame)

    def _fall_back(self, file: int, reason: str) -> None:
        with self._lock:
            is_new = reason not in self._fallback_reasons.values()
            self._fallback_reasons[file] = reason
        if is_new:
            path = self._files[file][1].facts.path
            warnings.warn(
                f"{path!r}, and others like it, are decoded on the CPU: {reason}; `fallbacks` counts them",
                stacklevel=2,
            )


class _UploadingConverter:
    """Converts frames that the CPU decoded, and uploads them to the GPU."""

    def __init__(self, geometry: FrameGeometry, scan: VideoScan) -> None:
        self._converter = FrameConverter(geometry, scan.facts.presentation.plain)
        self._pixels = np.empty((geometry.height, geometry.width, 3), np.uint8)

    def convert(
        self, frame: VideoFrame, out: torch.Tensor, *, sample_aspect_ratio: Fraction | None
    ) -> torch.Tensor:
        pixels = self._converter.convert(frame, self._pixels, sample_aspect_ratio=sample_aspect_ratio)
        # The pixels lie in pageable memory. When such a copy returns, it has read them, so they may be overwritten.
        return out.copy_(torch.from_numpy(pixels))


class _DefaultStream:
    """Work on the device's default stream, in order with the caller's work queued before and after."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._caller: torch.cuda.Stream | None = None

    def __enter__(self) -> None:
        if self._device.type != "cuda":
            return
        self._caller = torch.cuda.current_stream(self._device)
        self._default = torch.cuda.default_stream(self._device)
        self._default.wait_stream(self._caller)
        self._context = torch.cuda.stream(self._default)
        self._context.__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: object) -> None:
        if self._caller is None:
            return
        self._context.__exit__(*error)
        self._caller.wait_stream(self._default)
