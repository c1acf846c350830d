"""Planes of a decoded 4:2:0 frame -> upright RGB of the stored size, in plain torch operations.

It is `FrameConverter` for planes on a GPU, without swscale; the same code runs on the CPU. Luma and chroma are cropped
and resized first, by one matrix product an axis (`resize_weights`). The colour matrix is applied to the small picture
only: for 1080p -> 224 that is a fortieth of the pixels.

Difference from swscale with `ACCURATE_FLAGS`: at most 1, at full size and resized; for noise scaled up, one value in
some millions is 2 off. On average 0.01 to 0.03 for frames scaled down to 224x224, 0.1 for noise scaled up: swscale
rounds its weights to 14 and 12 bits, and leaves out taps with weights under 0.002. In the cases where swscale is
inexact (`video.picture.convert` lists them) this code follows the formula, except that the chroma of odd sizes is
stretched too.

Cost: 9 kernels a frame (two casts, two products a plane, one for colour, a clamp, a copy), 10 if torch adds the
colour's constant separately; one more each for a mirrored frame, a turned frame, and black bars; fewer if an axis is
not resized.

Precision: products are float32. A program may allow TF32 (`torch.set_float32_matmul_precision("high")`), and factors
then keep 11 bits. Simulated on the CPU: with rounded factors 4 to 8 % of the values are 1 off; with truncated factors a
quarter to a half of the values are darker by 1, and a few by 2.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from cache_builder.gpu.resize_weights import ColumnResize, RowResize, bilinear_taps
from cache_builder.gpu.yuv_format import YuvFormat
from cache_builder.video.picture import FramePlacement, find_colour_matrix


class YuvToRgb:
    """Converts the planes of frames of one size and format. It contains only constants, so any thread may call it.

    Args:
        placement: Which part of the frame is kept, and where it lies in the stored frame.
        frame_shape: (height, width, 3) of the stored frame in `placement`.
        coded_width: Columns of the decoded frames.
        coded_height: Rows of the decoded frames.
        yuv_format: How the planes are to be read.
        device: Where the planes lie.

    Raises:
        ValueError: the placement keeps more than the decoded frame has, or does not fit the stored frame.
    """

    def __init__(
        self,
        placement: FramePlacement,
        *,
        frame_shape: tuple[int, int, int],
        coded_width: int,
        coded_height: int,
        yuv_format: YuvFormat,
        device: torch.device | str,
    ) -> None:
        # As in `FrameConverter`, an odd offset moves back to the beginning of a chroma sample.
        corner = (placement.crop_top // 2 * 2, placement.crop_left // 2 * 2)
        size = (placement.crop_height, placement.crop_width)
        if corner[0] + size[0] > coded_height or corner[1] + size[1] > coded_width:
            raise ValueError(f"a frame of {coded_width}x{coded_height} does not hold {placement}")
        scaled_size = (placement.scaled_height, placement.scaled_width)
        upright_size = scaled_size[::-1] if placement.orientation.lies_on_its_side else scaled_size
        bottom, right = placement.paste_top + upright_size[0], placement.paste_left + upright_size[1]
        if bottom > frame_shape[0] or right > frame_shape[1]:
            raise ValueError(f"a frame of shape {frame_shape} does not hold {placement}")

        device = torch.device(device)
        matrix, offset = _rgb_from_samples(yuv_format)
        self._matrix = torch.from_numpy(matrix.T.astype(np.float32)).to(device)
        # The 0.5 rounds; the cast to uint8 truncates.
        self._offset = torch.from_numpy((offset + 0.5).astype(np.float32)).to(device)
        self._luma = _PlaneResize(
            corner=corner, size=size, scaled_size=scaled_size, sample_centre=(0.5, 0.5), device=device
        )
        self._chroma = _PlaneResize(
            corner=(corner[0] // 2, corner[1] // 2),
            size=(_half_up(size[0]), _half_up(size[1])),
            scaled_size=scaled_size,
            sample_centre=(yuv_format.chroma_location.down, yuv_format.chroma_location.across),
            device=device,
        )
        self._dtype = torch.uint8 if yuv_format.bit_depth == 8 else torch.uint16
        self._device = self._matrix.device  # with its index
        self._coded_size = (coded_height, coded_width)
        self._frame_shape = frame_shape
        self._scaled_size = scaled_size
        self._orientation = placement.orientation
        self._has_bars = upright_size != frame_shape[:2]
        self._pasted = (slice(placement.paste_top, bottom), slice(placement.paste_left, right))

    def __call__(self, luma: torch.Tensor, chroma: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Convert one frame. On CUDA the work is queued on the current stream, without waiting for it.

        Args:
            luma: uint8 (NV12) or uint16 (P010, P012, P016), (coded_height, coded_width); rows may be padded.
            chroma: Same dtype, (rows, columns, 2), Cb before Cr; rows may be padded. Rows and columns are half of
                luma's, rounded up. PyAV rounds down when it exports NV12 and P010 through DLPack; then the last row or
                column is repeated.
            out: Contiguous uint8 (height, width, 3), such as one frame of a batch; all of it is written.

        Returns:
            `out`.

        Raises:
            ValueError: a tensor has another shape, dtype, order or device than the converter.
        """
        self._check(luma, chroma, out)
        height, width = self._scaled_size
        yuv = torch.empty((3, height, width), dtype=torch.float32, device=self._device)
        self._luma(luma.unsqueeze(1), yuv[:1])
        self._chroma(chroma.transpose(1, 2), yuv[1:])
        rgb = torch.addmm(self._offset, yuv.view(3, -1).T, self._matrix).clamp_(0, 255)
        upright = rgb.view(height, width, 3)
        if self._orientation.is_mirrored:
            upright = upright.flip(1)
        if self._orientation.num_quarter_turns:
            upright = torch.rot90(upright, self._orientation.num_quarter_turns)
        if self._has_bars:
            out.zero_()
        out[self._pasted].copy_(upright)
        return out

    def _check(self, luma: torch.Tensor, chroma: torch.Tensor, out: torch.Tensor) -> None:
        height, width = self._coded_size
        chroma_shape = (_half_up(height), _half_up(width), 2)
        for name, tensor, dtype, shapes in (
            ("luma", luma, self._dtype, [(height, width)]),
            ("chroma", chroma, self._dtype, [chroma_shape, (height // 2, width // 2, 2)]),
            ("out", out, torch.uint8, [self._frame_shape]),
        ):
            if tensor.shape not in shapes or tensor.dtype != dtype or tensor.device != self._device:
                raise ValueError(
                    f"{name} must be {dtype} {shapes[0]} on {self._device}, "
                    f"not {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
                )
        if not out.is_contiguous():
            raise ValueError(f"out must be contiguous, not of strides {out.stride()}")


class _PlaneResize:
    """Crops and resizes one plane.

    Args:
        corner: (row, column) of the first sample kept.
        size: (rows, columns) kept.
        scaled_size: (rows, columns) of the result.
        sample_centre: Position of a sample in its cell, (down, across), as in `bilinear_taps`.
        device: Where the planes lie.
    """

    def __init__(
        self,
        *,
        corner: tuple[int, int],
        size: tuple[int, int],
        scaled_size: tuple[int, int],
        sample_centre: tuple[float, float],
        device: torch.device,
    ) -> None:
        rows, columns = (
            bilinear_taps(num_in, num_out, sample_centre=centre)
            for num_in, num_out, centre in zip(size, scaled_size, sample_centre, strict=True)
        )
        self._size = size
        self._kept = (
            slice(corner[0], corner[0] + size[0]),
            slice(None),
            slice(corner[1], corner[1] + size[1]),
        )
        self._resize_rows = None if rows.is_identity else RowResize(rows, device)
        self._resize_columns = None if columns.is_identity else ColumnResize(columns, device)

    def __call__(self, plane: torch.Tensor, out: torch.Tensor) -> None:
        """(rows, channels, columns) of any dtype and strides -> `out`, float32 (channels, rows, columns)."""
        num_rows, num_columns = self._size
        # On CUDA torch.uint16 supports hardly more than this cast.
        samples = plane[self._kept].to(torch.float32, memory_format=torch.contiguous_format)
        if samples.shape[0] < num_rows:
            samples = torch.cat([samples, samples[-1:]])
        if samples.shape[2] < num_columns:
            samples = torch.cat([samples, samples[:, :, -1:]], dim=2)
        rows = samples.view(num_rows, -1)
        if self._resize_rows is not None:
            rows = self._resize_rows(rows)
        pictures = rows.view(rows.shape[0], -1, num_columns).transpose(0, 1)
        if self._resize_columns is None:
            out.copy_(pictures)
        else:
            self._resize_columns(pictures, out)


def _rgb_from_samples(yuv_format: YuvFormat) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix (3, 3) and offset (3,) from stored (Y, Cb, Cr) to (R, G, B) in [0, 255] (ITU-T H.273, section 8.3)."""
    colour = find_colour_matrix(yuv_format.colour_matrix)
    kr, kb = colour.kr, colour.kb
    kg = 1 - kr - kb
    matrix = np.array(
        [
            [1, 0, 2 * (1 - kr)],
            [1, -2 * kb * (1 - kb) / kg, -2 * kr * (1 - kr) / kg],
            [1, 2 * (1 - kb), 0],
        ]
    )
    bits = yuv_format.bit_depth
    step = 2 ** (bits - 8)
    if yuv_format.is_full_range:
        zero, span = np.array([0, 128, 128]) * step, np.full(3, 2**bits - 1)
    else:
        zero, span = np.array([16, 128, 128]) * step, np.array([219, 224, 224]) * step
    # 10 bits lie in the high bits of 16. The low bits are 0 by definition; other values would count as a fraction.
    unit = 1 if bits == 8 else 2 ** (16 - bits)
    matrix = matrix * (255 / (span * unit))
    return matrix, -matrix @ (zero * unit)


def _half_up(size: int) -> int:
    return (size + 1) // 2
