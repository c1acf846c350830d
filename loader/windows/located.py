"""Frames of several batches that are looked up in the base at once."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, islice
from typing import Final

import numpy as np

from frame_store.errors import FrameCacheError
from frame_store.protocol import FrameStore, LocatedFrames, LocatesFrames
from loader.sampling.orders import Int64s
from loader.windows.request import BatchRequest

FRAMES_PER_LOOKUP: Final = 1024
"""At most, where a batch has fewer. The index may be on a slow disk, and the first batch waits for all of them."""


class LocatedTogether:
    """The frames of batches that follow each other, looked up by the first thread that reads one of them.

    A look-up is some forty steps of Python and numpy for any number of frames. After a batch was decoded, the CPU's
    cache holds nothing that these steps need.
    """

    def __init__(self, store: LocatesFrames, ids_of_batches: Sequence[Int64s]) -> None:
        """Nothing is looked up yet."""
        self._store = store
        self._ids = ids_of_batches
        self._ends = list(accumulate(map(len, ids_of_batches), initial=0))
        self._located: LocatedFrames | None = None
        self._has_failed = False
        self._lock = threading.Lock()

    def of_batch(self, number: int) -> LocatedFrames | None:
        """The frames of one batch; None where a frame of any of them cannot be looked up."""
        with self._lock:
            if self._located is None and not self._has_failed:
                # Where it fails, each batch is looked up alone, so that the error is raised in the place of its batch.
                try:
                    self._located = self._store.locate(np.concatenate(self._ids))
                except (FrameCacheError, OSError):
                    self._has_failed = True
            located = self._located
        return None if located is None else located.part(self._ends[number], self._ends[number + 1])


def located_together(
    requests: Iterator[BatchRequest], base: FrameStore, *, frames_per_batch: int
) -> Iterator[BatchRequest]:
    """The requests, whose frames are looked up for several of them at once, if `base` can do so.

    An error of `requests` is raised in its place, behind those that came before it.
    """
    num_together = FRAMES_PER_LOOKUP // max(1, frames_per_batch)
    if num_together < 2 or not isinstance(base, LocatesFrames):
        yield from requests
        return
    error: Exception | None = None
    while True:
        group: list[BatchRequest] = []
        try:
            for request in islice(requests, num_together):
                group.append(request)
        except Exception as found:  # noqa: BLE001 - raised below
            error = found
        together = LocatedTogether(base, [request.cache_ids.reshape(-1) for request in group])
        for number, request in enumerate(group):
            yield replace(request, located=partial(together.of_batch, number))
        if error is not None:
            raise error
        if not group:
            return
