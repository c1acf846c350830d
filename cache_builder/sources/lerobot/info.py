"""`meta/info.json`: version, cameras, features, totals, how files are called."""

import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from cache_builder.errors import InputFolderError
from cache_builder.sources.lerobot.templates import PathTemplate
from frame_store.columns import check_column_name, check_column_names, check_kind
from frame_store.errors import ColumnError
from frame_store.lerobot_statement import MAX_JSON_BYTES, is_depth_feature, json_object
from frame_store.names import MAX_CAMERAS
from frame_store.shared import raise_if_out_of_files, without_controls

INFO_NAME: Final = "meta/info.json"
STATS_NAME: Final = "meta/stats.json"
TASK_COLUMN: Final = "task"
ROW_FEATURES: Final = ("index", "episode_index", "frame_index", "task_index")
TIME_FEATURE: Final = "timestamp"
MAX_ROWS: Final = 1 << 40
_CONVERTER: Final = "python -m lerobot.datasets.v30.convert_dataset_v21_to_v30 --repo-id=NAME --root=FOLDER"
_DTYPES: Final = frozenset(
    {"bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64"}
    | {"uint8", "uint16", "uint32", "uint64"}
)
_VIDEO: Final = "video"
_IMAGE: Final = "image"
_STRING: Final = "string"
_MAX_FEATURES: Final = 10_000
_PICTURE_DIMENSIONS: Final = 3
_CHANNELS: Final = (1, 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """A feature that becomes a column."""

    key: str
    dtype: np.dtype[Any] | None
    """None: texts."""
    shape: tuple[int, ...]
    """Of a value. A feature of shape (1,) is a number, as LeRobot's own items have it: ()."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeRobotInfo:
    """What info.json states, checked."""

    raw: dict[str, Any]
    fps: float
    total_episodes: int
    total_frames: int
    data_path: PathTemplate
    video_path: PathTemplate
    cameras: tuple[str, ...]
    """Keys of the features of dtype `video`, in their order."""
    stated_sizes: dict[str, tuple[tuple[int, int], ...]]
    """By camera: `SourceVideo.stated_sizes`."""
    depth_cameras: frozenset[str]
    features: tuple[Feature, ...]
    """The features that become columns, in their order."""
    left_out: dict[str, str]
    """Features that become no column -> why."""


def read_json(root: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputFolderError: no such file, or no JSON object.
        FileNotFoundError: it does not exist.
    """
    try:
        return json_object(read_bounded(root / name))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise_if_out_of_files(error)
        raise InputFolderError(root, f"{name} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        hint = (
            f". A folder with {INFO_NAME} is read as a LeRobot data set; to read it as plain videos, give its "
            "subfolders or a list of videos"
        )
        raise InputFolderError(
            root, f"{name} is no JSON that can be read: {error}{hint if name == INFO_NAME else ''}"
        ) from error


def read_bounded(path: Path) -> bytes:
    """The bytes of a regular file, one more than `MAX_JSON_BYTES` at most.

    Raises:
        ValueError: it is a pipe, a device or a folder, of which reading may never end.
        OSError: it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("is no file")
    with path.open("rb") as file:
        return file.read(MAX_JSON_BYTES + 1)


def read_info(root: Path) -> LeRobotInfo:
    """What `meta/info.json` states.

    Raises:
        InputFolderError: another version; no JSON; a key that is missing or has another type; no camera.
    """
    raw = read_json(root, INFO_NAME)
    try:
        _check_version(root, _value(raw, "codebase_version", str))
        features = _value(raw, "features", dict)
        if len(features) > _MAX_FEATURES:
            raise ValueError(f"there are {len(features)} features, at most {_MAX_FEATURES} are read")
        cameras, columns, left_out = _sorted_out(features)
        if not cameras:
            pictures = [key for key, why in left_out.items() if why.startswith("picture")]
            raise ValueError(
                "no feature has the dtype 'video', so there are no videos to build from"
                + (
                    f"; {pictures[0]!r} is pictures inside Parquet files, which are not read"
                    if pictures
                    else ""
                )
            )
        if len(cameras) > MAX_CAMERAS:
            raise ValueError(f"there are {len(cameras)} cameras, at most {MAX_CAMERAS} are read")
        fps = _value(raw, "fps", int, float)
        if not 0 < fps <= sys.float_info.max:
            raise ValueError(f"fps must be a positive number, found {str(fps)[:100]}")
        numbered = ("chunk_index", "file_index")
        return LeRobotInfo(
            raw=raw,
            fps=float(fps),
            total_episodes=_count(raw, "total_episodes"),
            total_frames=_count(raw, "total_frames"),
            data_path=_template(raw, "data_path", numbered),
            video_path=_template(raw, "video_path", ("video_key", *numbered)),
            cameras=cameras,
            stated_sizes={key: _picture_sizes(features[key], key) for key in cameras},
            depth_cameras=frozenset(key for key in cameras if is_depth_feature(features[key])),
            features=columns,
            left_out=left_out,
        )
    except ValueError as error:
        raise InputFolderError(root, f"{INFO_NAME}: {error}") from error


def _check_version(root: Path, version: str) -> None:
    if re.fullmatch(r"v3\.[0-9]+", version):
        return
    if version == "v2.1":
        raise InputFolderError(
            root,
            f"is a LeRobot data set of version v2.1, and v3.0 is read: convert it with LeRobot, `{_CONVERTER}` "
            "(newer releases: lerobot.scripts.convert_dataset_v21_to_v30)",
        )
    if re.fullmatch(r"v[12]\.[0-9]+", version):
        raise InputFolderError(
            root,
            f"is a LeRobot data set of version {version}, and v3.0 is read: convert it to v2.1 with the release of "
            f"LeRobot that brought v2.1 (convert_dataset_v20_to_v21), then to v3.0, `{_CONVERTER}`",
        )
    raise ValueError(f"codebase_version is {without_controls(version[:100])!r}, expected v3.0")


def _sorted_out(features: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Feature, ...], dict[str, str]]:
    """Cameras, features that become columns, and those that do not, with the reason."""
    cameras: list[str] = []
    columns: list[Feature] = []
    left_out: dict[str, str] = {}
    for key, stated in features.items():
        if not isinstance(stated, dict):
            raise ValueError(f"feature {key[:100]!r} must be an object, found {type(stated).__name__}")  # noqa: TRY004
        where = f"feature {without_controls(key[:100])!r}"
        dtype = _value(stated, "dtype", str, where=where)
        if dtype == _VIDEO:
            if not key.isprintable() or not key:
                raise ValueError(f"{where}: a camera's name must be printable text")
            cameras.append(key)
        elif dtype == _IMAGE:
            left_out[key] = "pictures inside Parquet files"
        elif dtype != _STRING and dtype not in _DTYPES:
            left_out[key] = f"of dtype {without_controls(dtype[:100])!r}"
        elif key == TASK_COLUMN:
            left_out[key] = "its name is that of the text of task_index"
        else:
            shape = _shape(stated, where)
            try:
                check_column_name(key)
                check_kind(np.dtype("<i4" if dtype == _STRING else dtype), shape)
                if dtype == _STRING and shape:
                    raise ColumnError("several texts in a row")
            except ColumnError as error:
                left_out[key] = str(error)
                continue
            columns.append(Feature(key=key, dtype=None if dtype == _STRING else np.dtype(dtype), shape=shape))
    try:
        check_column_names([TASK_COLUMN, *(feature.key for feature in columns)])
    except ColumnError as error:
        raise ValueError(str(error)) from error
    _check_row_features({feature.key: feature for feature in columns})
    return tuple(cameras), tuple(columns), left_out


def _check_row_features(columns: Mapping[str, Feature]) -> None:
    for key in (*ROW_FEATURES, TIME_FEATURE):
        feature = columns.get(key)
        kind = "f" if key == TIME_FEATURE else "i"
        if feature is None or feature.shape or feature.dtype is None or feature.dtype.kind != kind:
            expected = "floating-point" if kind == "f" else "whole"
            found = (
                "none" if feature is None else f"dtype {feature.dtype or 'string'} of shape {feature.shape}"
            )
            raise ValueError(f"expected a feature {key!r} of {expected} numbers of shape [1], found {found}")


def _shape(stated: Mapping[str, Any], where: str) -> tuple[int, ...]:
    shape = _value(stated, "shape", list, where=where)
    if not all(
        isinstance(side, int) and not isinstance(side, bool) and 1 <= side < MAX_ROWS for side in shape
    ):
        raise ValueError(f"{where}: shape must be a list of positive whole numbers, found {str(shape)[:100]}")
    return () if shape == [1] else tuple(shape)


def _picture_sizes(feature: Mapping[str, Any], key: str) -> tuple[tuple[int, int], ...]:
    """(height, width) of a camera's pictures by its `shape`, channels last or first, and by what its `info` states."""
    where = f"feature {without_controls(key[:100])!r}"
    shape = _shape(feature, where)
    if len(shape) != _PICTURE_DIMENSIONS:
        raise ValueError(f"{where}: the shape of a camera has three numbers, found {list(shape) or [1]}")
    info = feature.get("info") or feature.get("video_info")
    stated = (info.get("video.height"), info.get("video.width")) if isinstance(info, dict) else (None, None)
    sizes = [shape[:2]] * (shape[2] in _CHANNELS) + [shape[1:]] * (shape[0] in _CHANNELS)
    found = dict.fromkeys(sizes)
    if isinstance(stated[0], int) and isinstance(stated[1], int):
        found[stated[0], stated[1]] = None
    return tuple(found)


def _template(raw: Mapping[str, Any], key: str, fields: tuple[str, ...]) -> PathTemplate:
    try:
        return PathTemplate(_value(raw, key, str), fields)
    except ValueError as error:
        raise ValueError(f"{key}: {error}" if key not in str(error) else str(error)) from error


def _count(raw: Mapping[str, Any], key: str) -> int:
    number = _value(raw, key, int)
    if not 1 <= number <= MAX_ROWS:
        raise ValueError(f"{key} must be 1 or more, found {number}")
    return int(number)


def _value(stated: Mapping[str, Any], key: str, *kinds: type, where: str = "") -> Any:  # noqa: ANN401 - JSON
    prefix = f"{where}: " if where else ""
    if key not in stated:
        raise ValueError(f"{prefix}has no key {key!r}")
    value = stated[key]
    if not isinstance(value, kinds) or isinstance(value, bool):
        names = {str: "a text", dict: "an object", list: "a list", int: "a number", float: "a number"}
        raise ValueError(f"{prefix}{key} must be {names[kinds[0]]}, found {type(value).__name__}")  # noqa: TRY004
    return value
