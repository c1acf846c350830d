"""A batch of frames, with the video and the place in it of each frame, and rows of columns beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from frame_store.protocol import Frames
from frame_store.shared import counted
from loader.batches.anchors import AnchorBatch, fields_of_anchors, frames_as_tensor


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FrameBatch(AnchorBatch):
    """What B anchors show, as torch tensors, all on one device.

    An anchor is a frame that the sampler drew. Without windows a batch has the B anchors themselves. With
    `frame_offsets` (or `clip_frames`) it has T frames for each anchor: the shapes (B, T).

    A batch is also a sequence of samples: `batch[i]` is a dict of one anchor (views, not copies). Torch's default
    collation uses this; see `FrameDataset`.
    """

    frames: torch.Tensor
    """Shape (B, 3, H, W) or (B, T, 3, H, W), RGB. Frames as read are uint8 and channels_last in memory: a permuted view
    of (B, H, W, 3), not a copy. An `Augmentation` makes contiguous float32, float16 or bfloat16. Another callable makes
    any tensor whose first dimension is B. With `stack_cameras=True` there is a dimension for the C cameras before
    these three: (B, C, 3, H, W) or (B, T, C, 3, H, W). Frames of 16-bit gray (`gray16`) are uint16 of 1 channel instead
    of 3. Torch computes little with torch.uint16: `.to(torch.int32)` or `.float()` first."""

    @classmethod
    def from_numpy(
        cls,
        *,
        frames: Frames,
        frame_ids: npt.ArrayLike,
        rows: npt.NDArray[Any],
        cache_ids: npt.ArrayLike | None = None,
        frame_is_pad: npt.ArrayLike | None = None,
        columns: Mapping[str, torch.Tensor] | None = None,
        column_is_pad: Mapping[str, torch.Tensor] | None = None,
        columns_valid: Mapping[str, torch.Tensor] | None = None,
    ) -> "FrameBatch":
        """A batch over `frames`, uint8 (B, H, W, 3) or (B, T, H, W, 3), or uint16 of 1 channel, without copying them.

        `frame_ids` have shape (B,). `cache_ids` and `rows` (what `rows_of` gives for them, or any structured array with
        the fields `video_id`, `frame_in_video` and `pts_seconds`) have shape (B,) or (B, T); `cache_ids` are the
        `frame_ids` if they are None. All but the frames and the columns are copied.

        Raises:
            ValueError: frames of another dtype or shape, or ids or rows of another shape.
        """
        cache_ids = frame_ids if cache_ids is None else cache_ids
        return cls(
            frames=frames_as_tensor(frames, shape=np.shape(cache_ids)),
            **fields_of_anchors(
                frame_ids=frame_ids,
                rows=rows,
                cache_ids=cache_ids,
                frame_is_pad=frame_is_pad,
                columns=columns,
                column_is_pad=column_is_pad,
                columns_valid=columns_valid,
            ),
        )

    def with_frames(self, frames: torch.Tensor) -> "FrameBatch":
        """The same batch with other frames: a tensor of any dtype and layout whose first dimension is B.

        Raises:
            TypeError: `frames` is not a tensor (`torch.from_numpy` converts an array).
            ValueError: its first dimension is not B.
        """
        return replace(self, frames=frames)

    def __repr__(self) -> str:
        dtype = str(self.frames.dtype).removeprefix("torch.")
        described = self._described(f"{dtype} {tuple(self.frames.shape)}")
        return f"{described}{counted(self.frames.nbytes, 'byte')} on {self.frames.device})"
