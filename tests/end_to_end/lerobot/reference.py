"""The items of a LeRobot data set by the slow way: rows of Parquet and pictures of mp4, one item at a time."""

import json
from functools import cache
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import torch


class SlowItems:
    """What LeRobot 0.4.4 gives for an index; without LeRobot, and without the cache."""

    def __init__(self, root, delta_timestamps=None, *, episodes=None):
        self.root, self.delta = Path(root), delta_timestamps or {}
        self.info = json.loads((self.root / "meta/info.json").read_text())
        rows = [row for path in _parquets(self.root / "data") for row in _rows(path)]
        self.episodes = {
            row["episode_index"]: row
            for path in _parquets(self.root / "meta/episodes")
            for row in _rows(path)
        }
        self.rows = {row["index"]: row for row in rows}
        self.shown = [row["index"] for row in rows if episodes is None or row["episode_index"] in episodes]
        self.tasks = [row["__index_level_0__"] for row in _rows(self.root / "meta/tasks.parquet")]
        self.frames_of = cache(_decoded)

    def __len__(self):
        return len(self.shown)

    def __getitem__(self, number):
        row = self.rows[self.shown[number]]
        episode = self.episodes[row["episode_index"]]
        fps = self.info["fps"]
        low, high = episode["dataset_from_index"], episode["dataset_to_index"] - 1
        item, pads = {}, {}
        for key, seconds in self.delta.items():
            wanted = [row["index"] + round(each * fps) for each in seconds]
            pads[f"{key}_is_pad"] = torch.tensor([not low <= index <= high for index in wanted])
        for is_video in (True, False):
            for key, feature in self.info["features"].items():
                if (feature["dtype"] == "video") != is_video:
                    continue
                wanted = [row]
                if key in self.delta:
                    indices = [row["index"] + round(each * fps) for each in self.delta[key]]
                    wanted = [self.rows[min(max(index, low), high)] for index in indices]
                if is_video:
                    pictures = [self.picture(key, episode, one["timestamp"]) for one in wanted]
                    item[key] = torch.stack(pictures).squeeze(0)
                else:
                    values = [_value(one[key]) for one in wanted]
                    item[key] = torch.stack(values) if key in self.delta else values[0]
        return {**item, **pads, "task": self.tasks[row["task_index"]]}

    def picture(self, key, episode, timestamp):
        path = self.info["video_path"].format(
            video_key=key,
            chunk_index=episode[f"videos/{key}/chunk_index"],
            file_index=episode[f"videos/{key}/file_index"],
        )
        times, frames = self.frames_of(self.root / path)
        nearest = int(np.argmin(np.abs(times - (episode[f"videos/{key}/from_timestamp"] + timestamp))))
        return torch.from_numpy(frames[nearest]).permute(2, 0, 1).to(torch.float32) / 255


def _parquets(folder):
    return sorted(folder.rglob("*.parquet"))


def _rows(path):
    with pq.ParquetFile(path) as file:
        return file.read().to_pylist()


def _value(value):
    return value if isinstance(value, str) else torch.tensor(value)


def _decoded(path):
    times, frames = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            times.append(float(frame.pts * stream.time_base))
            frames.append(frame.to_ndarray(format="rgb24"))
    return np.array(times), frames
