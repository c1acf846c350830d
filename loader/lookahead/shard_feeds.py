"""Tells stores that fetch whole shards which batches come, so that the shards are there when they are read."""

from collections.abc import Callable, Iterator
from typing import Self

from frame_store.protocol import Feed, FetchesShards
from loader.batches import FrameSource, FrameSources
from loader.sampling.orders import Int64s
from loader.windows import BatchRequest


class ShardFeeds:
    """The feeds of one iteration: one for each source whose store fetches shards. A context manager."""

    def __init__(
        self,
        sources: FrameSources,
        upcoming: Callable[[], Iterator[tuple[int, BatchRequest]]],
        *,
        num_in_flight: int,
    ) -> None:
        """Begin. `upcoming` gives the batches to come, with their epochs; `num_in_flight` of them are read at once."""
        self._feeds: list[Feed] = []
        for source in sources.sources:
            if isinstance(source.store, FetchesShards):
                feed = source.store.feed(_own_ids(source, upcoming()), num_in_flight=num_in_flight)
                if feed is not None:
                    self._feeds.append(feed)

    def advance(self) -> None:
        """One more batch is asked for."""
        for feed in self._feeds:
            feed.advance()

    def close(self) -> None:
        """The iteration has ended."""
        for feed in self._feeds:
            feed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _own_ids(source: FrameSource, requests: Iterator[tuple[int, BatchRequest]]) -> Iterator[Int64s]:
    for _, request in requests:
        yield source.own_ids(request.cache_ids.reshape(-1))
