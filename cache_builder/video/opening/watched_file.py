"""The file that FFmpeg reads. It remembers a failed read, which FFmpeg's demuxers do not.

With a path, many demuxers take a failed read for the end of the file, or for damage that they skip. So FFmpeg gets this
object and opens nothing itself. The caller asks `WatchedFile.check` after each call of FFmpeg.

PyAV calls `read` and `seek` from C. It passes on exceptions of class `Exception` where an FFmpeg function ends, and
drops all others. Ctrl-C and SIGTERM raise `KeyboardInterrupt`, which is not an `Exception`, in the next Python code
that runs. That code is usually this callback. So `seek` is a function of libc, and `read` is the `send` of a generator,
which waits inside its `try`.
"""

import ctypes
import os
import re
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Final

NUM_PARTS: Final = 1024
"""A file is divided into this many parts. For each the object knows whether any byte was read."""

MAX_BYTES_PER_READ: Final = 1 << 16
"""Each read is copied. FFmpeg asks for a whole packet at once if it is larger than its buffer, and accepts less."""

_lseek = ctypes.CDLL(None).lseek
_lseek.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int)
_lseek.restype = ctypes.c_int64


class WatchedFile:
    """A file for `av.open`. Close it explicitly, after the container: PyAV does not close it."""

    name: str
    """Name for FFmpeg, which looks at the extension where the content is ambiguous."""
    read: Callable[[int], bytes]
    """Reads up to that many bytes. Gives none at the end of the file, and none after a read has failed."""
    seek: Callable[[int, int], int]
    """As lseek(2): gives the new position, or -1 where there is no such position."""
    _descriptor: int | None = None

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: the file cannot be opened.
        """
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._failures: list[BaseException] = []
        self.name = f"file:{path}"
        self._parts = _PartsRead(os.fstat(self._descriptor).st_size)
        # `reads` has no reference to `self`: a cycle would keep the file open until the garbage collector runs.
        reads = _reads(self._descriptor, self._failures, self._parts)
        next(reads)
        self.read = reads.send
        self.seek = partial(_lseek, self._descriptor)

    @property
    def number(self) -> int | None:
        """The file's descriptor; None once the file is closed."""
        return self._descriptor

    def tell(self) -> int:
        """The position. PyAV requires this method and does not call it."""
        return self.seek(0, os.SEEK_CUR)

    def longest_unread(self) -> tuple[int, int]:
        """The longest stretch that was not read: its first byte and the byte after it; (0, 0) if all was read.

        Exact to a thousandth of the file: the stretch may be longer by that much at either end.
        """
        return self._parts.longest_unread()

    def check(self) -> None:
        """Raise the error of the first read that failed.

        Raises:
            OSError: the machine failed to read; names the file.
            MemoryError: there was no memory to read into.
            KeyboardInterrupt: or another exception that a signal's handler raised meanwhile.
        """
        if not self._failures:
            return
        failure = self._failures[0]
        if isinstance(failure, OSError):
            raise OSError(failure.errno, failure.strerror, str(self._path))
        raise failure

    def close(self, _close: Callable[[int], None] = os.close) -> None:
        """Close the file. A second call does nothing."""
        # A default argument, because the interpreter at exit empties modules before it drops the last objects.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            _close(descriptor)

    def __del__(self) -> None:
        """Close the file of a live store that nobody closes. No warning, as for files that FFmpeg opens itself."""
        self.close()


class _PartsRead:
    """Which parts of a file were read, one bit for each."""

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes = num_bytes
        self._bits = 0

    def mark(self, first: int, end: int) -> None:
        """Mark the bytes from `first` to before `end` as read."""
        if first < end <= self._num_bytes:
            first_part, last_part = (place * NUM_PARTS // self._num_bytes for place in (first, end - 1))
            self._bits |= ((2 << last_part - first_part) - 1) << first_part

    def longest_unread(self) -> tuple[int, int]:
        """See `WatchedFile.longest_unread`."""
        runs = re.finditer("0+", format(self._bits, f"0{NUM_PARTS}b")[::-1])
        first, end = max((run.span() for run in runs), key=lambda run: run[1] - run[0], default=(0, 0))
        return first * self._num_bytes // NUM_PARTS, end * self._num_bytes // NUM_PARTS


def _reads(descriptor: int, failures: list[BaseException], parts: _PartsRead) -> Generator[bytes, int, None]:
    """Takes a number of bytes by `send` and gives the bytes. No exception leaves it until it is closed."""
    found = b""
    while True:
        try:
            while True:  # inside `try`, because Python runs handlers of signals at the end of a loop's turn
                num_bytes = yield found
                found = b"" if failures else os.read(descriptor, min(num_bytes, MAX_BYTES_PER_READ))
                end = os.lseek(descriptor, 0, os.SEEK_CUR)
                parts.mark(end - len(found), end)
        except GeneratorExit:
            return
        except BaseException as error:  # noqa: BLE001 - `WatchedFile.check` raises it
            failures.append(error.with_traceback(None))
            found = b""
