"""What batches of one store and of cameras have in common: ids, places in the videos, and columns of B anchors."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import torch

from frame_store.names import NUM_CHANNELS, PIXEL_DTYPE
from frame_store.notebook import output
from frame_store.protocol import Frames


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AnchorBatch:
    """All of a batch but its frames, which `FrameBatch` and `CameraBatch` add. All tensors are on one device."""

    _by_name: ClassVar[Collection[str]] = ("columns", "column_is_pad", "columns_valid")
    """Fields that are dicts of tensors."""

    frame_ids: torch.Tensor
    """int64, shape (B,): the anchor's number in the store that the loader got."""
    cache_ids: torch.Tensor
    """int64, shape (B,) or (B, T): number of each frame shown in the cache (or live store) that a view stands on."""
    video_ids: torch.Tensor
    """int64, shape (B,): the row in the store's table of videos. All frames of a window are of one video."""
    frame_in_video: torch.Tensor
    """int64, shape (B,) or (B, T): ordinal in the video's output order."""
    pts_seconds: torch.Tensor
    """float64, shape (B,) or (B, T): presentation time, NaN if the video has none. Of cameras, that of the first."""
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
        tensors = self.tensors()
        for name, tensor in tensors.items():
            if not isinstance(tensor, torch.Tensor):
                raise TypeError(f"{name} must be a torch.Tensor, found {type(tensor).__name__}")
        of_anchors, of_frames = self.frame_ids.shape, self.cache_ids.shape
        if len(of_anchors) != 1:
            raise ValueError(f"frame_ids must have shape (B,), found {tuple(of_anchors)}")
        for name, frames in tensors.items():
            if not name.startswith(_FRAMES):
                break  # the frames come first
            if frames.shape[:1] != of_anchors:
                raise ValueError(
                    f"{name} must have the first dimension {of_anchors[0]}, as frame_ids have, "
                    f"found {frames.dtype} {tuple(frames.shape)}"
                )
        if len(of_frames) not in {1, 2} or of_frames[:1] != of_anchors:
            raise ValueError(
                f"cache_ids must have shape ({of_anchors[0]},), or ({of_anchors[0]}, T) for windows, "
                f"found {tuple(of_frames)}"
            )
        for name, dtype in _DTYPES.items():
            if name not in tensors:
                continue
            tensor, expected = tensors[name], of_anchors if name in _OF_ANCHORS else of_frames
            if tensor.dtype != dtype or tensor.shape != expected:
                raise ValueError(
                    f"{name} must be {dtype} of shape {tuple(expected)}, found {tensor.dtype} {tuple(tensor.shape)}"
                )
        if self.columns or self.column_is_pad or self.columns_valid:
            self._check_columns(of_anchors[0])

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors by name, the frames first; those of cameras and columns as `columns['action']`."""
        found: dict[str, torch.Tensor] = {}
        for name in _NAMES:
            value = getattr(self, name)
            if name in self._by_name:
                found |= {f"{name}[{key!r}]": tensor for key, tensor in value.items()}
            elif value is not None:
                found[name] = value
        return found

    def changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """The batch whose tensors are what `change` makes of each tensor of this batch."""
        values: dict[str, Any] = {}
        for name in _NAMES:
            value = getattr(self, name)
            if name in self._by_name:
                values[name] = {key: change(tensor) for key, tensor in value.items()}
            else:
                values[name] = None if value is None else change(value)
        return type(self)(**values)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The same batch on `device`; with `non_blocking`, the copy of a pinned batch overlaps with other work."""
        return self.changed(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory; torch's DataLoader calls this under `pin_memory=True`."""
        return self.changed(torch.Tensor.pin_memory)

    def __len__(self) -> int:
        return len(self.frame_ids)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """One sample: `frame` (3, H, W) or (T, 3, H, W), and the others without their first dimension.

        `frame` of cameras is a dict by camera. `frame_id` and `video_id` are scalars; `cache_id`, `frame_in_video` and
        `pts_seconds` are scalars or (T,). `frame_is_pad` is there where the batch has it; `columns`, `column_is_pad`
        and `columns_valid`, dicts by name, are there where they are not empty.
        """
        sample: dict[str, Any] = {}
        for name in _NAMES:
            value = getattr(self, name)
            if name in self._by_name:
                if value:
                    sample[_KEYS_OF_SAMPLE.get(name, name)] = {
                        key: tensor[position] for key, tensor in value.items()
                    }
            elif value is not None:
                sample[_KEYS_OF_SAMPLE[name]] = value[position]
        return sample

    def _repr_html_(self) -> str:
        """What IPython shows: sixteen pictures at most, with ids and places. Never raises."""
        from loader.batches.shown import batch_html

        return output(self, lambda: batch_html(self))

    def _described(self, frames: str) -> str:
        """The `repr` of a batch with these `frames`."""
        what = "windows" if self.cache_ids.dim() == 2 else "frames"
        columns = "".join(f", {name} {tuple(tensor.shape)}" for name, tensor in self.columns.items())
        return f"{type(self).__name__}({len(self)} {what}, {frames}{columns}, "

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


def fields_of_anchors(
    *,
    frame_ids: npt.ArrayLike,
    rows: npt.NDArray[Any],
    cache_ids: npt.ArrayLike,
    frame_is_pad: npt.ArrayLike | None,
    columns: Mapping[str, torch.Tensor] | None = None,
    column_is_pad: Mapping[str, torch.Tensor] | None = None,
    columns_valid: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, Any]:
    """The fields of an `AnchorBatch` out of arrays, which are copied; see `FrameBatch.from_numpy`."""
    return {
        "frame_ids": torch.from_numpy(np.array(frame_ids, np.int64)),
        "cache_ids": torch.from_numpy(np.array(cache_ids, np.int64)),
        "video_ids": torch.from_numpy(np.array(videos_of_anchors(rows), np.int64)),
        "frame_in_video": torch.from_numpy(np.array(rows["frame_in_video"], np.int64)),
        "pts_seconds": torch.from_numpy(np.array(rows["pts_seconds"], np.float64)),
        "frame_is_pad": None if frame_is_pad is None else torch.from_numpy(np.array(frame_is_pad, np.bool_)),
        "columns": columns or {},
        "column_is_pad": column_is_pad or {},
        "columns_valid": columns_valid or {},
    }


def frames_as_tensor(frames: Frames, *, shape: tuple[int, ...], name: str = "frames") -> torch.Tensor:
    """Pixels (*shape, H, W, C) as a tensor (*shape, C, H, W) over the same memory.

    Raises:
        ValueError: another shape, or a dtype that does not go with the channels.
    """
    if frames.shape[:-3] != shape or (frames.dtype, frames.shape[-1]) not in _PIXELS:
        expected = ", ".join(map(str, [*shape, "H", "W"]))
        kinds = " or ".join(f"{dtype} ({expected}, {channels})" for dtype, channels in _PIXELS)
        raise ValueError(f"{name} must be {kinds}, found {frames.dtype} {frames.shape}")
    return torch.from_numpy(frames).movedim(-1, -3)


def videos_of_anchors(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Video of each anchor, shape (B,), of rows (B,), or of rows (B, T) with T frames of one video."""
    videos: npt.NDArray[Any] = rows["video_id"]
    return videos[:, 0] if videos.ndim == 2 else videos


_PIXELS: Final = [(PIXEL_DTYPE[pixel], NUM_CHANNELS[pixel]) for pixel in NUM_CHANNELS]
_FRAMES: Final = "frames"
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
_NAMES: Final = (_FRAMES, *_DTYPES, *_BY_COLUMN)
_KEYS_OF_SAMPLE: Final = {
    "frames": "frame",
    "frame_ids": "frame_id",
    "cache_ids": "cache_id",
    "video_ids": "video_id",
    "frame_in_video": "frame_in_video",
    "pts_seconds": "pts_seconds",
    "frame_is_pad": "frame_is_pad",
}
