"""Which shards the batches to come want, in which order they are downloaded, and which of them stay.

Pure: it knows no clock, no file and no thread. With room for a fraction c of the data, shards that are each wanted once
an epoch, in new orders, are downloaded again at the least for a share 1 - c of the bytes. That is reached by keeping a
fixed set, whatever the orders are, and passing the rest through a small room. What is kept by last use is worth little
(0.85 downloaded again at c = 0.5), because each shard goes just before it is wanted.
"""

import statistics
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from frame_store.remote.parts import PART_BYTES, PARTS_AT_ONCE

REQUEST_SECONDS: Final = 0.030
"""From the request to the first byte, as in the region of a store."""
BYTES_PER_SECOND: Final = 90e6
"""Of one connection, typical of S3."""
MAX_BATCHES_AHEAD: Final = 4096
MAX_BYTES_AHEAD: Final = 8 << 30
_NUM_REMEMBERED: Final = 65
_BATCHES_OF_ALL: Final = 64
"""A window that has all shards need not be longer."""
_LOCAL: Final = 0.5


def is_worth_download(num_wanted: int, num_bytes: int) -> bool:
    """Whether a download of a shard holds connections for less time than a request for each wanted frame.

    A shard in parts of 8 MB with frames of 13 kB is worth it from 0.6% of its frames on.
    """
    num_parts = -(-num_bytes // PART_BYTES)
    return num_wanted * REQUEST_SECONDS >= num_parts * REQUEST_SECONDS + num_bytes / BYTES_PER_SECOND


class ShardPlan:
    """The shards that a window of coming batches wants. Batches enter at its end and leave at its start."""

    def __init__(self, num_bytes: Sequence[int], *, max_bytes: int) -> None:
        """Of shards of `num_bytes` each, for a folder of `max_bytes`."""
        self._num_bytes = num_bytes
        self._max_bytes = max_bytes
        self._largest = max(num_bytes, default=0)
        self._batches: deque[list[tuple[int, int]]] = deque()
        self._wanted: dict[int, int] = {}  # frames by shard, in the order of the shards' first use
        self._num_uses: dict[int, int] = {}  # batches by shard
        self._bytes_ahead = 0
        self._recent: deque[int] = deque(maxlen=_NUM_REMEMBERED)  # what each of the last batches took

    @property
    def num_batches(self) -> int:
        """Batches in the window."""
        return len(self._batches)

    @property
    def wants_more(self) -> bool:
        """Whether the window should grow: to shards for half of the folder, and for twice what its first batch wants."""
        if not self._batches:
            return True
        if len(self._wanted) == len(self._num_bytes) and self.num_batches >= _BATCHES_OF_ALL:
            return False
        of_first = sum(self._num_bytes[shard] for shard, _ in self._batches[0])
        limit = max(min(self._max_bytes // 2, MAX_BYTES_AHEAD), 2 * of_first)
        return self.num_batches < MAX_BATCHES_AHEAD and self._bytes_ahead < limit

    def add(self, frames_of_shard: Sequence[tuple[int, int]]) -> list[int]:
        """The next batch: each shard that it wants, with the number of its frames. Returns those wanted from now on."""
        new = []
        self._batches.append(list(frames_of_shard))
        for shard, num_frames in frames_of_shard:
            if shard not in self._wanted:
                self._bytes_ahead += self._num_bytes[shard]
                new.append(shard)
            self._wanted[shard] = self._wanted.get(shard, 0) + num_frames
            self._num_uses[shard] = self._num_uses.get(shard, 0) + 1
        return new

    def leave(self) -> list[int]:
        """The first batch was read. Returns the shards that the window wants no longer."""
        self._recent.append(self._bytes_of_first())
        unwanted = []
        for shard, num_frames in self._batches.popleft():
            self._wanted[shard] -= num_frames
            self._num_uses[shard] -= 1
            if not self._num_uses[shard]:
                del self._num_uses[shard], self._wanted[shard]
                self._bytes_ahead -= self._num_bytes[shard]
                unwanted.append(shard)
        return unwanted

    def wants(self, shard: int) -> bool:
        """Whether a batch of the window has a frame of the shard."""
        return shard in self._wanted

    def is_worth_it(self, shard: int) -> bool:
        """Whether the window wants enough of the shard for a download, though the shard may pass."""
        return is_worth_download(self._wanted.get(shard, 0), self._num_bytes[shard])

    @property
    def may_pass(self) -> bool:
        """Whether the shards that a batch is worth downloading for fit into the folder together. Else only a fixed set
        is downloaded, and the others are read by ranges: passing, they would push one another out.
        """
        return self._bytes_at_once <= self._max_bytes

    @property
    def reserve_bytes(self) -> int:
        """Room that shards which stay must leave to those that pass: for the shards of two batches, those that are read
        and those that come next, and for the parts that may be on their way.
        """
        of_batches = 2 * self._bytes_at_once if self.may_pass else 0
        in_flight = min(PART_BYTES * PARTS_AT_ONCE, self._max_bytes // 4)
        return min(self._max_bytes, max(of_batches, in_flight, self._largest))

    def in_order(self) -> Iterator[int]:
        """The shards to have: those that are worth a download by their first use, then the others."""
        later = []
        for shard in self._wanted:
            if self.is_worth_it(shard):
                yield shard
            else:
                later.append(shard)
        yield from later

    @property
    def bytes_at_once(self) -> int | None:
        """What a batch takes where it is too much for the folder, though batches are drawn from few shards at a time:
        a larger folder would serve them. None where the folder is large enough, or would not help.
        """
        if self.may_pass or not self._batches:
            return None
        num_shards, num_frames = len(self._num_bytes), sum(number for _, number in self._batches[0])
        if_drawn_from_all = num_shards * (1 - (1 - 1 / num_shards) ** num_frames)
        return self._bytes_at_once if len(self._batches[0]) < _LOCAL * if_drawn_from_all else None

    @property
    def _bytes_at_once(self) -> int:
        """What a batch takes, of shards that are worth a download. At the border of blocks it is twice as much."""
        return statistics.median_low(self._recent) if self._recent else self._bytes_of_first()

    def _bytes_of_first(self) -> int:
        if not self._batches:
            return 0
        return sum(self._num_bytes[shard] for shard, _ in self._batches[0] if self.is_worth_it(shard))
