"""A camera's frames under the ids of another camera of the same videos."""

from collections.abc import Iterator, Sequence
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from frame_store.columns import Columns
from frame_store.errors import StoreDamagedError
from frame_store.frame_sequence import FrameSequence
from frame_store.names import PixelDtype
from frame_store.protocol import (
    DecodesInGroups,
    DecodesOnDevice,
    Feed,
    FetchesShards,
    FrameIds,
    FrameRows,
    Frames,
    FrameStore,
    HoldsEncodedFrames,
    PrefetchingStore,
    check_frame_ids,
    frames_ahead,
)
from frame_store.shared import without_controls
from frame_store.source_order import NO_PLACE, Int64s, SourceOrder
from frame_store.video_table import VideoTable


def aligned_store(
    store: FrameStore, leader: FrameStore, *, name: str, same_ids: bool | None = None
) -> FrameStore:
    """The frames of `store` under the ids of `leader`. It is `store` itself where ids and shards are the same already.

    The result can do what `store` can: prefetch, give encoded frames, decode on a GPU; and decode in groups where its
    own ids are those of `leader`, because a group is a range of ids.

    Args:
        store: the frames come from it.
        leader: the ids come from it. It has the same videos with the same frames; that is not checked here.
        name: of the camera, for messages.
        same_ids: whether both have the same frame at each id; None finds out.
    """
    if store is leader:
        return store
    if same_ids is None:
        same_ids = have_same_ids(store, leader)
    if same_ids and np.array_equal(store.shard_sizes, leader.shard_sizes):
        return store
    kind: type[AlignedStore] = AlignedStore
    if same_ids and isinstance(store, DecodesInGroups):
        kind = _AlignedOnDeviceInGroups if isinstance(store, DecodesOnDevice) else _AlignedInGroups
    elif isinstance(store, DecodesOnDevice):
        kind = _AlignedOnDevice
    elif isinstance(store, HoldsEncodedFrames):
        kind = _AlignedEncoded
    return kind(store, leader, name=name, same_ids=same_ids)


def have_same_ids(one: FrameStore, other: FrameStore) -> bool:
    """Whether two stores of the same frames have the same frame at each id."""
    return same_arrays(one.source_order.order, other.source_order.order)


