"""Downloads the shards that coming batches want into a bounded folder, ahead of the reads."""

import atexit
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from frame_store.remote.folder import BoundedFolder
from frame_store.remote.held_file import HeldFile
from frame_store.remote.shards.plan import Choice, ShardPlan
from frame_store.shared import descriptor_share

MAX_SHARDS_HELD: Final = 128
_BATCHES_AT_ONCE: Final = 32
"""That a thread adds to a plan before it lets others at it."""
_BATCHES_BEFORE_ADVICE: Final = 8
_BATCHES_WITHOUT_WAIT: Final = 64
"""After which downloads give way to decoders again."""
_RETRY_SECONDS: Final = 0.1
_YIELD_SECONDS: Final = 0.0005
_EXIT_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardObject:
    """A shard in a store."""

    key: str
    name: str
    """In the folder."""
    num_bytes: int


class ShardSource(Protocol):
    """What a feed takes its shards from: a `ShardFolder`."""

    folder: BoundedFolder
    shards: Sequence[ShardObject]

    def shards_of(self, frame_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The shard of each frame."""
        ...

    def download(self, shard: int, *, passes: bool, leaves_bytes: int | None) -> HeldFile | None:
        """The shard's file, downloaded where it is not there; None without room."""
        ...

    def warn(self, text: str) -> None:
        """Say once that the folder does not do what it is for."""
        ...

    def warn_too_small(self, num_bytes: int) -> None:
        """Say once that the shards of a batch do not fit into the folder."""
        ...

    def forget(self, feed: "ShardFeed") -> None:
        """A feed has ended."""
        ...

    def limit_downloads(self, *, beside_decoders: bool) -> None:
        """Leave CPUs to the threads that decode, or to none: batches wait for shards."""
        ...

    def stop(self) -> None:
        """Let downloads end soon."""
        ...

    def downloads_at_once(self, *, beside_decoders: bool) -> int:
        """How many shards a feed downloads at once."""
        ...


class ShardFeed:
    """Carries out the plan of one iteration, with threads of its own. `ShardFolder.feed` makes it."""

    def __init__(
        self, shards: ShardSource, upcoming: Iterator[npt.NDArray[np.int64]], *, num_in_flight: int
    ) -> None:
        self._shards = shards
        self._upcoming = upcoming
        self._num_in_flight = num_in_flight
        folder = shards.folder
        self._plan = ShardPlan([each.num_bytes for each in shards.shards], max_bytes=folder.max_bytes)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        """Something may be to be downloaded."""
        self._hurry = threading.Condition(self._lock)
        """The threads that are too many beside decoders may work again."""
        self._news = threading.Condition(self._lock)
        """A shard is here, or will not be."""
        self._num_announced = 0
        self._num_left = 0  # batches that left the plan
        self._is_all_known = False
        self._gives_way = False  # to the threads that decode
        self._num_left_at_wait = -_BATCHES_WITHOUT_WAIT
        """`_num_left` when a batch last waited for a shard. The first batches do not count."""
        self._is_closed = False
        self._busy: set[int] = set()
        self._here: set[int] = set()
        self._is_full = False  # the last download had no room: none begins until room may be had
        self._tried_at = 0.0
        self._passing: set[int] = set()  # of those here or on their way
        self._held: dict[int, HeldFile] = {}
        self._most_held = descriptor_share(at_most=MAX_SHARDS_HELD)
        self._threads: list[threading.Thread] = []
        reference = weakref.ref(self)
        pid = os.getpid()
        self._at_exit = lambda: _end_before_exit(reference, pid)

    def start(self) -> None:
        """Begin to download."""
        atexit.register(self._at_exit)
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name="frame-cache-shards", daemon=True)
            for number in range(self._shards.downloads_at_once(beside_decoders=False))
        ]
        for thread in self._threads:
            thread.start()

    def advance(self) -> None:
        """One more batch has been asked for, and is read soon. The batches before those in flight were read."""
        with self._lock:
            self._num_announced += 1
            unwanted: list[int] = []
            while self._num_announced - self._num_left > self._num_in_flight and self._know(1):
                unwanted += self._plan.leave()
                self._num_left += 1
            self._know(self._num_announced - self._num_left)
            self._here.difference_update(unwanted)
            self._passing.difference_update(unwanted)
            released = [self._held.pop(shard) for shard in unwanted if shard in self._held]
            if released:
                self._is_full = False
            if self._num_left and self._num_left - self._num_left_at_wait >= _BATCHES_WITHOUT_WAIT:
                self._give_way(True)
            bytes_at_once = self._plan.bytes_at_once if self._num_left == _BATCHES_BEFORE_ADVICE else None
        for held in released:
            held.close()
        with self._lock:  # the files are free now
            self._work.notify()
        if bytes_at_once is not None:
            self._shards.warn_too_small(bytes_at_once)

    def close(self) -> None:
        """The iteration has ended. Downloads under way may finish; others do not begin."""
        with self._lock:
            self._is_closed = True
            released, self._held = list(self._held.values()), {}
            for each in (self._work, self._hurry, self._news):
                each.notify_all()
        for held in released:
            held.close()
        atexit.unregister(self._at_exit)
        self._shards.forget(self)

    def expects(self, shard: int) -> bool:
        """Whether the shard is here, or will be when it is read."""
        with self._lock:
            return shard in self._held or self._is_coming(shard)

    def waits_for(self, shard: int) -> bool:
        """Wait for a shard that is not in the folder, where it comes; False where it does not, or not for this feed."""
        with self._lock:
            if shard in self._here and shard not in self._held:  # another process had it removed
                self._here.discard(shard)
                self._plan.miss(shard)
                self._work.notify()
            while self._is_coming(shard):
                if self._num_left:  # the first batches always wait
                    self._num_left_at_wait = self._num_left
                    self._give_way(False)
                self._news.wait()
            return shard in self._here

    def give_up(self, shard: int) -> None:
        """Have the shard read by ranges until it leaves the window."""
        with self._lock:
            held = self._held.pop(shard, None)
            self._here.discard(shard)
            self._plan.settle(shard)
        if held is not None:
            held.close()

    def join(self, seconds: float) -> None:
        """Wait for the downloads under way."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _give_way(self, gives_way: bool) -> None:
        """Download less, beside threads that decode; or all that can be, as batches wait and are not decoded."""
        if gives_way != self._gives_way:
            self._gives_way = gives_way
            self._work.notify_all()  # a thread that is to rest must not be the one that is told of work
            self._hurry.notify_all()
            self._shards.limit_downloads(beside_decoders=gives_way)

    def _is_coming(self, shard: int) -> bool:
        """Whether a download is under way, or next, that a read should wait for.

        A download that has no room counts as none: room may only come when this read is done.
        """
        if self._is_closed or not self._plan.is_worth_it(shard):
            return False
        if shard in self._busy:
            return True
        return self._plan.is_missing(shard) and not self._is_full and self._plan.may_pass

    def _run(self, number: int) -> None:
        rests = number >= self._shards.downloads_at_once(beside_decoders=True)
        while (choice := self._next(rests_beside_decoders=rests)) is not None:
            self._download(choice)

    def _next(self, *, rests_beside_decoders: bool = False) -> Choice | None:
        """What to download now, once there is something. None when the feed is closed."""
        with self._lock:
            while not self._is_closed:
                if rests_beside_decoders and self._gives_way:
                    self._hurry.wait()
                    continue
                is_grown = self._grow()
                choice = self._choice()
                if choice is not None and self._has_surely_no_room(choice):
                    self._is_full, self._tried_at = True, time.monotonic()
                    self._news.notify_all()
                elif choice is not None:
                    self._busy.add(choice.shard)
                    if choice.instead_of is not None:
                        self._let_go(choice.instead_of)
                    if not choice.stays:
                        self._passing.add(choice.shard)
                    self._plan.settle(choice.shard)
                    self._work.notify()  # there may be more for another thread
                    return choice
                # While the window grows, others get at the plan in between.
                self._work.wait(_YIELD_SECONDS if is_grown else _RETRY_SECONDS if self._is_full else None)
            return None

    def _grow(self) -> bool:
        """Let the window grow a little; whether it may grow further."""
        for _ in range(_BATCHES_AT_ONCE):
            if not self._plan.wants_more or not self._know(self._plan.num_batches + 1):
                return False
        return True

    def _know(self, num_batches: int) -> bool:
        """Have so many batches in the plan; False where the source has no more."""
        while self._plan.num_batches < num_batches and not self._is_all_known:
            try:
                ids = next(self._upcoming, None)
            except Exception:  # noqa: BLE001 - the loader, which draws the same batches, raises it in its place
                ids = None
            if ids is None:
                self._is_all_known = True
                break
            of_batch = Counter(self._shards.shards_of(ids).tolist())
            for shard in self._plan.add(sorted(of_batch.items())):
                self._look_for(shard)
        return self._plan.num_batches >= num_batches

    def _look_for(self, shard: int) -> None:
        """Hold a shard that lies in the folder already; many are only noted."""
        folder, name = self._shards.folder, self._shards.shards[shard].name
        if len(self._held) < self._most_held:
            held = folder.held(name)
            if held is not None:
                self._held[shard] = held
                self._here.add(shard)
        elif folder.has(name):
            self._here.add(shard)
        if shard in self._here or shard in self._busy:
            self._plan.settle(shard)

    def _choice(self) -> Choice | None:
        """The next download; None where none is to be, or no room was had just now."""
        if self._is_full:
            now = time.monotonic()
            if now - self._tried_at < _RETRY_SECONDS:
                return None
            self._is_full = False
        return self._plan.choice(
            num_bytes_staying=self._shards.folder.num_bytes_staying,
            passing=self._passing,
            here=self._here,
        )

    def _has_surely_no_room(self, choice: Choice) -> bool:
        """Whether what stays and what is held leave no room. A try would fail, and costs a walk through the folder."""
        if choice.stays or choice.may_evict or choice.instead_of is not None:
            return False
        folder = self._shards.folder
        num_bytes = sum(
            self._shards.shards[shard].num_bytes
            for shard in self._passing
            if shard in self._held or shard in self._busy
        )
        own = self._shards.shards[choice.shard].num_bytes
        return folder.num_bytes_staying + num_bytes + own > folder.max_bytes

    def _let_go(self, shard: int) -> None:
        self._here.discard(shard)
        self._passing.discard(shard)
        self._plan.miss(shard)
        held = self._held.pop(shard, None)
        if held is not None:
            held.close()

    def _download(self, choice: Choice) -> None:
        with self._lock:
            reserve = self._plan.reserve_bytes
        shard, error = choice.shard, None
        held: HeldFile | None = None
        try:
            if choice.stays:
                held = self._shards.download(shard, passes=False, leaves_bytes=reserve)
            if held is None and choice.may_pass:
                leaves = None if choice.may_evict else 0
                held = self._shards.download(shard, passes=True, leaves_bytes=leaves)
        except Exception as raised:  # noqa: BLE001 - reads by ranges show it, if it is not of the folder alone
            error = raised
        with self._lock:
            self._busy.discard(shard)
            if held is None or not self._plan.wants(shard):
                self._passing.discard(shard)
            if held is None and error is None and choice.may_pass:
                self._is_full, self._tried_at = True, time.monotonic()
                self._plan.miss(shard)
            elif held is not None and not self._is_closed and self._plan.wants(shard):
                self._here.add(shard)
                if len(self._held) < self._most_held and shard not in self._held:
                    self._held[shard], held = held, None
            self._news.notify_all()
        if held is not None:
            held.close()
        if isinstance(error, OSError):
            text = f"{error}; shards are not kept, and their frames are read by ranges, which is slower"
            self._shards.warn(text)


def _end_before_exit(reference: "weakref.ref[ShardFeed]", pid: int) -> None:
    """Let downloads end before the interpreter does: a thread that comes back to one that is gone may abort it."""
    feed = reference()
    if feed is None or pid != os.getpid():
        return
    feed._shards.stop()
    feed.close()
    feed.join(_EXIT_SECONDS)
