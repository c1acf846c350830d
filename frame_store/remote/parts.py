"""Whole objects into files, in parts: many requests at once, and no object in memory as a whole."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from frame_store.errors import ObjectStoreError
from frame_store.remote.request_threads import RequestThreads, make_all
from frame_store.remote.requests import ObjectClient
from frame_store.shared import num_usable_cpus

PART_BYTES: Final = 4 << 20
PARTS_AT_ONCE: Final = 16
"""Of a process, at most. At 90 MB/s a connection they are 0.9 GB/s behind 30 ms."""
_PARTS_PER_CPU: Final = 4
"""While batches are decoded: the threads of many parts interrupt the threads that decode."""
_NO_PREALLOCATION: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class PartDownloads:
    """Downloads objects in parts. Threads may share it; together they have at most so many requests at once."""

    def __init__(self, *, at_once: int = PARTS_AT_ONCE, part_bytes: int = PART_BYTES) -> None:
        self.at_once, self.part_bytes = at_once, part_bytes
        self._threads = RequestThreads(self.at_once)
        self._is_stopped = False

    def fetch(self, client: ObjectClient, key: str, num_bytes: int, path: Path) -> None:
        """Write an object of `num_bytes` into the file at `path`, which is there. Room on the disk is taken first.

        The first error is raised when the other requests have ended, so that nothing is written afterwards.

        Raises:
            OSError: no room on the disk, or the disk failed.
            ObjectStoreError: what `ObjectClient.get_range` raises; `close` was called.
        """
        number = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self.fetch_into(client, key, num_bytes, number, waits_after_error=True)
        finally:
            os.close(number)

    def fetch_into(
        self, client: ObjectClient, key: str, num_bytes: int, number: int, *, waits_after_error: bool = False
    ) -> None:
        """As `fetch`, into the open file of a descriptor.

        After an error, requests may still end and write to the file, whatever it is called by then, unless
        `waits_after_error`.
        """
        if self._is_stopped:
            raise ObjectStoreError(f"{client.url.object_text(key)}: not downloaded, as the process ends")
        _allocate(number, num_bytes)
        own = _OwnNumber(number)

        def fetch(start: int) -> None:
            some = min(self.part_bytes, num_bytes - start)
            client.get_chunks(key, start, some, lambda data, at: write_all(own.number, data, at))

        parts = [partial(fetch, start) for start in range(0, num_bytes, self.part_bytes)]
        make_all(self._threads, parts, waits_after_error=waits_after_error)

    @property
    def at_once_beside_decoders(self) -> int:
        """How many parts leave enough CPU time to the threads that decode."""
        return min(self.at_once, _PARTS_PER_CPU * num_usable_cpus())

    def limit(self, *, beside_decoders: bool) -> None:
        """Fetch fewer parts at once from now on, beside threads that decode; or as many as can be."""
        self._threads.limit(self.at_once_beside_decoders if beside_decoders else self.at_once)

    def close(self) -> None:
        """Ask for no more parts. The downloads that wait for some raise an error."""
        self._is_stopped = True
        self._threads.close()


class _OwnNumber:
    """A descriptor of its own, for threads that may write when the download has failed and its file was removed."""

    def __init__(self, number: int) -> None:
        self.number = os.dup(number)

    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        _close(self.number)


def _allocate(number: int, num_bytes: int) -> None:
    """Take the room on the disk, so that a full disk is an error before the download and not in the middle of it."""
    if num_bytes:
        try:
            os.posix_fallocate(number, 0, num_bytes)
        except OSError as error:
            if error.errno not in _NO_PREALLOCATION:
                with suppress(OSError):
                    os.ftruncate(number, 0)
                raise
    os.ftruncate(number, num_bytes)


def write_all(number: int, data: memoryview, start: int) -> None:
    """Write all of `data` into an open file, from byte `start` on."""
    written = 0
    while written < len(data):
        written += os.pwrite(number, data[written:], start + written)
