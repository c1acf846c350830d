"""The files of source order of an open cache, mapped when they are asked for.

Of a remote cache, a file with a number for each frame is downloaded at its first use: most epochs need none of them.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.files import MappedRange, open_inside
from frame_store.manifest import MANY_GENERATIONS, CacheTree, GenerationTree
from frame_store.shared import counted
from frame_store.source_files import (
    DTYPE_OF_FILE,
    SOURCE_FILE_NAMES,
    SOURCE_PTS_NAME,
    STARTS_NAMES,
    open_source_order,
)
from frame_store.source_order import JoinedPts, SourceOrder, joined_order


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
        self._is_deferred = tree.remote is not None and len(tree.generations) <= MANY_GENERATIONS
        # The other files of several generations are copied, not mapped, once the order is there.
        self._stays_mapped = SOURCE_FILE_NAMES if len(tree.generations) == 1 else (SOURCE_PTS_NAME,)
        self._mapped: list[str] = []
        self._order: SourceOrder | None = None

    def order(self) -> SourceOrder:
        """The source order.

        The sizes of mapped files are checked at each call: where one was cut, touching the map would kill the process.

        Raises:
            StoreDamagedError: a file is missing, cannot be right, or was cut.
            OSError: no more files can be opened.
        """
        order = self._order
        with self._with_remedy():
            if order is None:
                names = STARTS_NAMES if self._is_deferred else SOURCE_FILE_NAMES
                self._tree.need(names)
                order = self._opened_order()
                self._mapped = self._paths_of([name for name in names if name in self._stays_mapped])
            self._check_sizes(self._mapped)
        self._order = order
        return order

    @contextmanager
    def _with_remedy(self) -> Iterator[None]:
        try:
            yield
        except StoreDamagedError as error:
            raise StoreDamagedError(f"{error}; run cache-verify on {self._tree.text}") from error

    def _opened_order(self) -> SourceOrder:
        generations = self._tree.generations
        if self._is_deferred:
            self._check_sizes(self._paths_of(STARTS_NAMES))
            return joined_order([_opened(each, at_first_use=self._at_first_use) for each in generations])
        if len(generations) <= MANY_GENERATIONS:
            orders = [_opened(each) for each in generations]
            self._check_sizes(self._num_bytes)
            return joined_order(orders)
        # Each map holds a descriptor, so those of many generations are not open together.
        self._check_sizes(self._num_bytes)
        orders = [_copied(_opened(each)) for each in generations]
        pts = _mapped_pts(self._tree, [order.num_rows for order in orders])
        return replace(joined_order(orders), source_pts=pts)

    @contextmanager
    def _at_first_use(self, name: str) -> Iterator[None]:
        """Around the mapping of a file that was deferred. Those of all generations are downloaded together."""
        with self._with_remedy():
            self._tree.need([name])
            self._check_sizes(self._paths_of([name]))
            yield
        if name in self._stays_mapped:
            self._mapped.extend(path for path in self._paths_of([name]) if path not in self._mapped)

    def _paths_of(self, names: Sequence[str]) -> list[str]:
        return [path for path in self._num_bytes if os.path.basename(path) in names]  # noqa: PTH119 - as above

    def _check_sizes(self, paths: Iterable[str]) -> None:
        for path in paths:
            expected = self._num_bytes[path]
            try:
                found = os.stat(path).st_size  # noqa: PTH116 - pathlib would take three times as long
            except OSError as error:
                raise StoreDamagedError(f"{path}: {error.strerror}") from error
            if found != expected:
                raise StoreDamagedError(f"{path}: expected {counted(expected, 'byte')}, found {found}")


def _opened(
    tree: GenerationTree, *, at_first_use: Callable[[str], AbstractContextManager[None]] | None = None
) -> SourceOrder:
    generation = tree.generation
    return open_source_order(
        tree.path,
        listed={entry.name for entry in generation.files},
        num_frames=generation.num_frames,
        num_videos=generation.num_videos,
        is_shuffled=generation.layout == "shuffled",
        at_first_use=at_first_use,
    )


def _copied(order: SourceOrder) -> SourceOrder:
    """An order without pts that needs no file."""
    return replace(
        order,
        first_row=np.array(order.first_row),
        first_stored=np.array(order.first_stored),
        order=None if order.order is None else np.array(order.order),
        source_frames=None if order.source_frames is None else np.array(order.source_frames),
        source_pts=None,
    )


def _mapped_pts(tree: CacheTree, nums_rows: Sequence[int]) -> JoinedPts:
    """The pts of all generations, mapped without a descriptor for each."""
    entries = [each.generation.file(SOURCE_PTS_NAME) for each in tree.generations]
    memory = MappedRange([entry.num_bytes for entry in entries])
    dtype, parts = DTYPE_OF_FILE[SOURCE_PTS_NAME], []
    for number, (each, entry, num_rows) in enumerate(zip(tree.generations, entries, nums_rows, strict=True)):
        file = open_inside(tree.store_path, f"{each.folder}/{entry.name}")
        if os.fstat(file.number).st_size != entry.num_bytes:
            raise StoreDamagedError(f"{each.path / entry.name}: was cut or replaced while it was opened")
        memory.map_file(number, file.number)
        offset = int(memory.starts[number]) + entry.num_bytes - num_rows * dtype.itemsize  # behind the header
        pts: npt.NDArray[np.float64] = np.ndarray((num_rows,), dtype, buffer=memory.memory, offset=offset)
        pts.flags.writeable = False
        parts.append(pts)
    return JoinedPts(parts, memory=memory)
