"""The content order of a cache: its hash, and that it has every frame once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.content_order import mapped_order
from frame_store.errors import StoreError
from frame_store.manifest import CacheManifest, CacheTree
from frame_store.shared import counted
from frame_store.verify.files import check_file

_IDS_PER_STEP: Final = 1 << 20


def check_content_orders(
    store_path: Path, manifest: CacheManifest, *, tree: CacheTree | None
) -> Iterator[str]:
    """What is wrong with the content orders: at most one line for each.

    `tree` has all generations, of a cache of cameras those of the first one; None where one cannot be read.

    Memory: a byte a frame.
    """
    for entry in manifest.content_orders:
        file = entry.file
        if tree is not None and tree.fingerprint_of_frames(entry.first_frame, entry.num_frames) is None:
            yield (
                f"{file.name}: the manifest names it for {counted(entry.num_frames, 'frame')} from "
                f"{entry.first_frame} on, and these are no whole generations"
            )
            continue
        if broken := check_file(store_path, file, recorded_in="the manifest"):
            # It is mapped: a page that the disk cannot read would kill the process.
            yield from broken
            continue
        try:
            ids = mapped_order(store_path, entry).array
        except StoreError as error:
            yield str(error).removeprefix(f"{store_path}/")
            continue
        yield from _problem_of_ids(ids, name=file.name)


def _problem_of_ids(ids: npt.NDArray[np.uint32], *, name: str) -> Iterator[str]:
    """What is wrong with the ids of a content order, which count from 0: no line, or one."""
    is_there = np.zeros(len(ids), np.bool_)
    for first in range(0, len(ids), _IDS_PER_STEP):
        some = ids[first : first + _IDS_PER_STEP]
        outside = some >= len(ids)
        if outside.any():
            place = int(np.argmax(outside))
            yield (
                f"{name}: place {first + place} holds frame id {some[place]}, the order has "
                f"{counted(len(ids), 'frame')}"
            )
            return
        is_there[some] = True
    if not is_there.all():
        yield f"{name}: frame {int(np.argmin(is_there))} is missing, so that another one occurs twice"
