"""Rows of the `index.npy` of all generations, each checked before a reader follows it (FORMAT.md section 4)."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.files import MappedRange, open_inside
from frame_store.index import FrameIndex, find_row_problem, max_payload_bytes, open_index
from frame_store.manifest import CacheTree, Generation, GenerationTree
from frame_store.names import INDEX_DTYPE, INDEX_NAME
from frame_store.protocol import FrameRows
from frame_store.reader.store_index import ROW_DTYPE, StoredRows
from frame_store.shared import counted
from frame_store.source_order import rows_of_key, starts_of


class CheckedIndex:
    """The mapped indexes of the generations of a tree. Threads may share it.

    Rows name video and shard by their numbers in the cache; in the files they count from 0 in each generation.
    """

    def __init__(self, tree: CacheTree) -> None:
        """Map the indexes.

        Raises:
            StoreDamagedError: an index is missing, or does not fit its `generation.json`.
            OSError: no more files can be opened.
        """
        self._tree = tree
        tree.need([INDEX_NAME])
        self._files = [_IndexFile(each, is_mapped=len(tree.generations) == 1) for each in tree.generations]
        shards = [shard for each in tree.generations for shard in each.generation.shards]
        self.shard_sizes = np.array([shard.num_frames for shard in shards], np.int64)
        """Frames per shard, shape (S,)."""
        self.shard_sizes.flags.writeable = False
        self._shard_ends = np.cumsum(self.shard_sizes)
        self._shard_bytes = np.array([shard.num_bytes for shard in shards], np.int64)
        self._first_shards = starts_of([len(each.generation.shards) for each in tree.generations])
        self._first_frames = starts_of([each.entry.num_frames for each in tree.generations])
        self._first_videos = starts_of([each.entry.num_videos for each in tree.generations])
        self._is_raw = tree.common.encoding.name == "raw"
        self._max_payload_bytes = max_payload_bytes(tree.common)
        self._joined: _JoinedRows | None = None
        if len(self._files) > 1:
            self._joined = _JoinedRows(tree, self._files, self._first_frames)
        self._is_sound = np.zeros(len(shards), np.bool_)
        """Whether the rows of each shard have been checked, shape (S,)."""

    @property
    def stored(self) -> FrameIndex:
        """Rows of `frame_store.names.INDEX_DTYPE`, shape (N,): mapped; a copy where there are several generations."""
        if len(self._files) == 1:
            return self._files[0].rows
        return self.unchecked_rows(np.arange(self._first_frames[-1]))

    def first_rows(self, num_rows: int) -> StoredRows:
        """The first `num_rows` of these rows. Of several generations those are copied that are asked for."""
        if len(self._files) == 1:
            return self._files[0].rows[:num_rows]
        return _FirstRows(self, num_rows)

    def unchecked_rows(self, ids: npt.NDArray[np.int64]) -> FrameIndex:
        """Rows of the index, shape (B,), a copy. What they say is not checked.

        Raises:
            StoreDamagedError: a file was cut.
        """
        if self._joined is None:
            self._files[0].require_size()
            return self._files[0].rows.take(ids)  # `rows[ids]` takes seven times as long
        of_generation = np.searchsorted(self._first_frames, ids, side="right") - 1
        for number in set(of_generation.tolist()):
            self._files[number].require_size()
        rows = self._joined.rows(ids, of_generation)
        rows["video_id"] += self._first_videos[of_generation].astype(np.uint32)
        rows["shard_id"] += self._first_shards[of_generation].astype(np.uint32)
        return rows

    def column(self, name: str, num_rows: int) -> npt.NDArray[Any]:
        """One column of the first rows, shape (num_rows,), a copy of the stored type."""
        for file in self._files:
            file.require_size()
        column = np.concatenate([file.rows[name] for file in self._files])
        firsts = {"video_id": self._first_videos, "shard_id": self._first_shards}.get(name)
        if firsts is not None:
            column += np.repeat(firsts[:-1], np.diff(self._first_frames)).astype(np.uint32)
        return column[:num_rows]

    def frame_ids_of(self, shard_id: int) -> range:
        """Ids of the frames that `generation.json` gives to a shard."""
        end = int(self._shard_ends[shard_id])
        return range(end - int(self.shard_sizes[shard_id]), end)

    def rows(self, ids: npt.NDArray[np.int64]) -> FrameRows:
        """Rows of `store_index.ROW_DTYPE`, shape (B,), after all rows of their shards have been checked.

        The sizes of the files are checked first: where one was cut, touching the map would kill the process.

        Raises:
            StoreDamagedError: a row cannot be right (`find_row_problem`), or a file was cut or changed.
        """
        shard_ids = self._shard_ends.searchsorted(ids, side="right")
        rows: FrameRows = self.unchecked_rows(ids).astype(ROW_DTYPE)
        is_sound = self._is_sound[shard_ids]
        if not is_sound.all():
            for shard_id in np.unique(shard_ids[~is_sound]).tolist():
                self._check_shard(shard_id)
        # The map shows what is written to the file beside the check above. Such a row must not lead out of its shard.
        byte_offsets, byte_lengths = rows["byte_offset"], rows["byte_length"]
        largest = self._max_payload_bytes
        is_wrong = byte_lengths != largest if self._is_raw else byte_lengths > largest
        is_wrong |= rows["shard_id"] != shard_ids
        is_wrong |= (byte_offsets < 0) | (byte_offsets > self._shard_bytes[shard_ids] - byte_lengths)
        if is_wrong.any():
            frame_id = int(ids[int(np.argmax(is_wrong))])
            number = int(np.searchsorted(self._first_frames, frame_id, side="right")) - 1
            row = frame_id - int(self._first_frames[number])
            raise self._files[number].damaged(f"index row {row} was changed while the cache was open")
        return rows

    def _check_shard(self, shard_id: int) -> None:
        number = int(np.searchsorted(self._first_shards, shard_id, side="right")) - 1
        frame_ids, first = self.frame_ids_of(shard_id), int(self._first_frames[number])
        self._files[number].check_shard(
            shard_id - int(self._first_shards[number]), range(frame_ids.start - first, frame_ids.stop - first)
        )
        self._is_sound[shard_id] = True


class _IndexFile:
    """The index of one generation. All numbers count from 0 in it."""

    def __init__(self, tree: GenerationTree, *, is_mapped: bool) -> None:
        self._cache_name = tree.text
        self._generation: Generation = tree.generation
        rows = open_index(tree.path, num_frames=tree.generation.num_frames)
        self.rows = rows if is_mapped else rows[:0].copy()
        """A map holds a descriptor. Of several files, `_JoinedRows` maps them without, and sets the rows."""
        self.path = str(tree.path / INDEX_NAME)
        self.num_bytes = os.stat(self.path).st_size  # noqa: PTH116 - called before each batch

    def require_size(self) -> None:
        try:
            num_bytes = os.stat(self.path).st_size  # noqa: PTH116 - pathlib would take three times as long
        except OSError as error:
            raise self.damaged(error.strerror or str(error)) from error
        if num_bytes != self.num_bytes:
            raise self.damaged(f"expected {counted(self.num_bytes, 'byte')}, found {num_bytes}")

    def check_shard(self, shard_id: int, frame_ids: range) -> None:
        rows = self.rows[frame_ids.start : frame_ids.stop]
        problem = find_row_problem(rows, generation=self._generation, shard_id=shard_id)
        if problem is not None:
            row = rows[problem.slot]
            raise self.damaged(
                f"index row {frame_ids[problem.slot]} points at byte {row['byte_offset']} "
                f"of shard {row['shard_id']}, slot {row['slot']}, {problem.reason}"
            )

    def damaged(self, reason: str) -> StoreDamagedError:
        return StoreDamagedError(f"{self.path}: {reason}; run cache-verify on {self._cache_name}")


class _FirstRows:
    """The first rows of the indexes of several generations. Implements `StoredRows`."""

    def __init__(self, index: CheckedIndex, num_rows: int) -> None:
        self._index, self._num_rows = index, num_rows

    @property
    def shape(self) -> tuple[int]:
        return (self._num_rows,)

    @property
    def flags(self) -> Any:  # noqa: ANN401 - as numpy's
        flags = np.empty(0)
        flags.flags.writeable = False
        return flags.flags

    def __len__(self) -> int:
        return self._num_rows

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 - as numpy's
        if isinstance(key, str):
            return self._index.column(key, self._num_rows)
        if isinstance(key, list) and key and all(isinstance(name, str) for name in key):
            return self[:][key]
        rows = rows_of_key(key, num_rows=self._num_rows)
        ids = np.arange(rows.start, rows.stop) if isinstance(rows, range) else rows
        found = self._index.unchecked_rows(ids.reshape(-1))
        return found.reshape(ids.shape) if ids.ndim else found[0]


class _JoinedRows:
    """The rows of several indexes in one range of addresses: one native call takes the rows of a batch."""

    def __init__(self, tree: CacheTree, files: list[_IndexFile], first_frames: npt.NDArray[np.int64]) -> None:
        self._range = MappedRange([file.num_bytes for file in files])
        for number, (each, file) in enumerate(zip(tree.generations, files, strict=True)):
            opened = open_inside(tree.store_path, f"{each.folder}/{INDEX_NAME}")
            if os.fstat(opened.number).st_size != file.num_bytes:
                raise file.damaged("was cut or replaced while it was opened")
            self._range.map_file(number, opened.number)
            num_frames = each.generation.num_frames
            file.rows = np.ndarray(
                (num_frames,),
                INDEX_DTYPE,
                buffer=self._range.memory,
                # The rows are the end of the file, behind its header.
                offset=int(self._range.starts[number]) + file.num_bytes - num_frames * INDEX_DTYPE.itemsize,
            )
            file.rows.flags.writeable = False
        row_bytes = INDEX_DTYPE.itemsize
        headers = np.array([file.num_bytes for file in files], np.int64) - np.diff(first_frames) * row_bytes
        self._starts = self._range.starts + headers - first_frames[:-1] * row_bytes
        # A row may begin at any byte, so one row begins at each byte.
        self._every_row: FrameIndex = np.ndarray(
            (self._range.num_bytes - row_bytes + 1,), INDEX_DTYPE, buffer=self._range.memory, strides=(1,)
        )

    def rows(self, ids: npt.NDArray[np.int64], of_generation: npt.NDArray[np.int64]) -> FrameIndex:
        """A copy of the rows of frames, whose generations are given."""
        rows: FrameIndex = self._every_row[self._starts[of_generation] + ids * INDEX_DTYPE.itemsize]
        return rows
