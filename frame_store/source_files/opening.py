"""Maps the files of source order, which may come from a stranger."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.npy import map_npy
from frame_store.source_files.names import (
    DTYPE_OF_FILE,
    FIRST_ROW_NAME,
    FIRST_STORED_NAME,
    ORDER_NAME,
    SOURCE_FRAMES_NAME,
    SOURCE_PTS_NAME,
)
from frame_store.source_order import DeferredArray, SourceOrder


def open_source_order(
    folder: Path,
    *,
    listed: Collection[str],
    num_frames: int,
    num_videos: int,
    is_shuffled: bool,
    at_first_use: Callable[[str], AbstractContextManager[None]] | None = None,
) -> SourceOrder:
    """The source order of the generation in `folder`, whose arrays are mapped files.

    Args:
        folder: Of the generation.
        listed: Names of the generation's files, of source order or not.
        num_frames: Stored frames of the generation.
        num_videos: Its videos.
        is_shuffled: Whether its layout is the shuffled one, which has `order.npy`.
        at_first_use: A file with a number for each frame is mapped at its first use, inside of what this gives for its
            name; the errors then come at that time. None maps all files now.

    Raises:
        StoreDamagedError: a file is missing, a link, of another dtype or length, does not fit its header, or its
            numbers cannot be right; a file is listed that such a generation does not have.
        OSError: no more files can be opened.
    """

    def map_file(name: str, length: int) -> npt.NDArray[Any]:
        if name not in listed:
            raise StoreDamagedError(f"{folder / name}: is not among the files of the generation")
        return map_npy(folder, name, dtype=DTYPE_OF_FILE[name], shape=(length,), section="4.1")

    def map_frames(name: str, length: int) -> npt.NDArray[Any]:
        if at_first_use is None or name not in listed:
            return map_file(name, length)

        def mapped() -> npt.NDArray[Any]:
            with at_first_use(name):
                return map_file(name, length)

        return cast("npt.NDArray[Any]", DeferredArray(length, mapped))

    first_row, first_stored = (
        map_file(name, num_videos + 1).view(np.int64) for name in (FIRST_ROW_NAME, FIRST_STORED_NAME)
    )
    if first_stored[-1] != num_frames:
        raise StoreDamagedError(
            f"{folder / FIRST_STORED_NAME}: expected {num_frames} for its last number, found {first_stored[-1]}"
        )
    num_rows = int(first_row[-1])
    if num_rows < num_frames:
        raise StoreDamagedError(
            f"{folder / FIRST_ROW_NAME}: expected {num_frames} or more for its last number, found {num_rows}"
        )
    for name, is_needed in ((ORDER_NAME, is_shuffled), (SOURCE_FRAMES_NAME, num_rows != num_frames)):
        if name in listed and not is_needed:
            raise StoreDamagedError(f"{folder / name}: such a generation has no such file")
    try:
        return SourceOrder(
            first_row=first_row,
            first_stored=first_stored,
            order=map_frames(ORDER_NAME, num_frames) if is_shuffled else None,
            source_frames=map_frames(SOURCE_FRAMES_NAME, num_frames) if num_rows != num_frames else None,
            source_pts=map_frames(SOURCE_PTS_NAME, num_rows),
            label=f"{folder}/",
        )
    except ValueError as error:
        raise StoreDamagedError(f"{folder}: its source order cannot be right: {error}") from error
