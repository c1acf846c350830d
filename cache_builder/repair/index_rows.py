"""Makes the rows of a damaged `index.npy` again from the other files of a cache, without the videos."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cache_builder.plan import ShardPlan
from cache_builder.settings import BuildConfig
from frame_store.containers import (
    SIDE_ARRAYS,
    read_side_array,
    side_array_names,
    tar_shard_rows,
    zarr_shard_rows,
)
from frame_store.files import open_inside
from frame_store.index import FrameIndex
from frame_store.manifest import Generation, VideoEntry
from frame_store.names import INDEX_DTYPE, INDEX_NAME
from frame_store.shared import raise_if_out_of_files

Column = npt.NDArray[Any]


class IndexRows:
    """Rows of the index, shard by shard, from the intact shards of a generation and other files.

    Columns that a Zarr shard does not contain come from the side arrays. If a side array is damaged, its column comes
    from the plan; a column that the plan does not determine comes from the damaged index itself. So the rows are right
    only if the whole index then has the recorded SHA-256.
    """

    def __init__(
        self,
        folder: Path,
        *,
        generation: Generation,
        videos: Sequence[VideoEntry],
        config: BuildConfig,
        plan: ShardPlan,
        broken: Collection[str],
    ) -> None:
        """Of the generation in `folder`. `broken` has the names of its files that differ from their recorded hashes."""
        self._folder = folder
        self._generation = generation
        self._config = config
        self._source_of_frame, self._shard_starts = plan.source_of_frame, plan.shard_starts
        num_stored = np.array([video.num_frames_stored for video in videos], np.int64)
        self._video_ends = np.cumsum(num_stored)
        self._video_starts = self._video_ends - num_stored
        self._sound_side_arrays: Final = {
            name
            for name in SIDE_ARRAYS
            if not any(part in broken for part in side_array_names(name, num_frames=generation.num_frames))
        }

    def of_shard(self, shard_id: int) -> FrameIndex:
        """Rows of an intact shard, shape (frames of the shard,), of `INDEX_DTYPE`.

        Raises:
            ValueError: no file has them.
            OSError: the shard or a side array cannot be read.
        """
        folder, generation, config = self._folder, self._generation, self._config
        first, end = (int(start) for start in self._shard_starts[shard_id : shard_id + 2])
        if config.format == "wds":
            return tar_shard_rows(folder, generation=generation, shard_id=shard_id, first_frame_id=first)
        rows = zarr_shard_rows(
            folder, generation=generation, shard_id=shard_id, frames_per_shard=config.frames_per_zarr_shard
        )
        for name in SIDE_ARRAYS:
            rows[name] = self._column(name, first, end)
        return rows

    def _column(self, name: str, first: int, end: int) -> Column:
        if name in self._sound_side_arrays:
            num_frames = self._generation.num_frames
            return read_side_array(self._folder, name, first=first, end=end, num_frames=num_frames)
        sources = self._source_of_frame[first:end]
        video_ids = np.searchsorted(self._video_ends, sources, side="right")
        if name == "video_id":
            return video_ids
        if name == "frame_in_video" and self._config.fps is None:
            return (sources - self._video_starts[video_ids]) * self._config.stride
        return self._damaged_index_rows(first, end)[name]

    def _damaged_index_rows(self, first: int, end: int) -> FrameIndex:
        """Rows [first, end) of the damaged index: the damage may be in other rows or columns."""
        expected = self._generation.file(INDEX_NAME).num_bytes
        try:
            file = open_inside(self._folder, INDEX_NAME)
        except OSError as error:
            raise_if_out_of_files(error)
            raise ValueError(f"{INDEX_NAME}: {error.strerror}") from error
        row_bytes = INDEX_DTYPE.itemsize
        start = expected - (self._generation.num_frames - first) * row_bytes
        if start < 0:
            raise ValueError(f"{INDEX_NAME}: {expected} bytes are fewer than its rows take")
        return np.frombuffer(os.pread(file.number, (end - first) * row_bytes, start), INDEX_DTYPE)
