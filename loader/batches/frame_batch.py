"""A batch of frames, with the video and the place in it of each frame, and rows of columns beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from frame_store.protocol import Frames
from frame_store.shared import counted


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FrameBatch:
    """What B anchors show, as torch tensors, all on one device.

    An anchor is a frame that the sampler drew. Without windows a batch has the B anchors themselves. With
    `frame_offsets` (or `clip_frames`) it has T frames for each anchor: the shapes (B, T).

    A batch is also a sequence of samples: `batch[i]` is a dict of one anchor (views, not copies). Torch's default
    collation uses this; see `FrameDataset`.
    """

    frames: torch.Tensor
    """Shape (B, 3, H, W) or (B, T, 3, H, W), RGB. Frames as read are uint8 and channels_last in memory: a permuted view
    of (B, H, W, 3), not a copy. An `Augmentation` makes contiguous float32, float16 or bfloat16. Another callable makes
    any tensor whose first dimension is B."""
    frame_ids: torch.Tensor
    """int64, shape (B,): the anchor's number in the store that the loader got."""
    cache_ids: torch.Tensor
    """int64, shape (B,) or (B, T): number of each frame shown in the cache (or live store) that a view stands on."""
    video_ids: torch.Tensor
    """int64, shape (B,): the row in the store's table of videos. All frames of a window are of one video."""
    frame_in_video: torch.Tensor
    """int64, shape (B,) or (B, T): ordinal in the video's output order."""
    pts_seconds: torch.Tensor
    """float64, shape (B,) or (B, T): presentation time, NaN if the video has none."""
    frame_is_pad: torch.Tensor | None = None
    """bool, shape (B, T): True where the offset leads out of the video, and the nearest frame of the video is shown.
    None without `frame_offsets`."""
    columns: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """By name: shape (B, ...), or (B, K, ...) for a column with K offsets."""
    column_is_pad: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """For each column with offsets: bool, shape (B, K), True where the offset leads out of the video, and the nearest
    row of the video is given."""
    columns_valid: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """For each column that lacks rows: bool, shape (B,) or (B, K), False where there is no value."""

    def __post_init__(self) -> None:
        """Check that all are tensors, that there is a frame for each anchor, and the dtypes and shapes."""
        for name, tensor in self.tensors().items():
            if not isinstance(tensor, torch.Tensor):
                raise TypeError(f"{name} must be a torch.Tensor, found {type(tensor).__name__}")
        if self.frame_ids.dim() != 1:
            raise ValueError(f"frame_ids must have shape (B,), found {tuple(self.frame_ids.shape)}")
        num_anchors = len(self.frame_ids)
        if self.frames.dim() == 0 or len(self.frames) != num_anchors:
            raise ValueError(
                f"frames must have the first dimension {num_anchors}, as frame_ids have, "
                f"found {self.frames.dtype} {tuple(self.frames.shape)}"
            )
        shape = self.cache_ids.shape
        if len(shape) not in {1, 2} or shape[0] != num_anchors:
            raise ValueError(
                f"cache_ids must have shape ({num_anchors},), or ({num_anchors}, T) for windows, found {tuple(shape)}"
            )
        for name, dtype in _DTYPES.items():
            tensor = getattr(self, name)
            if tensor is None:
                continue
            expected = shape[:1] if name in _OF_ANCHORS else shape
            if tensor.dtype != dtype or tensor.shape != expected:
                raise ValueError(
                    f"{name} must be {dtype} of shape {tuple(expected)}, found {tensor.dtype} {tuple(tensor.shape)}"
                )
        self._check_columns(num_anchors)

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
        """A batch over `frames`, uint8 (B, H, W, 3) or (B, T, H, W, 3), without copying them.

        `frame_ids` have shape (B,). `cache_ids` and `rows` (what `rows_of` gives for them, or any structured array with
        the fields `video_id`, `frame_in_video` and `pts_seconds`) have shape (B,) or (B, T); `cache_ids` are the
        `frame_ids` if they are None. All but the frames and the columns are copied.

        Raises:
            ValueError: frames of another dtype or shape, or ids or rows of another shape.
        """
        cache_ids = frame_ids if cache_ids is None else cache_ids
        if frames.dtype != np.uint8 or frames.shape[:-3] != np.shape(cache_ids) or frames.shape[-1] != 3:
            expected = ", ".join(map(str, [*np.shape(cache_ids), "H", "W", 3]))
            raise ValueError(f"frames must be uint8 ({expected}), found {frames.dtype} {frames.shape}")
        return cls(
            frames=torch.from_numpy(frames).movedim(-1, -3),
            frame_ids=torch.from_numpy(np.array(frame_ids, np.int64)),
            cache_ids=torch.from_numpy(np.array(cache_ids, np.int64)),
            video_ids=torch.from_numpy(np.array(videos_of_anchors(rows), np.int64)),
            frame_in_video=torch.from_numpy(np.array(rows["frame_in_video"], np.int64)),
            pts_seconds=torch.from_numpy(np.array(rows["pts_seconds"], np.float64)),
            frame_is_pad=None if frame_is_pad is None else torch.from_numpy(np.array(frame_is_pad, np.bool_)),
            columns=columns or {},
            column_is_pad=column_is_pad or {},
            columns_valid=columns_valid or {},
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors by name; those of columns as `columns['action']`."""
        found: dict[str, torch.Tensor] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name in _BY_COLUMN:
                found |= {f"{name}[{column!r}]": tensor for column, tensor in value.items()}
            elif value is not None:
                found[name] = value
        return found

    def changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "FrameBatch":
        """The batch whose tensors are what `change` makes of each tensor of this batch."""
        values: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name in _BY_COLUMN:
                values[name] = {column: change(tensor) for column, tensor in value.items()}
            else:
                values[name] = None if value is None else change(value)
        return FrameBatch(**values)

    def with_frames(self, frames: torch.Tensor) -> "FrameBatch":
        """The same batch with other frames: a tensor of any dtype and layout whose first dimension is B.

        Raises:
            TypeError: `frames` is not a tensor (`torch.from_numpy` converts an array).
            ValueError: its first dimension is not B.
        """
        return replace(self, frames=frames)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "FrameBatch":
        """The same batch on `device`; with `non_blocking`, the copy of a pinned batch overlaps with other work."""
        return self.changed(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "FrameBatch":
        """The same batch in page-locked memory; torch's DataLoader calls this under `pin_memory=True`."""
        return self.changed(torch.Tensor.pin_memory)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """One sample: `frame` (3, H, W) or (T, 3, H, W), and the others without their first dimension.

        `frame_id` and `video_id` are scalars; `cache_id`, `frame_in_video` and `pts_seconds` are scalars or (T,).
        `frame_is_pad` is there where the batch has it; `columns`, `column_is_pad` and `columns_valid`, dicts by name,
        are there where they are not empty.
        """
        sample: dict[str, Any] = {
            key: getattr(self, name)[position]
            for name, key in _KEYS_OF_SAMPLE.items()
            if getattr(self, name) is not None
        }
        for name in _BY_COLUMN:
            if getattr(self, name):
                sample[name] = {column: tensor[position] for column, tensor in getattr(self, name).items()}
        return sample

    def __repr__(self) -> str:
        what = "windows" if self.cache_ids.dim() == 2 else "frames"
        dtype = str(self.frames.dtype).removeprefix("torch.")
        columns = "".join(f", {name} {tuple(tensor.shape)}" for name, tensor in self.columns.items())
        return (
            f"FrameBatch({len(self)} {what}, {dtype} {tuple(self.frames.shape)}{columns}, "
            f"{counted(self.frames.nbytes, 'byte')} on {self.frames.device})"
        )

    def _check_columns(self, num_anchors: int) -> None:
        for name in _BY_COLUMN:
            for column, tensor in getattr(self, name).items():
                where = f"{name}[{column!r}]"
                if tensor.dim() == 0 or len(tensor) != num_anchors:
                    raise ValueError(
                        f"{where} must have the first dimension {num_anchors}, as frame_ids have, "
                        f"found {tensor.dtype} {tuple(tensor.shape)}"
                    )
                if name != "columns" and tensor.dtype != torch.bool:
                    raise ValueError(
                        f"{where} must be torch.bool, found {tensor.dtype} {tuple(tensor.shape)}"
                    )


def videos_of_anchors(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Video of each anchor, shape (B,), of rows (B,), or of rows (B, T) with T frames of one video."""
    videos: npt.NDArray[Any] = rows["video_id"]
    return videos[:, 0] if videos.ndim == 2 else videos


_DTYPES: Final = {
    "frame_ids": torch.int64,
    "cache_ids": torch.int64,
    "video_ids": torch.int64,
    "frame_in_video": torch.int64,
    "pts_seconds": torch.float64,
    "frame_is_pad": torch.bool,
}
_OF_ANCHORS: Final = {"frame_ids", "video_ids"}
_BY_COLUMN: Final = ("columns", "column_is_pad", "columns_valid")
_KEYS_OF_SAMPLE: Final = {
    "frames": "frame",
    "frame_ids": "frame_id",
    "cache_ids": "cache_id",
    "video_ids": "video_id",
    "frame_in_video": "frame_in_video",
    "pts_seconds": "pts_seconds",
    "frame_is_pad": "frame_is_pad",
}
