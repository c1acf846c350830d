"""The file under FFmpeg, which remembers that it could not be read: FFmpeg's demuxers do not.

Given a path, many a demuxer takes a read that fails for the end of the file, or for damage that it skips. So FFmpeg
is given this, opens nothing itself, and whoever had it read asks `WatchedFile.check` afterwards.

PyAV calls `read` and `seek` from C and passes on what is an `Exception`, where an FFmpeg function ends. What is none is
lost: Ctrl-C and SIGTERM raise `KeyboardInterrupt` in whatever Python code runs next, which is just this here. So `seek`
is a function of libc, and `read` the `send` of a generator, which waits inside its `try`.
"""

import ctypes
import os
import re
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Final

NUM_PARTS: Final = 1024
"""Parts of a file of which it is known whether any byte was read."""

MAX_BYTES_PER_READ: Final = 1 << 16
"""FFmpeg asks for a whole packet at once where it is larger than its buffer, and takes less. Each read is copied."""

_lseek = ctypes.CDLL(None).lseek
_lseek.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int)
_lseek.restype = ctypes.c_int64


class WatchedFile:
    """A file for `av.open`. Close it by hand, after the container: PyAV does not."""

    name: str
    """What FFmpeg calls it; its extension counts where the content is not clear."""
    read: Callable[[int], bytes]
    """At most so many bytes, fewer too; none at the end, and once a read has failed."""
    seek: Callable[[int, int], int]
    """As lseek(2): the position, -1 where it cannot be."""
    _descriptor: int | None = None

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: it cannot be opened.
        """
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._failures: list[BaseException] = []
        self.name = f"file:{path}"
        self._parts = _PartsRead(os.fstat(self._descriptor).st_size)
        # It holds no reference to `self`: a cycle would leave the file open until the garbage collector comes.
        reads = _reads(self._descriptor, self._failures, self._parts)
        next(reads)
        self.read = reads.send
        self.seek = partial(_lseek, self._descriptor)

    @property
    def number(self) -> int | None:
        """Its descriptor, None once it is closed."""
        return self._descriptor

    def tell(self) -> int:
        """The position. PyAV wants it there, and has no need of it."""
        return self.seek(0, os.SEEK_CUR)

    def longest_unread(self) -> tuple[int, int]:
        """The longest stretch of which nothing was read, as its first byte and the byte behind; (0, 0) where none is.

        To a thousandth of the file: a stretch may be longer by as much at either end.
        """
        return self._parts.longest_unread()

    def check(self) -> None:
        """Raise what went wrong in the first read that failed.

        Raises:
            OSError: the machine failed to read; names the file.
            MemoryError: there was none to read into.
            KeyboardInterrupt: or whatever else the handler of a signal raised meanwhile.
        """
        if not self._failures:
            return
        failure = self._failures[0]
        if isinstance(failure, OSError):
            raise OSError(failure.errno, failure.strerror, str(self._path))
        raise failure

    def close(self, _close: Callable[[int], None] = os.close) -> None:
        """Close it; again is no error."""
        # A default, as the interpreter on its way out empties modules before it drops the last objects.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            _close(descriptor)

    def __del__(self) -> None:
        """Of a live store that nobody closes: quietly, as FFmpeg closes files of its own."""
        self.close()


class _PartsRead:
    """Which parts of a file were read, a bit each."""

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes = num_bytes
        self._bits = 0

    def mark(self, first: int, end: int) -> None:
        """The bytes from `first` to before `end` were read."""
        if first < end <= self._num_bytes:
            first_part, last_part = (place * NUM_PARTS // self._num_bytes for place in (first, end - 1))
            self._bits |= ((2 << last_part - first_part) - 1) << first_part

    def longest_unread(self) -> tuple[int, int]:
        """See `WatchedFile.longest_unread`."""
        runs = re.finditer("0+", format(self._bits, f"0{NUM_PARTS}b")[::-1])
        first, end = max((run.span() for run in runs), key=lambda run: run[1] - run[0], default=(0, 0))
        return first * self._num_bytes // NUM_PARTS, end * self._num_bytes // NUM_PARTS


def _reads(descriptor: int, failures: list[BaseException], parts: _PartsRead) -> Generator[bytes, int, None]:
    """Send it a number of bytes, and it gives them; nothing but closing it raises."""
    found = b""
    while True:
        try:
            while True:  # in here, as a loop is where signals are looked for
                num_bytes = yield found
                found = b"" if failures else os.read(descriptor, min(num_bytes, MAX_BYTES_PER_READ))
                end = os.lseek(descriptor, 0, os.SEEK_CUR)
                parts.mark(end - len(found), end)
        except GeneratorExit:
            return
        except BaseException as error:  # noqa: BLE001 - `WatchedFile.check` raises it
            failures.append(error.with_traceback(None))
            found = b""
