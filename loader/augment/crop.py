"""A part of a frame, resized as torchvision resizes it."""

from collections.abc import Sequence

import torch


def resized_part(frame: torch.Tensor, box: Sequence[int], *, size: tuple[int, int]) -> torch.Tensor:
    """The part `box` (top, left, height, width) of uint8 (3, H, W), resized: float32 (3, *size) in [0, 255]."""
    top, left, height, width = box
    part = frame[:, top : top + height, left : left + width]
    part = part.to(torch.float32, memory_format=torch.contiguous_format)
    if (height, width) == size:
        return part
    return torch.nn.functional.interpolate(
        part[None], size=size, mode="bilinear", align_corners=False, antialias=True
    )[0]
