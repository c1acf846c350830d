"""Memory of batches, used again when nobody holds the batch: a fresh memory page costs more than filling it."""

import mmap
import weakref
from collections import deque
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch


class Parts(NamedTuple):
    """Memory for the frames of one batch, a part for each source."""

    parts: tuple[torch.Tensor, ...]
    """Contiguous, of the shape and dtype of each source."""
    whole: torch.Tensor | None = None
    """All parts in one tensor, with a first dimension for the sources; None where they lie apart."""


class BatchBuffers:
    """Lends tensors, and takes the memory back when the last reference to a tensor, or to a view of it, is gone.

    So a batch never changes while the caller keeps it: a kept batch keeps its memory, and the next batch gets other
    memory. Threads may share it.
    """

    def __init__(self, max_bytes: int, *, num_spare: int, pin_memory: bool) -> None:
        """Prepare to lend tensors of up to `max_bytes`; nothing is allocated yet.

        Args:
            max_bytes: the largest size of a tensor.
            num_spare: most buffers kept while nobody holds them.
            pin_memory: page-locked memory, for copies to a GPU that overlap with other work. torch's own allocator
                lends it, and uses a block again only when the copies queued from it are done.
        """
        self._max_bytes = max_bytes
        self._pin_memory = pin_memory
        # A weakref callback returns buffers, in any thread at any time. Operations of deque and dict are atomic, so no
        # lock is needed.
        self._spare: deque[mmap.mmap] = deque(maxlen=num_spare)
        self._lent: dict[int, tuple[weakref.ref[npt.NDArray[np.uint8]], mmap.mmap]] = {}

    def lend(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """An uninitialised contiguous tensor on the CPU."""
        num_bytes = prod(shape) * dtype.itemsize
        if self._pin_memory:
            return torch.empty(*shape, dtype=dtype, device="cpu", pin_memory=True)
        if not 0 < num_bytes <= self._max_bytes:
            # NumPy's allocator gives freed memory out again more often than torch's: fewer page faults.
            return torch.from_numpy(np.empty(num_bytes, np.uint8)).view(dtype).view(*shape)
        try:
            memory = self._spare.pop()
        except IndexError:
            memory = _map_pages(self._max_bytes)
        # The tensor and every view of it hold this array. When the array is gone, nobody can reach the memory.
        lease = np.frombuffer(memory, np.uint8, count=num_bytes)
        reference = weakref.ref(lease, self._take_back)
        self._lent[id(reference)] = (reference, memory)
        if dtype == torch.uint8:  # steps of numpy take less time
            return torch.from_numpy(lease.reshape(shape))
        return torch.from_numpy(lease).view(dtype).view(*shape)

    def _take_back(self, reference: "weakref.ref[npt.NDArray[np.uint8]]") -> None:
        self._spare.append(self._lent.pop(id(reference))[1])


class PartBuffers:
    """`BatchBuffers` for several parts of a batch, which lie apart or, stacked, in one tensor."""

    def __init__(
        self, sizes: Sequence[int], *, num_spare: int, pin_memory: bool, is_stacked: bool = False
    ) -> None:
        """Prepare for parts of up to `sizes` bytes; see `BatchBuffers`. Stacked parts have one shape and dtype."""
        sizes = [sum(sizes)] if is_stacked else sizes
        self._is_stacked = is_stacked
        self._buffers = [BatchBuffers(size, num_spare=num_spare, pin_memory=pin_memory) for size in sizes]

    def lend(self, shapes: Sequence[Sequence[int]], dtypes: Sequence[torch.dtype]) -> Parts:
        """Uninitialised tensors on the CPU of these shapes and dtypes."""
        if self._is_stacked:
            whole = self._buffers[0].lend((len(shapes), *shapes[0]), dtypes[0])
            return Parts(parts=tuple(whole.unbind()), whole=whole)
        if len(shapes) == 1:  # a store without cameras: each step here costs a part of a raw batch
            return Parts((self._buffers[0].lend(shapes[0], dtypes[0]),))
        lent = zip(self._buffers, shapes, dtypes, strict=True)
        return Parts(tuple(buffers.lend(shape, dtype) for buffers, shape, dtype in lent))


def _map_pages(num_bytes: int) -> mmap.mmap:
    if hasattr(mmap, "MAP_PRIVATE"):
        # Python's default is MAP_SHARED: a forked child would write into the batches of its parent.
        memory = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        memory = mmap.mmap(-1, num_bytes)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)  # saves hundreds of page faults
    return memory
