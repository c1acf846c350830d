"""A LeRobot data set as a source: every camera's video of every episode, the columns, and what the set states."""

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from cache_builder.errors import InputFolderError
from cache_builder.sources.contents import (
    NOTHING_PASSED_OVER,
    SourceContents,
    SourceDataset,
    SourceVideo,
)
from cache_builder.sources.lerobot.columns import DataReader
from cache_builder.sources.lerobot.episodes import Episodes, read_episodes, video_name
from cache_builder.sources.lerobot.examined import Examined
from cache_builder.sources.lerobot.info import INFO_NAME, STATS_NAME, LeRobotInfo, read_info, read_json
from cache_builder.sources.lerobot.parquet import check_pyarrow
from cache_builder.sources.lerobot.rows import Seconds, check_lengths, check_rows, data_files
from cache_builder.sources.lerobot.spans import check_spans, span_of
from cache_builder.sources.lerobot.tasks import read_subtasks, read_tasks
from cache_builder.sources.names import printable
from frame_store.lerobot_statement import LeRobotStatement
from frame_store.manifest import is_too_dense
from frame_store.shared import counted, without_controls
from frame_store.tables import Table

_MAX_STATEMENT_BYTES: Final = 1 << 25
"""Half of what a cache's `columns.json` may take."""


def is_lerobot(folder: Path) -> bool:
    """Whether a folder holds a LeRobot data set: it has a file `meta/info.json`."""
    try:
        return (folder / INFO_NAME).is_file()
    except OSError:  # it may not be looked into: a plain folder says so
        return False


def look_into_lerobot(root: Path) -> SourceContents:
    """The episodes of the data set in the folder `root`, in the order of episode_index, for each camera.

    A video is called `episode_000012` in every camera. What is wrong with one episode is the `problem` of its videos.

    Raises:
        InputFolderError: pyarrow is not installed; another version than v3; no videos; metadata that is missing,
            damaged, or contradicts itself for more than single episodes.
        OSError: no more files can be opened.
    """
    info = read_info(root)
    check_pyarrow(root)
    tasks = read_tasks(root)
    examined = Examined(root=root, info=info, episodes=read_episodes(root, info))
    check_lengths(examined)
    of_data = data_files(examined)
    seconds, unnamed = check_rows(examined, of_data, num_tasks=len(tasks))
    files = check_spans(examined, seconds)
    _check_total(examined)
    reader = DataReader(
        root=root,
        files=of_data,
        features=info.features,
        tasks=tasks,
        length=examined.episodes.length,
        max_rows=examined.max_rows,
    )
    fine = examined.problems.fine().tolist()
    return SourceContents(
        videos=[
            video for camera in info.cameras for video in _videos(examined, camera, files[camera], seconds)
        ],
        passed_over=msgspec.structs.replace(
            NOTHING_PASSED_OVER,
            features=info.left_out | dict.fromkeys(unnamed, f"{INFO_NAME} does not name it"),
        ),
        cameras=info.cameras,
        depth_cameras=info.depth_cameras,
        dataset=SourceDataset(
            read_tables=partial(reader.tables, fine),
            statement=_statement(root, info, tasks, examined.episodes),
            read_tables_of=partial(_tables_of, reader, fine),
        ),
    )


def _videos(
    examined: Examined, camera: str, files: list[str], seconds: list[Seconds | None]
) -> Iterator[SourceVideo]:
    paths = {file: examined.root / file for file in set(files)}
    names = {file: printable(file) or None for file in paths}
    for episode, (file, times) in enumerate(zip(files, seconds, strict=True)):
        problem = examined.problems.of(episode)
        has_span = problem is None and times is not None
        yield SourceVideo(
            relative_path=video_name(episode),
            path=paths[file],
            file_path=names[file],
            span=span_of(examined.episodes, camera, episode, times)
            if has_span and times is not None
            else None,
            camera=camera,
            stated_sizes=examined.info.stated_sizes[camera],
            problem=problem,
        )


def _tables_of(reader: DataReader, episodes: list[int], names: Collection[str]) -> list[Table]:
    return reader.tables(episode for episode in episodes if video_name(episode) in names)


def _check_total(examined: Examined) -> None:
    """Compare the sum of all lengths, where nothing is known against an episode that would explain a difference."""
    found, stated = int(examined.episodes.length.sum()), examined.info.total_frames
    if found != stated and not examined.problems.any:
        raise InputFolderError(
            examined.root,
            f"{INFO_NAME} has total_frames {stated}, and its {counted(len(examined.episodes), 'episode')} have {found} "
            "in all",
        )


def _stats(root: Path) -> dict[str, dict[str, object]] | None:
    """`meta/stats.json`: arrays by feature and name; None without it."""
    try:
        stats = read_json(root, STATS_NAME)
    except FileNotFoundError:
        return None
    for key, numbers in stats.items():
        where = f"{STATS_NAME}: {without_controls(key[:100])!r}"
        if not isinstance(numbers, dict):
            raise InputFolderError(root, f"{where} must be an object, found {type(numbers).__name__}")
        for name, values in numbers.items():
            try:
                np.array(values)
            except ValueError as error:  # lists of different lengths
                raise InputFolderError(
                    root, f"{where}: {without_controls(name[:100])!r} is no array"
                ) from error
    return stats


def _statement(
    root: Path, info: LeRobotInfo, tasks: tuple[str, ...], episodes: Episodes
) -> dict[str, object]:
    stats = _stats(root)
    number_of = {text: number for number, text in enumerate(tasks)}
    statement = LeRobotStatement(
        info=info.raw,
        stats=stats,
        tasks=tasks,
        subtasks=read_subtasks(root),
        length=episodes.length,
        dataset_from_index=episodes.from_index,
        dataset_to_index=episodes.to_index,
        episode_tasks=tuple(
            tuple(number_of[text] for text in texts if text in number_of) for texts in episodes.tasks
        ),
    ).as_json()
    text = msgspec.json.format(msgspec.json.encode(statement), indent=1)
    if is_too_dense(text):
        raise InputFolderError(
            root, "meta/ has texts (tasks, stats, names) with more commas and brackets than a cache records"
        )
    num_bytes = len(text)
    if num_bytes > _MAX_STATEMENT_BYTES:
        raise InputFolderError(
            root,
            f"meta/ states {num_bytes} bytes that a cache would record, at most {_MAX_STATEMENT_BYTES} are",
        )
    return statement
