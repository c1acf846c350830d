"""A batch of frames, with the video and the place in it of each frame."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from frame_store.protocol import Frames
from frame_store.shared import counted


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FrameBatch:
    """B frames, or B clips of T frames, as torch tensors, all on one device.

    For clips, a dimension T follows B in every shape below: frames are (B, T, 3, H, W), ids (B, T).

    A batch is also a sequence of samples: `batch[i]` is a dict of one frame (a view, not a copy). Torch's default
    collation uses this; see `FrameDataset`.
    """

    frames: torch.Tensor
    """Shape (B, 3, H, W), RGB. Frames as read are uint8 and channels_last in memory: a permuted view of (B, H, W, 3),
    not a copy. An `Augmentation` makes contiguous float32, float16 or bfloat16. Another callable makes any tensor whose
    first dimension is B."""
    frame_ids: torch.Tensor
    """int64, shape (B,): the frame's number in its store."""
    video_ids: torch.Tensor
    """int64, shape (B,): the row in the store's table of videos."""
    frame_in_video: torch.Tensor
    """int64, shape (B,): ordinal in the video's output order."""
    pts_seconds: torch.Tensor
    """float64, shape (B,): presentation time, NaN if the video has none."""

    def __post_init__(self) -> None:
        """Check that all are tensors, that there is a frame for each id, and the dtypes and shapes of the ids."""
        for name, tensor in self.tensors().items():
            if not isinstance(tensor, torch.Tensor):
                raise TypeError(f"{name} must be a torch.Tensor, found {type(tensor).__name__}")
        shape = self.frame_ids.shape
        if len(shape) not in {1, 2}:
            raise ValueError(f"frame_ids must have shape (B,), or (B, T) for clips, found {tuple(shape)}")
        if self.frames.dim() == 0 or len(self.frames) != shape[0]:
            raise ValueError(
                f"frames must have the first dimension {shape[0]}, as frame_ids have, "
                f"found {self.frames.dtype} {tuple(self.frames.shape)}"
            )
        for name, dtype in _DTYPES.items():
            tensor = getattr(self, name)
            if tensor.dtype != dtype or tensor.shape != shape:
                raise ValueError(
                    f"{name} must be {dtype} of shape {tuple(shape)}, found {tensor.dtype} {tuple(tensor.shape)}"
                )

    @classmethod
    def from_numpy(cls, *, frames: Frames, frame_ids: npt.ArrayLike, rows: npt.NDArray[Any]) -> "FrameBatch":
        """A batch over `frames`, uint8 (B, H, W, 3) or (B, T, H, W, 3), without copying them.

        `frame_ids` and `rows` (what `store.rows_of` gives for them, or any structured array with the fields `video_id`,
        `frame_in_video` and `pts_seconds`) have shape (B,) or (B, T) and are copied.

        Raises:
            ValueError: frames of another dtype or shape, or ids or rows of another shape.
        """
        if frames.dtype != np.uint8 or frames.shape[:-3] != np.shape(frame_ids) or frames.shape[-1] != 3:
            expected = ", ".join(map(str, [*np.shape(frame_ids), "H", "W", 3]))
            raise ValueError(f"frames must be uint8 ({expected}), found {frames.dtype} {frames.shape}")
        return cls(
            frames=torch.from_numpy(frames).movedim(-1, -3),
            frame_ids=torch.from_numpy(np.array(frame_ids, np.int64)),
            video_ids=torch.from_numpy(np.array(rows["video_id"], np.int64)),
            frame_in_video=torch.from_numpy(np.array(rows["frame_in_video"], np.int64)),
            pts_seconds=torch.from_numpy(np.array(rows["pts_seconds"], np.float64)),
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """The five tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def with_frames(self, frames: torch.Tensor) -> "FrameBatch":
        """The same batch with other frames: a tensor of any dtype and layout whose first dimension is B.

        Raises:
            TypeError: `frames` is not a tensor (`torch.from_numpy` converts an array).
            ValueError: its first dimension is not B.
        """
        return replace(self, frames=frames)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "FrameBatch":
        """The same batch on `device`; with `non_blocking`, the copy of a pinned batch overlaps with other work."""
        return FrameBatch(
            **{name: tensor.to(device, non_blocking=non_blocking) for name, tensor in self.tensors().items()}
        )

    def pin_memory(self) -> "FrameBatch":
        """The same batch in page-locked memory; torch's DataLoader calls this under `pin_memory=True`."""
        return FrameBatch(**{name: tensor.pin_memory() for name, tensor in self.tensors().items()})

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        """One sample: `frame` (3, H, W) and the scalars `frame_id`, `video_id`, `frame_in_video`, `pts_seconds`."""
        return {
            "frame": self.frames[position],
            "frame_id": self.frame_ids[position],
            "video_id": self.video_ids[position],
            "frame_in_video": self.frame_in_video[position],
            "pts_seconds": self.pts_seconds[position],
        }

    def __repr__(self) -> str:
        what = "clips" if self.frame_ids.dim() == 2 else "frames"
        dtype = str(self.frames.dtype).removeprefix("torch.")
        return (
            f"FrameBatch({len(self)} {what}, {dtype} {tuple(self.frames.shape)}, "
            f"{counted(self.frames.nbytes, 'byte')} on {self.frames.device})"
        )


_DTYPES = {
    "frame_ids": torch.int64,
    "video_ids": torch.int64,
    "frame_in_video": torch.int64,
    "pts_seconds": torch.float64,
}
