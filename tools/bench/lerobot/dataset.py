"""The data set that is compared, and the items: which pictures and values an item has."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from cache_builder.errors import ConfigError, InputFolderError

NUM_ACTIONS: Final = 16
"""Steps of `action` that an item has where the user does not say otherwise."""
_INFO: Final = "meta/info.json"
_VIDEO: Final = "video"


class _Feature(msgspec.Struct, frozen=True):
    dtype: str


class _Info(msgspec.Struct, frozen=True):
    fps: float
    total_episodes: int
    total_frames: int
    features: dict[str, _Feature]


@dataclass(frozen=True, kw_only=True)
class LeRobotItems:
    """A data set, and what an item of it is."""

    root: Path
    cameras: tuple[str, ...]
    num_episodes: int
    num_items: int
    num_video_bytes: int
    """Of all its videos."""
    delta_timestamps: Mapping[str, Sequence[float]]
    """As LeRobot takes them: seconds from the item, by feature."""
    offsets: Mapping[str, Sequence[int]]
    """The same in frames."""

    @property
    def pictures(self) -> int:
        """Pictures of an item, of all cameras."""
        return sum(len(self.delta_timestamps.get(camera, (0,))) for camera in self.cameras)

    @property
    def num_images(self) -> int:
        """Frames of all cameras."""
        return self.num_items * len(self.cameras)

    @property
    def column_offsets(self) -> dict[str, list[int]]:
        """Offsets of what is no picture, as `FrameLoader` takes them."""
        return {name: list(each) for name, each in self.offsets.items() if name not in self.cameras}

    @property
    def frame_offsets(self) -> list[int] | None:
        """Offsets of the pictures, as `FrameLoader` takes them.

        Raises:
            ValueError: cameras have different ones.
        """
        found = {tuple(self.offsets.get(camera, ())) for camera in self.cameras}
        if len(found) > 1:
            raise ValueError("FrameLoader shows the same moments of all cameras, and the items do not")
        return list(found.pop()) or None

    @property
    def text(self) -> str:
        """One line: the data set, and what an item is."""
        windows = ", ".join(f"{len(each)} of {name}" for name, each in self.delta_timestamps.items())
        return (
            f"data set {self.root}: {self.num_episodes} episodes, {self.num_items} items, {len(self.cameras)} cameras, "
            f"{self.num_video_bytes / 1e6:.1f} MB of videos; an item has {self.pictures} pictures"
            + (f"; windows: {windows}" if windows else "")
        )


def read_items(root: Path, delta_timestamps: str | None) -> LeRobotItems:
    """The data set at `root`. `delta_timestamps` is JSON, a list of seconds for each feature; None is a usual policy's.

    Raises:
        InputFolderError: there is no data set with cameras.
        ConfigError: `delta_timestamps` is no such JSON, or names no feature.
    """
    try:
        info = msgspec.json.decode((root / _INFO).read_bytes(), type=_Info)
    except OSError as error:
        raise InputFolderError(root, f"no LeRobot data set: {_INFO}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise InputFolderError(root, f"no LeRobot data set: {_INFO}: {error}") from error
    cameras = tuple(name for name, feature in info.features.items() if feature.dtype == _VIDEO)
    if not cameras:
        raise InputFolderError(root, "the data set has no videos, there is nothing to measure")
    deltas = _usual(info) if delta_timestamps is None else _parsed(delta_timestamps, info)
    return LeRobotItems(
        root=root,
        cameras=cameras,
        num_episodes=info.total_episodes,
        num_items=info.total_frames,
        num_video_bytes=sum(path.stat().st_size for path in (root / "videos").rglob("*.mp4")),
        delta_timestamps=deltas,
        offsets={name: [round(delta * info.fps) for delta in each] for name, each in deltas.items()},
    )


def _usual(info: _Info) -> dict[str, list[float]]:
    """A chunk of actions and one picture of each camera, as ACT reads them."""
    return {"action": [step / info.fps for step in range(NUM_ACTIONS)]} if "action" in info.features else {}


def _parsed(text: str, info: _Info) -> dict[str, list[float]]:
    try:
        deltas = msgspec.json.decode(text, type=dict[str, list[float]])
    except msgspec.MsgspecError as error:
        raise ConfigError(
            f"--delta-timestamps: expected JSON of lists of seconds by feature: {error}"
        ) from error
    for name, each in deltas.items():
        if name not in info.features or not each:
            names = ", ".join(info.features)
            raise ConfigError(
                f"--delta-timestamps: {json.dumps({name: each})}: features are {names}, each with times"
            )
    return deltas


def request(items: LeRobotItems, **more: object) -> dict[str, Any]:
    """What `peer.py` is asked to read."""
    deltas = {name: list(each) for name, each in items.delta_timestamps.items()}
    return {"root": str(items.root), "delta_timestamps": deltas, **more}
