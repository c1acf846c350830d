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
from loader.augment import Augment, Augmentation, augmented_frames
from loader.batches.buffers import BatchBuffers
from loader.batches.frame_batch import FrameBatch
from loader.columns import ColumnGatherer
from loader.windows import BatchRequest

TakeOver: TypeAlias = Callable[[], None]
"""Makes the stream that is current in the calling thread wait until the tensors of a batch are ready."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadBatch:
    """A batch as a thread has read it: on a GPU, the work that makes it may still be queued."""

    batch: FrameBatch
    take_over: TakeOver | None = None
    """None if nothing is queued."""

    def handed_out(self) -> FrameBatch:
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

    def lend_pixels(self, num_frames: int) -> torch.Tensor:
        """Memory on the host for frames that the caller reads: uint8 (num_frames, H, W, 3)."""
        ...

    def complete(self, request: BatchRequest, pixels: torch.Tensor, *, epoch: int) -> ReadBatch:
        """The batch over the frames of `request.cache_ids` that the caller has read into memory of `lend_pixels`."""
        ...


class CpuReader:
    """`BatchReader` of batches on the CPU."""

    def __init__(
        self,
        store: FrameStore,
        *,
        augment: Augment | None = None,
        frames_per_batch: int = 0,
        num_spare: int = 0,
        pin_memory: bool = False,
        columns: Columns = NO_COLUMNS,
    ) -> None:
        """Prepare to read.

        Args:
            store: the store that the loader got. Frames are read from its base.
            augment: applied to the frames of each batch.
            frames_per_batch: batches of up to this many frames lie in memory that is used again; 0 uses fresh memory.
            num_spare: see `BatchBuffers`.
            pin_memory: see `BatchBuffers`. Columns lie in page-locked memory, too.
            columns: gathered into each batch; those of the base.
        """
        self._store = store
        self._base = base_of(store)
        self._augment = augment
        self._pin_memory = pin_memory
        self._columns = ColumnGatherer(self._base, columns) if columns else None
        # When augmenting, the raw pixels stay in this process. Only the output may be copied to a GPU, so only the
        # output needs page-locked memory.
        self._pixels = BatchBuffers(
            frames_per_batch * prod(store.frame_shape),
            num_spare=num_spare,
            pin_memory=pin_memory and augment is None,
        )
        self._images: BatchBuffers | None = None
        if isinstance(augment, Augmentation):
            self._images = BatchBuffers(
                frames_per_batch
                * prod(augment.output_shape(store.frame_shape))
                * augment.output_dtype.itemsize,
                num_spare=num_spare,
                pin_memory=pin_memory,
            )

    def read(self, request: BatchRequest, *, epoch: int) -> ReadBatch:
        """See `BatchReader`."""
        pixels = self.lend_pixels(request.cache_ids.size)
        flat_ids = request.cache_ids.reshape(-1)
        _, rows = self._base.read_frames_and_rows(flat_ids, out=pixels.numpy())  # it checks the ids
        return self._complete(request, pixels, rows, epoch=epoch)

    def lend_pixels(self, num_frames: int) -> torch.Tensor:
        """See `BatchReader`."""
        return self._pixels.lend((num_frames, *self._store.frame_shape), torch.uint8)

    def complete(self, request: BatchRequest, pixels: torch.Tensor, *, epoch: int) -> ReadBatch:
        """See `BatchReader`."""
        return self._complete(request, pixels, self._base.rows_of(request.cache_ids.reshape(-1)), epoch=epoch)

    def _complete(
        self, request: BatchRequest, pixels: torch.Tensor, rows: FrameRows, *, epoch: int
    ) -> ReadBatch:
        shape = request.cache_ids.shape
        batch = FrameBatch.from_numpy(
            frames=pixels.numpy().reshape(*shape, *self._store.frame_shape),
            frame_ids=request.frame_ids,
            cache_ids=request.cache_ids,
            rows=own_rows_of(self._store, rows).reshape(shape),
            frame_is_pad=request.frame_is_pad,
            **({} if self._columns is None else self._gathered(self._columns, request, rows)),
        )
        if self._augment is None:
            return ReadBatch(batch=batch)
        out = None
        if isinstance(self._augment, Augmentation) and self._images is not None:
            out = self._images.lend(
                (*shape, *self._augment.output_shape(self._store.frame_shape)), self._augment.output_dtype
            )
        frames = augmented_frames(
            self._augment, batch.frames, frame_ids=request.anchor_cache_ids, epoch=epoch, out=out
        )
        # Memory of a callable is not page-locked; memory that is page-locked comes back as it is.
        return ReadBatch(batch=batch.with_frames(frames.pin_memory() if self._pin_memory else frames))

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
