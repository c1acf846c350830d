"""A group of cameras: stores of the same videos under common ids."""

import hashlib
import operator
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Self, overload

import numpy as np
import numpy.typing as npt

from frame_store.cameras.aligned import aligned_store, same_arrays
from frame_store.columns import NO_COLUMNS, Columns
from frame_store.errors import StoreDamagedError, ViewError
from frame_store.names import PixelDtype
from frame_store.notebook import ShownInNotebooks
from frame_store.protocol import FrameIds, FrameRows, Frames, FrameStore, PrefetchingStore, frames_ahead
from frame_store.shared import counted, counted_in_groups, without_controls
from frame_store.source_order import SourceOrder
from frame_store.video_table import VideoTable

_MOMENTS_PER_STEP: Final = 64


class CameraGroup(ShownInNotebooks):
    """Cameras that filmed the same videos. Id i is one moment: the same video and `frame_in_video` in every camera.

    Ids, shard sizes, videos, source order and rows are those of the first camera. `cameras[name]` is a `FrameStore`
    with these ids. The group itself reads frames by camera. It prefetches where its cameras do, and pickles as they do.

    `group_cameras` makes a group of stores; `open_store` opens a cache of cameras as a group.
    """

    def __init__(
        self,
        cameras: Mapping[str, FrameStore],
        *,
        columns: Columns | None = None,
        dataset: Mapping[str, Any] | None = None,
    ) -> None:
        """Take stores whose ids are common already: see `group_cameras`, which aligns and checks them.

        Without `columns` and `dataset`, those of the first camera are taken.
        """
        self._cameras = dict(cameras)
        self._leader = next(iter(self._cameras.values()))
        self._columns = columns
        self._dataset = dataset

    @property
    def cameras(self) -> Mapping[str, FrameStore]:
        """A store for each camera, in order, all under the ids of the group."""
        return MappingProxyType(self._cameras)

    @property
    def leader(self) -> FrameStore:
        """The store of the first camera."""
        return self._leader

    @cached_property
    def columns(self) -> Columns:
        """The columns of the videos, which all cameras share."""
        columns = self._columns
        if columns is None:
            columns = getattr(self._leader, "columns", NO_COLUMNS)
        if not columns:
            return NO_COLUMNS
        return Columns(
            columns.values(),
            num_rows=columns.num_rows,
            num_videos=columns.num_videos,
            fingerprint=self.fingerprint,
        )

    @property
    def dataset(self) -> Mapping[str, Any] | None:
        """What the data set that the videos come from states about itself; None for plain videos."""
        return getattr(self._leader, "dataset", None) if self._dataset is None else self._dataset

    @property
    def content_order(self) -> npt.NDArray[np.uint32] | None:
        """Ids in content order, by the pixels of the first camera; None where that has no such order."""
        return getattr(self._leader, "content_order", None)

    @property
    def content_digest(self) -> str | None:
        """SHA-256, hex, that identifies the content order; None without one."""
        return getattr(self._leader, "content_digest", None)

    @property
    def frame_shapes(self) -> dict[str, tuple[int, int, int]]:
        """(H, W, C) of each camera's frames."""
        return {name: store.frame_shape for name, store in self._cameras.items()}

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the first camera's frames. `frame_shapes` has all."""
        return self._leader.frame_shape

    @property
    def frame_dtype(self) -> PixelDtype:
        """Of the first camera's frames. Each of `cameras` has its own."""
        return self._leader.frame_dtype

    @property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Frames per shard, shape (S,)."""
        return self._leader.shard_sizes

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the names and fingerprints of all cameras."""
        identity = [f"{name!r} {store.fingerprint}" for name, store in self._cameras.items()]
        return hashlib.sha256("\n".join(["cameras", *identity]).encode()).hexdigest()

    @cached_property
    def videos(self) -> VideoTable:
        """The table of videos, of the first camera: names and numbers of frames are the same in all.

        Raises:
            StoreDamagedError: a camera has other videos; and what `FrameStore.videos` raises.
        """
        (first_name, first), *others = self._cameras.items()
        for name, store in others:
            if (problem := differing_videos(first_name, first.videos, name, store.videos)) is not None:
                raise StoreDamagedError(f"{self!r}: {problem}; run cache-verify")
        return first.videos

    @property
    def source_order(self) -> SourceOrder:
        """See `FrameStore`; of the first camera."""
        return self._leader.source_order

    @property
    def frames_ahead(self) -> int:
        """The largest number of a camera. See `frame_store.protocol.frames_ahead`."""
        return max(map(frames_ahead, self._cameras.values()))

    @property
    def may_cross_fork(self) -> bool:
        """Whether all cameras may."""
        return all(store.may_cross_fork for store in self._cameras.values())

    def __len__(self) -> int:
        return len(self._leader)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name!r}: {shape}" for name, shape in self.frame_shapes.items())
        return f"CameraGroup({counted_in_groups(len(self), 'moment')} of {{{shapes}}})"

    def __getstate__(self) -> dict[str, Any]:
        made = {"videos", "columns"}  # they are made again where they are asked for
        return {name: value for name, value in self.__dict__.items() if name not in made}

    @overload
    def __getitem__(self, key: int, /) -> dict[str, Frames]: ...
    @overload
    def __getitem__(self, key: slice, /) -> dict[str, Frames]: ...
    def __getitem__(self, key: int | slice, /) -> dict[str, Frames]:
        """`group[i]`: the frame of each camera at one moment, (H, W, C). `group[a:b]`: several, (B, H, W, C)."""
        return {name: store[key] for name, store in self._cameras.items()}

    def __iter__(self) -> Iterator[dict[str, Frames]]:
        """Every moment, in the order of ids."""
        for first in range(0, len(self), _MOMENTS_PER_STEP):
            together = self[first : first + _MOMENTS_PER_STEP]
            for moment in range(min(_MOMENTS_PER_STEP, len(self) - first)):
                yield {name: frames[moment] for name, frames in together.items()}

    def ids_of_video(self, video_id: int) -> npt.NDArray[np.int64]:
        """See `FrameStore`."""
        return self.source_order.ids_of_video(operator.index(video_id))

    def camera(self, name: str) -> FrameStore:
        """The store of a camera.

        Raises:
            ViewError: no such camera.
        """
        if name not in self._cameras:
            raise ViewError(f"no camera {name!r}; there are {self._names}")
        return self._cameras[name]

    def read_frames(
        self, frame_ids: FrameIds, out: Frames | None = None, *, camera: str | None = None
    ) -> Frames:
        """Frames of one camera in request order: (B, H, W, C), into `out` where given.

        Raises:
            ViewError: no such camera, or none is named where there are several.
            What `FrameStore.read_frames` raises.
        """
        if camera is None and len(self._cameras) == 1:
            return self._leader.read_frames(frame_ids, out)
        if camera is None:
            raise ViewError(
                f"frames of which camera? name one by camera=, of {self._names}; group[i] has all of a moment"
            )
        return self.camera(camera).read_frames(frame_ids, out)

    def rows_of(self, frame_ids: FrameIds) -> FrameRows:
        """See `FrameStore`; `pts_seconds` are those of the first camera."""
        return self._leader.rows_of(frame_ids)

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None, *, camera: str | None = None
    ) -> tuple[Frames, FrameRows]:
        """`read_frames` and `rows_of`."""
        return self.read_frames(frame_ids, out, camera=camera), self.rows_of(frame_ids)

    def prefetch(self, frame_ids: FrameIds) -> bool:
        """See `PrefetchingStore`; of every camera that prefetches. Returns whether a frame of one was missing."""
        was_missing = False
        for store in self._cameras.values():
            if isinstance(store, PrefetchingStore):
                was_missing |= store.prefetch(frame_ids)
        return was_missing

    def close(self) -> None:
        """Release the files of all cameras; reading opens them again."""
        for store in self._cameras.values():
            store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _names(self) -> str:
        return ", ".join(map(repr, self._cameras))


