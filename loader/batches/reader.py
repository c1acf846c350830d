"""What reads a batch: the interface that loaders use, and the reader of batches on the CPU."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt
import torch

from frame_store.columns import NO_COLUMNS, Columns
from frame_store.protocol import FrameRows, FrameStore
from frame_store.views import base_of, own_rows_of
from loader.augment import Augmentation
from loader.batches.anchors import fields_of_anchors
from loader.batches.buffers import PartBuffers, Parts
from loader.batches.camera_batch import CameraBatch
from loader.batches.frame_batch import FrameBatch
from loader.batches.sources import CAMERA_AXIS, FrameSource, FrameSources, frame_sources
from loader.columns import ColumnGatherer
from loader.windows import BatchRequest

TakeOver: TypeAlias = Callable[[], None]
"""Makes the stream that is current in the calling thread wait until the tensors of a batch are ready."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadBatch:
    """A batch as a thread has read it: on a GPU, the work that makes it may still be queued."""

    batch: FrameBatch | CameraBatch
    take_over: TakeOver | None = None
    """None if nothing is queued."""

    def handed_out(self) -> FrameBatch | CameraBatch:
        """The batch, ready for the stream that is current in the calling thread."""
        if self.take_over is not None:
            self.take_over()
        return self.batch


class BatchReader(Protocol):
    """Reads and augments batches. Several threads may call it at once."""

    def read(self, request: BatchRequest, *, epoch: int) -> ReadBatch:
        """The frames that are asked for, and their rows, as a batch.

        Raises:
            FrameIdError: an id outside of the base.
            StoreDamagedError: the store cannot give a frame back.
        """
        ...

    def lend_pixels(self, num_frames: int) -> Parts:
        """Memory on the host for frames that the caller reads: (num_frames, H, W, C) for each source."""
        ...

    def complete(self, request: BatchRequest, pixels: Parts, *, epoch: int) -> ReadBatch:
        """The batch over the frames of `request.cache_ids` that the caller has read into memory of `lend_pixels`."""
        ...


