"""Writes a LeRobot v3 data set: info.json, tasks, episodes, data, videos."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.lerobot.specs import CameraSpec, FeatureSpec, LeRobotSpec, file_numbers
from tests.support.lerobot.videos import write_videos

_INDEX_FEATURES = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
_STATS = ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99")
_QUANTILES = {"q01": 1, "q10": 10, "q50": 50, "q90": 90, "q99": 99}


@dataclass(frozen=True, kw_only=True)
class WrittenLeRobot:
    """What was written."""

    root: Path
    spec: LeRobotSpec
    columns: dict[str, Any]
    """Feature -> the values of all rows, shape (rows, *shape), (rows,) for shape (1,); lists of texts for `string`."""
    spans: dict[str, list[tuple[Path, float, float]]]
    """Camera -> file, from_timestamp and to_timestamp of each episode."""

    @property
    def names(self) -> list[str]:
        """The names that the episodes get as videos."""
        return [f"episode_{episode:06d}" for episode in range(len(self.spec.lengths))]

    def rows(self, episode: int) -> slice:
        """The rows of an episode."""
        start = sum(self.spec.lengths[:episode])
        return slice(start, start + self.spec.lengths[episode])


def write_lerobot(root: Path, spec: LeRobotSpec | None = None, **overrides) -> WrittenLeRobot:
    """Write the data set of `spec`, or of `LeRobotSpec(**overrides)`, into the folder `root`."""
    spec = LeRobotSpec(**overrides) if spec is None else spec
    columns = _columns(spec)
    spans = {
        camera.key: _write_camera(root, spec, camera, number) for number, camera in enumerate(spec.cameras)
    }
    written = WrittenLeRobot(root=root, spec=spec, columns=columns, spans=spans)
    (root / "meta").mkdir(parents=True, exist_ok=True)
    (root / "meta/info.json").write_text(json.dumps(_info(spec), indent=4))
    (root / "meta/stats.json").write_text(json.dumps(_all_stats(spec, columns), indent=4))
    _write_tasks(root, spec)
    data_files = file_numbers(spec.episodes_per_data_file, len(spec.lengths))
    for file in sorted(set(data_files)):
        _write_data(root, written, [episode for episode, of in enumerate(data_files) if of == file], file)
    _write_episodes(written, data_files)
    return written


def _write_camera(
    root: Path, spec: LeRobotSpec, camera: CameraSpec, number: int
) -> list[tuple[Path, float, float]]:
    spans: list[tuple[Path, float, float]] = []
    for file, length in zip(
        file_numbers(camera.episodes_per_file, len(spec.lengths)), spec.lengths, strict=True
    ):
        path = root / spec.video_path.format(video_key=camera.key, **_chunk_and_file(spec, file))
        start = spans[-1][2] if spans and spans[-1][0] == path else 0.0
        spans.append((path, start, start + length / spec.fps))
    if spec.with_videos:
        write_videos([path for path, _, _ in spans], camera, number, spec.lengths, spec.fps)
    else:
        for path, _, _ in spans:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return spans


def _chunk_and_file(spec: LeRobotSpec, file: int) -> dict[str, int]:
    return {"chunk_index": file // spec.chunks_size, "file_index": file % spec.chunks_size}


def _columns(spec: LeRobotSpec) -> dict[str, Any]:
    rows = [(episode, frame) for episode, length in enumerate(spec.lengths) for frame in range(length)]
    columns: dict[str, Any] = {}
    for key, feature in spec.features.items():
        values = [feature.value(key, *row) for row in rows]
        columns[key] = values if feature.dtype in {"string", "image"} else _stacked(values, feature)
    timestamp = spec.timestamps or (lambda _, frame: frame / spec.fps)
    numbers = {
        "timestamp": [timestamp(*row) for row in rows],
        "frame_index": [frame for _, frame in rows],
        "episode_index": [episode for episode, _ in rows],
        "index": range(len(rows)),
        "task_index": [spec.task_index(*row) for row in rows],
    }
    return columns | {key: np.asarray(values, _INDEX_FEATURES[key]) for key, values in numbers.items()}


def _stacked(values: list[np.ndarray], feature: FeatureSpec) -> np.ndarray:
    stacked = np.stack(values).astype(feature.dtype)
    return stacked[:, 0] if feature.shape == (1,) else stacked


def _info(spec: LeRobotSpec) -> dict[str, Any]:
    features: dict[str, Any] = {camera.key: _camera_feature(camera, spec) for camera in spec.cameras}
    features |= {
        key: {"dtype": feature.dtype, "shape": list(feature.shape), "names": feature.names}
        for key, feature in spec.features.items()
    }
    features |= {key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in _INDEX_FEATURES.items()}
    return {
        "codebase_version": spec.codebase_version,
        "robot_type": "made_up",
        "total_episodes": len(spec.lengths),
        "total_frames": sum(spec.lengths),
        "total_tasks": len(spec.tasks),
        "chunks_size": spec.chunks_size,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": spec.fps,
        "splits": {"train": f"0:{len(spec.lengths)}"},
        "data_path": spec.data_path,
        "video_path": spec.video_path,
        "features": features,
    }


def _camera_feature(camera: CameraSpec, spec: LeRobotSpec) -> dict[str, Any]:
    channels = 3 if camera.depth is None else 1
    info = {
        "video.height": camera.height,
        "video.width": camera.width,
        "video.codec": camera.codec,
        "video.pix_fmt": camera.depth or "yuv420p",
        "video.is_depth_map": camera.depth is not None,
        "video.fps": spec.fps,
        "video.channels": channels,
        "has_audio": False,
    }
    if camera.depth is not None:  # as the library's newer versions mark depth
        info |= {"is_depth_map": True, "depth_unit": "m"}
        info |= {"video.depth_min": 0.01, "video.depth_max": 10.0, "video.shift": 3.5, "video.use_log": True}
    names = ["height", "width", "channels"]
    return {"dtype": "video", "shape": [camera.height, camera.width, channels], "names": names, "info": info}


def _write_tasks(root: Path, spec: LeRobotSpec) -> None:
    column = {"name": None, "field_name": spec.tasks_column, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {"index_columns": [spec.tasks_column], "column_indexes": [], "columns": [column]}
    table = pa.table(
        {"task_index": pa.array(range(len(spec.tasks)), pa.int64()), spec.tasks_column: list(spec.tasks)}
    )
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), root / "meta/tasks.parquet")


def _arrow(key: str, feature: FeatureSpec | None, values: Any) -> pa.Array:
    dtype = _INDEX_FEATURES[key] if feature is None else feature.dtype
    if feature is not None and dtype == "image":
        return pa.array(values, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    kind = pa.string() if dtype == "string" else pa.from_numpy_dtype(np.dtype(dtype))
    shape = (1,) if feature is None else feature.shape
    if dtype == "string" or shape == (1,):
        return pa.array(values, kind)
    if len(shape) == 1:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), kind), shape[0])
    for _ in shape:
        kind = pa.list_(kind)
    return pa.array(values.tolist(), kind)


def _write_data(root: Path, written: WrittenLeRobot, episodes: list[int], file: int) -> None:
    spec = written.spec
    path = root / spec.data_path.format(**_chunk_and_file(spec, file))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = None
    for episode in episodes:  # a row group each
        rows = written.rows(episode)
        table = pa.table(
            {
                key: _arrow(key, spec.features.get(key), values[rows])
                for key, values in written.columns.items()
            }
        ).replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": {}}, "fingerprint": "0" * 16})}
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _write_episodes(written: WrittenLeRobot, data_files: list[int]) -> None:
    spec = written.spec
    meta_files = file_numbers(spec.episodes_per_meta_file, len(spec.lengths))
    for file in sorted(set(meta_files)):
        place = _chunk_and_file(spec, file)
        records = [
            _episode_record(written, episode, data_files[episode])
            | {
                "meta/episodes/chunk_index": place["chunk_index"],
                "meta/episodes/file_index": place["file_index"],
            }
            for episode, of in enumerate(meta_files)
            if of == file
        ]
        path = written.root / "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet".format(
            **place
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(records), path)


def _episode_record(written: WrittenLeRobot, episode: int, data_file: int) -> dict[str, Any]:
    spec, rows = written.spec, written.rows(episode)
    tasks = {int(number): None for number in written.columns["task_index"][rows]}
    record: dict[str, Any] = {
        "episode_index": episode,
        "tasks": [spec.tasks[number] for number in tasks],
        "length": spec.lengths[episode],
    }
    record |= {f"data/{key}": value for key, value in _chunk_and_file(spec, data_file).items()}
    record |= {"dataset_from_index": rows.start, "dataset_to_index": rows.stop}
    for camera in spec.cameras:
        file = file_numbers(camera.episodes_per_file, len(spec.lengths))[episode]
        _, start, end = written.spans[camera.key][episode]
        record |= {f"videos/{camera.key}/{key}": value for key, value in _chunk_and_file(spec, file).items()}
        record |= {f"videos/{camera.key}/from_timestamp": start, f"videos/{camera.key}/to_timestamp": end}
    columns = {key: values[rows] for key, values in written.columns.items() if isinstance(values, np.ndarray)}
    stats = _all_stats(spec, columns)
    return record | {f"stats/{key}/{name}": value for key, of in stats.items() for name, value in of.items()}


def _all_stats(spec: LeRobotSpec, columns: dict[str, Any]) -> dict[str, dict[str, Any]]:
    stats: dict[str, dict[str, Any]] = {}
    for camera in spec.cameras:  # of pictures, (channels, 1, 1)
        per_channel = [[[0.5]]] * (3 if camera.depth is None else 1)
        stats[camera.key] = dict.fromkeys(_STATS, per_channel) | {"count": [1]}
    for key, values in columns.items():
        if isinstance(values, np.ndarray):
            stats[key] = _stats(values)
    return stats


def _stats(values: np.ndarray) -> dict[str, Any]:
    numbers = values.reshape(len(values), *(values.shape[1:] or (1,)))
    wide = numbers.astype(np.float64)
    return {
        "min": numbers.min(axis=0).tolist(),
        "max": numbers.max(axis=0).tolist(),
        "mean": wide.mean(axis=0).tolist(),
        "std": wide.std(axis=0).tolist(),
        "count": [len(values)],
        **{name: np.percentile(wide, percent, axis=0).tolist() for name, percent in _QUANTILES.items()},
    }
