"""Streams of a GPU. Threads that read queue work on their own stream, and the caller's stream waits for it.

The host does not wait. A thread queues copies and kernels on a stream of its own and records an event after them. The
stream that is current when the batch is handed out waits for that event, on the device.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final, Protocol

import torch

from frame_store.errors import CudaUnavailableError
from frame_store.shared import check_cuda_usable_here
from loader.batches import TakeOver


class DeviceStreams(Protocol):
    """The operations of a device that a reader needs. Threads share it."""

    @property
    def device(self) -> torch.device:
        """The device, with its number."""
        ...

    def host_memory(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """An uninitialised tensor on the host to upload from; it may be dropped before the copy is done."""
        ...

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        """Queue the copy of a tensor of `host_memory`; call it inside `own_stream`."""
        ...

    def own_stream(self) -> AbstractContextManager[None]:
        """In this context, the calling thread queues its work on a stream that no other thread uses."""
        ...

    def drain(self) -> None:
        """Wait on the host until the work on the current stream is done; call it inside `own_stream`."""
        ...

    def ready(self, tensors: Iterable[torch.Tensor]) -> TakeOver:
        """A function that takes over `tensors`, which the work queued so far makes; call it inside `own_stream`."""
        ...


NUM_STREAMS: Final = 3
"""Used in turns, even by one thread, so that the copy of a batch overlaps with the kernels of other batches."""


class CudaStreams:
    """`DeviceStreams` on an NVIDIA GPU."""

    def __init__(self, device: torch.device) -> None:
        """Take streams of `device`, which has a number."""
        self.device = device
        # Streams that nobody uses, used in turns. Appending and popping are atomic and need no lock.
        self._idle = deque(self._new_stream() for _ in range(NUM_STREAMS))

    def host_memory(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Page-locked, from torch's caching allocator, which lends a block again when the copies from it are done."""
        return torch.empty(*shape, dtype=dtype, device="cpu", pin_memory=True)

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        """See `DeviceStreams`."""
        return host.to(self.device, non_blocking=True)

    @contextmanager
    def own_stream(self) -> Iterator[None]:
        """See `DeviceStreams`. The GPU becomes the current GPU, too."""
        try:
            stream = self._idle.popleft()
        except IndexError:
            # Waiting for a stream could deadlock: the garbage collector may end an iteration in a thread that has a
            # stream, and wait there for the threads of the iteration.
            stream = self._new_stream()
        try:
            with torch.cuda.stream(stream):
                yield
        finally:
            self._idle.append(stream)

    def drain(self) -> None:
        """See `DeviceStreams`. The thread sleeps, it does not spin, so other threads run."""
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        event.synchronize()

    def ready(self, tensors: Iterable[torch.Tensor]) -> TakeOver:
        """See `DeviceStreams`."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return partial(_take_over, self.device, event, list(tensors))

    def _new_stream(self) -> torch.cuda.Stream:
        # torch has 32 streams and then returns the same ones again. One for each thread at work is enough.
        return torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]


def _take_over(device: torch.device, event: torch.cuda.Event, tensors: Sequence[torch.Tensor]) -> None:
    stream = torch.cuda.current_stream(device)
    stream.wait_event(event)
    for tensor in tensors:
        # The memory belongs to the stream on which the tensor was made. After the caller drops the tensor, that stream
        # must not use the memory again before the caller's stream is done with it.
        tensor.record_stream(stream)


def usable_cuda_device(device: torch.device) -> torch.device:
    """`device`, of type cuda, with its number; without one, torch's current GPU. Starts CUDA in this process.

    Raises:
        CudaForkError: this process was forked from one that had started CUDA.
        CudaUnavailableError: no driver, no such GPU, or torch cannot use it.
    """
    check_cuda_usable_here(0 if device.index is None else device.index)
    if not torch.cuda.is_available():
        why = (
            "is built without CUDA"
            if torch.version.cuda is None
            else f"(CUDA {torch.version.cuda}) cannot use it"
        )
        raise CudaUnavailableError(
            f"there is a GPU, but torch {torch.__version__} {why}; install a torch that fits the driver, "
            f"see pytorch.org/get-started"
        )
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
