"""The frames of a cache: the rows of its index, the bytes of its shards, and a sample through other libraries."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np

from frame_store.codec import crc32c
from frame_store.containers import (
    SIDE_ARRAYS,
    check_tar_shard,
    check_zarr_shard,
    frames_per_shard,
    image_member,
    image_suffix,
)
from frame_store.errors import StoreError
from frame_store.files import open_inside
from frame_store.index import FrameIndex, RowProblem, find_row_problem
from frame_store.manifest import VideoEntry
from frame_store.names import INDEX_NAME, ZARR_FOLDER
from frame_store.reader import CacheStore
from frame_store.shared import counted, raise_if_out_of_files

FRAMES_SAMPLED_PER_SHARD = 8


class CacheIds(NamedTuple):
    """Where the ids of a generation begin in the cache: messages have both kinds of ids."""

    first_frame: int
    first_video: int

    def of_frame(self, frame_id: int, video_id: int | None = None) -> str:
        """What follows the ids of the generation, in parentheses; nothing where they are those of the cache."""
        if not any(self):
            return ""
        of_video = "" if video_id is None else f", video {self.first_video + video_id}"
        return f" (in the cache: frame {self.first_frame + frame_id}{of_video})"

    def of_video(self, video_id: int) -> str:
        """The same for a video."""
        return f" (in the cache: video {self.first_video + video_id})" if any(self) else ""


FROM_ZERO: Final = CacheIds(0, 0)
"""Of the first generation of a cache."""


def check_index(
    store: CacheStore, videos: Sequence[VideoEntry] | None, *, cache_ids: CacheIds = FROM_ZERO
) -> Iterator[str]:
    """Shard, slot, offset and length of every row; frames per video, unless the table of videos cannot be read."""
    index, generation = store.stored_index, store.common
    num_problems = 0
    for shard_id in range(len(generation.shards)):
        frame_ids = store.frame_ids_of(shard_id)
        problem = row_problem(store, shard_id)
        if problem is not None:
            num_problems += 1
            if num_problems <= 10:
                frame_id = frame_ids[problem.slot]
                yield (
                    f"{INDEX_NAME}: frame {frame_id}{cache_ids.of_frame(frame_id)}: {index[frame_id]} cannot lie in "
                    f"shard {shard_id}: {problem.reason}"
                )
    if num_problems:
        return
    if videos is not None:
        counts = np.bincount(index["video_id"], minlength=len(videos))
        for video_id, video in enumerate(videos):
            if counts[video_id] != video.num_frames_stored:
                yield (
                    f"{INDEX_NAME}: {counted(counts[video_id], 'frame')} of video {video_id}"
                    f"{cache_ids.of_video(video_id)}, the table of videos has {video.num_frames_stored}"
                )
    pairs = index["video_id"].astype(np.uint64) << np.uint64(32) | index["frame_in_video"]
    pairs.sort()  # numpy.unique takes a hundred times as long for ten million rows
    if (pairs[1:] == pairs[:-1]).any():
        yield f"{INDEX_NAME}: a frame of a video is stored twice"


def row_problem(store: CacheStore, shard_id: int) -> RowProblem | None:
    """The first row of a shard that cannot be right."""
    return find_row_problem(_rows_of(store, shard_id), generation=store.common, shard_id=shard_id)


def _rows_of(store: CacheStore, shard_id: int) -> FrameIndex:
    frame_ids = store.frame_ids_of(shard_id)
    return store.stored_index[frame_ids.start : frame_ids.stop]


def check_shard_frames(store: CacheStore, shard_id: int, *, cache_ids: CacheIds = FROM_ZERO) -> Iterator[str]:
    """Checksum and decodability of each frame of a shard."""
    shard = store.common.shards[shard_id]
    buffer = np.empty((1, *store.frame_shape), store.frame_dtype)
    for frame_id in store.frame_ids_of(shard_id):
        row = store.stored_index[frame_id]
        where = (
            f"{shard.name}: frame {frame_id} (video {row['video_id']}, frame {row['frame_in_video']})"
            f"{cache_ids.of_frame(frame_id, int(row['video_id']))}"
        )
        try:
            payload = store.read_payload(frame_id)
            if crc32c(payload) != row["crc32c"]:
                yield f"{where}: crc32c differs from the index's"
                continue
            store.read_frames([frame_id], buffer)
        except (StoreError, OSError) as error:
            raise_if_out_of_files(error)
            yield f"{where}: {error}"


def check_shard_layout(
    store: CacheStore, shard_id: int, *, video_paths: Sequence[str] | None
) -> Iterator[str]:
    """The bytes between a shard's payloads. `video_paths` is None where the table of videos cannot be read.

    A tar shard has the path of each frame's video, so it is not checked then: the table is a problem already.
    """
    shard, generation = store.common.shards[shard_id], store.common
    first, rows = store.frame_ids_of(shard_id).start, _rows_of(store, shard_id)
    try:
        file = open_inside(store.generations[0].path, shard.name)
        if generation.container == "zarr":
            shard_length = frames_per_shard(generation, store.stored_index)
            found = check_zarr_shard(file, rows=rows, first_frame_id=first, shard_length=shard_length)
        elif video_paths is not None:
            found = check_tar_shard(
                file, rows=rows, first_frame_id=first, generation=generation, video_paths=video_paths
            )
        else:
            return
        for problem in found:
            yield f"{shard.name}: {problem}"
    except OSError as error:
        raise_if_out_of_files(error)
        yield f"{shard.name}: {error.strerror}"


class Sample:
    """Some frames of each shard, read through other libraries: `tarfile` and `numpy`, or zarr-python."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store
        self._folder = store.tree.generations[0].folder

    def check_shard(self, shard_id: int) -> Iterator[str]:
        """One line for each frame of a shard that another library reads differently, or not at all."""
        in_shard = self._in_tar if self._store.common.container == "wds" else self._in_zarr
        yield from self._checked(in_shard(shard_id))

    def check_side_arrays(self) -> Iterator[str]:
        """The same for the arrays of a Zarr cache beside its frames."""
        if self._store.common.container == "zarr":
            yield from self._checked(self._of_side_arrays())

    def _checked(self, comparisons: Iterator[tuple[str, bool]]) -> Iterator[str]:
        try:
            for where, is_equal in comparisons:
                if not is_equal:
                    yield f"{where}: another reader reads other pixels"
        except Exception as error:  # noqa: BLE001 - another library may raise anything
            raise_if_out_of_files(error)
            yield f"{self._store.path}: another reader fails: {type(error).__name__}: {error}"

    def _sampled_ids(self, shard_id: int) -> list[int]:
        frame_ids = self._store.frame_ids_of(shard_id)
        picked = np.linspace(0, len(frame_ids) - 1, min(FRAMES_SAMPLED_PER_SHARD, len(frame_ids)))
        return [frame_ids[int(slot)] for slot in picked]

    def _in_tar(self, shard_id: int) -> Iterator[tuple[str, bool]]:
        store, encoding = self._store, self._store.common.encoding
        shard = store.common.shards[shard_id]
        with tarfile.open(store.generations[0].path / shard.name, "r:") as tar:
            for frame_id in self._sampled_ids(shard_id):
                member = tar.extractfile(image_member(frame_id, encoding))
                assert member is not None  # a regular file
                if image_suffix(encoding) == "npy":
                    pixels = np.load(io.BytesIO(member.read()), allow_pickle=False)
                    is_equal = np.array_equal(pixels, store.read_frames([frame_id])[0])
                else:
                    is_equal = member.read() == store.read_payload(frame_id)
                yield f"{self._folder}/{shard.name}: frame {frame_id}", is_equal

    @cached_property
    def _group(self) -> Any:  # noqa: ANN401 - zarr's group
        import zarr

        folder = self._store.generations[0].path / ZARR_FOLDER
        return zarr.open_group(folder, mode="r", zarr_format=3)  # version 2 may name pickle

    def _of_side_arrays(self) -> Iterator[tuple[str, bool]]:
        for name in SIDE_ARRAYS:
            array, expected = np.asarray(self._group[name]), self._store.stored_index[name]
            is_equal = np.array_equal(array, expected, equal_nan=name == "pts_seconds")
            yield f"{self._folder}/{ZARR_FOLDER}/{name}", is_equal

    def _in_zarr(self, shard_id: int) -> Iterator[tuple[str, bool]]:
        store, frames = self._store, self._group["frames"]
        for frame_id in self._sampled_ids(shard_id):
            is_equal = np.array_equal(np.asarray(frames[frame_id]), store.read_frames([frame_id])[0])
            yield f"{self._folder}/{store.common.shards[shard_id].name}: frame {frame_id}", is_equal
