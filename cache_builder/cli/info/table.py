"""Cells as lines of a text, in columns."""

from collections.abc import Collection, Sequence


def table_lines(rows: Sequence[Sequence[str]], *, left: Collection[str]) -> list[str]:
    """A line for each row, the first of which has the names of the columns.

    Columns of `left` begin at the left, others end at the right; the last one takes what room it needs.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if rows[0][column] in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        + f"  {row[-1]}".rstrip()
        for row in rows
    ]
