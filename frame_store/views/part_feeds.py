"""Feeds of the parts of a concatenation, which draw the batches to come from one source."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from frame_store.protocol import Feed, FetchesShards, FrameStore
from frame_store.source_order import Int64s


class PartFeeds:
    """A `Feed` of several parts. A batch that has no frame of a part is an empty one there."""

    def __init__(
        self,
        parts: Sequence[FrameStore],
        first_ids: Int64s,
        upcoming: Iterator[Int64s],
        *,
        num_in_flight: int,
    ) -> None:
        """Of the parts that fetch shards. `first_ids` are the frames before each part, int64, shape (P + 1,)."""
        self._first_ids, self._upcoming = first_ids, upcoming
        self._lock = threading.Lock()
        fetching = [(number, part) for number, part in enumerate(parts) if isinstance(part, FetchesShards)]
        self._drawn: dict[int, deque[Int64s]] = {number: deque() for number, _ in fetching}
        self._feeds: list[Feed] = []
        for number, part in fetching:
            feed = part.feed(self._of_part(number), num_in_flight=num_in_flight)
            if feed is None:
                del self._drawn[number]
            else:
                self._feeds.append(feed)

    def __bool__(self) -> bool:
        """Whether any part fetches shards."""
        return bool(self._feeds)

    def advance(self) -> None:
        """See `Feed`."""
        for feed in self._feeds:
            feed.advance()

    def close(self) -> None:
        """See `Feed`."""
        for feed in self._feeds:
            feed.close()

    def _of_part(self, number: int) -> Iterator[Int64s]:
        while True:
            with self._lock:  # the feeds of the parts draw in threads of their own
                drawn = self._drawn[number]
                if not drawn:
                    ids = next(self._upcoming, None)
                    if ids is None:
                        return
                    part_of = np.searchsorted(self._first_ids, ids, side="right") - 1
                    for part, others in list(self._drawn.items()):
                        others.append(ids[part_of == part] - self._first_ids[part])
                batch = drawn.popleft()
            yield batch
