"""Decoded planes from the GPU and from the CPU, as arrays of the same layout."""

from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from frame_cache_tools.bench.gpu.sources import decoded_frames

_SHIFTS = {"yuv420p": 0, "yuvj420p": 0, "yuv420p10le": 6, "yuv420p12le": 4}
"""NVDEC shifts values up by this number of bits, compared with these formats of the CPU."""


class Planes(NamedTuple):
    """A frame in the layout of NVDEC."""

    pts: int | None
    luma: Any
    """uint8, or uint16 with the value in the upper bits; (H, W)."""
    chroma: Any
    """The same, (ceil(H / 2), ceil(W / 2), 2): Cb, Cr."""


def planes_on_gpu(path, nvdec):
    with closing(decoded_frames(path, nvdec)) as frames:
        for frame in frames:
            yield Planes(frame.pts, *(downloaded(nvdec.import_plane(plane)) for plane in frame.planes))


def planes_on_cpu(path):
    with closing(decoded_frames(path, None)) as frames:
        for frame in frames:
            yield semi_planar(frame)


def semi_planar(frame):
    """Convert a 4:2:0 frame of the CPU to NVDEC's layout: chroma interleaved, values in the highest bits."""
    shift = _SHIFTS[frame.format.name]
    dtype = np.dtype(np.uint16 if shift else np.uint8)
    sides = [(plane.height, plane.width) for plane in frame.planes]
    luma, *chroma = (
        np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)[:height, :width]
        for plane, (height, width) in zip(frame.planes, sides, strict=True)
    )
    return Planes(frame.pts, luma << dtype.type(shift), np.stack(chroma, axis=-1) << dtype.type(shift))


def downloaded(plane):
    """The samples of a tensor. torch hardly supports uint16 on a GPU, but copies int16 like other types."""
    import torch

    if plane.dtype == torch.uint8:
        return plane.cpu().numpy()
    return plane.view(torch.int16).cpu().numpy().view(np.uint16)
