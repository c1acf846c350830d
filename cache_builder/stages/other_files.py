"""What a generation holds beside its shards: the index, the table of videos, and files made of these.

A repair makes the index again from the shards, then calls `write_files_of_index`, as a build does.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cache_builder.settings import BuildConfig
from frame_store.containers import write_zarr_metadata
from frame_store.index import FrameIndex, open_index
from frame_store.manifest import VideoEntry, encode_videos
from frame_store.names import INDEX_DTYPE, INDEX_NAME, VIDEOS_NAME
from frame_store.source_files import write_source_order
from frame_store.source_order import SourceOrder


def write_other_files(
    folder: Path,
    config: BuildConfig,
    *,
    rows_of_shards: Iterable[FrameIndex],
    num_frames: int,
    videos: Sequence[VideoEntry],
    order: SourceOrder,
) -> None:
    """Write every file of the generation in `folder` except its shards and `generation.json`, which lists them.

    `rows_of_shards` are the rows of the index, `num_frames` together, shard by shard. `order` has the times of all
    frames.
    """
    write_index(folder, rows_of_shards, num_frames=num_frames)
    write_videos(folder, videos)
    write_source_order(folder, order, is_shuffled=config.layout == "shuffled")
    write_files_of_index(folder, config, open_index(folder, num_frames=num_frames))


def write_index(folder: Path, rows_of_shards: Iterable[FrameIndex], *, num_frames: int) -> None:
    """Write `index.npy`: `num_frames` rows, given shard by shard."""
    # Plain writes: through a memory map a full disk would kill the process instead of raising.
    with (folder / INDEX_NAME).open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file,
            {
                "descr": np.lib.format.dtype_to_descr(INDEX_DTYPE),
                "fortran_order": False,
                "shape": (num_frames,),
            },
        )
        for rows in rows_of_shards:
            file.write(rows.tobytes())


def write_videos(folder: Path, videos: Iterable[VideoEntry]) -> None:
    """Write `videos.jsonl`, the table of videos."""
    with (folder / VIDEOS_NAME).open("wb") as file:
        file.writelines(encode_videos(videos))


def write_files_of_index(folder: Path, config: BuildConfig, index: FrameIndex) -> None:
    """Write the files that are made of the index alone: what a Zarr cache holds beside shards and index."""
    if config.format == "zarr":
        write_zarr_metadata(
            folder,
            index=index,
            frame_shape=config.frame_shape,
            frame_dtype=config.frame_dtype,
            frames_per_shard=config.frames_per_zarr_shard,
            encoding=config.encoding,
        )
