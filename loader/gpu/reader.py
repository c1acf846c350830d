"""Batches on a GPU: frames are uploaded or decoded on the GPU, then augmented on it. The host does not wait."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from frame_store.protocol import DecodesOnDevice, FrameRows, FrameStore, HoldsEncodedFrames
from loader.augment import Augment, augmented_frames
from loader.batches import FrameBatch, ReadBatch
from loader.gpu.jpeg import DecodeJpegs, stack_images
from loader.gpu.streams import DeviceStreams
from loader.sampling.orders import Int64s

FramesOnDevice: TypeAlias = Callable[[], torch.Tensor]
"""Queues the work that makes the frames of a batch, uint8 (B, H, W, 3), on the current stream."""

FrameSource: TypeAlias = Callable[[Int64s], tuple[FramesOnDevice, FrameRows]]
"""Does the host's part of reading frames of ids (B,), outside of any stream, and looks up their rows."""


class DeviceReader:
    """`loader.batches.BatchReader` of batches on a device."""

    def __init__(
        self,
        store: FrameStore,
        *,
        streams: DeviceStreams,
        augment: Augment | None,
        decode_jpegs: DecodeJpegs | None = None,
    ) -> None:
        """Prepare.

        Args:
            store: its frames are read into page-locked memory, or decoded by the device that it decodes on.
            streams: the device.
            augment: applied on the device.
            decode_jpegs: decodes the JPEG of the store on the device; None decodes on the CPU.
        """
        self._store = store
        self._streams = streams
        self._augment = augment
        if decode_jpegs is not None:
            assert isinstance(store, HoldsEncodedFrames)  # checked when the loader was made
            self._source = _decoded_jpegs(store, streams, decode_jpegs)
        elif isinstance(store, DecodesOnDevice):
            self._source = _decoded_on_device(store, streams)
        else:
            self._source = self._uploaded

    def read(self, frame_ids: npt.ArrayLike, *, epoch: int) -> ReadBatch:
        """See `BatchReader`."""
        ids = np.asarray(frame_ids)
        frames, rows = self._source(ids.reshape(-1))  # it checks the ids
        return self._complete(ids.astype(np.int64, copy=False), frames, rows, epoch=epoch)

    def lend_pixels(self, num_frames: int) -> torch.Tensor:
        """See `BatchReader`."""
        return self._streams.host_memory((num_frames, *self._store.frame_shape), torch.uint8)

    def complete(self, frame_ids: Int64s, pixels: torch.Tensor, *, epoch: int) -> ReadBatch:
        """See `BatchReader`."""
        rows = self._store.rows_of(frame_ids.reshape(-1))
        return self._complete(frame_ids, lambda: self._streams.upload(pixels), rows, epoch=epoch)

    def _uploaded(self, frame_ids: Int64s) -> tuple[FramesOnDevice, FrameRows]:
        pixels = self.lend_pixels(len(frame_ids))
        _, rows = self._store.read_frames_and_rows(frame_ids, out=pixels.numpy())
        return lambda: self._streams.upload(pixels), rows

    def _complete(
        self, frame_ids: Int64s, frames: FramesOnDevice, rows: FrameRows, *, epoch: int
    ) -> ReadBatch:
        with self._streams.own_stream():
            pixels = frames().view(*frame_ids.shape, *self._store.frame_shape)
            packed = _packed_rows(frame_ids, rows.reshape(frame_ids.shape), self._streams)
            batch = _unpacked(pixels, self._streams.upload(packed))
            if self._augment is not None:
                augmented = augmented_frames(self._augment, batch.frames, frame_ids=frame_ids, epoch=epoch)
                batch = batch.with_frames(augmented)
            return ReadBatch(batch=batch, take_over=self._streams.ready(batch.tensors().values()))


def _decoded_on_device(store: DecodesOnDevice, streams: DeviceStreams) -> FrameSource:
    def read(frame_ids: Int64s) -> tuple[FramesOnDevice, FrameRows]:
        def frames() -> torch.Tensor:
            # Memory of torch's allocator, not of the store: `record_stream` can keep it for the caller's stream.
            shape = (len(frame_ids), *store.frame_shape)
            return store.read_frames_on_device(
                frame_ids, out=torch.empty(shape, dtype=torch.uint8, device=streams.device)
            )

        return frames, store.rows_of(frame_ids)

    return read


def _decoded_jpegs(store: HoldsEncodedFrames, streams: DeviceStreams, decode: DecodeJpegs) -> FrameSource:
    def read(frame_ids: Int64s) -> tuple[FramesOnDevice, FrameRows]:
        payloads = [torch.from_numpy(payload) for payload in store.read_encoded(frame_ids)]

        def frames() -> torch.Tensor:
            streams.drain()  # see `DecodeJpegs`
            try:
                images = decode(payloads, streams.device)
            except RuntimeError:
                store.read_frames(frame_ids)  # raises an error that names the frame, if one is damaged
                raise
            return stack_images(images, frame_ids=frame_ids.tolist(), frame_shape=store.frame_shape)

        return frames, store.rows_of(frame_ids)

    return read


def _packed_rows(frame_ids: Int64s, rows: FrameRows, streams: DeviceStreams) -> torch.Tensor:
    """Ids and index rows in one tensor, for one copy: int64 (4, B); the bits of the last row are float64."""
    packed = streams.host_memory((4, *frame_ids.shape), torch.int64)
    numbers = packed.numpy()
    numbers[0], numbers[1], numbers[2] = frame_ids, rows["video_id"], rows["frame_in_video"]
    numbers[3].view(np.float64)[...] = rows["pts_seconds"]
    return packed


def _unpacked(pixels: torch.Tensor, packed: torch.Tensor) -> FrameBatch:
    frame_ids, video_ids, frame_in_video, pts_bits = packed.unbind()
    return FrameBatch(
        frames=pixels.movedim(-1, -3),
        frame_ids=frame_ids,
        video_ids=video_ids,
        frame_in_video=frame_in_video,
        pts_seconds=pts_bits.view(torch.float64),
    )
