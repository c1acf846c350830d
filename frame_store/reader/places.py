"""Where the payloads of frames lie, as plain numbers: loops over them are faster than over rows of an array."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from frame_store.codec import crc32c
from frame_store.protocol import FrameRows
from frame_store.reader.open_shards import ShardFiles
from frame_store.shared import counted


class Place(NamedTuple):
    """One frame's row of the index."""

    frame_id: int
    shard_id: int
    byte_offset: int
    byte_length: int
    crc32c: int


class IndexedFrames(NamedTuple):
    """Frames and their rows of the index: the `LocatedFrames` of a cache (see `frame_store.protocol`)."""

    ids: npt.NDArray[np.int64]
    rows: FrameRows
    found_in: object
    """The index that has these rows: payloads are read where they say, which another store must not do."""

    def part(self, first: int, end: int) -> "IndexedFrames":
        """The frames at `first`, ..., `end` - 1."""
        return IndexedFrames(self.ids[first:end], self.rows[first:end], self.found_in)


def places_of(ids: npt.NDArray[np.int64], rows: FrameRows) -> list[Place]:
    """The places of frames, whose rows of the index are `rows`."""
    columns = (rows[name].tolist() for name in ("shard_id", "byte_offset", "byte_length", "crc32c"))
    return list(map(Place, ids.tolist(), *columns))


def at_byte(place: Place) -> str:
    """The end of a message about a payload."""
    return f", {counted(place.byte_length, 'byte')} at byte {place.byte_offset}"


def check_crc(files: ShardFiles, place: Place, payload: bytes | memoryview) -> None:
    """Compare a payload with its CRC-32C in the index.

    Raises:
        StoreDamagedError: it has another one.
    """
    found = crc32c(payload)
    if found != place.crc32c:
        raise files.damaged(
            place.shard_id,
            place.frame_id,
            f"expected crc32c {place.crc32c:08x}, found {found:08x}: its bytes are not those that were written"
            f"{at_byte(place)}",
        )
