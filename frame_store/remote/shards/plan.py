"""Which shards the batches to come want, in which order they are downloaded, and which of them stay.

Pure: it knows no clock, no file and no thread. With room for a fraction c of the data, shards that are each wanted once
an epoch, in new orders, are downloaded again at the least for a share 1 - c of the bytes. That is reached by keeping a
fixed set, whatever the orders are, and passing the rest through a small room. What is kept by last use is worth little
(0.85 downloaded again at c = 0.5), because each shard goes just before it is wanted.
"""

import statistics
from collections import deque
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A shard to download."""

    shard: int
    stays: bool
    """Whether there is room for it to stay."""
    may_pass: bool
    """Whether it is worth a download where it cannot stay."""
    instead_of: int | None
    """A shard that passes, and that is wanted again only later: it is let go first."""
    may_evict: bool
    """Whether it may take room from shards that stay: the own share of the room for those that pass is not used up."""


class ShardPlan:
    """The shards that a window of coming batches wants. Batches enter at its end and leave at its start."""

    def __init__(self, num_bytes: Sequence[int], *, max_bytes: int) -> None:
        """Of shards of `num_bytes` each, for a folder of `max_bytes`."""
        self._num_bytes = num_bytes
        self._max_bytes = max_bytes
        self._largest = max(num_bytes, default=0)
        self._batches: deque[list[tuple[int, int]]] = deque()
        self._wanted: dict[int, int] = {}  # frames by shard, in the order of the shards' first use
        self._uses: dict[int, deque[int]] = {}  # numbers of batches by shard
        self._num_added = 0
        self._missing: dict[
            int, None
        ] = {}  # those wanted for which nothing is done, in the order of their first use
        self._bytes_ahead = 0
        self._recent: deque[int] = deque(maxlen=_NUM_REMEMBERED)  # what each of the last batches took

    @property
    def num_batches(self) -> int:
        """Batches in the window."""
        return len(self._batches)

    @property
    def wants_more(self) -> bool:
        """Whether the window should grow: to shards for half the folder, and for twice what its first batch wants."""
        if not self._batches:
            return True
        if len(self._wanted) == len(self._num_bytes) and self.num_batches >= _BATCHES_OF_ALL:
            return False
        of_first = sum(self._num_bytes[shard] for shard, _ in self._batches[0])
        limit = max(min(self._max_bytes // 2, MAX_BYTES_AHEAD), 2 * of_first)
        return self.num_batches < MAX_BATCHES_AHEAD and self._bytes_ahead < limit

    def add(self, frames_of_shard: Sequence[tuple[int, int]]) -> list[int]:
        """The next batch: each shard that it wants, with the number of its frames. Returns those wanted from now on.

        They are missing until they are settled.
        """
        new = []
        self._batches.append(list(frames_of_shard))
        for shard, num_frames in frames_of_shard:
            if shard not in self._wanted:
                self._bytes_ahead += self._num_bytes[shard]
                new.append(shard)
                self._missing[shard] = None
            self._wanted[shard] = self._wanted.get(shard, 0) + num_frames
            self._uses.setdefault(shard, deque()).append(self._num_added)
        self._num_added += 1
        return new

    def leave(self) -> list[int]:
        """The first batch was read. Returns the shards that the window wants no longer."""
        self._recent.append(self._bytes_of_first())
        unwanted = []
        for shard, num_frames in self._batches.popleft():
            self._wanted[shard] -= num_frames
            self._uses[shard].popleft()
            if not self._uses[shard]:
                del self._uses[shard], self._wanted[shard]
                self._bytes_ahead -= self._num_bytes[shard]
                self._missing.pop(shard, None)
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
        """Whether the shards of a batch that are worth a download fit into the folder together.

        Else only a fixed set is downloaded, and the others are read by ranges: passing, they would push one another
        out.
        """
        return self._bytes_at_once <= self._max_bytes

    @property
    def reserve_bytes(self) -> int:
        """Room that shards which stay must leave to those that pass.

        It is for the shards of two batches, those that are read and those that come next, and for the parts that may
        be on their way.
        """
        of_batches = 2 * self._bytes_at_once if self.may_pass else 0
        in_flight = min(PART_BYTES * PARTS_AT_ONCE, self._max_bytes // 4)
        return min(self._max_bytes, max(of_batches, in_flight, self._largest))

    def settle(self, shard: int) -> None:
        """The shard is in the folder, or on its way, or is not to be downloaded."""
        self._missing.pop(shard, None)

    def miss(self, shard: int) -> None:
        """The shard is missing again, if it is wanted."""
        if shard in self._wanted:
            self._missing[shard] = None

    def is_missing(self, shard: int) -> bool:
        """Whether the shard is wanted, and not settled."""
        return shard in self._missing

    def choice(
        self, *, num_bytes_staying: int, passing: Collection[int], here: Container[int]
    ) -> Choice | None:
        """What to download next; None for nothing.

        What is worth a download comes first, by its next use. Then comes what may stay: an order without blocks wants
        all of it some time.

        Args:
            num_bytes_staying: of the files of the folder that stay, whoever uses them.
            passing: shards that pass for this window, in the folder or on their way.
            here: those that are in the folder.
        """
        may_pass, reserve = self.may_pass, self.reserve_bytes
        room = self._max_bytes - reserve - num_bytes_staying
        best: int | None = None
        may_stay: int | None = None
        for shard in self._missing:
            stays = self._num_bytes[shard] <= room
            if self.is_worth_it(shard) and (may_pass or stays):
                if best is None or self._next_use(shard) < self._next_use(best):
                    best = shard
            elif stays and may_stay is None:
                may_stay = shard
        if best is None:
            if may_stay is None:
                return None
            return Choice(shard=may_stay, stays=True, may_pass=False, instead_of=None, may_evict=False)
        over = sum(self._num_bytes[shard] for shard in passing) + self._num_bytes[best] - reserve
        stays = self._num_bytes[best] <= room
        last = None
        if over > 0 and not stays:
            last = max((shard for shard in passing if shard in here), key=self._next_use, default=None)
            if last is not None and self._next_use(last) > self._next_use(best):
                over -= self._num_bytes[last]
            else:
                last = None
        return Choice(
            shard=best, stays=stays, may_pass=may_pass, instead_of=last, may_evict=may_pass and over <= 0
        )

    @property
    def bytes_at_once(self) -> int | None:
        """What a batch takes where it is too much for the folder, though batches are drawn from few shards at a time.

        A larger folder would serve them. None where the folder is large enough, or would not help.
        """
        if self.may_pass or not self._batches:
            return None
        num_shards, num_frames = len(self._num_bytes), sum(number for _, number in self._batches[0])
        if_drawn_from_all = num_shards * (1 - (1 - 1 / num_shards) ** num_frames)
        return self._bytes_at_once if len(self._batches[0]) < _LOCAL * if_drawn_from_all else None

    def _next_use(self, shard: int) -> int:
        return self._uses[shard][0] if shard in self._uses else self._num_added

    @property
    def _bytes_at_once(self) -> int:
        """What a batch takes, of shards that are worth a download. At the border of blocks it is twice as much."""
        return statistics.median_low(self._recent) if self._recent else self._bytes_of_first()

    def _bytes_of_first(self) -> int:
        if not self._batches:
            return 0
        return sum(self._num_bytes[shard] for shard, _ in self._batches[0] if self.is_worth_it(shard))
