"""From the ids of a batch to the batch on the CPU: frames read, augmented if asked for, in memory used again."""

from math import prod

import numpy as np
import numpy.typing as npt
import torch

from frame_store.protocol import FrameRows, FrameStore
from loader.augment import Augment, Augmentation, augmented_frames
from loader.batches.buffers import BatchBuffers
from loader.batches.frame_batch import FrameBatch
from loader.sampling.orders import FrameIds


class BatchReader:
    """Reads batches of up to `frames_per_batch` frames. Threads may share it."""

    def __init__(
        self,
        store: FrameStore,
        *,
        augment: Augment | None,
        frames_per_batch: int,
        num_spare: int,
        pin_memory: bool,
    ) -> None:
        """Prepare; see `BatchBuffers` for `num_spare` and `pin_memory`."""
        self._store = store
        self._augment = augment
        self._pin_memory = pin_memory
        # What is augmented here goes no further: only what is handed out may be copied to a GPU.
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

    def read(self, frame_ids: npt.ArrayLike, *, epoch: int) -> FrameBatch:
        """Frames and their rows as a batch, in request order; clips for ids of shape (B, T).

        Raises:
            FrameIdError: an id outside [0, len(store)).
            StoreDamagedError: the store cannot give a frame back.
        """
        ids = np.asarray(frame_ids)
        pixels = self.lend_pixels(ids.size)
        _, rows = self._store.read_frames_and_rows(ids.reshape(-1), out=pixels.numpy())  # it checks the ids
        return self._complete(ids.astype(np.int64, copy=False), pixels, rows, epoch=epoch)

    def lend_pixels(self, num_frames: int) -> torch.Tensor:
        """Where to read that many frames to: uint8 (num_frames, H, W, 3)."""
        return self._pixels.lend((num_frames, *self._store.frame_shape), torch.uint8)

    def complete(self, frame_ids: FrameIds, pixels: torch.Tensor, *, epoch: int) -> FrameBatch:
        """The batch over frames that have been read to where `lend_pixels` said."""
        return self._complete(frame_ids, pixels, self._store.rows_of(frame_ids.reshape(-1)), epoch=epoch)

    def _complete(
        self, frame_ids: FrameIds, pixels: torch.Tensor, rows: FrameRows, *, epoch: int
    ) -> FrameBatch:
        batch = FrameBatch.from_numpy(
            frames=pixels.numpy().reshape(*frame_ids.shape, *self._store.frame_shape),
            frame_ids=frame_ids,
            rows=rows.reshape(frame_ids.shape),
        )
        if self._augment is None:
            return batch
        out = None
        if isinstance(self._augment, Augmentation) and self._images is not None:
            shape = (*frame_ids.shape, *self._augment.output_shape(self._store.frame_shape))
            out = self._images.lend(shape, self._augment.output_dtype)
        frames = augmented_frames(self._augment, batch.frames, frame_ids=frame_ids, epoch=epoch, out=out)
        # A callable's own memory is not page-locked; what is comes back as it is.
        return batch.with_frames(frames.pin_memory() if self._pin_memory else frames)
