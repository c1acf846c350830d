"""The files of source order of an open cache, mapped when they are asked for."""

import os
from pathlib import Path

from frame_store.errors import StoreDamagedError
from frame_store.manifest import Generation
from frame_store.shared import counted
from frame_store.source_files import SOURCE_FILE_NAMES, open_source_order
from frame_store.source_order import SourceOrder


class SourceFiles:
    """Maps the files once. Threads may share it."""

    def __init__(self, store_path: Path, folder: str, generation: Generation) -> None:
        """Of the generation in the folder of that name inside the cache at `store_path`. Opens nothing."""
        self._store_path = store_path
        self._folder = store_path / folder
        self._generation = generation
        self._num_bytes = {
            os.path.join(self._folder, entry.name): entry.num_bytes  # noqa: PTH118 - compared at each access
            for entry in generation.files
            if entry.name in SOURCE_FILE_NAMES
        }
        self._order: SourceOrder | None = None

    def order(self) -> SourceOrder:
        """The source order.

        The sizes of the files are checked at each call: where a file was cut, touching the map would kill the process.

        Raises:
            StoreDamagedError: a file is missing, cannot be right, or was cut.
            OSError: no more files can be opened.
        """
        order = self._order
        try:
            if order is None:
                generation = self._generation
                order = open_source_order(
                    self._folder,
                    listed={entry.name for entry in generation.files},
                    num_frames=generation.num_frames,
                    num_videos=generation.num_videos,
                    is_shuffled=generation.layout == "shuffled",
                )
            self._check_sizes()
        except StoreDamagedError as error:
            raise StoreDamagedError(f"{error}; run cache-verify on {self._store_path}") from error
        self._order = order
        return order

    def _check_sizes(self) -> None:
        for path, expected in self._num_bytes.items():
            try:
                found = os.stat(path).st_size  # noqa: PTH116 - pathlib would take three times as long
            except OSError as error:
                raise StoreDamagedError(f"{path}: {error.strerror}") from error
            if found != expected:
                raise StoreDamagedError(f"{path}: expected {counted(expected, 'byte')}, found {found}")
