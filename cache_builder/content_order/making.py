"""The content order of an open cache in a scratch folder, timed."""

import time
from dataclasses import dataclass
from pathlib import Path

from cache_builder.progress import Progress
from frame_store.content_order import (
    bisected,
    entry_of_file,
    frames_to_read,
    ids_in_order,
    num_levels,
    read_coordinates,
    write_order_file,
)
from frame_store.manifest import ContentOrderEntry, read_manifest
from frame_store.protocol import FrameStore
from frame_store.reader import CacheStore
from frame_store.shared import num_usable_cpus


@dataclass(frozen=True, kw_only=True)
class MadeOrder:
    """A content order that was written into a scratch folder."""

    entry: ContentOrderEntry
    num_frames_read: int
    seconds_reading: float
    seconds_ordering: float


def made_order(store: FrameStore, folder: Path, *, progress: Progress) -> MadeOrder:
    """Write `content_order.npy` of a cache, or of its first camera, into `folder`, which does not exist yet.

    A view of frames that follow each other has them under ids that count from the first of them.

    Raises:
        StoreDamagedError: a payload, or a file of source order, is damaged.
        OSError: disk full or failing.
    """
    started = time.monotonic()
    num_reads = frames_to_read(len(store))
    progress.start("content", num_reads, "frames")
    coordinates = read_coordinates(store, num_threads=num_usable_cpus(), progress=progress.advance)
    read_at = time.monotonic()
    progress.start("order", num_levels(len(store)), "levels")
    frame_ids = ids_in_order(store, bisected(coordinates, progress=progress.advance))
    ordered_at = time.monotonic()
    folder.mkdir(parents=True)
    file = write_order_file(folder, frame_ids)
    return MadeOrder(
        entry=entry_of_file(file, first_frame=0, num_frames=len(store)),
        num_frames_read=num_reads,
        seconds_reading=read_at - started,
        seconds_ordering=ordered_at - read_at,
    )


def counting_store(path: Path) -> CacheStore:
    """The cache; of a cache of cameras the first one, by whose ids the order counts."""
    cameras = read_manifest(path).cameras
    return CacheStore(path, camera=cameras[0].name if cameras else None)
