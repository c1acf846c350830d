"""The order that `sampling="stratified"` cuts into strata: a store's frames by time, or by content."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameStore
from frame_store.views import content_ids_at, content_label, ids_by_video
from loader.errors import SamplingError
from loader.sampling.orders.base import Int64s
from loader.sampling.spec import Strata


class StratumOrder:
    """The frames of a store side by side with those that they are alike: place -> frame id.

    By time it is the source order, and costs nothing where ids are in that order, else 4 bytes a frame (of a cache, in
    mapped memory). By content it is the cache's content order; a view of a cache keeps 4 bytes for each of its frames.
    """

    def __init__(self, store: FrameStore, strata: Strata) -> None:
        """Of the frames of `store`.

        Raises:
            SamplingError: no content order of the store is known.
        """
        self._store = store
        self.strata = strata
        self.label = "time"
        """What a state has: `time`, or `content:` and a hash of the content order."""
        if strata == "content":
            digest = content_label(store)
            if digest is None:
                raise SamplingError(
                    f"{store!r}: strata='content' needs a cache with a content order: build it with cache-build "
                    "--content-order, or add one with cache-bias CACHE --write-order. Live stores have none, and of "
                    "the cameras of a cache only the first one has it"
                )
            self.label = f"content:{digest}"

    def __len__(self) -> int:
        return len(self._store)

    def ids_at(self, places: Int64s) -> Int64s:
        """Frame ids at `places`, each in [0, len(self)): int64 of the same shape.

        Raises:
            StoreDamagedError: the content order is missing, was cut, or holds a number that is no frame id.
            OSError: no more files can be opened.
        """
        if self.strata == "content":
            return content_ids_at(self._store, places)
        return places if self._by_time is None else self._by_time[places].astype(np.int64)

    @cached_property
    def _by_time(self) -> npt.NDArray[Any] | None:
        return ids_by_video(self._store)

    def __getstate__(self) -> dict[str, Any]:
        made = "_by_time"  # it is made again where it is needed
        return {name: value for name, value in self.__dict__.items() if name != made}
