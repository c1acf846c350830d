"""Frames in the GPU's memory: proof that the GPU decoded them, and their format."""

from typing import Final

import av

from cache_builder.errors import DeviceError

BIT_DEPTHS: Final = {"nv12": 8, "p010le": 10, "p016le": 12}
"""Bits of a sample in the formats in which NVDEC gives 4:2:0 video."""


def check_on_device(frame: av.VideoFrame, relative_path: str) -> int:
    """Bits of a sample of a frame that the GPU decoded to a format that can be converted.

    Raises:
        DeviceError: software decoded the frame, or it has another format.
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
