"""`content_order.npy`: frame ids in content order on disk (FORMAT.md section 4.3)."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.columns import MappedArray
from frame_store.manifest import CacheTree, ContentOrderEntry, FileEntry, describe_file
from frame_store.names import CONTENT_ORDER_NAME, content_folder

METHOD: Final = "pca-bisection-1"
"""Name of the method of this room. Another order of the same frames needs another number."""

_DTYPE: Final = np.dtype("<u4")
_VALUES_PER_STEP: Final = 1 << 20


def write_order_file(folder: Path, frame_ids: npt.NDArray[np.uint32]) -> FileEntry:
    """Write `content_order.npy` into `folder`. Equal orders give equal bytes.

    Raises:
        OSError: disk full or failing.
    """
    # Plain writes: through a memory map a full disk would kill the process instead of raising.
    with (folder / CONTENT_ORDER_NAME).open("wb") as file:
        header = {"descr": _DTYPE.str, "fortran_order": False, "shape": frame_ids.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, len(frame_ids), _VALUES_PER_STEP):
            file.write(frame_ids[first : first + _VALUES_PER_STEP].astype(_DTYPE).tobytes())
    return describe_file(folder, CONTENT_ORDER_NAME)


def entry_of_file(file: FileEntry, *, first_frame: int, num_frames: int) -> ContentOrderEntry:
    """The entry of a manifest for the written order of some frames of the cache that follow each other."""
    return ContentOrderEntry(
        first_frame=first_frame,
        num_frames=num_frames,
        folder=content_folder(file.sha256),
        sha256=file.sha256,
        num_bytes=file.num_bytes,
        method=METHOD,
    )


def mapped_orders(tree: CacheTree) -> list[tuple[ContentOrderEntry, MappedArray]]:
    """The content orders of a cache: uint32, shape (frames of the entry,), mapped at the first use. Opens nothing.

    The ids count from the first frame of the entry. Empty where the cache has none, and for a camera whose ids they do
    not count: another than the first.
    """
    if not tree.leads:
        return []
    return [
        (entry, mapped_order(tree.store_path, entry, cache_name=tree.text))
        for entry in tree.manifest.content_orders
        if entry.first_frame < tree.num_frames
    ]


def mapped_order(store_path: Path, entry: ContentOrderEntry, *, cache_name: str | None = None) -> MappedArray:
    """One content order of the cache at `store_path`, as in `mapped_orders`."""
    return MappedArray(
        store_path,
        entry.file.name,
        dtype=_DTYPE,
        shape=(entry.num_frames,),
        section="4.3",
        to_restore="cache-verify --repair makes a content order again",
        cache_name=cache_name,
    )
