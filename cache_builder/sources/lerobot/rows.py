"""The rows of the data files, compared with `meta/episodes`: whether all are there, in order, and with which times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from cache_builder.errors import InputFolderError
from cache_builder.sources.lerobot.episodes import EPISODES_FOLDER
from cache_builder.sources.lerobot.examined import Examined, Problems
from cache_builder.sources.lerobot.info import ROW_FEATURES, TIME_FEATURE
from cache_builder.sources.lerobot.parquet import (
    ParquetProblem,
    numbers,
    opened_parquet,
    read_columns,
    whole_numbers,
)
from cache_builder.sources.lerobot.schema import check_schema
from frame_store.shared import counted

if TYPE_CHECKING:
    import pyarrow as pa

Seconds = npt.NDArray[np.float64]
_COLUMNS: Final = (*ROW_FEATURES, TIME_FEATURE)


def data_files(examined: Examined) -> dict[str, list[int]]:
    """Name of each data file -> its episodes, in the order of their rows. Numbers that no file has are problems."""
    places: dict[tuple[int, int], list[int]] = {}
    episodes = examined.episodes
    chunks, numbers_in_chunk = episodes.data_chunk.tolist(), episodes.data_file.tolist()
    for episode in np.argsort(episodes.from_index, kind="stable").tolist():
        places.setdefault((chunks[episode], numbers_in_chunk[episode]), []).append(episode)
    files: dict[str, list[int]] = {}
    for (chunk, number), members in places.items():
        try:
            name = examined.info.data_path.path({}, {"chunk_index": chunk, "file_index": number})
        except ValueError as error:
            examined.problems.add_all(members, f"{EPISODES_FOLDER}: data: {error}")
        else:
            files.setdefault(name, []).extend(members)
    return files


def check_lengths(examined: Examined) -> None:
    """Compare length with dataset_from_index and dataset_to_index, and these among each other."""
    episodes, problems = examined.episodes, examined.problems
    first, end, length = episodes.from_index, episodes.to_index, episodes.length
    for episode in np.flatnonzero((length < 1) | (first < 0) | (end - first != length)).tolist():
        problems.add(
            episode,
            f"{EPISODES_FOLDER}: length is {length[episode]}, dataset_from_index is {first[episode]} and "
            f"dataset_to_index is {end[episode]}; expected 1 frame or more, from 0 or later on, and "
            f"dataset_to_index = {first[episode]} + {length[episode]}",
        )
    fine = problems.fine()
    fine = fine[np.argsort(first[fine], kind="stable")]
    for place, other in overlaps(first[fine], end[fine], least=1):
        for one, two in ((fine[place], fine[other]), (fine[other], fine[place])):
            problems.add(
                int(one),
                f"{EPISODES_FOLDER}: its rows {first[one]} to {end[one] - 1} overlap those of episode {two}, "
                f"{first[two]} to {end[two] - 1}",
            )


def overlaps(starts: npt.NDArray[Any], ends: npt.NDArray[Any], *, least: float) -> list[tuple[int, int]]:
    """Pairs of stretches, sorted by start, with at least `least` in common: each with the one before that ends last.

    >>> overlaps(np.array([0, 5, 9]), np.array([6, 9, 12]), least=1)
    [(1, 0)]
    """
    reach = np.maximum.accumulate(ends)
    last = np.maximum.accumulate(np.where(ends == reach, np.arange(len(ends)), 0))
    found = np.flatnonzero(reach[:-1] - starts[1:] >= least)
    return [(int(place) + 1, int(last[place])) for place in found]


def check_rows(
    examined: Examined, files: Mapping[str, list[int]], *, num_tasks: int
) -> tuple[list[Seconds | None], list[str]]:
    """The timestamps of each episode, and the columns that info.json does not name.

    `files` is what `data_files` gives. Timestamps have the shape (length,), and are None where the rows have a problem.
    One that is frame_index / fps, rounded to float32, counts as the exact quotient.

    Raises:
        InputFolderError: a column of the data is missing or not as its feature, or a row's episode is not listed.
    """
    root, problems = examined.root, examined.problems
    num_episodes = len(examined.episodes)
    seconds: list[Seconds | None] = [None] * num_episodes
    elsewhere: dict[int, str] = {}
    unnamed: dict[str, None] = {}
    for name, members in files.items():
        try:
            with opened_parquet(root, name) as file:
                unnamed |= dict.fromkeys(check_schema(root, name, file.schema_arrow, examined.info))
                table = read_columns(file, name, _COLUMNS, max_rows=examined.max_rows)
                rows = _Rows.of(table, name)
        except ParquetProblem as problem:
            problems.add_all(members, str(problem))
            continue
        is_unknown = (rows.episode < 0) | (rows.episode >= num_episodes)
        if is_unknown.any():
            row = int(np.argmax(is_unknown))
            raise InputFolderError(
                root,
                f"{name}: row {row} belongs to episode_index {rows.episode[row]}, and {EPISODES_FOLDER} has 0 to "
                f"{num_episodes - 1}",
            )
        of_file = set(members)
        elsewhere |= _check_runs(rows, of_file, examined)
        _check_values(rows, examined, num_tasks=num_tasks)
        for episode, found in rows.seconds_by_episode(examined.info.fps).items():
            if episode in of_file:
                seconds[episode] = found
    for name, members in files.items():
        for episode in members:
            _check_place(
                episode, name, elsewhere.get(episode), problems, has_rows=seconds[episode] is not None
            )
    fine = set(problems.fine().tolist())
    return [found if episode in fine else None for episode, found in enumerate(seconds)], [*unnamed]


def _check_place(episode: int, name: str, other: str | None, problems: Problems, *, has_rows: bool) -> None:
    if not has_rows:
        hint = "" if other is None else f"; {other} has some"
        problems.add(episode, f"{name}, its data file by {EPISODES_FOLDER}, has no rows of it{hint}")
    elif other is not None:
        problems.add(episode, f"{name}, its data file by {EPISODES_FOLDER}, and {other} have rows of it")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Rows:
    """Columns of a data file, shape (rows,), and its runs: rows of one episode that follow one another."""

    name: str
    index: npt.NDArray[np.int64]
    episode: npt.NDArray[np.int64]
    frame: npt.NDArray[np.int64]
    task: npt.NDArray[np.int64]
    time: Seconds
    starts: npt.NDArray[np.int64]
    """First row of each run; after the last one, the number of rows."""

    @classmethod
    def of(cls, table: "pa.Table", name: str) -> "_Rows":
        index, episode, frame, task = (whole_numbers(table, name, column) for column in ROW_FEATURES)
        is_start = np.ones(len(episode), np.bool_)
        is_start[1:] = episode[1:] != episode[:-1]
        return cls(
            name=name,
            index=index,
            episode=episode,
            frame=frame,
            task=task,
            time=numbers(table, name, TIME_FEATURE),
            starts=np.append(np.flatnonzero(is_start), len(episode)),
        )

    @property
    def row_in_run(self) -> npt.NDArray[np.int64]:
        return np.arange(len(self.episode)) - np.repeat(self.starts[:-1], np.diff(self.starts))

    def seconds_by_episode(self, fps: float) -> dict[int, Seconds]:
        exact = self.row_in_run / fps
        times = np.where(exact.astype(np.float32) == self.time.astype(np.float32), exact, self.time)
        return {
            int(self.episode[start]): times[start:end]
            for start, end in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True)
        }


def _check_runs(rows: _Rows, members: set[int], examined: Examined) -> dict[int, str]:
    """Compare the runs with the lengths. Gives the episodes whose rows belong into another file, and this file."""
    elsewhere: dict[int, str] = {}
    seen: set[int] = set()
    for start, end in zip(rows.starts[:-1].tolist(), rows.starts[1:].tolist(), strict=True):
        episode = int(rows.episode[start])
        expected = int(examined.episodes.length[episode])
        if episode not in members:
            elsewhere[episode] = rows.name
        elif episode in seen:
            examined.problems.add(episode, f"{rows.name}: row {start}: rows of it do not follow one another")
        elif end - start != expected:
            examined.problems.add(
                episode,
                f"{rows.name} has {counted(end - start, 'row')} of it from row {start} on, {EPISODES_FOLDER} has the "
                f"length {expected}",
            )
        seen.add(episode)
    return elsewhere


def _check_values(rows: _Rows, examined: Examined, *, num_tasks: int) -> None:
    """Compare frame_index, index, timestamp and task_index of each row with what they must be."""
    frame = rows.row_in_run
    index = examined.episodes.from_index[rows.episode] + frame
    falls = np.diff(rows.time, prepend=-np.inf) <= 0
    falls[rows.starts[:-1]] = False
    has_no_task = (rows.task < 0) | (rows.task >= num_tasks)
    for column, found, is_wrong, expected in (
        ("frame_index", rows.frame, rows.frame != frame, frame),
        ("index", rows.index, rows.index != index, index),
        ("timestamp", rows.time, ~np.isfinite(rows.time), "a number of seconds"),
        ("timestamp", rows.time, falls, "more than in the row before"),
        ("task_index", rows.task, has_no_task, f"0 to {num_tasks - 1}, as meta/tasks has"),
    ):
        places = np.flatnonzero(is_wrong)
        for place in places[np.unique(rows.episode[places], return_index=True)[1]].tolist():
            told = expected if isinstance(expected, str) else expected[place]
            examined.problems.add(
                int(rows.episode[place]),
                f"{rows.name}: row {place}: {column} is {found[place]}, expected {told}",
            )
