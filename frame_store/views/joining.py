"""`concat`: several stores, or several groups of cameras, as one."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np

from frame_store.cameras import CameraGroup
from frame_store.columns import Columns, concat_columns
from frame_store.errors import ViewError
from frame_store.protocol import FrameStore
from frame_store.source_order import Int64s
from frame_store.views.camera_view import view_of
from frame_store.views.concatenation import Concatenation, concatenation_of
from frame_store.views.selection import selection_of_runs
from frame_store.views.view import View, base_of


def concat(stores: Sequence[FrameStore]) -> FrameStore:
    """The frames of `stores`, one store after the other, as one store.

    Ids, videos and shards of a store follow those of the stores before it; two videos may have the same path. A store
    that is given twice has its frames twice. Of views it is the view of the concatenation of their bases. The result
    prefetches where a part does, and decodes in groups, or gives encoded frames, where all parts do (with one
    encoding). Stores that decode on a GPU give their frames through the host. A batch from several parts is read into
    memory of its own and copied once more.

    Groups of cameras are joined camera by camera: each has the same cameras, and the order is that of the first group.

    Raises:
        ViewError: no stores, frames of different shapes or types of pixels, groups of other cameras, or a group beside
            a store without cameras. The message names both stores.
        ColumnError: one column with another scope, dtype or shape in two stores.
    """
    if isinstance(stores, str) or not isinstance(stores, Sequence) or not stores:
        raise ViewError(f"concat takes a list of one or more stores, found {stores!r}")
    for store in stores:
        if not hasattr(store, "read_frames"):
            raise ViewError(f"concat takes a list of stores, found {type(store).__name__} in it")
    bases = [base_of(store) for store in stores]
    has_cameras = [isinstance(base, CameraGroup) for base in bases]
    if any(has_cameras):
        if not all(has_cameras):
            group, other = stores[has_cameras.index(True)], stores[has_cameras.index(False)]
            raise ViewError(
                f"groups of cameras are concatenated with groups: {group!r} is one, {other!r} is none; take one camera "
                "of the group, or group_cameras of the other"
            )
        joined: FrameStore = _as_store(JoinedGroup(cast("list[CameraGroup]", bases)))
    else:
        joined = concatenation_of(bases, [repr(store) for store in stores])
    if not any(isinstance(store, View) for store in stores):
        return joined
    counting = _concatenation_below(joined)
    assert counting is not None  # it was made above
    return _view_of_parts(joined, counting, stores)


class JoinedGroup(CameraGroup):
    """Groups of the same cameras, one after the other. `concat` makes it."""

    def __init__(self, groups: Sequence[CameraGroup]) -> None:
        """Of one group or more.

        Raises:
            ViewError: other cameras, shapes or pixels.
            ColumnError: as `concat`.
        """
        self._groups = tuple(groups)
        first = self._groups[0]
        for group in self._groups[1:]:
            if set(group.cameras) != set(first.cameras):
                raise ViewError(
                    f"groups of the same cameras can be concatenated: {first!r} has {_listed(first)}, {group!r} has "
                    f"{_listed(group)}"
                )
        super().__init__(
            {
                name: concatenation_of(
                    [group.cameras[name] for group in self._groups],
                    [f"camera {name!r} of {group!r}" for group in self._groups],
                )
                for name in first.cameras
            }
        )
        self._join_columns()  # refuses columns that do not fit

    @property
    def groups(self) -> tuple[CameraGroup, ...]:
        """The groups, in order."""
        return self._groups

    @cached_property
    def columns(self) -> Columns:
        """The columns that all groups have."""
        return self._join_columns()[0]

    @property
    def dropped_columns(self) -> list[str]:
        """Names of columns that some groups have and others lack. They are left out; a loader says so."""
        return self._join_columns()[1]

    @property
    def dataset(self) -> Mapping[str, Any] | None:
        """What the data set states about itself, where all groups come from one; None otherwise."""
        first = self._groups[0].dataset
        return first if all(group.dataset == first for group in self._groups) else None

    def _join_columns(self) -> tuple[Columns, list[str]]:
        return concat_columns([group.columns for group in self._groups], fingerprint=self.fingerprint)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "columns"}


def _as_store(group: CameraGroup) -> FrameStore:
    """The group, typed as what views take: it has all of `FrameStore`, and gives a dict by `group[i]`."""
    return cast("FrameStore", group)


def _listed(group: CameraGroup) -> str:
    return ", ".join(map(repr, group.cameras))


def part_of_videos(store: FrameStore) -> Int64s | None:
    """The part of a concatenation that each video of `store` is of: int64, shape (V,). None for other stores."""
    base = _concatenation_below(store)
    if base is None:
        return None
    parts = np.repeat(np.arange(len(base.parts)), np.diff(base.first_videos))
    return parts[store.video_ids] if isinstance(store, View) else parts


def num_parts(store: FrameStore) -> int:
    """Parts of a concatenation, or of that which a view is of; 1 for other stores."""
    return len(parts_of(store))


def parts_of(store: FrameStore) -> tuple[FrameStore, ...]:
    """The parts of a concatenation, or of that which a view is of: stores or groups. Another store is its only part."""
    base = base_of(store)
    if isinstance(base, JoinedGroup):
        return base.groups
    return base.parts if isinstance(base, Concatenation) else (base,)


def _concatenation_below(store: FrameStore) -> Concatenation | None:
    """The concatenation that counts the frames: of a group of cameras, that of the first camera."""
    base = base_of(store)
    counting = base.leader if isinstance(base, JoinedGroup) else base
    return counting if isinstance(counting, Concatenation) else None


def _view_of_parts(base: FrameStore, joined: Concatenation, stores: Sequence[FrameStore]) -> View:
    """The view of `base` that has the frames of `stores`, one of them or more a view of a part.

    `joined` counts the frames of `base`.
    """
    starts, ends, videos, held = [], [], [], []
    for store, first_id, first_video in zip(stores, joined.first_ids, joined.first_videos, strict=False):
        if isinstance(store, View):
            own_starts, own_ends = store.selection.runs()
            own_videos, own_held = store.video_ids, store.frames_of_video
        else:
            own_starts, own_ends = np.zeros(1, np.int64), np.array([len(store)])
            own_held = np.diff(store.source_order.first_stored)
            own_videos = np.arange(len(own_held))
        starts.append(own_starts + first_id)
        ends.append(own_ends + first_id)
        videos.append(own_videos + first_video)
        held.append(own_held)
    selection = selection_of_runs(np.concatenate(starts), np.concatenate(ends), num_frames=len(joined))
    return view_of(base, selection, video_ids=np.concatenate(videos), frames_of_video=np.concatenate(held))
