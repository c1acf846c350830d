"""Asks a cold disk, or an object store, for the frames of the next batches."""

from collections.abc import Callable, Iterator
from typing import Final, Self

from frame_store.protocol import PrefetchingStore, frames_ahead
from loader.batches import FrameSources
from loader.lookahead.shard_feeds import ShardFeeds
from loader.windows import BatchRequest

BATCHES_PER_WARM_PROBE: Final = 32
"""A probe looks at a few pages of a batch. If they are in memory, the loader does not probe the next 31 batches."""

_MAX_BATCHES_AHEAD: Final = 32
"""What is stored of each takes memory."""


def batches_on_their_way(sources: FrameSources, *, frames_per_batch: int) -> int:
    """How many batches stores at URLs are to be asked for ahead: a request takes long, so many are made at once."""
    most = max(frames_ahead(source.store) for source in sources.sources)
    return min(-(-most // frames_per_batch), _MAX_BATCHES_AHEAD)


class Prefetcher:
    """Asks for frames ahead of time. While frames are found in memory, it asks only for some batches.

    Stores that download whole shards are told of every batch, far ahead. A context manager: an iteration ends with it.
    """

    def __init__(
        self,
        sources: FrameSources,
        coming: Callable[[], Iterator[tuple[int, BatchRequest]]],
        *,
        num_in_flight: int,
    ) -> None:
        """For the sources whose stores prefetch, or download shards. See `ShardFeeds` for the other arguments."""
        self._feeds = ShardFeeds(sources, coming, num_in_flight=num_in_flight)
        self._prefetching = [
            (source, source.store) for source in sources.sources if isinstance(source.store, PrefetchingStore)
        ]
        self._num_to_skip = 0

    def announce(self, request: BatchRequest) -> None:
        """Announce the batch that will be read after those announced before."""
        self._feeds.advance()
        if not self._prefetching:
            return
        if self._num_to_skip:
            self._num_to_skip -= 1
            return
        cache_ids = request.cache_ids.reshape(-1)
        found_cold = [store.prefetch(source.own_ids(cache_ids)) for source, store in self._prefetching]
        if not any(found_cold):
            self._num_to_skip = BATCHES_PER_WARM_PROBE - 1

    def close(self) -> None:
        """The iteration has ended."""
        self._feeds.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
