"""Files that a live store keeps open between look-ups."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cache_builder.live.open_file import LiveFile
from frame_store.shared import num_files_to_keep


class OpenFiles:
    """Files open in this process. One thread at a time borrows an open file.

    The least recently used one is closed first.
    """

    def __init__(self, open_file: Callable[[int], LiveFile], max_open: int, *, max_idle_bytes: int) -> None:
        self.pid = os.getpid()
        self._open_file = open_file
        self._max_open = max_open
        self._max_idle_bytes = max_idle_bytes
        self._lock = threading.Lock()
        self._idle: list[tuple[int, LiveFile]] = []
        """Least recently used first. A file that several threads read is there several times."""

    @contextmanager
    def borrow(self, file: int) -> Iterator[LiveFile]:
        """An open file that no other thread uses. Opens the file if none is idle."""
        with self._lock:
            opened = self._pop(file)
        is_new = opened is None
        if opened is None:
            opened = self._open_file(file)
        try:
            yield opened
        except BaseException:
            opened.reader.close()
            raise
        with self._lock:
            self._idle.append((file, opened))
            newest_number = opened.reader.descriptor if is_new else None
            num_kept = num_files_to_keep(len(self._idle), newest_number=newest_number, at_most=self._max_open)
            num_bytes = sum(other.num_bytes_idle for _, other in self._idle)
            evicted: list[LiveFile] = []
            while len(self._idle) > num_kept or (len(self._idle) > 1 and num_bytes > self._max_idle_bytes):
                evicted.append(self._idle.pop(0)[1])
                num_bytes -= evicted[-1].num_bytes_idle
        for other in evicted:
            other.reader.close()

    def _pop(self, file: int) -> LiveFile | None:
        """Take the most recently used idle opening of a file out of the list."""
        for place in range(len(self._idle) - 1, -1, -1):
            if self._idle[place][0] == file:
                return self._idle.pop(place)[1]
        return None

    def close_oldest(self) -> bool:
        """Close the least recently used file; False if none is open."""
        with self._lock:
            opened = self._idle.pop(0)[1] if self._idle else None
        if opened is not None:
            opened.reader.close()
        return opened is not None

    def close(self) -> None:
        """Close the files that no thread has borrowed."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, opened in idle:
            opened.reader.close()
