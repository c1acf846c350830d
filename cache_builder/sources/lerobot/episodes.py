"""`meta/episodes`: for each episode its length, its rows and where its videos lie."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from cache_builder.errors import InputFolderError
from cache_builder.sources.lerobot.info import LeRobotInfo
from cache_builder.sources.lerobot.parquet import (
    ParquetProblem,
    numbers,
    opened_parquet,
    read_columns,
    whole_numbers,
)
from frame_store.shared import counted, raise_if_out_of_files

if TYPE_CHECKING:
    import pyarrow as pa

EPISODES_FOLDER: Final = "meta/episodes"
_BASE: Final = (
    "length",
    "data/chunk_index",
    "data/file_index",
    "dataset_from_index",
    "dataset_to_index",
)
_TASKS: Final = "tasks"
MAX_EPISODES: Final = 10**7


def video_name(episode: int) -> str:
    """What an episode is called as a video, in every camera.

    >>> video_name(12)
    'episode_000012'
    """
    return f"episode_{episode:06d}"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CameraSpans:
    """Where a camera's videos of the episodes lie: arrays of shape (episodes,)."""

    chunk_index: npt.NDArray[np.int64]
    file_index: npt.NDArray[np.int64]
    from_timestamp: npt.NDArray[np.float64]
    to_timestamp: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Episodes:
    """What `meta/episodes` states, by episode_index, which counts from 0: arrays of shape (episodes,)."""

    length: npt.NDArray[np.int64]
    data_chunk: npt.NDArray[np.int64]
    data_file: npt.NDArray[np.int64]
    from_index: npt.NDArray[np.int64]
    to_index: npt.NDArray[np.int64]
    cameras: dict[str, CameraSpans]
    tasks: list[list[str]]
    """Texts of the tasks of each episode; empty where the column is missing."""

    def __len__(self) -> int:
        return len(self.length)


def read_episodes(root: Path, info: LeRobotInfo) -> Episodes:
    """The episodes, sorted by episode_index.

    Raises:
        InputFolderError: a file is missing or damaged, or lacks a column; an episode_index occurs twice, or one is
            missing; or there are not `total_episodes`.
    """
    names = list(_files(root))
    if not names:
        raise InputFolderError(root, f"{EPISODES_FOLDER}/chunk-000/file-000.parquet does not exist")
    parts: list[_Part] = []
    try:
        for name in names:
            left = min(info.total_episodes, MAX_EPISODES) - sum(len(part.episode) for part in parts)
            parts.append(_read_part(root, name, info.cameras, max_rows=max(left, 0)))
    except ParquetProblem as problem:
        raise InputFolderError(
            root, f"{problem} (meta/info.json has total_episodes {info.total_episodes})"
        ) from problem
    index = np.concatenate([part.episode for part in parts])
    _check_each_once(root, index, parts, info.total_episodes)
    order = np.argsort(index, kind="stable")

    def joined(column: str) -> npt.NDArray[np.int64]:
        return np.concatenate([part.whole[column] for part in parts])[order]

    def joined_seconds(column: str) -> npt.NDArray[np.float64]:
        return np.concatenate([part.seconds[column] for part in parts])[order]

    tasks = [texts for part in parts for texts in part.tasks]
    return Episodes(
        length=joined("length"),
        data_chunk=joined("data/chunk_index"),
        data_file=joined("data/file_index"),
        from_index=joined("dataset_from_index"),
        to_index=joined("dataset_to_index"),
        cameras={
            camera: CameraSpans(
                chunk_index=joined(f"videos/{camera}/chunk_index"),
                file_index=joined(f"videos/{camera}/file_index"),
                from_timestamp=joined_seconds(f"videos/{camera}/from_timestamp"),
                to_timestamp=joined_seconds(f"videos/{camera}/to_timestamp"),
            )
            for camera in info.cameras
        },
        tasks=[tasks[row] for row in order.tolist()],
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Part:
    name: str
    episode: npt.NDArray[np.int64]
    whole: dict[str, npt.NDArray[np.int64]]
    seconds: dict[str, npt.NDArray[np.float64]]
    tasks: list[list[str]]


def _files(root: Path) -> Iterator[str]:
    """`meta/episodes/*/*.parquet`, sorted."""
    try:
        for folder in sorted(os.listdir(root / EPISODES_FOLDER)):  # noqa: PTH208 - names alone
            if (root / EPISODES_FOLDER / folder).is_dir():
                for name in sorted(os.listdir(root / EPISODES_FOLDER / folder)):  # noqa: PTH208
                    if name.endswith(".parquet"):
                        yield f"{EPISODES_FOLDER}/{folder}/{name}"
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise_if_out_of_files(error)
        raise InputFolderError(root, f"cannot look into {EPISODES_FOLDER}: {error.strerror}") from error


def _read_part(root: Path, name: str, cameras: tuple[str, ...], *, max_rows: int) -> _Part:
    whole = [
        *_BASE,
        *(f"videos/{camera}/{key}" for camera in cameras for key in ("chunk_index", "file_index")),
    ]
    seconds = [f"videos/{camera}/{key}" for camera in cameras for key in ("from_timestamp", "to_timestamp")]
    with opened_parquet(root, name) as file:
        has_tasks = _TASKS in file.schema_arrow.names
        columns = ["episode_index", *whole, *seconds, *([_TASKS] if has_tasks else [])]
        table = read_columns(file, name, columns, max_rows=max_rows)
        return _Part(
            name=name,
            episode=whole_numbers(table, name, "episode_index"),
            whole={column: whole_numbers(table, name, column) for column in whole},
            seconds={column: numbers(table, name, column) for column in seconds},
            tasks=_tasks(table, name) if has_tasks else [[] for _ in range(table.num_rows)],
        )


def _tasks(table: "pa.Table", name: str) -> list[list[str]]:
    tasks: list[list[str]] = table.column(_TASKS).to_pylist()
    for row, texts in enumerate(tasks):
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ParquetProblem(f"{name}: column {_TASKS!r} has no list of texts in row {row}")
    return tasks


def _check_each_once(root: Path, index: npt.NDArray[np.int64], parts: list[_Part], total: int) -> None:
    starts = np.cumsum([0, *(len(part.episode) for part in parts)])

    def place(row: int) -> str:
        part = int(np.searchsorted(starts, row, side="right")) - 1
        return f"{parts[part].name}, row {row - starts[part]}"

    order = np.argsort(index, kind="stable")
    repeats = np.flatnonzero(np.diff(index[order]) == 0)
    if len(repeats):
        first, second = int(order[repeats[0]]), int(order[repeats[0] + 1])
        raise InputFolderError(
            root,
            f"episode_index {index[first]} occurs twice: {place(first)} and {place(second)}; expected once",
        )
    if len(index) != total:
        raise InputFolderError(
            root,
            f"{EPISODES_FOLDER} has {counted(len(index), 'episode')}, meta/info.json has total_episodes {total}",
        )
    if index[order[-1]] != total - 1 or index[order[0]] != 0:
        missing = sorted(set(range(min(total, 1000))) - set(index.tolist()))
        found = f"{index[order[0]]} to {index[order[-1]]}"
        raise InputFolderError(
            root,
            f"{EPISODES_FOLDER} has episode_index {found}, expected 0 to {total - 1}"
            + (f"; {missing[0]} is missing" if missing else ""),
        )