def group_cameras(
    cameras: Mapping[str, FrameStore],
    *,
    columns: Columns | None = None,
    dataset: Mapping[str, Any] | None = None,
) -> CameraGroup:
    """Stores of the same videos as one group, whatever the order of their ids.

    Videos are the same where their names are; all cameras have them in one order, each with the same decoded and stored
    frames. Ids, shards and rows of the group are those of the first camera.

    Args:
        cameras: an open store for the name of each camera: caches, live stores or concatenations.
        columns: of the videos; None for those of the first camera.
        dataset: what the data set states about itself; None for that of the first camera.

    Raises:
        ViewError: no camera, a store that is a view or a group, or cameras whose videos or frames differ; the message
            names the camera and the video, what was expected and found.
    """
    _check_cameras(cameras)
    names = list(cameras)
    leader = cameras[names[0]]
    for name in names[1:]:
        _require_same_frames(names[0], leader, name, cameras[name])
    order = leader.source_order
    if columns and (columns.num_rows, columns.num_videos) != (order.num_rows, order.num_videos):
        raise ViewError(
            f"columns of {counted(columns.num_rows, 'frame')} and {counted(columns.num_videos, 'video')} do not fit "
            f"cameras of {counted(order.num_rows, 'decoded frame')} and {counted(order.num_videos, 'video')}"
        )
    together = {name: aligned_store(store, leader, name=name) for name, store in cameras.items()}
    return CameraGroup(together, columns=columns, dataset=dataset)


