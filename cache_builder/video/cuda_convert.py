"""Frame in a GPU's memory -> upright RGB of the stored size, there, in the caller's tensor."""

from fractions import Fraction

import av
import torch
from av.video.reformatter import ColorRange

from cache_builder.video.geometry import FrameGeometry, count_quarter_turns, place_frame
from cache_builder.video.nvdec import NvdecDevice, check_on_device
from cache_builder.video.yuv_rgb import YuvFormat, YuvToRgb


class CudaFrameConverter:
    """Converts the frames of one video, one thread at a time, as `convert.FrameConverter` does on the CPU.

    At full size its results are within 1 of that one's; after resizing, within 0.2 on average.
    """

    def __init__(
        self,
        geometry: FrameGeometry,
        *,
        rotation_degrees: int,
        sample_aspect_ratio: Fraction | None,
        path: str,
        nvdec: NvdecDevice,
    ) -> None:
        """See `FrameConverter`; `path` is for messages, `nvdec` what the frames come from.

        Raises:
            ValueError: the rotation is no multiple of 90 degrees.
        """
        count_quarter_turns(rotation_degrees)
        self._geometry = geometry
        self._rotation_degrees = rotation_degrees
        self._sample_aspect_ratio = sample_aspect_ratio
        self._path = path
        self._nvdec = nvdec
        self._converters: dict[tuple[int, int, YuvFormat, torch.device], YuvToRgb] = {}

    def convert(self, frame: av.VideoFrame, out: torch.Tensor) -> torch.Tensor:
        """Queue the conversion on the current stream, which must be the default one: see `cache_builder.video.nvdec`.

        Args:
            frame: One that NVDEC decoded.
            out: Contiguous uint8 (height, width, 3) on the frame's device.

        Returns:
            `out`, upright RGB once the stream gets there.

        Raises:
            NvdecError: the GPU did not decode it, or to a format that cannot be taken over.
            ValueError: the frame's colour matrix is one without a conversion to RGB.
        """
        bit_depth = check_on_device(frame, self._path)
        yuv_format = YuvFormat(
            colour_matrix=int(frame.colorspace),
            is_full_range=frame.color_range == ColorRange.JPEG,
            bit_depth=bit_depth,
        )
        luma, chroma = (self._nvdec.import_plane(plane) for plane in frame.planes)
        convert = self._converter(frame.width, frame.height, yuv_format, out.device)
        return convert(luma, chroma, out)

    def _converter(self, width: int, height: int, yuv_format: YuvFormat, device: torch.device) -> YuvToRgb:
        """Made once for frames of one kind: its weights lie on the device."""
        key = (width, height, yuv_format, device)
        if key not in self._converters:
            placement = place_frame(
                self._geometry,
                coded_width=width,
                coded_height=height,
                sample_aspect_ratio=self._sample_aspect_ratio,
                rotation_degrees=self._rotation_degrees,
            )
            self._converters[key] = YuvToRgb(
                placement,
                frame_shape=(self._geometry.height, self._geometry.width, 3),
                coded_width=width,
                coded_height=height,
                yuv_format=yuv_format,
                device=device,
            )
        return self._converters[key]
