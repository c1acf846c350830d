"""How a sampler would be fed from an object store: requests and bytes an epoch, counted on the real order.

Frames are read by ranges: those of a batch that lie near each other in a shard are one request, as the reader does it.
With a folder, shards are downloaded whole, in parts, where the order wants enough of each while it is at hand; a fixed
set of shards stays from epoch to epoch. What nothing can be said of for certain is not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

MAX_GAP_BYTES: Final = 16 << 10
MAX_RANGE_BYTES: Final = 2 << 20
PART_BYTES: Final = 4 << 20
RANGES_AT_ONCE: Final = 128
PARTS_AT_ONCE: Final = 16
"""As the reader of caches in object stores has them, each for one process."""
MAX_BATCHES_AHEAD: Final = 4096
MAX_BYTES_AHEAD: Final = 8 << 30
_DOWNLOAD_SECONDS: Final = 0.030
_DOWNLOAD_BYTES_PER_SECOND: Final = 90e6
"""By which the reader decides whether a download is worth it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredFrames:
    """Where the frames of a cache lie: arrays of shape (N,), by frame id, and the bytes of each shard, shape (S,)."""

    shard_of: Int64s
    offset: Int64s
    length: Int64s
    shard_bytes: Int64s

    @property
    def num_bytes(self) -> int:
        """Of all shards."""
        return int(self.shard_bytes.sum())


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Requests and the bytes that they bring."""

    number: float
    num_bytes: float

    def times(self, factor: float) -> "Requests":
        """Of so many times as many frames."""
        return Requests(number=self.number * factor, num_bytes=self.num_bytes * factor)

    def plus(self, other: "Requests") -> "Requests":
        """Both."""
        return Requests(number=self.number + other.number, num_bytes=self.num_bytes + other.num_bytes)


@dataclass(frozen=True, kw_only=True)
class Feed:
    """How the processes of one host are fed, each epoch."""

    way: Literal["ranges", "shards"]
    num_frames: float
    """That these processes read in an epoch."""
    first: Requests
    """In the first epoch; with `ranges` and a folder at most so many: frames of shards that are on their way, too."""
    later: Requests
    """In each later one."""
    num_bytes_staying: int
    """Of the shards that stay in the folder."""
    is_sampled: bool
    """Whether the start of an epoch was counted, and not all of it."""


@dataclass(frozen=True, kw_only=True)
class StoreSpeed:
    """What the network gives."""

    latency_seconds: float = 0.030
    """From a request to the first byte."""
    bytes_per_second: float = 90e6
    """Of one connection."""
    connections: int = 64
    """Of each process."""

    def frames_per_second(self, feed: Feed, requests: Requests, *, num_processes: int) -> float | None:
        """F / (n (latency + b / n / bandwidth) / c) for F frames by n requests of b bytes, c at once.

        None where nothing is asked for: then the disk and the decoder are the limit.
        """
        if not requests.number:
            return None
        at_once = min(self.connections, RANGES_AT_ONCE if feed.way == "ranges" else PARTS_AT_ONCE)
        seconds = requests.number * self.latency_seconds + requests.num_bytes / self.bytes_per_second
        return feed.num_frames * at_once * num_processes / seconds


@dataclass(frozen=True, kw_only=True)
class StorePrices:
    """What a store charges, in dollars."""

    per_million_gets: float = 0.40
    per_gb: float = 0.0

    def of(self, requests: Requests) -> float:
        """Dollars for requests."""
        return requests.number * self.per_million_gets / 1e6 + requests.num_bytes / 1e9 * self.per_gb


def count_feed(
    batches: Sequence[Sequence[Int64s]],
    frames: StoredFrames,
    *,
    folder_bytes: int,
    num_batches: int,
) -> Feed:
    """How a host is fed.

    Args:
        batches: of each process of the host, the frame ids of the batches of an epoch, or of its start.
        frames: where frames lie.
        folder_bytes: of the folder that the processes share; 0 for none.
        num_batches: of each process in a whole epoch.
    """
    ids, batch_of = _joined(batches)
    factor = num_batches / max(1, len(batches[0]))
    num_frames = len(ids) * factor
    uses = _Uses.of(ids, batch_of, frames, num_processes=len(batches), folder_bytes=folder_bytes)
    passes = uses.can_pass
    is_sampled = len(batches[0]) < num_batches
    staying = uses.staying(passes=passes, also_unused=is_sampled)
    runs = frames.shard_bytes[uses.run_shard]
    if is_sampled:
        # The shards that stay are those of the start of an epoch: the rest of it is like the others.
        share_left = 1 - float(frames.shard_bytes[staying].sum()) / frames.num_bytes
        whole = _downloads(runs) if passes else count_ranges(ids, batch_of, frames)
        later = whole.times(factor * share_left)
        first = whole.times(factor)
    elif passes:
        later = _downloads(runs[~staying[uses.run_shard]])
        first = later.plus(_downloads(frames.shard_bytes[staying]))
    else:
        is_left = ~staying[frames.shard_of[ids]]
        later = count_ranges(ids[is_left], batch_of[is_left], frames)
        first = count_ranges(ids, batch_of, frames)
    if not passes:
        first = first.plus(_downloads(frames.shard_bytes[staying]))
    return Feed(
        way="shards" if passes else "ranges",
        num_frames=num_frames,
        first=first,
        later=later,
        num_bytes_staying=int(frames.shard_bytes[staying].sum()),
        is_sampled=is_sampled,
    )


def count_ranges(ids: Int64s, batch_of: Int64s, frames: StoredFrames) -> Requests:
    """The ranges by which batches are read: `ids` are frames, `batch_of` the number of the batch of each."""
    if not len(ids):
        return Requests(number=0, num_bytes=0)
    num_frames = len(frames.shard_of)
    each = np.unique(batch_of * num_frames + ids)
    batch, frame = np.divmod(each, num_frames)
    shard, start = frames.shard_of[frame], frames.offset[frame]
    end = start + frames.length[frame]
    is_new = np.ones(len(each), np.bool_)
    gap = start[1:] - end[:-1]
    is_new[1:] = (batch[1:] != batch[:-1]) | (shard[1:] != shard[:-1]) | (gap < 0) | (gap > MAX_GAP_BYTES)
    firsts = np.flatnonzero(is_new)
    lasts = np.append(firsts[1:], len(each)) - 1
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        if end[last] - start[first] > MAX_RANGE_BYTES:  # cut as the reader cuts it
            begin = start[first]
            for place in range(first + 1, last + 1):
                if end[place] - begin > MAX_RANGE_BYTES:
                    is_new[place], begin = True, start[place]
    firsts = np.flatnonzero(is_new)
    lasts = np.append(firsts[1:], len(each)) - 1
    return Requests(number=len(firsts), num_bytes=int((end[lasts] - start[firsts]).sum()))


def _downloads(shard_bytes: Int64s) -> Requests:
    """The requests of whole shards in parts."""
    return Requests(number=int((-(-shard_bytes // PART_BYTES)).sum()), num_bytes=int(shard_bytes.sum()))


def _joined(batches: Sequence[Sequence[Int64s]]) -> tuple[Int64s, Int64s]:
    """Ids of all batches and the number of the batch of each: that of a step times the processes, plus the process."""
    flat = [
        (step * len(batches) + process, batch)
        for process, of_process in enumerate(batches)
        for step, batch in enumerate(of_process)
    ]
    ids = np.concatenate([batch for _, batch in flat])
    return ids, np.concatenate([np.full(len(batch), number, np.int64) for number, batch in flat])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Uses:
    """Which steps want which shards, and for how long each is wanted without a pause: its runs."""

    frames: StoredFrames
    folder_bytes: int
    run_shard: Int64s
    run_first: Int64s
    run_last: Int64s
    frames_per_run: float
    bytes_at_once: int
    """Of the shards of a step, the median."""

    @classmethod
    def of(
        cls,
        ids: Int64s,
        batch_of: Int64s,
        frames: StoredFrames,
        *,
        num_processes: int,
        folder_bytes: int,
    ) -> "_Uses":
        num_shards = len(frames.shard_bytes)
        step_of = batch_of // num_processes
        pairs = np.unique(step_of * num_shards + frames.shard_of[ids])
        step, shard = np.divmod(pairs, num_shards)
        of_steps = np.bincount(step, weights=frames.shard_bytes[shard]).astype(np.int64)
        window = _window(step, shard, frames, of_first=int(of_steps[0]), folder_bytes=folder_bytes)
        by_shard = np.lexsort((step, shard))
        step, shard = step[by_shard], shard[by_shard]
        begins = np.ones(len(step), np.bool_)
        begins[1:] = (shard[1:] != shard[:-1]) | (step[1:] - step[:-1] > window)
        firsts = np.flatnonzero(begins)
        lasts = np.append(firsts[1:], len(step)) - 1
        return cls(
            frames=frames,
            folder_bytes=folder_bytes,
            run_shard=shard[firsts],
            run_first=step[firsts],
            run_last=step[lasts],
            frames_per_run=len(ids) / len(firsts),
            bytes_at_once=int(np.sort(of_steps)[(len(of_steps) - 1) // 2]),
        )

    @property
    def can_pass(self) -> bool:
        """Whether shards are worth a download each time, and those in use at one time fit into the room for passing."""
        mean = float(self.frames.shard_bytes[self.run_shard].mean())
        num_parts = -(-mean // PART_BYTES)
        is_worth_it = (
            self.frames_per_run * _DOWNLOAD_SECONDS
            >= num_parts * _DOWNLOAD_SECONDS + mean / _DOWNLOAD_BYTES_PER_SECOND
        )
        if not is_worth_it or self.bytes_at_once > self.folder_bytes:
            return False
        staying = self.staying(passes=True)
        passing = ~staying[self.run_shard]
        in_use = np.zeros(int(self.run_last.max()) + 2, np.int64)
        sizes = self.frames.shard_bytes[self.run_shard]
        np.add.at(in_use, self.run_first[passing], sizes[passing])
        np.add.at(in_use, self.run_last[passing] + 1, -sizes[passing])
        room = self.folder_bytes - int(self.frames.shard_bytes[staying].sum())
        return int(np.cumsum(in_use).max()) <= room

    def staying(self, *, passes: bool, also_unused: bool = False) -> npt.NDArray[np.bool_]:
        """Which shards stay: those that are wanted first, as far as there is room, and then those of no use yet."""
        stays = np.zeros(len(self.frames.shard_bytes), np.bool_)
        room = self.folder_bytes - self._reserve(passes=passes)
        by_first_use = self.run_shard[np.argsort(self.run_first, kind="stable")]
        others = range(len(stays)) if also_unused else ()
        for shard in dict.fromkeys([*by_first_use.tolist(), *others]):
            num_bytes = int(self.frames.shard_bytes[shard])
            if num_bytes <= room:
                stays[shard] = True
                room -= num_bytes
        return stays

    def _reserve(self, *, passes: bool) -> int:
        """Room that is kept for shards that pass."""
        of_batches = 2 * self.bytes_at_once if passes else 0
        in_flight = min(PART_BYTES * PARTS_AT_ONCE, self.folder_bytes // 4)
        return min(self.folder_bytes, max(of_batches, in_flight, int(self.frames.shard_bytes.max(initial=0))))


def _window(step: Int64s, shard: Int64s, frames: StoredFrames, *, of_first: int, folder_bytes: int) -> int:
    """Steps that are looked ahead: to shards for half the folder, or for twice what the first step wants."""
    limit = max(min(folder_bytes // 2, MAX_BYTES_AHEAD), 2 * of_first)
    _, first_use = np.unique(shard, return_index=True)
    first_use.sort()
    ahead = np.cumsum(frames.shard_bytes[shard[first_use]])
    reached = int(np.searchsorted(ahead, limit))
    if reached == len(first_use):
        return MAX_BATCHES_AHEAD
    return min(MAX_BATCHES_AHEAD, int(step[first_use[reached]]) + 1)
