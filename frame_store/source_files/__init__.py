"""The source order of a generation on disk: `first_row.npy` and the other files of FORMAT.md section 4.1."""

from frame_store.source_files.checks import find_source_problems, order_of_index
from frame_store.source_files.names import (
    DTYPE_OF_FILE,
    FIRST_ROW_NAME,
    FIRST_STORED_NAME,
    ORDER_NAME,
    SOURCE_FILE_NAMES,
    SOURCE_FRAMES_NAME,
    SOURCE_PTS_NAME,
    STARTS_NAMES,
)
from frame_store.source_files.opening import open_source_order
from frame_store.source_files.writing import write_joined_source_order, write_source_order

__all__ = [
    "DTYPE_OF_FILE",
    "FIRST_ROW_NAME",
    "FIRST_STORED_NAME",
    "ORDER_NAME",
    "SOURCE_FILE_NAMES",
    "SOURCE_FRAMES_NAME",
    "SOURCE_PTS_NAME",
    "STARTS_NAMES",
    "find_source_problems",
    "open_source_order",
    "order_of_index",
    "write_joined_source_order",
    "write_source_order",
]
