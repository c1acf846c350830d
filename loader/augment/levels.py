"""Crops and flips of 16-bit levels, such as depths: every value of the output is a level of the frame.

A mean of two distances at the edge of an object would be a distance where nothing is, so a crop takes the nearest
pixels. Colours, means and small dtypes make no sense of levels, and are refused when a loader is made.
"""

import numpy as np
import numpy.typing as npt
import torch

from loader.augment.draw import AugmentParameters


def augment_levels(frames: torch.Tensor, parameters: AugmentParameters, *, out: torch.Tensor) -> None:
    """Crop to the nearest pixels, then flip.

    `frames` are uint16 (B, 1, H, W), `out` is float32 (B, 1, h, w): the levels as they are, 0 to 65535.
    """
    rows, columns = _places(parameters, source=(frames.shape[-2], frames.shape[-1]), shown=out.shape[-2:])
    # Torch computes with few types on few devices where they are uint16: the bits are taken as int16.
    levels = frames[:, 0].view(torch.int16)
    images = torch.arange(len(frames), device=frames.device)[:, None, None]
    picked = levels[images, _upload(rows, frames)[:, :, None], _upload(columns, frames)[:, None, :]]
    out[:, 0] = picked.to(torch.int32).bitwise_and_(0xFFFF)


def _places(
    parameters: AugmentParameters, *, source: tuple[int, int], shown: torch.Size
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Source row of each row, (B, h), and source column of each column, (B, w)."""
    boxes = parameters.crop_boxes
    if boxes is None:
        boxes = np.broadcast_to(np.array([0, 0, *source], np.int64), (len(parameters), 4))
    rows = boxes[:, [0]] + _nearest(boxes[:, 2], shown[0])
    columns = boxes[:, [1]] + _nearest(boxes[:, 3], shown[1])
    return rows, np.where(parameters.flips[:, None], columns[:, ::-1], columns)


def _nearest(sizes: npt.NDArray[np.int64], num_shown: int) -> npt.NDArray[np.int64]:
    """For each size, the pixel whose centre is nearest to that of each shown pixel: shape (B, num_shown)."""
    places: npt.NDArray[np.int64] = (2 * np.arange(num_shown) + 1) * sizes[:, None] // (2 * num_shown)
    return places


def _upload(places: npt.NDArray[np.int64], frames: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(places)).to(frames.device, non_blocking=True)
