"""A camera's frames under the ids of another camera of the same videos."""

import numpy as np
import numpy.typing as npt

from frame_store.columns import Columns
from frame_store.errors import ViewError
from frame_store.frame_sequence import FrameSequence
from frame_store.names import PixelDtype
from frame_store.protocol import FrameIds, FrameRows, Frames, FrameStore, check_frame_ids
from frame_store.source_order import NO_PLACE, SourceOrder
from frame_store.video_table import VideoTable


class AlignedStore(FrameSequence):
    """The frames of `store` under the ids of `leader`: id i is the frame of the same video and `frame_in_video`.

    Both stores have the same videos with the same frames, in any order of ids.
    """

    def __init__(self, store: FrameStore, leader: FrameStore, *, name: str) -> None:
        self._store, self._leader, self._name = store, leader, name

    @property
    def store(self) -> FrameStore:
        """The store that the frames come from, with ids of its own."""
        return self._store

    def own_ids(self, frame_ids: FrameIds) -> npt.NDArray[np.int64]:
        """Ids in `store` of the frames with these ids in `leader`: int64, shape (B,).

        Raises:
            FrameIdError: an id outside [0, len(self)).
            ViewError: the camera has no such frame.
        """
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        rows = self._leader.rows_of(ids)
        order = self._store.source_order
        video_ids = rows["video_id"].astype(np.int64)
        frame_in_video = rows["frame_in_video"].astype(np.int64)
        places = order.places_of(video_ids, frame_in_video)
        if (places == NO_PLACE).any():
            missing = int(np.argmax(places == NO_PLACE))
            raise ViewError(
                f"camera {self._name!r} has no frame {frame_in_video[missing]} of video {video_ids[missing]}"
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
        rows = self._store.rows_of(self.own_ids(frame_ids))
        rows["shard_id"] = self._leader.rows_of(frame_ids)["shard_id"]
        return rows

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None
    ) -> tuple[Frames, FrameRows]:
        """See `FrameStore`."""
        return self.read_frames(frame_ids, out), self.rows_of(frame_ids)

    def close(self) -> None:
        """Release the files of both stores."""
        self._store.close()
        self._leader.close()
