"""A group of cameras: stores of the same videos under common ids."""

import hashlib
import operator
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from frame_store.cameras.aligned import AlignedStore
from frame_store.columns import NO_COLUMNS, Columns
from frame_store.errors import ViewError
from frame_store.names import PixelDtype
from frame_store.protocol import FrameIds, FrameRows, Frames, FrameStore
from frame_store.shared import counted
from frame_store.source_order import SourceOrder
from frame_store.video_table import VideoTable


class CameraGroup:
    """Cameras that filmed the same videos. Id i is one moment: the same video and `frame_in_video` in every camera.

    Ids, shard sizes, videos, source order and rows are those of the first camera. `cameras[name]` is a `FrameStore`
    with these ids. The group itself reads frames by camera.

    `group_cameras` makes a group of stores; `open_store` opens a cache of cameras as a group.
    """

    def __init__(
        self,
        cameras: Mapping[str, FrameStore],
        *,
        columns: Columns = NO_COLUMNS,
        dataset: Mapping[str, Any] | None = None,
    ) -> None:
        """Take stores whose ids are common already: see `group_cameras`, which aligns and checks them."""
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

    @property
    def columns(self) -> Columns:
        """The columns of the videos, which all cameras share."""
        return self._columns

    @property
    def dataset(self) -> Mapping[str, Any] | None:
        """What the data set that the videos come from states about itself; None for plain videos."""
        return self._dataset

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

    @property
    def videos(self) -> VideoTable:
        """The table of videos, of the first camera: names and numbers of frames are the same in all."""
        return self._leader.videos

    @property
    def source_order(self) -> SourceOrder:
        """See `FrameStore`; of the first camera."""
        return self._leader.source_order

    @property
    def may_cross_fork(self) -> bool:
        """Whether all cameras may."""
        return all(store.may_cross_fork for store in self._cameras.values())

    def __len__(self) -> int:
        return len(self._leader)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name!r}: {shape}" for name, shape in self.frame_shapes.items())
        return f"CameraGroup({len(self)} moments of {{{shapes}}})"

    @overload
    def __getitem__(self, key: int, /) -> dict[str, Frames]: ...
    @overload
    def __getitem__(self, key: slice, /) -> dict[str, Frames]: ...
    def __getitem__(self, key: int | slice, /) -> dict[str, Frames]:
        """`group[i]`: the frame of each camera at one moment, (H, W, C). `group[a:b]`: several, (B, H, W, C)."""
        return {name: store[key] for name, store in self._cameras.items()}

    def __iter__(self) -> Iterator[dict[str, Frames]]:
        """Every moment, in the order of ids."""
        return map(self.__getitem__, range(len(self)))

    def ids_of_video(self, video_id: int) -> npt.NDArray[np.int64]:
        """See `FrameStore`."""
        return self.source_order.ids_of_video(operator.index(video_id))

    def camera(self, name: str) -> FrameStore:
        """The store of a camera.

        Raises:
            ViewError: no such camera.
        """
        if name not in self._cameras:
            raise ViewError(f"no camera {name!r}; there are {', '.join(map(repr, self._cameras))}")
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
            raise ViewError(f"name a camera: {', '.join(map(repr, self._cameras))}")
        return self.camera(camera).read_frames(frame_ids, out)

    def rows_of(self, frame_ids: FrameIds) -> FrameRows:
        """See `FrameStore`; `pts_seconds` are those of the first camera."""
        return self._leader.rows_of(frame_ids)

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None, *, camera: str | None = None
    ) -> tuple[Frames, FrameRows]:
        """`read_frames` and `rows_of`."""
        return self.read_frames(frame_ids, out, camera=camera), self.rows_of(frame_ids)

    def close(self) -> None:
        """Release the files of all cameras; reading opens them again."""
        for store in self._cameras.values():
            store.close()


def group_cameras(
    cameras: Mapping[str, FrameStore],
    *,
    columns: Columns = NO_COLUMNS,
    dataset: Mapping[str, Any] | None = None,
) -> CameraGroup:
    """Stores of the same videos as one group, whatever the order of their ids.

    Videos are the same where their names are, and each must have the same frames in every camera.

    Raises:
        ViewError: no camera, a store that is a view or a group, or cameras whose videos or frames differ; the message
            names the camera and the video, what was expected and found.
    """
    if not cameras:
        raise ViewError("there is no camera")
    names = list(cameras)
    leader = cameras[names[0]]
    together: dict[str, FrameStore] = {names[0]: leader}
    for name in names[1:]:
        _require_same_frames(names[0], leader, name, cameras[name])
        is_same_order = _have_same_order(leader, cameras[name])
        together[name] = cameras[name] if is_same_order else AlignedStore(cameras[name], leader, name=name)
    return CameraGroup(together, columns=columns, dataset=dataset)


def _require_same_frames(first_name: str, first: FrameStore, name: str, store: FrameStore) -> None:
    """Raise ViewError unless two cameras have the same videos, of the same decoded and stored frames."""
    videos, others = first.videos, store.videos
    if len(videos) != len(others):
        raise ViewError(
            f"camera {name!r} has {counted(len(others), 'video')}, camera {first_name!r} has {len(videos)}"
        )
    for field in ("path", "num_frames_decoded", "num_frames_stored"):
        differs = videos.column(field) != others.column(field)
        if differs.any():
            video_id = int(np.argmax(differs))
            raise ViewError(
                f"video {videos[video_id].path!r}: {field} is {others.column(field)[video_id]} in camera {name!r}, "
                f"{videos.column(field)[video_id]} in camera {first_name!r}"
            )
    ours, theirs = first.source_order, store.source_order
    if not _same(ours.source_frames, theirs.source_frames):
        raise ViewError(f"cameras {first_name!r} and {name!r} store other frames of their videos")


def _have_same_order(first: FrameStore, store: FrameStore) -> bool:
    return np.array_equal(first.shard_sizes, store.shard_sizes) and _same(
        first.source_order.order, store.source_order.order
    )


def _same(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def stores_of_cameras(store: FrameStore) -> Mapping[str, FrameStore] | None:
    """The stores of a group's cameras, under its ids; None for a store of one kind of frames.

    `store` is no view: see `base_of`.
    """
    return store.cameras if isinstance(store, CameraGroup) else None