def same_arrays(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> bool:
    """Whether two arrays have the same numbers, or both are None."""
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


class AlignedStore(FrameSequence):
    """The frames of `store` under the ids of `leader`: id i is the frame of the same video and `frame_in_video`.

    Both stores have the same videos with the same frames, in any order of ids. Implements `FrameStore` and
    `PrefetchingStore`. `aligned_store` makes it.
    """

    def __init__(
        self, store: FrameStore, leader: FrameStore, *, name: str = "", same_ids: bool = False
    ) -> None:
        """Of two stores of the same frames; with `same_ids`, both have the same frame at each id."""
        self._store, self._leader, self._name = store, leader, name
        self._same_ids = same_ids

    @property
    def store(self) -> FrameStore:
        """The store that the frames come from, with ids of its own."""
        return self._store

    @property
    def leader(self) -> FrameStore:
        """The store that the ids come from."""
        return self._leader

    def own_ids(self, frame_ids: FrameIds) -> Int64s:
        """Ids in `store` of the frames with these ids in `leader`: int64, shape (B,).

        Raises:
            FrameIdError: an id outside [0, len(self)).
            StoreDamagedError: the camera has no such frame, although its numbers of frames are those of `leader`.
        """
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        if self._same_ids:
            return ids
        rows = self._leader.rows_of(ids)
        order = self._store.source_order
        video_ids = rows["video_id"].astype(np.int64)
        frame_in_video = rows["frame_in_video"].astype(np.int64)
        places = order.places_of(video_ids, frame_in_video)
        if (places == NO_PLACE).any():
            missing = int(np.argmax(places == NO_PLACE))
            raise StoreDamagedError(
                f"{self._store!r}: camera {without_controls(self._name)!r} has no frame {frame_in_video[missing]} of "
                f"video {video_ids[missing]}, which it had when it was opened; run cache-verify"
            )
        return order.ids_at(places)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """See `FrameStore`."""
        return self._store.frame_shape

    @property
    def frame_dtype(self) -> PixelDtype:
        """See `FrameStore`."""
        return self._store.frame_dtype

    @property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Those of `leader`, whose ids these are."""
        return self._leader.shard_sizes

    @property
    def fingerprint(self) -> str:
        """That of `store`."""
        return self._store.fingerprint

    @property
    def videos(self) -> VideoTable:
        """See `FrameStore`."""
        return self._store.videos

    @property
    def source_order(self) -> SourceOrder:
        """That of `leader`, whose ids these are."""
        return self._leader.source_order

    @property
    def columns(self) -> Columns:
        """The columns of `store`."""
        columns: Columns = getattr(self._store, "columns", super().columns)
        return columns

    @property
    def frames_ahead(self) -> int:
        """As of the store. See `frame_store.protocol.frames_ahead`."""
        return frames_ahead(self._store)

    @property
    def may_cross_fork(self) -> bool:
        """Whether both stores may."""
        return self._store.may_cross_fork and self._leader.may_cross_fork

    def __len__(self) -> int:
        return len(self._leader)

    def __repr__(self) -> str:
        return f"AlignedStore({self._store!r})"

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """See `FrameStore`."""
        return self._store.read_frames(self.own_ids(frame_ids), out)

    def rows_of(self, frame_ids: FrameIds) -> FrameRows:
        """See `FrameStore`: rows of `store`, except that `shard_id` is that of `leader`."""
        return self._with_shards(self._store.rows_of(self.own_ids(frame_ids)), frame_ids)

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None
    ) -> tuple[Frames, FrameRows]:
        """See `FrameStore`."""
        frames, rows = self._store.read_frames_and_rows(self.own_ids(frame_ids), out)
        return frames, self._with_shards(rows, frame_ids)

    def prefetch(self, frame_ids: FrameIds) -> bool:
        """See `PrefetchingStore`; False where `store` does not prefetch."""
        return isinstance(self._store, PrefetchingStore) and self._store.prefetch(self.own_ids(frame_ids))

    def feed(self, upcoming: Iterator[npt.NDArray[np.int64]], *, num_in_flight: int) -> Feed | None:
        """See `FetchesShards`; None where `store` fetches no shards."""
        if not isinstance(self._store, FetchesShards):
            return None
        return self._store.feed(map(self.own_ids, upcoming), num_in_flight=num_in_flight)

    def close(self) -> None:
        """Release the files of both stores."""
        self._store.close()
        self._leader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _with_shards(self, rows: FrameRows, frame_ids: FrameIds) -> FrameRows:
        shard_ends = np.cumsum(self._leader.shard_sizes)
        rows = rows.copy()
        rows["shard_id"] = np.searchsorted(shard_ends, np.asarray(frame_ids, np.int64), side="right")
        return rows


class _AlignedEncoded(AlignedStore):
    """Of a store that gives encoded frames. Implements `HoldsEncodedFrames`."""

    @property
    def encoding_name(self) -> str:
        """See `HoldsEncodedFrames`."""
        return cast("HoldsEncodedFrames", self._store).encoding_name

    def read_encoded(self, frame_ids: FrameIds) -> list[npt.NDArray[np.uint8]]:
        """See `HoldsEncodedFrames`."""
        return cast("HoldsEncodedFrames", self._store).read_encoded(self.own_ids(frame_ids))


class _AlignedInGroups(AlignedStore):
    """Of a store that decodes in groups, and whose ids are those of `leader`. Implements `DecodesInGroups`."""

    def decode_groups(self, frame_ids: FrameIds) -> Int64s:
        """See `DecodesInGroups`."""
        return cast("DecodesInGroups", self._store).decode_groups(self.own_ids(frame_ids))

    def read_frames_into(self, frame_ids: FrameIds, outs: Sequence[Frames]) -> None:
        """See `DecodesInGroups`."""
        cast("DecodesInGroups", self._store).read_frames_into(self.own_ids(frame_ids), outs)


class _AlignedOnDevice(AlignedStore):
    """Of a store that decodes on a GPU. Implements `DecodesOnDevice`."""

    @property
    def device(self) -> Any:  # noqa: ANN401 - a torch.device
        """See `DecodesOnDevice`."""
        return cast("DecodesOnDevice", self._store).device

    def read_frames_on_device(self, frame_ids: FrameIds, out: Any = None) -> Any:  # noqa: ANN401 - tensors
        """See `DecodesOnDevice`."""
        return cast("DecodesOnDevice", self._store).read_frames_on_device(self.own_ids(frame_ids), out)


class _AlignedOnDeviceInGroups(_AlignedOnDevice, _AlignedInGroups):
    """Of a store that does both, and whose ids are those of `leader`."""
