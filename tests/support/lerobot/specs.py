"""What a made-up LeRobot data set is to hold."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Values = Callable[[int, int], object]
"""(episode_index, frame_index) -> a value of the feature's shape."""
Draw = Callable[[int, int], np.ndarray]
"""(episode_index, frame_index) -> a picture, uint8 (height, width, 3), uint16 (height, width) for depth."""


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """A camera and how its videos are coded."""

    key: str = "observation.images.front"
    width: int = 96
    height: int = 64
    codec: str = "h264"
    """`h264`, `hevc`, `av1`; of a depth camera `hevc`, `ffv1` or `png`."""
    gop_size: int = 2
    num_b_frames: int = 0
    encoder_options: tuple[tuple[str, str], ...] = ()
    episodes_per_file: tuple[int, ...] = ()
    """How many episodes lie in each mp4; the last number holds for all that follow. Empty: all in one file."""
    depth: str | None = None
    """Pixel format of a depth camera: `gray12le` (hevc), `gray16le` (ffv1), `gray16be` (png)."""
    draw: Draw | None = None
    """None: `draw_picture`, which shows the numbers of camera, episode and frame."""

    @property
    def num_levels(self) -> int | None:
        """Levels of depth; None for a colour camera."""
        return None if self.depth is None else 4096 if self.depth.startswith("gray12") else 65536


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """A feature that is no video."""

    dtype: str = "float32"
    """As info.json has it: a numpy dtype, `string`, or `image`."""
    shape: tuple[int, ...] = (1,)
    names: object = None
    values: Values | None = None
    """None: numbers that differ from row to row."""

    def value(self, key: str, episode: int, frame: int):
        """The value of a row: an array of the shape, or a text."""
        if self.values is not None:
            made = self.values(episode, frame)
            return (
                made
                if self.dtype in {"string", "image"}
                else np.asarray(made, self.dtype).reshape(self.shape)
            )
        if self.dtype == "string":
            return f"{key} {frame} of {episode} é"
        if self.dtype == "image":
            return {"bytes": f"picture {episode} {frame}".encode(), "path": f"frame-{frame:06d}.png"}
        seed = [sum(key.encode()), episode, frame]
        numbers = np.random.default_rng(seed).normal(size=self.shape) * 50
        return numbers > 0 if self.dtype == "bool" else np.abs(numbers).astype(self.dtype)


DEFAULT_FEATURES = {
    "observation.state": FeatureSpec(shape=(6,), names=[f"j{i}" for i in range(6)]),
    "action": FeatureSpec(
        shape=(4,),
        names=[*"abcd"],
        values=lambda episode, frame: (episode, frame, episode * 100 + frame, frame / 7),
    ),
    "next.reward": FeatureSpec(),
    "next.done": FeatureSpec(dtype="bool"),
}


@dataclass(frozen=True, kw_only=True)
class LeRobotSpec:
    """A data set."""

    cameras: tuple[CameraSpec, ...] = (CameraSpec(),)
    lengths: tuple[int, ...] = (9, 12, 7)
    """Frames of each episode."""
    fps: int = 10
    features: dict[str, FeatureSpec] = field(default_factory=lambda: dict(DEFAULT_FEATURES))
    tasks: tuple[str, ...] = ("pick the cube", "open the drawer")
    task_of: Callable[[int, int], int] | None = None
    """(episode_index, frame_index) -> task_index; None: the episodes take turns."""
    timestamps: Values | None = None
    """None: frame_index / fps."""
    episodes_per_data_file: tuple[int, ...] = ()
    """As `CameraSpec.episodes_per_file`."""
    episodes_per_meta_file: tuple[int, ...] = ()
    chunks_size: int = 1000
    """Files in a chunk."""
    data_path: str = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    video_path: str = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    codebase_version: str = "v3.0"
    tasks_column: str = "__index_level_0__"
    """The texts of tasks.parquet: without a name in pandas's index (0.4.4), or `task`."""
    with_videos: bool = True
    """False writes empty files in their places, for tests that decode none."""

    def task_index(self, episode: int, frame: int) -> int:
        """The task of a row."""
        return episode % len(self.tasks) if self.task_of is None else self.task_of(episode, frame)


def file_numbers(counts: tuple[int, ...], num_episodes: int) -> list[int]:
    """The file, from 0, of each episode.

    >>> file_numbers((2, 1), 5), file_numbers((), 3)
    ([0, 0, 1, 2, 3], [0, 0, 0])
    """
    numbers: list[int] = []
    for file in range(num_episodes):
        if len(numbers) < num_episodes:
            count = counts[min(file, len(counts) - 1)] if counts else num_episodes
            numbers += [file] * count
    return numbers[:num_episodes]
