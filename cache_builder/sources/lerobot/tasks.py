"""`meta/tasks.parquet` (or `tasks.jsonl`) and `meta/subtasks.parquet`: the text of each number."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from cache_builder.errors import InputFolderError
from cache_builder.sources.lerobot.info import read_bounded
from cache_builder.sources.lerobot.parquet import ParquetProblem, opened_parquet, read_columns, whole_numbers
from frame_store.lerobot_statement import MAX_JSON_BYTES, json_object
from frame_store.shared import raise_if_out_of_files

_TASKS: Final = "meta/tasks.parquet"
_TASK_LINES: Final = "meta/tasks.jsonl"
_SUBTASKS: Final = "meta/subtasks.parquet"
_MAX_TASKS: Final = 10**6
_PANDAS_INDEX: Final = "__index_level_0__"
"""What pandas calls an index without a name."""


def read_tasks(root: Path) -> tuple[str, ...]:
    """The text of each task_index.

    Raises:
        InputFolderError: no file has them, or they are not numbered from 0 on.
    """
    if not (root / _TASKS).exists() and (root / _TASK_LINES).exists():
        return _in_order(root, _TASK_LINES, "task_index", _read_lines(root))
    return _read_parquet(root, _TASKS, kind="task")


def read_subtasks(root: Path) -> tuple[str, ...] | None:
    """The text of each subtask_index; None without a file of them.

    Raises:
        InputFolderError: as `read_tasks`.
    """
    return _read_parquet(root, _SUBTASKS, kind="subtask") if (root / _SUBTASKS).exists() else None


def _read_parquet(root: Path, name: str, *, kind: str) -> tuple[str, ...]:
    number = f"{kind}_index"
    try:
        with opened_parquet(root, name) as file:
            found = file.schema_arrow.names
            # LeRobot takes the index of the pandas table, whatever it is called.
            indexes = (file.schema_arrow.pandas_metadata or {}).get("index_columns", [])
            named = [column for column in indexes if isinstance(column, str) and column != number]
            texts = next((column for column in (_PANDAS_INDEX, kind, *named) if column in found), None)
            if texts is None:
                raise ParquetProblem(f"{name} has no column {_PANDAS_INDEX!r} or {kind!r} with the texts")
            table = read_columns(file, name, [number, texts], max_rows=_MAX_TASKS)
            pairs = zip(
                whole_numbers(table, name, number).tolist(), table.column(texts).to_pylist(), strict=True
            )
            return _in_order(root, name, number, pairs)
    except ParquetProblem as problem:
        raise InputFolderError(root, str(problem)) from problem


def _read_lines(root: Path) -> list[tuple[Any, Any]]:
    try:
        text = read_bounded(root / _TASK_LINES)
        if len(text) > MAX_JSON_BYTES:
            raise ValueError(f"is over {MAX_JSON_BYTES} bytes")
        records = [json_object(line) for line in text.splitlines() if line.strip()]
        return [(record["task_index"], record["task"]) for record in records]
    except OSError as error:
        raise_if_out_of_files(error)
        raise InputFolderError(root, f"{_TASK_LINES} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputFolderError(root, f"{_TASK_LINES}: a line without task_index or task: {error}") from error


def _in_order(root: Path, name: str, number: str, pairs: Iterable[tuple[Any, Any]]) -> tuple[str, ...]:
    texts: dict[int, str] = {}
    for index, text in pairs:
        if not isinstance(index, int) or not isinstance(text, str):
            raise InputFolderError(
                root, f"{name}: expected a whole number and a text, found {index!r} and {text!r}"
            )
        if index in texts:
            raise InputFolderError(root, f"{name}: {number} {index} occurs twice")
        texts[index] = text
    if sorted(texts) != list(range(len(texts))):
        raise InputFolderError(
            root, f"{name}: {number} must count from 0 to {len(texts) - 1}, found {sorted(texts)[:10]}"
        )
    return tuple(texts[index] for index in range(len(texts)))
