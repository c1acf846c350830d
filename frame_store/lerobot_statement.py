"""What a LeRobot data set states about itself, as a cache's columns record it (FORMAT.md section 4.2)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreFormatError
from frame_store.shared import without_controls

LEROBOT_KIND: Final = "lerobot"
MAX_JSON_BYTES: Final = 1 << 24
"""Of info.json and of stats.json: 16 MiB, a thousand times what they take."""
_INDENT: Final = 4
"""Files with a digest refuse dense text (`signed_json.MIN_BYTES_PER_VALUE`)."""
_EPISODE_KEYS: Final = ("length", "dataset_from_index", "dataset_to_index")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LeRobotStatement:
    """What LeRobot's own metadata holds, beside the videos and the rows: of all episodes, also of those left out."""

    info: dict[str, Any]
    """`meta/info.json`."""
    stats: dict[str, Any] | None
    """`meta/stats.json`; None if there is none."""
    tasks: tuple[str, ...]
    """The text of each `task_index`."""
    subtasks: tuple[str, ...] | None
    """The text of each `subtask_index`; None without `meta/subtasks.parquet`."""
    length: npt.NDArray[np.int64]
    """Frames of each episode, by `episode_index`, which counts from 0: shape (episodes,)."""
    dataset_from_index: npt.NDArray[np.int64]
    """`index` of the first row of each episode: shape (episodes,)."""
    dataset_to_index: npt.NDArray[np.int64]
    """`index` after the last row of each episode: shape (episodes,)."""
    episode_tasks: tuple[tuple[int, ...], ...]
    """The `task_index` of each task that each episode lists."""

    def as_json(self) -> dict[str, Any]:
        """`ColumnsRecord.dataset`: JSON of little depth, as files of a cache may hold it.

        Nested objects are JSON texts, and lists of numbers are texts with a space between numbers, so that 10^5
        episodes take some 2 MB.
        """
        numbers = {name: " ".join(map(str, getattr(self, name).tolist())) for name in _EPISODE_KEYS}
        tasks = "/".join(" ".join(map(str, of_episode)) for of_episode in self.episode_tasks)
        return {
            "kind": LEROBOT_KIND,
            "info": json.dumps(self.info, indent=_INDENT),
            "stats": None if self.stats is None else json.dumps(self.stats, indent=_INDENT),
            "tasks": list(self.tasks),
            "subtasks": None if self.subtasks is None else list(self.subtasks),
            "episodes": {**numbers, "tasks": tasks},
        }

    @classmethod
    def of(cls, dataset: Mapping[str, Any], *, where: str) -> "LeRobotStatement":
        """The statement that `as_json` recorded.

        Args:
            dataset: `ColumnsRecord.dataset`.
            where: the cache, with which an error begins.

        Raises:
            StoreFormatError: a key is missing or of another type, or the lists of episodes differ in length.
        """
        try:
            if dataset["kind"] != LEROBOT_KIND:
                raise ValueError(f"kind must be {LEROBOT_KIND!r}, found {str(dataset['kind'])[:100]!r}")
            episodes = _mapping(dataset["episodes"], "episodes")
            numbers = {name: _numbers(episodes[name], name) for name in _EPISODE_KEYS}
            tasks = tuple(
                tuple(_numbers(text, "tasks").tolist())
                for text in _text(episodes["tasks"], "tasks").split("/")
            )
            num_episodes = {len(values) for values in numbers.values()} | {len(tasks)}
            if len(num_episodes) > 1:
                raise ValueError(
                    f"the lists of episodes have {sorted(num_episodes)} entries, expected one number"
                )
            stats, subtasks = dataset["stats"], dataset["subtasks"]
            return cls(
                info=json_object(_text(dataset["info"], "info")),
                stats=None if stats is None else json_object(_text(stats, "stats")),
                tasks=_texts(dataset["tasks"], "tasks"),
                subtasks=None if subtasks is None else _texts(subtasks, "subtasks"),
                episode_tasks=tasks,
                **numbers,
            )
        except KeyError as error:
            raise StoreFormatError(f"{where}: what the data set states has no key {error}") from error
        except (ValueError, TypeError) as error:
            raise StoreFormatError(f"{where}: what the data set states: {error}") from error


def json_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object. NaN and infinity may occur, as Python writes them.

    Raises:
        ValueError: no JSON, or too large or too deep to be read safely.
        TypeError: JSON that is no object.
    """
    if len(text) > MAX_JSON_BYTES:
        raise ValueError(f"JSON of {len(text)} bytes, at most {MAX_JSON_BYTES} are read")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deep to be read") from None
    if not isinstance(value, dict):
        raise TypeError(f"expected a JSON object, found {type(value).__name__}")
    return value


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be an object, found {type(value).__name__}")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, found {type(value).__name__}")
    return value


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"{name} must be a list of texts, found {type(value).__name__}")
    return tuple(_text(text, name) for text in value)


def _numbers(value: object, name: str) -> npt.NDArray[np.int64]:
    words = _text(value, name).split()
    try:
        return np.array([int(word) for word in words], np.int64)
    except (ValueError, OverflowError) as error:
        reason = without_controls(str(error)[:200])
        raise ValueError(f"{name} must be whole numbers with spaces between them: {reason}") from error


def is_depth_feature(feature: Mapping[str, Any]) -> bool:
    """Whether a camera is marked as one of depths, in any of the ways that LeRobot's versions mark it."""
    marks = [
        place.get(name)
        for place in (feature.get("info"), feature.get("video_info"))
        if isinstance(place, dict)
        for name in ("is_depth_map", "video.is_depth_map")
    ]
    return any(mark is True for mark in marks)
