"""A batch of moments that several cameras filmed: frames by camera, and all else once."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from frame_store.shared import counted
from loader.batches.anchors import AnchorBatch


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CameraBatch(AnchorBatch):
    """What B anchors show in each camera, as torch tensors, all on one device.

    An anchor is a moment that the sampler drew: one frame of each camera. The rest is as in `FrameBatch`: windows,
    `batch[i]`, `to`. In a sample, `frame` is a dict by camera, which torch's default collation takes.
    """

    _by_name: ClassVar[Collection[str]] = ("frames", *AnchorBatch._by_name)

    frames: Mapping[str, torch.Tensor]
    """By camera, in the order of the group: shape (B, 3, H, W) or (B, T, 3, H, W), as in `FrameBatch`. Sizes and dtypes
    may differ from camera to camera."""

    def __post_init__(self) -> None:
        """Check as `FrameBatch` does, and that there is a camera.

        Raises:
            TypeError: `frames` is no mapping, or has a value that is no tensor.
            ValueError: no camera, or shapes or dtypes that do not fit.
        """
        if not isinstance(self.frames, Mapping):
            raise TypeError(f"frames must be a dict by camera, found {type(self.frames).__name__}")
        if not self.frames:
            raise ValueError("frames must have a camera")
        super().__post_init__()

    def with_frames(self, frames: Mapping[str, torch.Tensor]) -> "CameraBatch":
        """The same batch with other frames: tensors of any dtype and layout whose first dimension is B.

        Raises:
            TypeError: `frames` is no mapping of tensors.
            ValueError: it is empty, or the first dimension of a tensor is not B.
        """
        return replace(self, frames=frames)

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name} {str(frames.dtype).removeprefix('torch.')} {tuple(frames.shape)}"
            for name, frames in self.frames.items()
        )
        num_bytes = sum(frames.nbytes for frames in self.frames.values())
        device = next(iter(self.frames.values())).device
        return f"{self._described(shown)}{counted(num_bytes, 'byte')} on {device})"
