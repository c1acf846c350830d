"""Files mapped one after another in one range of addresses, so that one native call copies out of all of them."""

import ctypes
import mmap
import os
import sys
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from frame_store.shared import counted

_PROT_NONE: Final = 0
_MAP_FIXED: Final = 0x10  # the same on Linux, macOS and the BSDs; Python's mmap does not export it
_MAP_NORESERVE: Final = 0x4000 if sys.platform == "linux" else 0


class MappedRange:
    """A range of addresses with a place for each of several files, on page boundaries. Reserved addresses are free.

    Where a mapped file is cut short, a process that touches a missing page is killed (SIGBUS): whoever reads checks the
    sizes of files first.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        """Reserve the addresses for files of `sizes` bytes.

        Raises:
            OSError: the process may not use so many addresses.
        """
        page = mmap.PAGESIZE
        lengths = np.array([-(-size // page) * page for size in sizes], np.int64)
        self._sizes = sizes
        self.starts = np.cumsum(lengths) - lengths
        """Where each file begins in `memory`: int64."""
        self.num_bytes = max(int(lengths.sum()), page)
        self._base = _map(None, self.num_bytes, _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANON | _MAP_NORESERVE)
        # An array over the range does not keep this object alive, which unmaps the range. So none may leave its owner.
        weakref.finalize(self, _unmap, self._base, self.num_bytes).atexit = False
        self.memory = np.ctypeslib.as_array((ctypes.c_ubyte * self.num_bytes).from_address(self._base))
        """The range: uint8. Only the bytes of files that were mapped may be touched."""

    def map_file(self, number: int, descriptor: int) -> None:
        """Map the open file of that number, read-only.

        Raises:
            OSError: the system refuses.
        """
        _map(
            self._base + int(self.starts[number]),
            self._sizes[number],
            mmap.PROT_READ,
            mmap.MAP_SHARED | _MAP_FIXED,
            descriptor,
        )


@cache
def _libc() -> Any:  # noqa: ANN401 - ctypes has no better type
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_ssize_t,
    )
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc


def _map(address: int | None, num_bytes: int, protection: int, flags: int, descriptor: int = -1) -> int:
    mapped: int | None = _libc().mmap(address, num_bytes, protection, flags, descriptor, 0)
    if mapped is None or mapped == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, f"mmap of {counted(num_bytes, 'byte')}: {os.strerror(number)}")
    return mapped


def _unmap(address: int, num_bytes: int) -> None:
    _libc().munmap(address, num_bytes)
