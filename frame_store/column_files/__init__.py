"""The columns of a generation on disk: `columns.json`, `0000.npy` and the other files of FORMAT.md section 4.2."""

from frame_store.column_files.opening import has_columns, open_column, open_columns, read_dataset, read_texts
from frame_store.column_files.record import ColumnEntry, ColumnsRecord, read_columns_record
from frame_store.column_files.writing import ColumnContent, content_of_column, content_of_join, write_columns

__all__ = [
    "ColumnContent",
    "ColumnEntry",
    "ColumnsRecord",
    "content_of_column",
    "content_of_join",
    "has_columns",
    "open_column",
    "open_columns",
    "read_columns_record",
    "read_dataset",
    "read_texts",
    "write_columns",
]
