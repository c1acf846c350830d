"""Batches on a GPU: frames are uploaded or decoded on the GPU, then augmented on it. The host does not wait."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from frame_store.columns import NO_COLUMNS, Columns
from frame_store.protocol import DecodesOnDevice, FrameRows, FrameStore, HoldsEncodedFrames
from frame_store.views import base_of, own_rows_of
from loader.batches import FrameSource, FrameSources, Parts, ReadBatch, frame_sources, videos_of_anchors
from loader.columns import ColumnGatherer
from loader.gpu.host_pack import pack, unpack
from loader.gpu.jpeg import DecodeJpegs, stack_images
from loader.gpu.streams import DeviceStreams
from loader.sampling.orders import Int64s
from loader.windows import BatchRequest

FramesOnDevice: TypeAlias = Callable[[], torch.Tensor]
"""Queues the work that makes the frames of one source, (B, H, W, C), on the current stream."""

ReadSource: TypeAlias = Callable[[Int64s], tuple[FramesOnDevice, FrameRows | None]]
"""Does the host's part of reading frames of ids (B,) of one source, outside of any stream. Rows that are looked up on
the way come with it."""


class DeviceReader:
    """`loader.batches.BatchReader` of batches on a device."""

    def __init__(
        self,
        store: FrameStore,
        *,
        streams: DeviceStreams,
        sources: FrameSources | None = None,
        decode_jpegs: DecodeJpegs | None = None,
        columns: Columns = NO_COLUMNS,
    ) -> None:
        """Prepare.

        Args:
            store: the store that the loader got. Frames of its base are read into page-locked memory, or decoded by the
                device that the base decodes on.
            streams: the device.
            sources: where frames come from, and how they are augmented, which is done on the device; None means
                `frame_sources(store)`.
            decode_jpegs: decodes the JPEG of all sources on the device; None decodes on the CPU.
            columns: gathered into each batch, and uploaded with the ids in one copy; those of the base.
        """
        self._store = store
        self._base = base_of(store)
        self._streams = streams
        self._sources = frame_sources(store) if sources is None else sources
        self._columns = ColumnGatherer(self._base, columns) if columns else None
        self._reads = [self._read_of(source, decode_jpegs) for source in self._sources.sources]

    def read(self, request: BatchRequest, *, epoch: int) -> ReadBatch:
        """See `BatchReader`."""
        cache_ids = request.cache_ids.reshape(-1)
        frames: list[FramesOnDevice] = []
        rows: FrameRows | None = None if self._sources.gives_rows else self._base.rows_of(cache_ids)
        for source, read in zip(self._sources.sources, self._reads, strict=True):
            own, found = read(source.own_ids(cache_ids))  # it checks the ids
            frames.append(own)
            rows = found if rows is None else rows
        assert rows is not None  # the first source gives them where the base did not
        return self._complete(request, frames, rows, epoch=epoch)

    def lend_pixels(self, num_frames: int) -> Parts:
        """See `BatchReader`."""
        return Parts(
            parts=tuple(
                self._streams.host_memory((num_frames, *source.frame_shape), source.dtype)
                for source in self._sources.sources
            )
        )

    def complete(self, request: BatchRequest, pixels: Parts, *, epoch: int) -> ReadBatch:
        """See `BatchReader`."""
        rows = self._base.rows_of(request.cache_ids.reshape(-1))
        frames = [partial(self._streams.upload, part) for part in pixels.parts]
        return self._complete(request, frames, rows, epoch=epoch)

    def _read_of(self, source: FrameSource, decode_jpegs: DecodeJpegs | None) -> ReadSource:
        if decode_jpegs is not None:
            assert isinstance(source.store, HoldsEncodedFrames)  # checked when the loader was made
            return _decoded_jpegs(source.store, self._streams, decode_jpegs)
        if isinstance(source.store, DecodesOnDevice):
            return _decoded_on_device(source.store, self._streams)
        return partial(self._uploaded, source)

    def _uploaded(self, source: FrameSource, frame_ids: Int64s) -> tuple[FramesOnDevice, FrameRows]:
        pixels = self._streams.host_memory((len(frame_ids), *source.frame_shape), source.dtype)
        _, rows = source.store.read_frames_and_rows(frame_ids, out=pixels.numpy())
        return partial(self._streams.upload, pixels), rows

    def _complete(
        self, request: BatchRequest, frames: Sequence[FramesOnDevice], rows: FrameRows, *, epoch: int
    ) -> ReadBatch:
        shape = request.cache_ids.shape
        with self._streams.own_stream():
            pixels = [
                made().view(*shape, *source.frame_shape).movedim(-1, -3)
                for source, made in zip(self._sources.sources, frames, strict=True)
            ]
            numbers = _numbers(request, own_rows_of(self._store, rows).reshape(shape))
            gathered = {} if self._columns is None else self._columns.gather(request, rows)
            packed = pack(numbers | _flat(gathered), self._streams.host_memory)
            uploaded = unpack(self._streams.upload(packed.host), packed.places)
            shown = [
                source.augmented(own, anchor_ids=request.anchor_cache_ids, epoch=epoch)
                for source, own in zip(self._sources.sources, pixels, strict=True)
            ]
            batch = self._sources.batch(self._sources.together(shown), _nested(uploaded, gathered))
            return ReadBatch(batch=batch, take_over=self._streams.ready(batch.tensors().values()))


def _decoded_on_device(store: DecodesOnDevice, streams: DeviceStreams) -> ReadSource:
    def read(frame_ids: Int64s) -> tuple[FramesOnDevice, FrameRows]:
        def frames() -> torch.Tensor:
            # Memory of torch's allocator, not of the store: `record_stream` can keep it for the caller's stream.
            shape = (len(frame_ids), *store.frame_shape)
            return store.read_frames_on_device(
                frame_ids, out=torch.empty(shape, dtype=torch.uint8, device=streams.device)
            )

        return frames, store.rows_of(frame_ids)

    return read


def _decoded_jpegs(store: HoldsEncodedFrames, streams: DeviceStreams, decode: DecodeJpegs) -> ReadSource:
    def read(frame_ids: Int64s) -> tuple[FramesOnDevice, FrameRows]:
        different, places = np.unique(
            frame_ids, return_inverse=True
        )  # overlapping windows: decode a frame once
        payloads = [torch.from_numpy(payload) for payload in store.read_encoded(different)]

        def frames() -> torch.Tensor:
            streams.drain()  # see `DecodeJpegs`
            try:
                images = decode(payloads, streams.device)
            except RuntimeError:
                store.read_frames(frame_ids)  # raises an error that names the frame, if one is damaged
                raise
            return stack_images(
                [images[place] for place in places.tolist()],
                frame_ids=frame_ids.tolist(),
                frame_shape=store.frame_shape,
            )

        return frames, store.rows_of(frame_ids)

    return read


def _numbers(request: BatchRequest, rows: FrameRows) -> dict[str, npt.NDArray[Any]]:
    """The fields of a batch beside its frames, as arrays by name."""
    numbers: dict[str, npt.NDArray[Any]] = {
        "frame_ids": request.frame_ids,
        "cache_ids": request.cache_ids,
        "video_ids": videos_of_anchors(rows).astype(np.int64),
        "frame_in_video": rows["frame_in_video"].astype(np.int64),
        "pts_seconds": rows["pts_seconds"].astype(np.float64),
    }
    if request.frame_is_pad is not None:
        numbers["frame_is_pad"] = request.frame_is_pad
    return numbers


_BETWEEN = "\0"
"""Stands between the name of a field and that of a column, which has no such character."""


def _flat(gathered: Mapping[str, Mapping[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    return {
        f"{field}{_BETWEEN}{name}": array
        for field, arrays in gathered.items()
        for name, array in arrays.items()
    }


def _nested(tensors: Mapping[str, torch.Tensor], gathered: Mapping[str, object]) -> dict[str, Any]:
    """Fields of a batch, those of columns as dicts by the name of the column."""
    fields: dict[str, Any] = {field: {} for field in gathered}
    for key, tensor in tensors.items():
        field, is_column, name = key.partition(_BETWEEN)
        if is_column:
            fields[field][name] = tensor
        else:
            fields[field] = tensor
    return fields
