"""Frames that were asked for before they are read, in memory, at most so many bytes."""

import threading
import time
from collections.abc import Iterable
from typing import Final

from frame_store.reader.places import Place
from frame_store.reader.remote.ranges import FrameRange

_FORGOTTEN_AFTER_SECONDS: Final = 60.0


class AnnouncedRanges:
    """Requests by the frames that they bring. Threads may share it."""

    def __init__(self, max_bytes: int) -> None:
        """Holds nothing yet."""
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._of_frame: dict[int, tuple[FrameRange, int, float]] = {}
        """The request, how often the frame was announced and not taken yet, and when it was announced last."""
        self._lock = threading.Lock()

    def unknown(self, places: Iterable[Place]) -> list[Place]:
        """Announce frames that are here or on their way already once more; the others are returned."""
        now = time.monotonic()
        others = []
        with self._lock:
            for place in places:
                known = self._of_frame.get(place.frame_id)
                if known is None:
                    others.append(place)
                else:
                    known[0].num_wanted += 1
                    self._of_frame[place.frame_id] = (known[0], known[1] + 1, now)
        return others

    def add(self, ranges: Iterable[FrameRange]) -> list[FrameRange]:
        """Announce the frames of requests, as far as there is room; those that are to be made."""
        now = time.monotonic()
        added = []
        with self._lock:
            for each in ranges:
                if self._num_bytes + each.num_bytes > self._max_bytes:
                    self._drop_forgotten(now)
                    if self._num_bytes + each.num_bytes > self._max_bytes:
                        break
                self._num_bytes += each.num_bytes
                added.append(each)
                for place in each.places:
                    self._of_frame[place.frame_id] = (each, 1, now)
        return added

    def take(self, places: Iterable[Place]) -> dict[int, FrameRange]:
        """The requests of those frames that were announced, by frame; once for each announcement."""
        taken: dict[int, FrameRange] = {}
        if not self._of_frame:
            return taken
        with self._lock:
            for place in places:
                known = self._of_frame.get(place.frame_id)
                if known is None:
                    continue
                each, num_wanted, announced = known
                taken[place.frame_id] = each
                if num_wanted > 1:
                    self._of_frame[place.frame_id] = (each, num_wanted - 1, announced)
                else:
                    del self._of_frame[place.frame_id]
                self._release(each, 1)
        return taken

    def _drop_forgotten(self, now: float) -> None:
        """Make room: an iteration that was left early has announced frames that nobody will take."""
        for frame_id, (each, num_wanted, announced) in list(self._of_frame.items()):
            if now - announced > _FORGOTTEN_AFTER_SECONDS:
                del self._of_frame[frame_id]
                self._release(each, num_wanted)

    def _release(self, each: FrameRange, number: int) -> None:
        each.num_wanted -= number
        if not each.num_wanted:
            self._num_bytes -= each.num_bytes
