"""Payloads read out of open shards with `pread`: decoded, as they are, or ahead of time."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.files import is_cached, will_need
from frame_store.protocol import Frames
from frame_store.reader.open_shards import ShardFiles
from frame_store.reader.places import Place, at_byte, check_crc
from frame_store.shared import counted

NUM_PROBES: Final = 4
"""Frames of a request for whose pages `prefetch` looks in the page cache, to find out whether the cache is cold."""


def read_frames_in_turn(
    files: ShardFiles,
    places: list[Place],
    positions: list[int],
    out: Frames,
    *,
    decode_into: Callable[[bytes, npt.NDArray[Any]], None],
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
        try:
            decode_into(payload, frame)
        except ValueError as error:
            raise files.damaged(shard_id, place.frame_id, f"{error}{at_byte(place)}") from error


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
    ids: npt.NDArray[np.int64],
    places_of_ids: Callable[[npt.NDArray[np.int64]], list[Place]],
) -> bool:
    """Have the system read the payloads of frames, if a few of them are not in memory; whether one was missing."""
    with suppress(StoreDamagedError):  # `read_frames` raises it, for the batch that it belongs to
        for place in places_of_ids(ids[:: max(1, len(ids) // NUM_PROBES)]):
            if not is_cached(files.descriptor(place.shard_id, frame_id=place.frame_id), place.byte_offset):
                break
        else:
            return False
        for place in places_of_ids(np.sort(ids)):
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
