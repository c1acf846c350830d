"""Changes of a written data set, for tests of bad input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

REMOVED = object()
"""As the value of a key: take the key away."""


def edit_info(root: Path, **changes: Any) -> None:
    """Set keys of info.json; `REMOVED` takes one away. A change may be a function of the old value."""
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    for key, change in changes.items():
        if change is REMOVED:
            del info[key]
        else:
            info[key] = change(info[key]) if callable(change) else change
    path.write_text(json.dumps(info, indent=4))


def _read(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read()


def edit_parquet(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write the table of a file again after `change`."""
    pq.write_table(change(_read(path)), path)


def _set(table: pa.Table, rows: list[int], changes: dict[str, Any]) -> pa.Table:
    for key, value in changes.items():
        place = table.column_names.index(key)
        if value is REMOVED:
            table = table.remove_column(place)
            continue
        values = table.column(key).to_pylist()
        for row in rows:
            values[row] = value(values[row]) if callable(value) else value
        try:
            column = pa.array(values, table.schema.field(key).type)
        except (pa.ArrowException, TypeError, OverflowError):
            column = pa.array(values)
        table = table.set_column(place, key, column)
    return table


def _edit_rows(folder: Path, matches: Callable[[dict[str, Any]], bool], changes: dict[str, Any]) -> None:
    found = False
    for path in sorted(folder.rglob("*.parquet")):
        rows = [row for row, record in enumerate(_read(path).to_pylist()) if matches(record)]
        if rows:
            found = True
            edit_parquet(path, lambda table, rows=rows: _set(table, rows, changes))
    if not found:
        raise ValueError(f"no row of {folder} is to be edited")


def edit_episodes(root: Path, episode: int | None, changes: dict[str, Any]) -> None:
    """Set columns of meta/episodes of one episode, or of all; `REMOVED` takes the column away.

    A change may be a function of the old value.
    """
    _edit_rows(
        root / "meta/episodes",
        lambda record: episode is None or record["episode_index"] == episode,
        changes,
    )


def edit_data(root: Path, episode: int | None, frame: int | None, changes: dict[str, Any]) -> None:
    """Set columns of the data of one row, of all rows of an episode, or of all rows."""
    _edit_rows(
        root / "data",
        lambda record: (
            (episode is None or record["episode_index"] == episode)
            and (frame is None or record["frame_index"] == frame)
        ),
        changes,
    )


def episodes_column(root: Path, name: str) -> list[Any]:
    """A column of all files of meta/episodes."""
    paths = sorted((root / "meta/episodes").rglob("*.parquet"))
    return [value for path in paths for value in _read(path).column(name).to_pylist()]
