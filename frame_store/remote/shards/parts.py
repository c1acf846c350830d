"""Whole objects into files, in parts: many requests at once, and no object in memory as a whole."""

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from frame_store.errors import ObjectStoreError
from frame_store.remote.requests import ObjectClient

PART_BYTES: Final = 4 << 20
PARTS_AT_ONCE: Final = 16
"""Of a process. At 90 MB/s a connection they are 1.4 GB/s, and 64 MiB of memory."""
_NO_PREALLOCATION: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class PartDownloads:
    """Downloads objects in parts. Threads may share it; together they have at most so many requests at once."""

    def __init__(self, *, at_once: int = PARTS_AT_ONCE, part_bytes: int = PART_BYTES) -> None:
        self.at_once, self.part_bytes = at_once, part_bytes
        self._slots = threading.Semaphore(at_once)
        self.is_stopped = False
        """Set at the end of the process: parts that have not begun are not asked for."""

    def fetch(self, client: ObjectClient, key: str, num_bytes: int, path: Path) -> None:
        """Write an object of `num_bytes` into the file at `path`, which is there. Room on the disk is taken first.

        The first error is raised when the other requests have ended.

        Raises:
            OSError: no room on the disk, or the disk failed.
            ObjectStoreError: what `ObjectClient.get_range` raises.
        """
        number = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            _allocate(number, num_bytes)
            download = _Download(self, client, key, num_bytes, number)
            num_parts = -(-num_bytes // self.part_bytes)
            others = [
                threading.Thread(target=download.run, name="frame-cache-parts", daemon=True)
                for _ in range(min(num_parts, self.at_once) - 1)
            ]
            for thread in others:
                thread.start()
            download.run()
            for thread in others:
                thread.join()
        finally:
            os.close(number)
        if download.error is not None:
            raise download.error


class _Download:
    """One object on its way: its threads take one part after the other."""

    def __init__(
        self, downloads: PartDownloads, client: ObjectClient, key: str, num_bytes: int, number: int
    ) -> None:
        self._downloads, self._client, self._key = downloads, client, key
        self._num_bytes, self._number = num_bytes, number
        self._starts = iter(range(0, num_bytes, downloads.part_bytes))
        self._lock = threading.Lock()
        self.error: BaseException | None = None

    def run(self) -> None:
        downloads = self._downloads
        try:
            while True:
                with downloads._slots:
                    with self._lock:
                        start = next(self._starts, None)
                    if start is None or self.error is not None:
                        return
                    if downloads.is_stopped:
                        raise ObjectStoreError(
                            f"{self._client.url.object_text(self._key)}: not downloaded, as the process ends"
                        )
                    num_bytes = min(downloads.part_bytes, self._num_bytes - start)
                    _write_all(self._number, self._client.get_range(self._key, start, num_bytes), start)
        except BaseException as error:  # noqa: BLE001 - raised by `fetch`
            self.error = error


def _allocate(number: int, num_bytes: int) -> None:
    """Take the room on the disk, so that a full disk is an error before the download and not in the middle of it."""
    if not num_bytes:
        return
    try:
        os.posix_fallocate(number, 0, num_bytes)
    except OSError as error:
        if error.errno not in _NO_PREALLOCATION:
            with suppress(OSError):
                os.ftruncate(number, 0)
            raise
        os.ftruncate(number, num_bytes)


def _write_all(number: int, data: memoryview, start: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(number, data[written:], start + written)
