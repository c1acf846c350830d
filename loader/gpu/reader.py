"""Batches on a GPU: frames uploaded as bytes, or made there, then augmented there; the host waits for nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from frame_store.protocol import DecodesOnDevice, FrameRows, FrameStore, HoldsEncodedFrames
from loader.augment import Augment, augmented_frames
from loader.batches import FrameBatch
from loader.gpu.jpeg import DecodeJpegs, stack_images
from loader.gpu.streams import DeviceStreams, TakeOver
from loader.sampling.orders import FrameIds

FramesOnDevice: TypeAlias = Callable[[], torch.Tensor]
"""Queues what makes a batch's frames, uint8 (B, H, W, 3), on the present stream."""

FrameSource: TypeAlias = Callable[[FrameIds], tuple[FramesOnDevice, FrameRows]]
"""Reads frames of ids (B,) as far as the host has to, outside of any stream, and their rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceBatch:
    """A batch whose frames are perhaps still on their way."""

    batch: FrameBatch
    take_over: TakeOver

    def handed_out(self) -> FrameBatch:
        """The batch, for the stream that is current here and now: on another one, wait for this one."""
        self.take_over()
        return self.batch


class DeviceBatchReader:
    """Reads batches to a device. Threads may share it; `loader.batches.reader.BatchReader` is its like on the CPU."""

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
            store: where the frames are: read into page-locked memory, or decoded by the device it decodes on.
            streams: the device.
            augment: applied there.
            decode_jpegs: has the device decode the store's JPEG, too.
        """
        self._store = store
        self._streams = streams
        self._augment = augment
        if decode_jpegs is not None:
            assert isinstance(store, HoldsEncodedFrames)  # checked where the loader was made
            self._source = _decoded_jpegs(store, streams, decode_jpegs)
        elif isinstance(store, DecodesOnDevice):
            self._source = _decoded_there(store, streams)
        else:
            self._source = self._uploaded

    def read(self, frame_ids: npt.ArrayLike, *, epoch: int) -> DeviceBatch:
        """One read and its index rows, in request order; clips for ids of shape (B, T).

        Raises:
            FrameIdError: an id outside [0, len(store)).
            StoreDamagedError: the store cannot give a frame back.
        """
        ids = np.asarray(frame_ids)
        frames, rows = self._source(ids.reshape(-1))  # it checks the ids
        return self._complete(ids.astype(np.int64, copy=False), frames, rows, epoch=epoch)

    def lend_pixels(self, num_frames: int) -> torch.Tensor:
        """Where to read that many frames to: uint8 (num_frames, H, W, 3) on the host."""
        return self._streams.host_memory((num_frames, *self._store.frame_shape), torch.uint8)

    def complete(self, frame_ids: FrameIds, pixels: torch.Tensor, *, epoch: int) -> DeviceBatch:
        """The batch over frames that have been read to where `lend_pixels` said."""
        rows = self._store.rows_of(frame_ids.reshape(-1))
        return self._complete(frame_ids, lambda: self._streams.upload(pixels), rows, epoch=epoch)

    def _uploaded(self, frame_ids: FrameIds) -> tuple[FramesOnDevice, FrameRows]:
        pixels = self.lend_pixels(len(frame_ids))
        _, rows = self._store.read_frames_and_rows(frame_ids, out=pixels.numpy())
        return lambda: self._streams.upload(pixels), rows

    def _complete(
        self, frame_ids: FrameIds, frames: FramesOnDevice, rows: FrameRows, *, epoch: int
    ) -> DeviceBatch:
        with self._streams.own_stream():
            pixels = frames().view(*frame_ids.shape, *self._store.frame_shape)
            packed = _packed_rows(frame_ids, rows.reshape(frame_ids.shape), self._streams)
            batch = _unpacked(pixels, self._streams.upload(packed))
            if self._augment is not None:
                frames_there = augmented_frames(self._augment, batch.frames, frame_ids=frame_ids, epoch=epoch)
                batch = batch.with_frames(frames_there)
            return DeviceBatch(batch=batch, take_over=self._streams.ready(batch.tensors().values()))


def _decoded_there(store: DecodesOnDevice, streams: DeviceStreams) -> FrameSource:
    def read(frame_ids: FrameIds) -> tuple[FramesOnDevice, FrameRows]:
        def frames() -> torch.Tensor:
            # torch's own memory, whatever the store works in, so that it can be kept for the caller's stream.
            shape = (len(frame_ids), *store.frame_shape)
            return store.read_frames_on_device(
                frame_ids, out=torch.empty(shape, dtype=torch.uint8, device=streams.device)
            )

        return frames, store.rows_of(frame_ids)

    return read


def _decoded_jpegs(store: HoldsEncodedFrames, streams: DeviceStreams, decode: DecodeJpegs) -> FrameSource:
    def read(frame_ids: FrameIds) -> tuple[FramesOnDevice, FrameRows]:
        payloads = [torch.from_numpy(payload) for payload in store.read_encoded(frame_ids)]

        def frames() -> torch.Tensor:
            streams.drain()  # see `DecodeJpegs`
            try:
                images = decode(payloads, streams.device)
            except RuntimeError:
                store.read_frames(frame_ids)  # says which frame it is, where one is damaged
                raise
            return stack_images(images, frame_ids=frame_ids.tolist(), frame_shape=store.frame_shape)

        return frames, store.rows_of(frame_ids)

    return read


def _packed_rows(frame_ids: FrameIds, rows: FrameRows, streams: DeviceStreams) -> torch.Tensor:
    """Ids and index rows in one piece, for one copy: int64 (4, B), the last row's bits being float64."""
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
