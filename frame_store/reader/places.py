"""Where the payloads of frames lie, as plain numbers: loops over them are faster than over rows of an array."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from frame_store.index import FrameIndex
from frame_store.shared import counted


class Place(NamedTuple):
    """One frame's row of the index."""

    frame_id: int
    shard_id: int
    byte_offset: int
    byte_length: int
    crc32c: int


def places_of(ids: npt.NDArray[np.int64], rows: FrameIndex) -> list[Place]:
    """The places of frames, whose rows of the index are `rows`."""
    columns = (rows[name].tolist() for name in ("shard_id", "byte_offset", "byte_length", "crc32c"))
    return list(map(Place, ids.tolist(), *columns))


def at_byte(place: Place) -> str:
    """The end of a message about a payload."""
    return f", {counted(place.byte_length, 'byte')} at byte {place.byte_offset}"
