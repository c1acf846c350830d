"""Downloads the shards that coming batches want into a bounded folder, ahead of the reads."""

import atexit
import os
import threading
import time
import warnings
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.remote.client import ObjectClient
from frame_store.remote.folder import BoundedFolder, HeldFile
from frame_store.remote.parts import PARTS_AT_ONCE, PartDownloads
from frame_store.remote.shard_plan import ShardPlan
from frame_store.shared import counted, descriptor_share

MAX_SHARDS_HELD: Final = 128
_BATCHES_AT_ONCE: Final = 32
"""That a thread adds to a plan before it lets others at it."""
_BATCHES_BEFORE_ADVICE: Final = 8
_RETRY_SECONDS: Final = 0.1
_OTHERS_SECONDS: Final = 120.0
"""How long a download by another process is waited for. Its frames are read by ranges then."""
_EXIT_SECONDS: Final = 10.0


class FolderWarning(UserWarning):
    """A folder of downloaded shards does not do what it is for; frames are read by ranges, which is slower."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardObject:
    """A shard in a store."""

    key: str
    name: str
    """In the folder."""
    num_bytes: int


class ShardFolder:
    """The shards of a cache as far as they lie in a folder, and what downloads them. Threads may share it.

    Each process makes its own, and all share the files.
    """

    def __init__(
        self,
        client: ObjectClient,
        folder: BoundedFolder,
        shards: Sequence[ShardObject],
        *,
        num_frames: npt.NDArray[np.int64],
    ) -> None:
        """Of shards with `num_frames` frames each, int64, shape (S,), in the order of frame ids. Asks for nothing."""
        self.client, self.folder, self.shards = client, folder, shards
        self._ends = np.cumsum(num_frames)
        self._downloads = PartDownloads()
        self._feeds: list[ShardFeed] = []
        self._lock = threading.Lock()
        self._has_warned = False

    def shards_of(self, frame_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The shard of each frame: int64, of the same shape."""
        return np.searchsorted(self._ends, frame_ids, side="right")

    def feed(self, upcoming: Iterator[npt.NDArray[np.int64]], *, num_in_flight: int) -> "ShardFeed":
        """Begin to download what the batches `upcoming` want; each is the ids of its frames, shape (B,).

        `num_in_flight` batches are read at the same time.
        """
        feed = ShardFeed(self, upcoming, num_in_flight=num_in_flight)
        with self._lock:
            self._feeds = [*self._feeds, feed]
        feed.start()
        return feed

    def held(self, shard: int) -> HeldFile | None:
        """The file of a shard that is read now; None where its frames are to be read by ranges.

        Waits for a shard that is, or is about to be, downloaded for a feed that wants much of it.
        """
        name = self.shards[shard].name
        held = self.folder.held(name)
        if held is not None:
            return held
        for feed in self._feeds:
            if feed.waits_for(shard):
                return self.folder.held(name)
        return None

    def is_expected(self, shard: int) -> bool:
        """Whether the shard will be in the folder when it is read, so that no frame of it need be asked for ahead."""
        return any(feed.expects(shard) for feed in self._feeds) or self.folder.has(self.shards[shard].name)

    def condemn(self, shard: int) -> None:
        """The file of a shard has wrong bytes: have it removed, and read by ranges until it was downloaded again."""
        for feed in self._feeds:
            feed.give_up(shard)
        self.folder.condemn(self.shards[shard].name)

    def close(self) -> None:
        """Close the feeds that are open."""
        for feed in self._feeds:
            feed.close()

    def download(self, shard: int, *, passes: bool, leaves_bytes: int | None) -> HeldFile | None:
        """The shard's file, downloaded where it is not there; None without room. Raises as `BoundedFolder.fetched`."""
        each = self.shards[shard]

        def fetch(path: Path) -> None:
            self._downloads.fetch(self.client, each.key, each.num_bytes, path)

        return self.folder.fetched(
            each.name,
            each.num_bytes,
            fetch,
            waits=False,
            passes=passes,
            leaves_bytes=leaves_bytes,
            wait_seconds=_OTHERS_SECONDS,
        )

    def warn(self, text: str) -> None:
        """Say once that the folder does not do what it is for."""
        with self._lock:
            has_warned, self._has_warned = self._has_warned, True
        if not has_warned:
            warnings.warn(text, FolderWarning, stacklevel=2)

    def warn_too_small(self, num_bytes: int) -> None:
        """Say once that the shards of a batch, `num_bytes` together, do not fit into the folder."""
        self.warn(
            f"{self.folder.path}: a batch wants shards of {counted(num_bytes, 'byte')}, and the folder may have "
            f"{self.folder.max_bytes}: what does not fit is read by ranges, which is slower; give folder_bytes of at "
            f"least {num_bytes + max(shard.num_bytes for shard in self.shards)}, or draw from fewer shards at a time"
        )

    def forget(self, feed: "ShardFeed") -> None:
        """A feed has ended."""
        with self._lock:
            self._feeds = [each for each in self._feeds if each is not feed]

    def stop(self) -> None:
        """Let downloads end soon: parts that have not begun are not asked for."""
        self._downloads.is_stopped = True

    @property
    def threads_per_feed(self) -> int:
        """Shards that are downloaded at once, so that enough parts are."""
        mean = sum(shard.num_bytes for shard in self.shards) // max(1, len(self.shards))
        num_parts = max(1, -(-mean // self._downloads.part_bytes))
        return min(PARTS_AT_ONCE, -(-PARTS_AT_ONCE // num_parts) + 1)


class ShardFeed:
    """Carries out the plan of one iteration, with threads of its own. `ShardFolder.feed` makes it."""

    def __init__(
        self, shards: ShardFolder, upcoming: Iterator[npt.NDArray[np.int64]], *, num_in_flight: int
    ) -> None:
        self._shards = shards
        self._upcoming = upcoming
        self._num_in_flight = num_in_flight
        folder = shards.folder
        self._plan = ShardPlan([each.num_bytes for each in shards.shards], max_bytes=folder.max_bytes)
        self._state = threading.Condition()
        self._num_announced = 0
        self._num_left = 0  # batches that left the plan
        self._is_all_known = False
        self._is_closed = False
        self._busy: set[int] = set()
        self._here: set[int] = set()
        self._given_up: set[int] = set()  # downloads that failed: read by ranges, until they leave the window
        self._is_full = False  # the last download had no room: none begins until room may be had
        self._tried_at = 0.0
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
            threading.Thread(target=self._run, name="frame-cache-shards", daemon=True)
            for _ in range(self._shards.threads_per_feed)
        ]
        for thread in self._threads:
            thread.start()

    def advance(self) -> None:
        """One more batch has been asked for, and is read soon. The batches before those in flight were read."""
        with self._state:
            self._num_announced += 1
            unwanted: list[int] = []
            while self._num_announced - self._num_left > self._num_in_flight and self._know(1):
                unwanted += self._plan.leave()
                self._num_left += 1
            self._know(self._num_announced - self._num_left)
            self._here.difference_update(unwanted)
            self._given_up.difference_update(unwanted)
            released = [
                held for held in (self._held.pop(shard, None) for shard in unwanted) if held is not None
            ]
            if released:
                self._is_full = False
            bytes_at_once = self._plan.bytes_at_once if self._num_left == _BATCHES_BEFORE_ADVICE else None
            self._state.notify_all()
        for held in released:
            held.close()
        if bytes_at_once is not None:
            self._shards.warn_too_small(bytes_at_once)

    def close(self) -> None:
        """The iteration has ended. Downloads under way may finish; others do not begin."""
        with self._state:
            self._is_closed = True
            released, self._held = list(self._held.values()), {}
            self._state.notify_all()
        for held in released:
            held.close()
        atexit.unregister(self._at_exit)
        self._shards.forget(self)

    def expects(self, shard: int) -> bool:
        """Whether the shard is here, or will be when it is read."""
        with self._state:
            return shard in self._held or self._is_coming(shard)

    def waits_for(self, shard: int) -> bool:
        """Wait for a shard that is not in the folder, where it comes; False where it does not, or not for this feed."""
        with self._state:
            if shard not in self._held:
                self._here.discard(shard)  # another process had it removed
            while self._is_coming(shard):
                self._state.wait()
            return shard in self._here

    def give_up(self, shard: int) -> None:
        """Have the shard read by ranges until it leaves the window."""
        with self._state:
            held = self._held.pop(shard, None)
            self._here.discard(shard)
            if self._plan.wants(shard):
                self._given_up.add(shard)
            self._state.notify_all()
        if held is not None:
            held.close()

    def join(self, seconds: float) -> None:
        """Wait for the downloads under way."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _is_coming(self, shard: int) -> bool:
        """Whether a download is under way, or next, that a read should wait for.

        A download that has no room counts as none: room may only come when this read is done.
        """
        if self._is_closed or not self._plan.is_worth_it(shard):
            return False
        if shard in self._busy:
            return True
        is_next = shard not in self._here and shard not in self._given_up
        return is_next and not self._is_full and self._plan.may_pass

    def _run(self) -> None:
        while (shard := self._next()) is not None:
            self._download(shard)

    def _next(self) -> int | None:
        """The shard to download now, once there is one. None when the feed is closed."""
        with self._state:
            while not self._is_closed:
                is_grown = self._grow()
                shard = self._choice()
                if shard is not None:
                    self._busy.add(shard)
                    return shard
                # While the window grows, others get at the plan in between.
                self._state.wait(0.0 if is_grown else _RETRY_SECONDS if self._is_full else None)
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
            found, counts = np.unique(self._shards.shards_of(ids), return_counts=True)
            for shard in self._plan.add(list(zip(found.tolist(), counts.tolist(), strict=True))):
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

    def _choice(self) -> int | None:
        """The next shard to download; None where none is to be, or no room was had just now."""
        if self._is_full:
            now = time.monotonic()
            if now - self._tried_at < _RETRY_SECONDS:
                return None
            self._is_full = False
        plan, folder = self._plan, self._shards.folder
        done = self._here | self._busy | self._given_up
        missing = (shard for shard in plan.in_order() if shard not in done)
        shard = next(missing, None)
        if shard is None or (plan.may_pass and plan.is_worth_it(shard)):
            return shard
        has_room = folder.num_bytes_staying + self._shards.shards[shard].num_bytes + plan.reserve_bytes
        return shard if has_room <= folder.max_bytes else None

    def _download(self, shard: int) -> None:
        with self._state:
            reserve = self._plan.reserve_bytes
            passes = self._plan.may_pass and self._plan.is_worth_it(shard)
        held: HeldFile | None = None
        error: Exception | None = None
        try:
            held = self._shards.download(shard, passes=False, leaves_bytes=reserve)
            if held is None and passes:
                held = self._shards.download(shard, passes=True, leaves_bytes=None)
        except Exception as raised:  # noqa: BLE001 - reads by ranges show it, if it is not of the folder alone
            error = raised
        with self._state:
            self._busy.discard(shard)
            if held is None:
                self._note_missing(shard, error, passes=passes)
            elif not self._is_closed and self._plan.wants(shard):
                self._here.add(shard)
                if len(self._held) < self._most_held and shard not in self._held:
                    self._held[shard], held = held, None
            self._state.notify_all()
        if held is not None:
            held.close()
        if isinstance(error, OSError):
            text = f"{error}; shards are not kept, and their frames are read by ranges, which is slower"
            self._shards.warn(text)

    def _note_missing(self, shard: int, error: Exception | None, *, passes: bool) -> None:
        if error is not None or not passes:
            self._given_up.add(shard)
        else:
            self._is_full, self._tried_at = True, time.monotonic()


def _end_before_exit(reference: "weakref.ref[ShardFeed]", pid: int) -> None:
    """Let downloads end before the interpreter does: a thread that comes back to one that is gone may abort it."""
    feed = reference()
    if feed is None or pid != os.getpid():
        return
    feed._shards.stop()
    feed.close()
    feed.join(_EXIT_SECONDS)
