"""Stored pixels as LeRobot gives pictures: colour in [0, 1], depth in millimetres or metres."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

import torch

from frame_store.lerobot_statement import is_depth_feature
from frame_store.protocol import Frames
from loader.errors import LeRobotError

DepthUnit: TypeAlias = Literal["mm", "m"]

_WHITE: Final = 255
_MAX_CODE: Final = 4095
"""LeRobot stores depth as 12 bits."""
_MAX_MILLIMETRES: Final = 65535


def colour(frames: Frames, out: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, 3) as float32 (N, 3, H, W), divided by 255, into `out`."""
    # Image by image: the second pass then finds the numbers in the CPU's cache.
    for image, made in zip(torch.from_numpy(frames).permute(0, 3, 1, 2), out, strict=True):
        made.copy_(image).div_(_WHITE)
    return out


@dataclass(frozen=True, kw_only=True)
class DepthCodes:
    """How LeRobot turns metres into the codes of a depth video, as the camera's feature states it.

    Raises:
        LeRobotError: numbers that no such code has.
    """

    depth_min: float = 0.01
    """In metres, as the others."""
    depth_max: float = 10.0
    shift: float = 3.5
    use_log: bool = True
    unit: DepthUnit = "mm"
    """Of the pictures that `pictures` gives."""

    def __post_init__(self) -> None:
        """Check the range."""
        if self.unit not in get_args(DepthUnit):
            raise LeRobotError(f"depth_output_unit must be 'mm' or 'm', found {self.unit!r}")
        if not self.depth_min < self.depth_max or (self.use_log and self.depth_min + self.shift <= 0):
            raise LeRobotError(
                f"depth is coded from {self.depth_min} to {self.depth_max} m, shift {self.shift}"
            )

    @classmethod
    def of(cls, feature: Mapping[str, Any], unit: DepthUnit) -> "DepthCodes":
        """Of a camera's entry in `features`; what it does not state is LeRobot's default."""
        info = feature.get("info") or {}
        names = ("depth_min", "depth_max", "shift", "use_log")
        stated = {name: info[f"video.{name}"] for name in names if info.get(f"video.{name}") is not None}
        return cls(unit=unit, **stated)

    def pictures(self, frames: Frames, out: torch.Tensor) -> torch.Tensor:
        """uint16 (N, H, W, 1) as float32 (N, 1, H, W), into `out`: LeRobot's operations in LeRobot's order."""
        depth = out.copy_(torch.from_numpy(frames).permute(0, 3, 1, 2))
        low, high = self.depth_min, self.depth_max
        if self.use_log:
            low, high = math.log(low + self.shift), math.log(high + self.shift)
        depth.mul_((high - low) / _MAX_CODE).add_(low)
        if self.use_log:
            depth.exp_().sub_(self.shift)
        depth.clamp_(self.depth_min, self.depth_max)
        if self.unit == "mm":
            depth.mul_(1000).round_().clamp_(0, _MAX_MILLIMETRES)
        return depth


def is_depth(feature: Mapping[str, Any]) -> bool:
    """Whether LeRobot marks a camera as a depth camera."""
    return is_depth_feature(feature)
