"""All shards of a cache in one range of addresses, so that one native call copies a batch of raw frames."""

import sys
import threading
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.files import MappedRange, gather_streaming
from frame_store.protocol import Frames
from frame_store.reader.open_shards import ShardFiles

MAX_MAPPED_SHARDS: Final = 32_768
"""Linux grants a process 65,530 mappings (vm.max_map_count); larger caches are read with `pread`."""


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
        self._range = MappedRange([shard.num_bytes for shard in files.shards])
        self.memory = memoryview(self._range.memory)  # type: ignore[arg-type]
        """All shards. Only payloads at `addresses` may be read, and only while this object lives."""
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
        addresses = self.addresses(frame_ids, shard_ids, byte_offsets)
        rows = out.reshape(len(out), -1).view(np.uint8)
        memory = self._range.memory
        if gather_streaming(memory, addresses, rows) or self._gather_with_torch(addresses, rows):
            return
        num_bytes = rows.shape[1]
        parts = [memory[first : first + num_bytes] for first in addresses.tolist()]
        np.concatenate(parts, out=rows.reshape(-1))

    def addresses(
        self,
        frame_ids: npt.NDArray[np.int64],
        shard_ids: npt.NDArray[np.int64],
        byte_offsets: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """Where payloads begin in `memory`, int64 (B,), once their shards are mapped. Raises as `gather`."""
        wanted = set(shard_ids.tolist())
        if not wanted <= self._mapped or not self.files.have_sizes(wanted):
            for shard_id in sorted(wanted):
                self._map_shard(shard_id, frame_id=int(frame_ids[shard_ids == shard_id][0]))
        addresses: npt.NDArray[np.int64] = self._range.starts[shard_ids] + byte_offsets
        return addresses

    def _gather_with_torch(self, addresses: npt.NDArray[np.int64], rows: npt.NDArray[np.uint8]) -> bool:
        """One call for the batch, 1.2 times as fast as a copy per frame. Used only where torch is imported already."""
        torch = sys.modules.get("torch")
        num_rows = self._range.num_bytes - rows.shape[1] + 1
        if torch is None or not hasattr(torch, "index_select") or num_rows * rows.shape[1] >= 1 << 62:
            return False
        # A frame may begin at any byte, so the rows to select from overlap: one row begins at each byte.
        every_row = torch.from_numpy(self._range.memory).as_strided((num_rows, rows.shape[1]), (1, 1))
        torch.index_select(every_row, 0, torch.from_numpy(addresses), out=torch.from_numpy(rows))
        return True

    def _map_shard(self, shard_id: int, *, frame_id: int) -> None:
        with self._lock:
            if shard_id in self._mapped:
                self.files.require_size(shard_id, frame_id=frame_id)
                return
            descriptor = self.files.descriptor(shard_id, frame_id=frame_id)  # checks the size
            self._range.map_file(shard_id, descriptor.number)
            self._mapped.add(shard_id)
