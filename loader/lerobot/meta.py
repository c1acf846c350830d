"""`dataset.meta` as LeRobot's training script and policies use it, out of what a cache states about its data set."""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, overload

import numpy as np

from frame_store.lerobot_statement import LeRobotStatement
from frame_store.shared import counted
from loader.lerobot.pictures import DepthUnit, is_depth

CODEBASE_VERSION: Final = "v3.0"
_THOUSAND: Final[dict[tuple[str, str], float]] = {("m", "mm"): 1000.0, ("mm", "m"): 0.001}


class EpisodeTable(Sequence[dict[str, Any]]):
    """`meta.episodes`: a row for each episode of the data set, or a column by name."""

    def __init__(self, statement: LeRobotStatement) -> None:
        """Of all episodes, also of those that a cache left out."""
        self._columns: dict[str, Sequence[Any]] = {
            "episode_index": range(len(statement.length)),
            "tasks": [[statement.tasks[task] for task in tasks] for tasks in statement.episode_tasks],
            "length": statement.length.tolist(),
            "dataset_from_index": statement.dataset_from_index.tolist(),
            "dataset_to_index": statement.dataset_to_index.tolist(),
        }

    @property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        return list(self._columns)

    @overload
    def __getitem__(self, key: int, /) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, key: slice, /) -> list[dict[str, Any]]: ...
    @overload
    def __getitem__(self, key: str, /) -> list[Any]: ...
    def __getitem__(self, key: int | slice | str, /) -> dict[str, Any] | list[dict[str, Any]] | list[Any]:
        """A column by its name, or the episode with that index as a dict."""
        if isinstance(key, str):
            return list(self._columns[key])
        if isinstance(key, slice):
            return [self[number] for number in range(len(self))[key]]
        return {name: column[key] for name, column in self._columns.items()}

    def __len__(self) -> int:
        return len(self._columns["length"])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[number] for number in range(len(self)))


class LeRobotMeta:
    """What the data set states about itself, with the size of pictures that the cache has."""

    def __init__(
        self,
        statement: LeRobotStatement,
        *,
        frame_shapes: Mapping[str, tuple[int, int, int]],
        columns: Collection[str],
        root: Path,
        repo_id: str,
        depth_output_unit: DepthUnit = "mm",
    ) -> None:
        """Of the cache in the folder `root`, with these `columns` and cameras: `frame_shapes` has (H, W, C) of each."""
        self._statement = statement
        self.root, self.repo_id, self.revision = root, repo_id, CODEBASE_VERSION
        self.left_out: list[str] = []
        """Features of the data set that the cache does not have, such as pictures inside Parquet files."""
        features: dict[str, dict[str, Any]] = {}
        for key, feature in statement.info["features"].items():
            own = {**copy.deepcopy(feature), "shape": tuple(feature["shape"])}
            if key not in (frame_shapes if feature["dtype"] == "video" else columns):
                self.left_out.append(key)
                continue
            if feature["dtype"] == "video":
                own["shape"] = frame_shapes[key]
                sizes = zip(("video.height", "video.width"), frame_shapes[key][:2], strict=True)
                own["info"] = {**(own.get("info") or {}), **dict(sizes)}
            features[key] = own
        self.info: dict[str, Any] = {**copy.deepcopy(statement.info), "features": features}
        self.stats: dict[str, dict[str, Any]] | None = None
        """By key and by name of the number: numpy arrays. LeRobot's script writes into it."""
        if statement.stats is not None:
            self.stats = {
                key: {name: np.array(value) for name, value in numbers.items()}
                for key, numbers in statement.stats.items()
            }
            for key in self.depth_keys:
                _rescale(self.stats.get(key, {}), features[key], depth_output_unit)
        self.episodes = EpisodeTable(statement)

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """The features that items have, in LeRobot's order; `shape` of a camera is that of the cache, (H, W, C)."""
        features: dict[str, dict[str, Any]] = self.info["features"]
        return features

    @property
    def video_keys(self) -> list[str]:
        """The cameras."""
        return [key for key, feature in self.features.items() if feature["dtype"] == "video"]

    @property
    def camera_keys(self) -> list[str]:
        """The cameras."""
        return self.video_keys

    @property
    def image_keys(self) -> list[str]:
        """None: a cache holds no features that LeRobot stores as single images."""
        return []

    @property
    def depth_keys(self) -> list[str]:
        """The cameras of depth."""
        return [key for key in self.video_keys if is_depth(self.features[key])]

    @property
    def names(self) -> dict[str, Any]:
        """The names of the dimensions of each feature."""
        return {key: feature.get("names") for key, feature in self.features.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each feature."""
        return {key: tuple(feature["shape"]) for key, feature in self.features.items()}

    @property
    def tasks(self) -> Any:  # noqa: ANN401 - a pandas.DataFrame, which is imported here alone
        """The tasks as LeRobot has them: a pandas table with the text as its index, and `task_index`.

        Raises:
            ImportError: pandas is not installed. LeRobot needs it, too.
        """
        import pandas as pd

        texts = list(self._statement.tasks)
        return pd.DataFrame({"task_index": range(len(texts))}, index=pd.Index(texts, name="task"))

    @property
    def fps(self) -> int:
        """Frames a second."""
        fps: int = self.info["fps"]
        return fps

    @property
    def robot_type(self) -> str | None:
        """The robot, as the data set names it."""
        return self.info.get("robot_type")

    @property
    def total_episodes(self) -> int:
        """Episodes of the data set, also those that the cache left out."""
        return len(self.episodes)

    @property
    def total_frames(self) -> int:
        """Frames of these episodes."""
        return int(self._statement.length.sum())

    @property
    def total_tasks(self) -> int:
        """Tasks of the data set."""
        return len(self._statement.tasks)

    def get_task_index(self, task: str) -> int | None:
        """The number of a task; None for a text that is none."""
        texts = self._statement.tasks
        return texts.index(task) if task in texts else None

    def __repr__(self) -> str:
        return (
            f"LeRobotMeta({self.repo_id!r}, {counted(self.total_episodes, 'episode')}, "
            f"{counted(self.total_frames, 'frame')}, "
            f"features {list(self.features)})"
        )


def _rescale(numbers: dict[str, Any], feature: Mapping[str, Any], unit: DepthUnit) -> None:
    """Statistics of depth in the unit of the pictures; LeRobot keeps them in that of the recording."""
    stated = str((feature.get("info") or {}).get("depth_unit"))
    factor = _THOUSAND.get((stated, unit))
    if factor is not None:
        numbers |= {name: value * factor for name, value in numbers.items() if name != "count"}
