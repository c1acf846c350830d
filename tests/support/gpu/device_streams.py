"""A device made of CPU memory, as slow as a real one may be: `loader.gpu.streams.DeviceStreams` without a GPU."""

import threading
from contextlib import contextmanager

import torch

GARBAGE = 0xA5


class LateStreams:
    """Copies happen when their tensors are taken over, never before: a reader that is too early gets garbage.

    Once copied, the host's side becomes garbage, as its memory may be lent again. With `is_late=False`, copies happen
    at once. Keeps book of what a reader did.
    """

    def __init__(self, *, is_late=True):
        self.device = torch.device("cpu")
        self.is_late = is_late
        self.pinned = {}  # by address: what `host_memory` lent and nobody has uploaded yet
        self.uploaded_bytes = []
        self.num_in_use = 0
        self.drained = 0
        self.taken_over = []  # (thread, tensors)
        self._present = threading.local()
        self._lock = threading.Lock()

    @property
    def is_on_own_stream(self):
        return getattr(self._present, "copies", None) is not None

    def host_memory(self, shape, dtype):
        memory = torch.empty(*shape, dtype=dtype)
        memory.view(torch.uint8).fill_(GARBAGE)
        with self._lock:
            self.pinned[memory.data_ptr()] = memory.nbytes
        return memory

    def upload(self, host):
        assert self.is_on_own_stream, "a copy on a stream that others use, too"
        with self._lock:
            assert self.pinned.pop(host.data_ptr()) == host.nbytes, (
                "no page-locked memory, or uploaded before"
            )
            self.uploaded_bytes.append(host.nbytes)
        there = torch.empty_like(host)
        there.view(torch.uint8).fill_(GARBAGE)
        self._present.copies.append((there, host))
        if not self.is_late:
            self.drain()
        return there

    @contextmanager
    def own_stream(self):
        assert not self.is_on_own_stream
        with self._lock:
            self.num_in_use += 1
        self._present.copies = []
        try:
            yield
        finally:
            self._present.copies = None
            with self._lock:
                self.num_in_use -= 1

    def drain(self):
        assert self.is_on_own_stream
        self.drained += 1
        _do(self._present.copies)

    def ready(self, tensors):
        assert self.is_on_own_stream
        copies, tensors = list(self._present.copies), list(tensors)

        def take_over():
            assert not self.is_on_own_stream
            _do(copies)
            self.taken_over.append((threading.current_thread(), tensors))

        return take_over


def _do(copies):
    for there, host in copies:
        there.copy_(host)
        host.view(torch.uint8).fill_(GARBAGE)
    copies.clear()


TENSORS = ["frames", "frame_ids", "cache_ids", "video_ids", "frame_in_video", "pts_seconds"]


def assert_same(one, other):
    pairs = one.tensors(), other.tensors()
    assert pairs[0].keys() == pairs[1].keys() >= set(TENSORS)
    for name, left in pairs[0].items():
        right = pairs[1][name]
        assert left.dtype == right.dtype and left.stride() == right.stride(), name
        assert torch.equal(left.nan_to_num(-1), right.nan_to_num(-1)), name
