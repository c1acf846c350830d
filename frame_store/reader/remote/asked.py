"""The payloads of one read that come by ranges: some were announced, the others are asked for, a bounded part ahead."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Self

from frame_store.errors import StoreError
from frame_store.reader.places import Place
from frame_store.reader.remote.ranges import FrameRange, RangeSource, ranges_of

MAX_AHEAD_BYTES: Final = 64 << 20
"""Of one read: fetched, or on their way, beyond the frame that is decoded."""


class AskedRanges:
    """Gives the payloads in the order of `places`. A context manager: requests that nobody waits for are cancelled."""

    def __init__(
        self,
        places: Sequence[Place],
        source: RangeSource,
        *,
        announced: dict[int, FrameRange],
        submit: Callable[[list[FrameRange]], None],
    ) -> None:
        """Ask for the first of them. The places are in the order of ids, and each frame is there once.

        `announced` has the requests that were made ahead, by frame. `submit` has requests made now.
        """
        self._source, self._announced, self._submit = source, announced, submit
        self._to_ask = ranges_of([place for place in places if place.frame_id not in announced], source)
        self._asked: deque[FrameRange] = deque()
        self._num_ahead, self._is_all_asked = 0, not places
        self._ask()

    def payload(self, place: Place) -> memoryview:
        """The payload of the next place.

        Raises:
            StoreDamagedError: a payload has not the CRC-32C of its row, also when it was asked for again.
            ObjectStoreError: the store cannot be reached or refuses, or has not such a shard.
        """
        announced = self._announced.pop(place.frame_id, None)
        if announced is not None:
            try:
                return announced.payload(place)
            except StoreError:  # what was wrong may be over
                return self.asked_alone(place)
        self._ask()
        first = self._asked[0]
        payload = first.payload(place)
        if place is first.places[-1]:
            self._num_ahead -= self._asked.popleft().num_bytes
        return payload

    def asked_alone(self, place: Place) -> memoryview:
        """The payload out of a request for it alone. Raises as `payload`."""
        alone = FrameRange([place], self._source)
        self._submit([alone])
        return alone.payload(place)

    def _ask(self) -> None:
        if self._is_all_asked or self._num_ahead >= MAX_AHEAD_BYTES:
            return
        some: list[FrameRange] = []
        for each in self._to_ask:
            some.append(each)
            self._num_ahead += each.num_bytes
            if self._num_ahead >= MAX_AHEAD_BYTES:
                break
        else:
            self._is_all_asked = True
        self._submit(some)
        self._asked.extend(some)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._asked:  # after an error, or Ctrl-C
            each.cancel()
