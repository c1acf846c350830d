"""Writes the files of source order."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.source_files.names import (
    DTYPE_OF_FILE,
    FIRST_ROW_NAME,
    FIRST_STORED_NAME,
    ORDER_NAME,
    SOURCE_FILE_NAMES,
    SOURCE_FRAMES_NAME,
    SOURCE_PTS_NAME,
)
from frame_store.source_order import SourceOrder

_VALUES_PER_STEP = 1 << 20


def write_source_order(
    folder: Path, order: SourceOrder, *, is_shuffled: bool, names: Collection[str] = SOURCE_FILE_NAMES
) -> None:
    """Write the files of a generation's source order into `folder`, or those of `names`. Equal orders give equal bytes.

    `order.npy` is written for a shuffled layout alone, and `source_frames.npy` where a decoded frame is not stored.
    `order.source_pts` is needed.

    Raises:
        OSError: disk full or failing.
    """
    assert order.source_pts is not None
    assert is_shuffled or order.order is None
    places = np.arange(order.num_stored) if order.order is None else order.order
    columns: dict[str, npt.NDArray[Any]] = {
        FIRST_ROW_NAME: order.first_row,
        FIRST_STORED_NAME: order.first_stored,
        **({ORDER_NAME: places} if is_shuffled else {}),
        **({SOURCE_FRAMES_NAME: order.source_frames} if order.source_frames is not None else {}),
        SOURCE_PTS_NAME: np.asarray(order.source_pts),
    }
    for name, column in columns.items():
        if name in names:
            _write_array(folder / name, column, DTYPE_OF_FILE[name])


def _write_array(path: Path, values: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    # Plain writes: through a memory map a full disk would kill the process instead of raising.
    with path.open("wb") as file:
        header = {"descr": dtype.str, "fortran_order": False, "shape": values.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, len(values), _VALUES_PER_STEP):
            file.write(values[first : first + _VALUES_PER_STEP].astype(dtype).tobytes())
