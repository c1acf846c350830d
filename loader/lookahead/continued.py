"""Reads that go on from one epoch into the next, so that threads and look-ahead stay at work at the edge."""

import os
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeAlias

from loader.batches import BatchReader, FrameSources, ReadBatch, ReaderThreads, Reading, closed_at_end
from loader.lookahead.prefetcher import Prefetcher
from loader.lookahead.reader import read_sources_with_lookahead
from loader.sampling import Place
from loader.windows import BatchRequest

Coming: TypeAlias = Iterator[tuple[int, BatchRequest]]
"""The batches to come, with their epochs: the rest of an epoch, and perhaps the epochs after it."""


class Reads(Protocol):
    """The batches to come, epoch after epoch, read ahead."""

    def next(self) -> ReadBatch:
        """The next batch. Raises its error, after which there are no more."""
        ...

    def close(self) -> None:
        """Cancel reads that have not begun, and wait for the others."""
        ...


class ContinuedReads:
    """Keeps the reads of a loader between two iterations, and gives them to the one that goes on where they stand.

    After an epoch, the reads are some batches into the next one. An iteration that begins elsewhere begins anew.
    """

    def __init__(self) -> None:
        """Holds none."""
        self._kept: deque[_Kept] = deque()
        # Reads may have threads that nobody else ends.
        weakref.finalize(self, _drop, self._kept)

    def batches(
        self, began: Place, make: Callable[[], Reads], *, num_batches: int, of: object, goes_on: bool
    ) -> Generator[ReadBatch]:
        """The batches of an iteration that has `num_batches` and begins at `began`.

        `make` begins reads at that place. `of` is what they need: reads of another object are not continued. Without
        `goes_on`, the reads end with the iteration.
        """
        if not num_batches:
            return
        reads = self._taken(began, of) or make()
        num_left, ready = num_batches, deque[ReadBatch]()
        try:
            while num_left:
                ready.append(reads.next())
                num_left -= 1
                yield ready.pop()  # no name here holds the batch: its memory is used again once the caller drops it
        finally:
            if num_left or not goes_on:
                reads.close()
            else:
                self.drop()
                after = Place(began.epoch + 1, 0)
                self._kept.append(_Kept(stand_at=after, of=of, reads=reads, pid=os.getpid()))

    def drop(self) -> None:
        """End the reads that are kept."""
        _drop(self._kept)

    def _taken(self, began: Place, of: object) -> Reads | None:
        kept = self._kept[0] if self._kept else None
        if kept is None or kept.stand_at != began or kept.of is not of or kept.pid != os.getpid():
            self.drop()
            return None
        self._kept.clear()
        return kept.reads


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kept:
    """The reads after an epoch."""

    stand_at: Place
    of: object
    reads: Reads
    pid: int


def _drop(kept: deque[_Kept]) -> None:
    while kept:
        each = kept.pop()
        if each.pid == os.getpid():  # a forked child has none of the threads of its parent
            each.reads.close()


class BatchReads:
    """Implements `Reads`: each thread reads a batch at a time."""

    def __init__(
        self,
        coming: Coming,
        reader: BatchReader,
        make_prefetcher: Callable[..., Prefetcher],
        *,
        num_threads: int,
        read_ahead: int,
        announced_ahead: int,
    ) -> None:
        """Begin. `read_ahead` batches are read early, and those and more, `announced_ahead`, are announced to stores.

        A batch that is announced takes the memory of what is stored of it, and one that is read that of its pictures.
        `make_prefetcher` gets how many are in flight.
        """
        self._coming = coming
        self._reader = reader
        self._num_pending = read_ahead + 1
        self._pending: deque[Reading[ReadBatch]] = deque()
        self._num_announced = max(read_ahead, announced_ahead) + 1
        self._announced: deque[Callable[[], ReadBatch]] = deque()
        self._prefetcher = make_prefetcher(num_in_flight=self._num_announced)
        self._threads = ReaderThreads(num_threads)

    def next(self) -> ReadBatch:
        """See `Reads`."""
        self._read_announced()
        while len(self._pending) + len(self._announced) < self._num_announced and self._announce_next():
            self._read_announced()
        return self._pending.popleft().result()

    def close(self) -> None:
        """See `Reads`."""
        self._threads.close()
        self._prefetcher.close()

    def _read_announced(self) -> None:
        while self._announced and len(self._pending) < self._num_pending:
            self._pending.append(self._threads.submit(self._announced.popleft()))

    def _announce_next(self) -> bool:
        """Announce the next batch; False after the last one. What hinders it is raised in its place."""
        try:
            coming = next(self._coming, None)
            if coming is None:
                return False
            epoch, request = coming
            self._prefetcher.announce(request)
            self._announced.append(partial(self._reader.read, request, epoch=epoch))
        except Exception as error:  # noqa: BLE001 - it may be of the next epoch, which nobody has asked for yet
            self._announced.append(partial(_raise, error))
        return True


class LookaheadReads:
    """Implements `Reads`: threads decode groups of frames for many batches.

    One thread, beside those that decode, takes the decoded batches in their order and augments them. It works on the
    next batch while the caller works on the one before.
    """

    def __init__(
        self,
        coming: Coming,
        reader: BatchReader,
        sources: FrameSources,
        *,
        lookahead: int,
        capacity: int,
        num_threads: int,
        read_ahead: int,
    ) -> None:
        """Begin. See `read_with_lookahead` for the numbers."""
        self._reader = reader
        self._epochs: deque[int] = deque()  # of the batches that are known and not complete
        self._errors: deque[Exception] = deque()  # why no more batches are known
        self._decoded = read_sources_with_lookahead(
            sources,
            _noted(coming, self._epochs, self._errors),
            lookahead=lookahead,
            capacity=capacity,
            num_threads=num_threads,
            lend_pixels=reader.lend_pixels,
            steps_in_flight=read_ahead,
        )
        self._pending: deque[Reading[ReadBatch]] = deque()
        self._thread = ReaderThreads(1)

    def next(self) -> ReadBatch:
        """See `Reads`."""
        while len(self._pending) < _COMPLETED_AT_ONCE:
            self._pending.append(self._thread.submit(self._complete_next))
        return self._pending.popleft().result()

    def close(self) -> None:
        """See `Reads`."""
        with closed_at_end(self._decoded):
            self._thread.close()

    def _complete_next(self) -> ReadBatch:
        decoded = next(self._decoded, None)
        if decoded is None:
            raise self._errors.popleft()
        request, pixels = decoded
        return self._reader.complete(request, pixels, epoch=self._epochs.popleft())


_COMPLETED_AT_ONCE: Final = 2


def _noted(coming: Coming, epochs: deque[int], errors: deque[Exception]) -> Iterator[BatchRequest]:
    """The batches to come, whose epochs are noted. They end before one that cannot be drawn."""
    try:
        for epoch, request in coming:
            epochs.append(epoch)
            yield request
    except Exception as error:  # noqa: BLE001 - raised in the place of its batch, which may be of the next epoch
        errors.append(error)


def _raise(error: Exception) -> ReadBatch:
    raise error