class CpuReader:
    """`BatchReader` of batches on the CPU."""

    def __init__(
        self,
        store: FrameStore,
        *,
        sources: FrameSources | None = None,
        frames_per_batch: int = 0,
        num_spare: int = 0,
        pin_memory: bool = False,
        columns: Columns = NO_COLUMNS,
    ) -> None:
        """Prepare to read.

        Args:
            store: the store that the loader got. Frames are read from its base.
            sources: where frames come from, and how they are augmented; None means `frame_sources(store)`.
            frames_per_batch: batches of up to this many frames lie in memory that is used again; 0 uses fresh memory.
            num_spare: see `BatchBuffers`.
            pin_memory: see `BatchBuffers`. Columns lie in page-locked memory, too.
            columns: gathered into each batch; those of the base.
        """
        self._store = store
        self._base = base_of(store)
        self._sources = frame_sources(store) if sources is None else sources
        self._pin_memory = pin_memory
        self._columns = ColumnGatherer(self._base, columns) if columns else None
        parts = self._sources.sources
        is_stacked = self._sources.shown == "stacked"
        self._shapes = [source.frame_shape for source in parts]
        self._dtypes = [source.dtype for source in parts]
        # When augmenting, the raw pixels stay in this process. Only the output may be copied to a GPU, so only the
        # output needs page-locked memory.
        self._is_augmented = any(source.augment is not None for source in parts)
        self._pixels = PartBuffers(
            [
                frames_per_batch * prod(shape) * dtype.itemsize
                for shape, dtype in zip(self._shapes, self._dtypes, strict=True)
            ],
            num_spare=num_spare,
            pin_memory=pin_memory and not self._is_augmented,
            is_stacked=is_stacked,
        )
        self._images: PartBuffers | None = None
        """Memory of what an `Augmentation` makes, where all sources have one."""
        made = [_made_by(source) for source in parts]
        if None not in made:
            self._made = [image for image in made if image is not None]
            self._images = PartBuffers(
                [frames_per_batch * prod(shape) * dtype.itemsize for shape, dtype in self._made],
                num_spare=num_spare,
                pin_memory=pin_memory,
                is_stacked=is_stacked and len(set(self._made)) == 1,
            )

    def read(self, request: BatchRequest, *, epoch: int) -> ReadBatch:
        """See `BatchReader`."""
        pixels = self.lend_pixels(request.cache_ids.size)
        rows = self._sources.read(
            request.cache_ids.reshape(-1),
            [part.numpy() for part in pixels.parts],
            located=None if request.located is None else request.located(),
        )
        return self._complete(request, pixels, rows, epoch=epoch)

    def lend_pixels(self, num_frames: int) -> Parts:
        """See `BatchReader`."""
        return self._pixels.lend([(num_frames, *shape) for shape in self._shapes], self._dtypes)

    def complete(self, request: BatchRequest, pixels: Parts, *, epoch: int) -> ReadBatch:
        """See `BatchReader`."""
        return self._complete(request, pixels, self._base.rows_of(request.cache_ids.reshape(-1)), epoch=epoch)

    def _complete(self, request: BatchRequest, pixels: Parts, rows: FrameRows, *, epoch: int) -> ReadBatch:
        shape = request.cache_ids.shape
        fields = fields_of_anchors(
            frame_ids=request.frame_ids,
            cache_ids=request.cache_ids,
            rows=own_rows_of(self._store, rows).reshape(shape),
            frame_is_pad=request.frame_is_pad,
            **({} if self._columns is None else self._gathered(self._columns, request, rows)),
        )
        if not self._is_augmented:
            frames = self._put_together(pixels, shape)
        else:
            frames = self._augmented(request, pixels, shape, epoch=epoch)
        return ReadBatch(batch=self._sources.batch(frames, fields))

    def _put_together(self, pixels: Parts, shape: tuple[int, ...]) -> torch.Tensor | dict[str, torch.Tensor]:
        """The frames as they were read: views, no copies."""
        if pixels.whole is not None:
            return _stacked(
                pixels.whole.view(len(pixels.parts), *shape, *pixels.whole.shape[2:]).movedim(-1, -3)
            )
        return self._sources.together([_as_images(part, shape) for part in pixels.parts])

    def _augmented(
        self, request: BatchRequest, pixels: Parts, shape: tuple[int, ...], *, epoch: int
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        images = None
        if self._images is not None:
            images = self._images.lend(
                [(*shape, *image) for image, _ in self._made], [dtype for _, dtype in self._made]
            )
        made = [
            source.augmented(
                _as_images(part, shape),
                anchor_ids=request.anchor_cache_ids,
                epoch=epoch,
                out=None if images is None else images.parts[number],
            )
            for number, (source, part) in enumerate(zip(self._sources.sources, pixels.parts, strict=True))
        ]
        if images is not None and images.whole is not None:
            return _stacked(images.whole)
        frames = self._sources.together(made)
        # Memory of a callable is not page-locked; memory that is page-locked comes back as it is.
        if not self._pin_memory:
            return frames
        if isinstance(frames, dict):
            return {camera: shown.pin_memory() for camera, shown in frames.items()}
        return frames.pin_memory()

    def _gathered(
        self, columns: ColumnGatherer, request: BatchRequest, rows: FrameRows
    ) -> dict[str, dict[str, torch.Tensor]]:
        """The fields of a `FrameBatch` with columns."""
        return {
            field: {name: self._as_tensor(array) for name, array in arrays.items()}
            for field, arrays in columns.gather(request, rows).items()
        }

    def _as_tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self._pin_memory else tensor


def _as_images(pixels: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Pixels (frames, H, W, C) as (*shape, C, H, W)."""
    if len(shape) > 1:
        pixels = pixels.view(*shape, *pixels.shape[1:])
    return pixels.movedim(-1, -3)


def _stacked(whole: torch.Tensor) -> torch.Tensor:
    """(cameras, B, [T,] C, H, W) with the cameras before C, H, W; no copy."""
    return whole.movedim(0, CAMERA_AXIS)


def _made_by(source: FrameSource) -> tuple[tuple[int, int, int], torch.dtype] | None:
    """Shape and dtype of an augmented frame; None where no `Augmentation` makes it."""
    if not isinstance(source.augment, Augmentation):
        return None
    return source.augment.output_shape(source.frame_shape), source.augment.output_dtype
