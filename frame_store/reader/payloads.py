"""Payloads read out of the shards of a cache on a disk: decoded, as they are, or ahead of time."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.codec import Payload, PixelCodec, crc32c
from frame_store.errors import StoreDamagedError
from frame_store.files import is_cached, will_need
from frame_store.manifest import CacheTree
from frame_store.protocol import FrameRows, Frames
from frame_store.reader.joined_crc import joined_crc
from frame_store.reader.mapped_shards import MAX_MAPPED_SHARDS, MappedShards
from frame_store.reader.open_shards import ShardFiles
from frame_store.reader.places import Place, at_byte, check_crc, places_of
from frame_store.shared import counted

NUM_PROBES: Final = 4
"""Frames of a request for whose pages `prefetch` looks in the page cache, to find out whether the cache is cold."""

READS_PER_WARM_PROBE: Final = 8
"""Where the frames of a request are found in memory, those of the next 7 are not looked for."""


class LocalShards:
    """The open shards of one process. A reader holds this object, so that `close` takes nothing away under it."""

    def __init__(self, tree: CacheTree, *, is_raw: bool, maps: bool, verifies: bool) -> None:
        """Of all generations of a tree.

        `maps` asks for maps, which are left out where there are too many shards or addresses.
        """
        self.pid = os.getpid()
        self._files = ShardFiles(tree)
        self._verifies = verifies
        self._is_raw = is_raw
        self._num_unprobed = 0
        """Requests of which no frame is looked for in the page cache. Threads that count at once may pass 0."""
        self._maps: MappedShards | None = None
        if maps and len(self._files.shards) <= MAX_MAPPED_SHARDS:
            with suppress(OSError):  # too few addresses (ulimit -v): `pread` needs none
                self._maps = MappedShards(self._files)

    def read(self, ids: npt.NDArray[np.int64], rows: FrameRows, out: Frames, codec: PixelCodec) -> None:
        """Read frames into `out`, in request order. Raises what a store's `read_frames` raises."""
        if self._maps is not None and self._is_raw:
            self._gather(self._maps, ids, rows, out)
            return
        if self._maps is not None:
            self._decode(self._maps, ids, rows, out, codec)
            return
        order = np.argsort(ids, kind="stable")  # disk order, so that cold reads move forward
        read_frames_in_turn(
            self._files,
            places_of(ids[order], rows[order]),
            order.tolist(),
            out,
            codec=codec,
            verifies=self._verifies,
        )

    def read_encoded(self, places: list[Place]) -> list[npt.NDArray[np.uint8]]:
        """The payloads in request order. Raises what a store's `read_encoded` raises."""
        return read_payloads(self._files, places, verifies=self._verifies)

    def prefetch(
        self, ids: npt.NDArray[np.int64], places_of_ids: Callable[[npt.NDArray[np.int64]], list[Place]]
    ) -> bool:
        """Have the system read the payloads of frames; whether one of a few was not in memory."""
        return prefetch_payloads(self._files, np.sort(ids), places_of_ids)

    def close(self) -> None:
        """Files and maps are released with the last reference to this object."""

    def _gather(self, maps: MappedShards, ids: npt.NDArray[np.int64], rows: FrameRows, out: Frames) -> None:
        """Copy raw frames out of the maps. A copy empties the CPU's cache, so the code between copies is kept short."""
        if not len(ids):
            return
        maps.gather(ids, rows["shard_id"], rows["byte_offset"], out)
        if self._verifies:
            self._check_all(maps.files, ids, rows, out)

    def _decode(
        self,
        maps: MappedShards,
        ids: npt.NDArray[np.int64],
        rows: FrameRows,
        out: Frames,
        codec: PixelCodec,
    ) -> None:
        """Decode frames out of the maps, in the order of ids; a frame that is wanted again is copied."""
        order = ids.argsort(kind="stable")  # disk order, so that cold reads move forward
        in_order = ids[order]
        again = (in_order[1:] == in_order[:-1]).nonzero()[0].tolist()
        new = np.delete(order, [number + 1 for number in again]) if again else order
        firsts = maps.addresses(ids, rows["shard_id"], rows["byte_offset"])
        # A page of a map that is not in memory is read when it is touched, and the decoder waits for each in turn.
        if self._num_unprobed > 0:
            self._num_unprobed -= 1
        else:
            with suppress(OSError):  # no more files can be opened
                if not prefetch_payloads(maps.files, new, lambda some: places_of(ids[some], rows[some])):
                    self._num_unprobed = READS_PER_WARM_PROBE - 1
        memory, starts, ends = maps.memory, firsts[new].tolist(), (firsts + rows["byte_length"])[new].tolist()
        positions = new.tolist()

        # Objects are made one at a time: those of a whole batch would have left the CPU's cache when they are used.
        def payloads() -> Iterator[memoryview]:
            return map(memory.__getitem__, map(slice, starts, ends))

        if self._verifies:
            for place, payload in zip(places_of(ids[new], rows[new]), payloads(), strict=True):
                check_crc(maps.files, place, payload)
        try:
            codec.decode_all(payloads(), map(out.__getitem__, positions))
        except ValueError:
            places = places_of(ids[new], rows[new])
            for place, payload, position in zip(places, payloads(), positions, strict=True):
                _decode_one(maps.files, place, payload, out[position], codec)
        for number in again:
            out[order[number + 1]] = out[order[number]]

    @staticmethod
    def _check_all(files: ShardFiles, ids: npt.NDArray[np.int64], rows: FrameRows, out: Frames) -> None:
        """Compare the frames of a batch with their CRC-32Cs in one call. One by one tells which frame differs."""
        pixels = out.reshape(-1).view(np.uint8)
        if crc32c(pixels.data) != joined_crc(rows["crc32c"], num_bytes=pixels.size // len(ids)):
            for place, frame in zip(places_of(ids, rows), out, strict=True):
                check_crc(files, place, frame.data)


def read_frames_in_turn(
    files: ShardFiles,
    places: list[Place],
    positions: list[int],
    out: Frames,
    *,
    codec: PixelCodec,
    verifies: bool,
) -> None:
    """Read frame by frame, in the order of ids; a frame that is wanted again is copied.

    Each Python step may have to wait for the GIL, so the loop body is kept minimal. Raises what a store's `read_frames`
    raises.
    """
    descriptor, open_shard, read_id, frame = None, -1, -1, out
    pread = os.pread
    for place, position in zip(places, positions, strict=True):
        frame_id, shard_id, byte_offset, byte_length, _ = place
        if frame_id == read_id:
            out[position] = frame
            continue
        if descriptor is None or shard_id != open_shard:
            # One file at a time: a batch from many shards must not hold more files than the table.
            descriptor, open_shard = files.descriptor(shard_id, frame_id=frame_id), shard_id
            files.require_size(shard_id, frame_id=frame_id)
        read_id, frame = frame_id, out[position]
        try:
            payload = pread(descriptor.number, byte_length, byte_offset)
        except OSError as error:
            raise files.unread(shard_id, frame_id, error) from error
        if len(payload) != byte_length:
            _require_whole(files, place, len(payload))
        if verifies:
            check_crc(files, place, payload)
        _decode_one(files, place, payload, frame, codec)


def _decode_one(files: ShardFiles, place: Place, payload: Payload, frame: Frames, codec: PixelCodec) -> None:
    try:
        codec.decode_into(payload, frame)
    except ValueError as error:
        raise files.damaged(place.shard_id, place.frame_id, f"{error}{at_byte(place)}") from error


def read_payloads(files: ShardFiles, places: list[Place], *, verifies: bool) -> list[npt.NDArray[np.uint8]]:
    """The payloads in the order of `places`: uint8 (L,) each, all parts of one buffer.

    Raises what a store's `read_encoded` raises.
    """
    ends = np.cumsum([place.byte_length for place in places])
    payloads = np.split(np.empty(ends[-1] if len(ends) else 0, np.uint8), ends[:-1])[: len(places)]
    # Disk order, so that cold reads move forward.
    for position in sorted(range(len(places)), key=lambda position: places[position].frame_id):
        place, payload = places[position], payloads[position]
        descriptor = files.descriptor(place.shard_id, frame_id=place.frame_id)
        files.require_size(place.shard_id, frame_id=place.frame_id)
        try:
            num_bytes = os.preadv(descriptor.number, [payload.data], place.byte_offset)
        except OSError as error:
            raise files.unread(place.shard_id, place.frame_id, error) from error
        _require_whole(files, place, num_bytes)
        if verifies:
            check_crc(files, place, payload.data)
    return payloads


def prefetch_payloads(
    files: ShardFiles,
    frames: npt.NDArray[np.int64],
    places_of_frames: Callable[[npt.NDArray[np.int64]], list[Place]],
) -> bool:
    """Have the system read the payloads of frames, if a few of them are not in memory; whether one was missing.

    `frames` are whatever `places_of_frames` takes, in disk order.
    """
    with suppress(StoreDamagedError):  # `read_frames` raises it, for the batch that it belongs to
        for place in places_of_frames(frames[:: max(1, len(frames) // NUM_PROBES)]):
            if not is_cached(files.descriptor(place.shard_id, frame_id=place.frame_id), place.byte_offset):
                break
        else:
            return False
        for place in places_of_frames(frames):
            file = files.descriptor(place.shard_id, frame_id=place.frame_id)
            will_need(file, place.byte_offset, place.byte_length)
    return True


def _require_whole(files: ShardFiles, place: Place, num_bytes_read: int) -> None:
    if num_bytes_read != place.byte_length:
        raise files.damaged(
            place.shard_id,
            place.frame_id,
            f"expected {counted(place.byte_length, 'byte')}, found {num_bytes_read}: "
            f"the shard is shorter than it was{at_byte(place)}",
        )
