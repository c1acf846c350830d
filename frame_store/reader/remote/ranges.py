"""One request for neighbouring frames of a shard, and how frames are put together into requests."""

import threading
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from frame_store.codec import crc32c
from frame_store.errors import ObjectStoreError
from frame_store.reader.places import Place

MAX_GAP_BYTES: Final = 16 << 10
"""Frames are asked for together across so many bytes that nobody wants: a request costs more than they do."""
MAX_RANGE_BYTES: Final = 2 << 20
"""Longer runs are several requests, which are made at once."""


class RangeSource(Protocol):
    """Where the bytes of shards come from."""

    verifies: bool
    """Whether payloads are compared with the CRC-32C of their rows."""

    def fetch_range(self, shard_id: int, start: int, num_bytes: int) -> memoryview:
        """Bytes of a shard."""
        ...

    def damaged(self, place: Place, reason: str) -> Exception:
        """The error for a frame."""
        ...


class FrameRange:
    """The bytes of some frames of one shard: those of one request. `make` is called once, by whatever thread."""

    __slots__ = (
        "_again",
        "_data",
        "_done",
        "_error",
        "_source",
        "num_bytes",
        "num_wanted",
        "places",
        "start",
    )

    def __init__(self, places: Sequence[Place], source: RangeSource) -> None:
        """Of places of one shard, in the order of their bytes."""
        self.places = places
        self.start = places[0].byte_offset
        self.num_bytes = places[-1].byte_offset + places[-1].byte_length - self.start
        self.num_wanted = len(places)
        """How often frames of it are still to be taken, where it was announced."""
        self._source = source
        self._data = memoryview(b"")
        self._again: dict[int, memoryview] = {}
        self._error: BaseException | None = None
        self._done = threading.Event()

    def make(self) -> None:
        """Make the request. Where payloads are verified, one that is wrong is asked for once more."""
        if self._error is not None:  # cancelled
            return
        try:
            source = self._source
            self._data = source.fetch_range(self.places[0].shard_id, self.start, self.num_bytes)
            if source.verifies:
                for place in self.places:
                    if crc32c(self._inside(place)) != place.crc32c:
                        self._again[place.frame_id] = _fetched_again(place, source)
        except BaseException as error:  # noqa: BLE001 - raised where the frames are waited for
            self._error = error
        finally:
            self._done.set()

    def cancel(self) -> None:
        """Have the request not made, where it was not begun."""
        self._error = ObjectStoreError("the store was closed before this request was made")
        self._done.set()

    def payload(self, place: Place) -> memoryview:
        """The payload of one of the frames, once it is there. Raises what the request has raised."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._again.get(place.frame_id) or self._inside(place)

    def _inside(self, place: Place) -> memoryview:
        first = place.byte_offset - self.start
        return self._data[first : first + place.byte_length]


def _fetched_again(place: Place, source: RangeSource) -> memoryview:
    payload = source.fetch_range(place.shard_id, place.byte_offset, place.byte_length)
    found = crc32c(payload)
    if found != place.crc32c:
        raise source.damaged(
            place,
            f"expected crc32c {place.crc32c:08x}, found {found:08x} twice: its bytes are not those that were written",
        )
    return payload


def ranges_of(places: Sequence[Place], source: RangeSource) -> Iterator[FrameRange]:
    """The requests for places, which are in the order of shards and of their bytes."""
    together: list[Place] = []
    for place in places:
        if together:
            last = together[-1]
            gap = place.byte_offset - last.byte_offset - last.byte_length
            num_bytes = place.byte_offset + place.byte_length - together[0].byte_offset
            if (
                place.shard_id != last.shard_id
                or not 0 <= gap <= MAX_GAP_BYTES
                or num_bytes > MAX_RANGE_BYTES
            ):
                yield FrameRange(together, source)
                together = []
        together.append(place)
    if together:
        yield FrameRange(together, source)
