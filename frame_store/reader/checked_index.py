"""Rows of `index.npy`, each checked before a reader follows it (FORMAT.md section 4)."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.index import FrameIndex, find_row_problem, max_payload_bytes, open_index
from frame_store.manifest import Generation
from frame_store.names import INDEX_NAME
from frame_store.shared import counted


class CheckedIndex:
    """The mapped index of a generation. Threads may share it."""

    def __init__(self, store_path: Path, folder: str, generation: Generation) -> None:
        """Map the index of the generation in the folder of that name inside the cache at `store_path`.

        Raises:
            StoreDamagedError: the index is missing, or does not fit `generation.json`.
            OSError: no more files can be opened.
        """
        self._store_path = store_path
        self._generation = generation
        self.stored = open_index(store_path / folder, num_frames=generation.num_frames)
        """Rows of `frame_store.names.INDEX_DTYPE`, shape (N,)."""
        self._path = str(store_path / folder / INDEX_NAME)
        self._num_bytes = os.stat(self._path).st_size  # noqa: PTH116 - called before each batch
        self._is_raw = generation.encoding.name == "raw"
        self.shard_sizes = np.array([shard.num_frames for shard in generation.shards], np.int64)
        """Frames per shard, shape (S,)."""
        self.shard_sizes.flags.writeable = False
        self._shard_ends = np.cumsum(self.shard_sizes)
        self._shard_bytes = np.array([shard.num_bytes for shard in generation.shards], np.int64)
        self._max_payload_bytes = max_payload_bytes(generation)
        self._sound_shards: set[int] = set()
        """Shards whose rows of the index have been checked."""

    def frame_ids_of(self, shard_id: int) -> range:
        """Ids of the frames that `generation.json` gives to a shard."""
        end = int(self._shard_ends[shard_id])
        return range(end - int(self.shard_sizes[shard_id]), end)

    def rows(self, ids: npt.NDArray[np.int64]) -> FrameIndex:
        """Rows of the index, shape (B,), after all rows of their shards have been checked.

        The size of the file is checked first: where it was cut, touching the map would kill the process.

        Raises:
            StoreDamagedError: a row cannot be right (`find_row_problem`), or the file was cut or changed.
        """
        try:
            num_bytes = os.stat(self._path).st_size  # noqa: PTH116 - pathlib would take three times as long
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error
        if num_bytes != self._num_bytes:
            raise self._damaged(f"expected {counted(self._num_bytes, 'byte')}, found {num_bytes}")
        shard_ids = np.searchsorted(self._shard_ends, ids, side="right")
        for shard_id in set(shard_ids.tolist()) - self._sound_shards:
            self._check_shard(shard_id)
        rows = self.stored[ids]
        # The map shows what is written to the file after the check above. Such a row must not lead out of its shard.
        byte_offsets, byte_lengths = (
            rows["byte_offset"].astype(np.int64),
            rows["byte_length"].astype(np.int64),
        )
        is_wrong = (rows["shard_id"] != shard_ids) | (byte_lengths > self._max_payload_bytes)
        is_wrong |= (byte_offsets < 0) | (byte_offsets > self._shard_bytes[shard_ids] - byte_lengths)
        if self._is_raw:
            is_wrong |= byte_lengths != self._max_payload_bytes
        if is_wrong.any():
            frame_id = ids[int(np.argmax(is_wrong))]
            raise self._damaged(f"index row {frame_id} was changed while the cache was open")
        return rows

    def _check_shard(self, shard_id: int) -> None:
        frame_ids = self.frame_ids_of(shard_id)
        rows = self.stored[frame_ids.start : frame_ids.stop]
        problem = find_row_problem(rows, generation=self._generation, shard_id=shard_id)
        if problem is not None:
            row = rows[problem.slot]
            raise self._damaged(
                f"index row {frame_ids[problem.slot]} points at byte {row['byte_offset']} "
                f"of shard {row['shard_id']}, slot {row['slot']}, {problem.reason}"
            )
        self._sound_shards.add(shard_id)

    def _damaged(self, reason: str) -> StoreDamagedError:
        return StoreDamagedError(f"{self._path}: {reason}; run cache-verify on {self._store_path}")
