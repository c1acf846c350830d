"""Tables of columns: read from files and objects, and joined to the videos of a store."""

from frame_store.tables.join import Join, JoinedColumn, JoinTarget, Missing, check_join_options, join_tables
from frame_store.tables.match import NO_ROW, nearest_one_to_one
from frame_store.tables.read import TableLike, read_table
from frame_store.tables.table import Table, TableColumn, sorted_text_column
from frame_store.tables.video_names import VideoNames

__all__ = [
    "NO_ROW",
    "Join",
    "JoinTarget",
    "JoinedColumn",
    "Missing",
    "Table",
    "TableColumn",
    "TableLike",
    "VideoNames",
    "check_join_options",
    "join_tables",
    "nearest_one_to_one",
    "read_table",
    "sorted_text_column",
]
