"""The frames of a store ordered by content: every frame is read once, and its coordinates are kept."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.content_order.coordinates import MAX_SAMPLE, axes_of_sample
from frame_store.content_order.thumbnails import Thumbnails, thumbnails_of
from frame_store.protocol import FrameStore
from frame_store.source_order import Int64s

_BYTES_AT_ONCE: Final = 1 << 24
_MAX_FRAMES_AT_ONCE: Final = 256
_BLOCKS_PER_THREAD: Final = 4
_PLACES_AT_ONCE: Final = 1 << 20


def frames_to_read(num_frames: int) -> int:
    """How many frames `read_coordinates` reads: those of the sample count twice where there are others."""
    return num_frames if num_frames <= MAX_SAMPLE else num_frames + MAX_SAMPLE


def read_coordinates(
    store: FrameStore, *, num_threads: int = 1, progress: Callable[[int], None] = lambda _: None
) -> npt.NDArray[np.int16]:
    """Where each frame of a store lies in content, by its pixels as they are stored and decoded.

    At most 16,384 frames, evenly spaced in source order, find the axes. Then every frame is read, in the order of ids.
    Memory: 2 P bytes a frame for the result, 4 bytes a frame where ids are not in source order, and for each thread
    some 40 MB of frames and their sums.

    Args:
        store: threads may share it.
        num_threads: how many read at once.
        progress: called with numbers of frames; they add up to `frames_to_read`.

    Returns:
        int16, shape (N, P), by place in source order; P is at most 12. See `ContentAxes.of`.

    Raises: what `store.read_frames` and `store.source_order` raise.
    """
    num_frames = len(store)
    num_sampled = min(num_frames, MAX_SAMPLE)
    sampled = np.sort(
        store.source_order.ids_at(np.arange(num_sampled, dtype=np.int64) * num_frames // num_sampled)
    )
    with ThreadPoolExecutor(num_threads) as pool:
        reader = _ThumbnailReader(store, pool, num_threads=num_threads, progress=progress)
        sample = np.concatenate([thumbnails for _, thumbnails in reader.read(sampled)])
        axes = axes_of_sample(sample)
        place_of_id = _places_of_ids(store)
        coordinates = np.empty((num_frames, axes.num_axes), np.int16)
        # The sample of a small store has all of its frames.
        again = [(sampled, sample)] if num_sampled == num_frames else reader.read(range(num_frames))
        for ids, thumbnails in again:
            coordinates[ids if place_of_id is None else place_of_id[ids]] = axes.of(thumbnails)
    return coordinates


class _ThumbnailReader:
    """Reads blocks of frames in several threads and makes their thumbnails there; holds few frames at a time."""

    def __init__(
        self,
        store: FrameStore,
        pool: ThreadPoolExecutor,
        *,
        num_threads: int,
        progress: Callable[[int], None],
    ) -> None:
        self._store, self._pool, self._progress = store, pool, progress
        num_bytes = prod(store.frame_shape) * store.frame_dtype.itemsize
        self._block_size = max(1, min(_MAX_FRAMES_AT_ONCE, _BYTES_AT_ONCE // num_bytes))
        self._together = self._block_size * num_threads * _BLOCKS_PER_THREAD

    def read(self, ids: range | Int64s) -> Iterator[tuple[Int64s, Thumbnails]]:
        """Blocks of ids, in order, with their thumbnails."""
        for start in range(0, len(ids), self._together):
            some = np.asarray(ids[start : start + self._together], np.int64)
            blocks = [some[at : at + self._block_size] for at in range(0, len(some), self._block_size)]
            for block, thumbnails in zip(blocks, self._pool.map(self._read_block, blocks), strict=True):
                self._progress(len(block))
                yield block, thumbnails

    def _read_block(self, ids: Int64s) -> Thumbnails:
        return thumbnails_of(self._store.read_frames(ids))


def ids_in_order(store: FrameStore, places: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The frame ids at places in source order: uint32, of the shape of `places`."""
    ids = np.empty_like(places)
    for first in range(0, len(places), _PLACES_AT_ONCE):
        some = slice(first, first + _PLACES_AT_ONCE)
        ids[some] = store.source_order.ids_at(places[some].astype(np.int64))
    return ids


def _places_of_ids(store: FrameStore) -> npt.NDArray[np.uint32] | None:
    """The place of each frame id: uint32, shape (N,); None where the place is the id."""
    order = store.source_order
    if order.order is None:
        return None
    places = np.empty(len(store), np.uint32)
    for first in range(0, len(places), _PLACES_AT_ONCE):
        some = np.arange(first, min(first + _PLACES_AT_ONCE, len(places)), dtype=np.int64)
        places[order.ids_at(some)] = some
    return places
