"""The files of source order of an open cache, mapped when they are asked for."""

import os
from collections.abc import Iterable

from frame_store.errors import StoreDamagedError
from frame_store.manifest import CacheTree, GenerationTree
from frame_store.shared import counted
from frame_store.source_files import SOURCE_FILE_NAMES, SOURCE_PTS_NAME, open_source_order
from frame_store.source_order import SourceOrder, joined_order


class SourceFiles:
    """Maps the files once. Threads may share it."""

    def __init__(self, tree: CacheTree) -> None:
        """Of all generations of a tree. Opens nothing."""
        self._tree = tree
        self._num_bytes = {
            os.path.join(each.path, entry.name): entry.num_bytes  # noqa: PTH118 - compared at each access
            for each in tree.generations
            for entry in each.generation.files
            if entry.name in SOURCE_FILE_NAMES
        }
        # The other files of several generations are copied, not mapped, once the order is there.
        self._mapped = [
            path
            for path in self._num_bytes
            if len(tree.generations) == 1 or path.endswith(f"{os.sep}{SOURCE_PTS_NAME}")
        ]
        self._order: SourceOrder | None = None

    def order(self) -> SourceOrder:
        """The source order.

        The sizes of mapped files are checked at each call: where one was cut, touching the map would kill the process.

        Raises:
            StoreDamagedError: a file is missing, cannot be right, or was cut.
            OSError: no more files can be opened.
        """
        order = self._order
        try:
            if order is None:
                orders = [_opened(each) for each in self._tree.generations]
                self._check_sizes(self._num_bytes)
                order = joined_order(orders)
            self._check_sizes(self._mapped)
        except StoreDamagedError as error:
            raise StoreDamagedError(f"{error}; run cache-verify on {self._tree.store_path}") from error
        self._order = order
        return order

    def _check_sizes(self, paths: Iterable[str]) -> None:
        for path in paths:
            expected = self._num_bytes[path]
            try:
                found = os.stat(path).st_size  # noqa: PTH116 - pathlib would take three times as long
            except OSError as error:
                raise StoreDamagedError(f"{path}: {error.strerror}") from error
            if found != expected:
                raise StoreDamagedError(f"{path}: expected {counted(expected, 'byte')}, found {found}")


def _opened(tree: GenerationTree) -> SourceOrder:
    generation = tree.generation
    return open_source_order(
        tree.path,
        listed={entry.name for entry in generation.files},
        num_frames=generation.num_frames,
        num_videos=generation.num_videos,
        is_shuffled=generation.layout == "shuffled",
    )
