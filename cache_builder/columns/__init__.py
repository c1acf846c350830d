"""Columns written into a complete cache: tables joined to its videos, published as a new version of the manifest."""

from cache_builder.columns.add import add_columns, joined, read_tables
from cache_builder.columns.broken import columns_cannot_be_made
from cache_builder.columns.dataset import (
    DATASET_DIGEST,
    DatasetColumns,
    dataset_differs,
    dataset_join,
    read_dataset,
    rows_of_table,
    write_dataset_columns,
)
from cache_builder.columns.folders import ColumnFolders, kept_column, missing_column
from cache_builder.columns.report import (
    ColumnsReport,
    ColumnSummary,
    columns_text,
    report_lines,
    summaries_of,
)

__all__ = [
    "DATASET_DIGEST",
    "ColumnFolders",
    "ColumnSummary",
    "ColumnsReport",
    "DatasetColumns",
    "add_columns",
    "columns_cannot_be_made",
    "columns_text",
    "dataset_differs",
    "dataset_join",
    "joined",
    "kept_column",
    "missing_column",
    "read_dataset",
    "read_tables",
    "report_lines",
    "rows_of_table",
    "summaries_of",
    "write_dataset_columns",
]
