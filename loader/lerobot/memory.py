"""Memory of batches of pictures, used again when nobody holds them: fresh pages cost more than filling them."""

from collections.abc import Sequence
from typing import Any

import torch

from loader.batches import BatchBuffers


class PictureMemory:
    """Lends tensors by name. The memory of a name is as large as its largest batch so far. Threads may share it."""

    def __init__(self, *, num_spare: int, pin_memory: bool = False) -> None:
        """Prepare to lend; see `BatchBuffers` for the arguments."""
        self._num_spare, self._pin_memory = num_spare, pin_memory
        self._buffers: dict[str, tuple[int, BatchBuffers]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_buffers": {}}  # memory is not pickled

    def lend(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """An uninitialised contiguous tensor on the CPU."""
        num_bytes = dtype.itemsize
        for side in shape:
            num_bytes *= side
        max_bytes, buffers = self._buffers.get(name, (0, None))
        if 2 * num_bytes < max_bytes:  # a few pictures that are kept must not keep the memory of a batch
            return torch.empty(*shape, dtype=dtype)
        if buffers is None or num_bytes > max_bytes:
            buffers = BatchBuffers(num_bytes, num_spare=self._num_spare, pin_memory=self._pin_memory)
            self._buffers[name] = (num_bytes, buffers)
        return buffers.lend(shape, dtype)
