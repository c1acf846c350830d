"""What became of the columns of a cache."""

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from frame_store.column_files import ColumnsRecord
from frame_store.notebook import items, output, paragraphs
from frame_store.shared import counted, counted_in_groups, without_controls


class ColumnSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a cache."""

    name: str
    scope: Literal["frame", "video"]
    dtype: str
    """Such as `float32`; `text` for texts."""
    shape: list[int]
    """Of one value."""
    num_missing: int
    """Frames or videos without a value."""
    num_bytes: int


class ColumnsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `add_columns` did."""

    output: str
    status: Literal["written", "already complete", "restored"]
    """`restored`: files of the same columns were damaged, and were written again."""
    folders: list[str]
    """The folders of the columns, inside the cache: one for each generation."""
    columns: list[ColumnSummary]
    """All columns of the cache, also those that it had before."""
    notes: list[str]
    """Rows that were left out and values that are missing, where this was allowed."""
    problems: list[str]
    """Videos whose rows did not fit and that have no values, where this was allowed."""

    def _repr_html_(self) -> str:
        """What IPython shows: the columns, and the first problems and notes. Never raises."""
        return output(
            self,
            lambda: [
                paragraphs([_line_of_totals(self)]),
                items("Columns", columns_text(self.columns)),
                items("Problems", self.problems),
                items("Notes", self.notes),
            ],
        )


def summaries_of(record: ColumnsRecord) -> list[ColumnSummary]:
    """The columns of a record."""
    return [
        ColumnSummary(
            name=column.name,
            scope=column.scope,
            dtype="text" if column.codes is not None else np.dtype(column.dtype).name,
            shape=column.shape,
            num_missing=column.num_missing,
            num_bytes=sum(entry.num_bytes for entry in column.files),
        )
        for column in record.columns
    ]


def joined_summaries(records: Sequence[ColumnsRecord]) -> list[ColumnSummary]:
    """The columns that all records have, with the missing values and the bytes of all."""
    found = [{column.name: column for column in summaries_of(record)} for record in records]
    names = [name for name in found[0] if all(name in each for each in found)]
    return [
        msgspec.structs.replace(
            found[0][name],
            num_missing=sum(each[name].num_missing for each in found),
            num_bytes=sum(each[name].num_bytes for each in found),
        )
        for name in names
    ]


def columns_text(columns: Sequence[ColumnSummary]) -> list[str]:
    """A line for each column.

    >>> action = ColumnSummary(
    ...     name="action", scope="frame", dtype="float32", shape=[14], num_missing=2, num_bytes=184
    ... )
    >>> columns_text([action])
    ['action: per frame, float32 (14), 2 missing']
    """
    return [
        f"{without_controls(column.name)}: per {column.scope}, {column.dtype}"
        f"{' (' + ', '.join(map(str, column.shape)) + ')' if column.shape else ''}"
        f"{f', {column.num_missing:,} missing' if column.num_missing else ''}"
        for column in columns
    ]


def report_lines(report: ColumnsReport) -> list[str]:
    """The report for a terminal."""
    return [*report.problems, *report.notes, *columns_text(report.columns), _line_of_totals(report)]


def _line_of_totals(report: ColumnsReport) -> str:
    num_bytes = sum(column.num_bytes for column in report.columns)
    return (
        f"{report.output}: columns {report.status}, {counted(len(report.columns), 'column')} in "
        f"{report.folders[0] if len(report.folders) == 1 else counted(len(report.folders), 'folder')} "
        f"({counted_in_groups(num_bytes, 'byte')})"
    )
