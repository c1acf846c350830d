"""All shards of a cache in one range of addresses, so that one native call copies a batch of raw frames."""

import ctypes
import mmap
import os
import sys
import threading
import weakref
from contextlib import suppress
from functools import cache
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from frame_store.protocol import Frames
from frame_store.reader.open_shards import ShardFiles
from frame_store.shared import counted

MAX_MAPPED_SHARDS: Final = 32_768
"""Linux grants a process 65,530 mappings (vm.max_map_count); larger caches are read with `pread`."""

_PROT_NONE: Final = 0
_MAP_FIXED: Final = 0x10  # the same on Linux, macOS and the BSDs; Python's mmap does not export it
_MAP_NORESERVE: Final = 0x4000 if sys.platform == "linux" else 0


class MappedShards:
    """Shard files mapped read-only, one after the other on page boundaries. Each is mapped at its first use.

    Reserved addresses cost nothing, so a cache of terabytes opens at once. Where a mapped file is cut short, a process
    that touches a missing page is killed (SIGBUS), so the sizes of the files are checked before every copy. A cut
    between check and copy cannot be caught, nor a page that the disk cannot read. With `reads="pread"` both are errors.
    """

    def __init__(self, files: ShardFiles) -> None:
        """Reserve the addresses.

        Raises:
            OSError: the process may not use so many addresses.
        """
        self.files = files
        page = mmap.PAGESIZE
        lengths = np.array([-(-shard.num_bytes // page) * page for shard in files.shards], np.int64)
        self._starts = np.cumsum(lengths) - lengths
        self._num_bytes = max(int(lengths.sum()), page)
        self._base = _map(
            None, self._num_bytes, _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANON | _MAP_NORESERVE
        )
        # An array over the range does not keep this object alive, which unmaps the range. So none leaves `gather`.
        weakref.finalize(self, _unmap, self._base, self._num_bytes).atexit = False
        self._memory = np.ctypeslib.as_array((ctypes.c_ubyte * self._num_bytes).from_address(self._base))
        self._mapped: set[int] = set()
        self._lock = threading.Lock()

    def gather(
        self,
        frame_ids: npt.NDArray[np.int64],
        shard_ids: npt.NDArray[np.int64],
        byte_offsets: npt.NDArray[np.int64],
        out: Frames,
    ) -> None:
        """Copy payloads of equal length, one to each row of `out`, C-contiguous of shape (B, ...).

        The caller has checked that the payloads lie inside their shards; `frame_ids` are for errors.

        Raises:
            StoreDamagedError: a shard is missing, or of another size than the recorded one.
        """
        wanted = set(shard_ids.tolist())
        if not wanted <= self._mapped or not self.files.have_sizes(wanted):
            for shard_id in sorted(wanted):
                self._map_shard(shard_id, frame_id=int(frame_ids[shard_ids == shard_id][0]))
        addresses = self._starts[shard_ids] + byte_offsets
        rows = out.reshape(len(out), -1).view(np.uint8)
        if not self._gather_with_torch(addresses, rows):
            num_bytes = rows.shape[1]
            parts = [self._memory[first : first + num_bytes] for first in addresses.tolist()]
            np.concatenate(parts, out=rows.reshape(-1))

    def _gather_with_torch(self, addresses: npt.NDArray[np.int64], rows: npt.NDArray[np.uint8]) -> bool:
        """One call for the batch, 1.2 times as fast as a copy per frame. Used only where torch is imported already."""
        torch = sys.modules.get("torch")
        num_rows = self._num_bytes - rows.shape[1] + 1
        if torch is None or not hasattr(torch, "index_select") or num_rows * rows.shape[1] >= 1 << 62:
            return False
        # A frame may begin at any byte, so the rows to select from overlap: one row begins at each byte.
        every_row = torch.from_numpy(self._memory).as_strided((num_rows, rows.shape[1]), (1, 1))
        torch.index_select(every_row, 0, torch.from_numpy(addresses), out=torch.from_numpy(rows))
        return True

    def _map_shard(self, shard_id: int, *, frame_id: int) -> None:
        with self._lock:
            if shard_id in self._mapped:
                self.files.require_size(shard_id, frame_id=frame_id)
                return
            descriptor = self.files.descriptor(shard_id, frame_id=frame_id)  # checks the size
            _map(
                self._base + int(self._starts[shard_id]),
                self.files.shards[shard_id].num_bytes,
                mmap.PROT_READ,
                mmap.MAP_SHARED | _MAP_FIXED,
                descriptor.number,
            )
            self._mapped.add(shard_id)


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


class OpenShards(NamedTuple):
    """The open shards of one process. A reader holds this object, so `close` takes nothing away under it."""

    pid: int
    files: ShardFiles
    maps: MappedShards | None
    """None where no shard is mapped."""

    @classmethod
    def of(cls, files: ShardFiles, *, maps: bool) -> Self:
        """Of this process; `maps` asks for maps, which are left out where there are too many shards or addresses."""
        mapped = None
        if maps and len(files.shards) <= MAX_MAPPED_SHARDS:
            with suppress(OSError):  # too few addresses (ulimit -v): `pread` needs none
                mapped = MappedShards(files)
        return cls(os.getpid(), files, mapped)
