"""Frames in the GPU's memory: proof that they are there, and in which format."""

from typing import Final

import av

from cache_builder.errors import DeviceError

BIT_DEPTHS: Final = {"nv12": 8, "p010le": 10, "p016le": 12}
"""Bits of a sample in the formats that NVDEC gives 4:2:0 video in."""


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
