"""The content order of an open cache, mapped or joined when it is asked for."""

import numpy as np
import numpy.typing as npt

from frame_store.columns import MappedArray
from frame_store.content_order import mapped_orders
from frame_store.errors import StoreDamagedError
from frame_store.manifest import CacheTree, ContentOrderEntry, need_files
from frame_store.views import digest_of_orders


class ContentOrders:
    """The orders of the stretches of a cache, one after another. Threads may share it."""

    def __init__(self, tree: CacheTree, *, num_frames: int | None = None) -> None:
        """Of the first `num_frames` frames of a tree, or of all. Opens nothing."""
        self._num_frames = tree.num_frames if num_frames is None else num_frames
        self._store_path = tree.store_path
        self._orders = [
            (entry, order) for entry, order in mapped_orders(tree) if entry.first_frame < self._num_frames
        ]
        self._remote = tree.remote
        self._cache_name = tree.text
        self._joined: npt.NDArray[np.uint32] | None = None

    @property
    def _is_one(self) -> bool:
        """Whether a single order has exactly the frames of the tree."""
        return [entry.num_frames for entry, _ in self._orders] == [self._num_frames]

    @property
    def array(self) -> npt.NDArray[np.uint32] | None:
        """Frame ids, uint32, shape (N,); None where the cache has no order.

        It is mapped where one order has exactly these frames, else joined in memory at the first use: 4 bytes a frame.
        Of an order that goes on behind the last frame, the frames that are there keep their order.

        Raises:
            StoreDamagedError: a file is missing, a link, of another type or length, or was cut; of several, also one
                with an id outside of its stretch.
            OSError: no more files can be opened.
        """
        if not self._orders:
            return None
        need_files(self._remote, (entry.file for entry, _ in self._orders))
        if self._is_one:
            return self._orders[0][1].array
        if self._joined is None:
            ids = [self._ids_in_cache(entry, order) for entry, order in self._orders]
            joined = np.concatenate([some[some < self._num_frames] for some in ids])
            joined.flags.writeable = False
            self._joined = joined
        return self._joined

    def _ids_in_cache(self, entry: ContentOrderEntry, order: MappedArray) -> npt.NDArray[np.uint32]:
        """The ids of a stretch, whose file counts from its first frame. One outside must not be a frame of another."""
        ids = order.array
        if int(ids.max()) >= entry.num_frames:
            raise StoreDamagedError(
                f"{self._store_path / entry.file.name}: has frame id {ids.max()}, outside [0, {entry.num_frames}); "
                f"run cache-verify on {self._cache_name}"
            )
        in_cache: npt.NDArray[np.uint32] = ids + np.uint32(entry.first_frame)
        return in_cache

    @property
    def digest(self) -> str | None:
        """SHA-256, hex, that identifies the order, by the manifest; None where there is none."""
        digests = [entry.sha256 for entry, _ in self._orders]
        if not digests or self._is_one:
            return digests[0] if digests else None
        return digest_of_orders("generations", digests, str(self._num_frames))