def _check_cameras(cameras: Mapping[str, FrameStore]) -> None:
    """Refuse what is no store with ids of its own."""
    if not isinstance(cameras, Mapping) or not cameras:
        raise ViewError(f"group_cameras takes a dict with a store for each name, found {cameras!r}")
    for name, store in cameras.items():
        if not isinstance(name, str) or not name:
            raise ViewError(f"the name of a camera is a text, found {name!r}")
        if isinstance(store, CameraGroup):
            raise ViewError(
                f"camera {name!r} is a group of cameras itself; give its cameras one by one: "
                f"{', '.join(map(repr, store.cameras))}"
            )
        if not isinstance(store, FrameStore):
            raise ViewError(f"camera {name!r} must be an open store, found {store!r}")
        if hasattr(store, "cache_ids"):
            raise ViewError(
                f"camera {name!r} is a view; group the stores, then take the view of the group: {store!r}"
            )


def _require_same_frames(first_name: str, first: FrameStore, name: str, store: FrameStore) -> None:
    """Raise ViewError unless two cameras have the same videos, of the same decoded and stored frames."""
    if (problem := differing_videos(first_name, first.videos, name, store.videos)) is not None:
        raise ViewError(problem)
    ours, theirs = first.source_order, store.source_order
    if not same_arrays(ours.source_frames, theirs.source_frames):
        raise ViewError(
            f"cameras {first_name!r} and {name!r} store other frames of their videos"
            f"{_first_other_frame(first.videos, ours, theirs)}; build both with one stride"
        )


def _first_other_frame(videos: VideoTable, ours: SourceOrder, theirs: SourceOrder) -> str:
    """Where two orders of the same numbers of frames differ first."""
    places = np.arange(ours.num_stored)
    video_ids = np.repeat(np.arange(ours.num_videos), np.diff(ours.first_stored))
    one, other = ours.frames_at(places, video_ids), theirs.frames_at(places, video_ids)
    place = int(np.argmax(one != other))
    path = without_controls(videos[int(video_ids[place])].path)
    return f": of {path!r}, frame {one[place]} and not {other[place]}"


def differing_videos(first_name: str, first: VideoTable, name: str, table: VideoTable) -> str | None:
    """The first difference of the videos of two cameras in name, decoded or stored frames; None if there is none."""
    first_name, name = without_controls(first_name), without_controls(name)
    if len(first) != len(table):
        return f"camera {name!r} has {counted(len(table), 'video')}, camera {first_name!r} has {len(first)}"
    for field in ("path", "num_frames_decoded", "num_frames_stored"):
        differs = first.column(field) != table.column(field)
        if differs.any():
            video_id = int(np.argmax(differs))
            found, expected = table.column(field)[video_id], first.column(field)[video_id]
            return (
                f"video {video_id}, {without_controls(first[video_id].path)!r}: {field} is "
                f"{_shown(found)} in camera {name!r}, {_shown(expected)} in camera {first_name!r}"
            )
    return None


def _shown(value: object) -> str:
    return repr(without_controls(value)) if isinstance(value, str) else str(value)


def stores_of_cameras(store: FrameStore) -> Mapping[str, FrameStore] | None:
    """The stores of a group's cameras, under its ids; None for a store of one kind of frames.

    `store` is no view: see `base_of`.
    """
    return store.cameras if isinstance(store, CameraGroup) else None
