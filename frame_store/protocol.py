"""What the loader needs of a store: the one interface behind cached and live frames."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

FrameIds: TypeAlias = npt.NDArray[np.integer[Any]] | Sequence[int]
Frames: TypeAlias = npt.NDArray[np.uint8]


@runtime_checkable
class FrameStore(Protocol):
    """A finite, ordered set of equally shaped RGB frames, addressed by frame id.

    Duties of every implementation: `read_frames` may be called from several threads at once; the
    store pickles without open handles and reopens them where it is unpickled or after a fork.
    """

    @property
    def index(self) -> npt.NDArray[Any]:
        """Structured array of one row per frame id, read-only.

        Has at least the fields `video_id`, `frame_in_video`, `pts_seconds` (NaN where the source has
        none) and `shard_id`, as in `frame_store.layout.INDEX_DTYPE`.
        """
        ...

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, 3) of every frame."""
        ...

    @property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Frames per shard, shape (S,). Shard s holds the ids [sum(sizes[:s]), sum(sizes[:s+1]))."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hex digest of the inputs and the configuration that determine every frame."""
        ...

    def __len__(self) -> int: ...

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """Frames in request order, duplicates allowed: uint8 RGB, shape (B, H, W, 3).

        `out`, if given, is a C-contiguous buffer of that shape and is what is returned.
        Raises `FrameIdError`, `ValueError` for a wrong buffer, `StoreDamagedError`.
        """
        ...

    def close(self) -> None:
        """Release files; reading afterwards reopens them."""
        ...


@runtime_checkable
class PrefetchingStore(FrameStore, Protocol):
    """A store whose frames come from a disk that can be asked to fetch them ahead of time."""

    def prefetch(self, frame_ids: FrameIds) -> bool:
        """Start bringing the frames into memory, and return at once: whether some were not there, as a few show.

        A hint: damage is left for `read_frames` to find.
        """
        ...
