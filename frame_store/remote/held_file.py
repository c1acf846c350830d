"""A file of a bounded folder that a process holds, with what its threads share: one descriptor and one map."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from frame_store.files import MappedRange


class OpenedFile:
    """A file that this process holds, with one descriptor for all who use it."""

    __slots__ = ("_lock", "_range", "is_condemned", "num_bytes", "num_uses", "number")

    def __init__(self, number: int, num_bytes: int) -> None:
        self.number = number
        self.num_bytes = num_bytes
        self.num_uses = 0
        self.is_condemned = False
        self._range: MappedRange | None = None
        self._lock = threading.Lock()

    @property
    def memory(self) -> memoryview:
        """The file, mapped at the first use."""
        with self._lock:
            if self._range is None:
                # `mmap.mmap` would keep a descriptor of its own, and so the lock on the file.
                mapped = MappedRange([self.num_bytes])
                mapped.map_file(0, self.number)
                self._range = mapped
            return memoryview(self._range.memory)[: self.num_bytes]  # type: ignore[arg-type]


class HeldFile:
    """A complete file that stays where it is until it is closed. A context manager; close it once."""

    __slots__ = ("_close", "_opened", "num_bytes", "number", "path")

    def __init__(self, path: Path, *, opened: OpenedFile, close: Callable[[], None]) -> None:
        self.path = path
        self.number = opened.number
        """The descriptor, for `os.pread`. Nobody else closes it meanwhile."""
        self.num_bytes = opened.num_bytes
        self._opened = opened
        self._close: Callable[[], None] | None = close

    @property
    def memory(self) -> memoryview:
        """The content, mapped. It may be read until the file is closed.

        Raises:
            OSError: the process may not use so many addresses.
        """
        return self._opened.memory

    def close(self) -> None:
        """Let the file be removed, where nobody else holds it. A second call does nothing."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
