"""Views of groups of cameras."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, overload

from frame_store.cameras import CameraGroup
from frame_store.protocol import FrameIds, FrameRows, Frames, FrameStore
from frame_store.source_order import Int64s
from frame_store.views.selection import Selection
from frame_store.views.view import View


def view_of(base: FrameStore, selection: Selection, *, video_ids: Int64s, frames_of_video: Int64s) -> View:
    """The frames `selection` of a store or of a group of cameras. Arguments are those of `View`."""
    kind = CameraView if isinstance(base, CameraGroup) else View
    return kind(base, selection, video_ids=video_ids, frames_of_video=frames_of_video)


class CameraView(View):
    """Some moments of a group of cameras. `base` is the group; `read_frames` takes a camera, `view[i]` gives a dict."""

    @property
    def _group(self) -> CameraGroup:
        assert isinstance(self._base, CameraGroup)  # `view_of` looks
        return self._base

    @cached_property
    def cameras(self) -> Mapping[str, View]:
        """The same moments of each camera alone, in order, under the ids of this view."""
        return MappingProxyType(
            {
                name: View(
                    store, self._selection, video_ids=self._video_ids, frames_of_video=self._frames_of_video
                )
                for name, store in self._group.cameras.items()
            }
        )

    @property
    def frame_shapes(self) -> dict[str, tuple[int, int, int]]:
        """(H, W, C) of each camera's frames."""
        return self._group.frame_shapes

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "cameras"}

    @overload  # type: ignore[override]
    def __getitem__(self, key: int, /) -> dict[str, Frames]: ...
    @overload
    def __getitem__(self, key: slice, /) -> dict[str, Frames]: ...
    def __getitem__(self, key: int | slice, /) -> dict[str, Frames]:
        """`view[i]`: the frame of each camera at one moment, (H, W, C). `view[a:b]`: several, (B, H, W, C)."""
        return {name: view[key] for name, view in self.cameras.items()}

    def __iter__(self) -> Iterator[dict[str, Frames]]:  # type: ignore[override]
        """Every moment of the view, in the order of ids."""
        for moment in zip(*self.cameras.values(), strict=True):
            yield dict(zip(self.cameras, moment, strict=True))

    def read_frames(
        self, frame_ids: FrameIds, out: Frames | None = None, *, camera: str | None = None
    ) -> Frames:
        """Frames of one camera in request order: (B, H, W, C). Raises as `CameraGroup.read_frames`."""
        return self._group.read_frames(self._checked(frame_ids), out, camera=camera)

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None, *, camera: str | None = None
    ) -> tuple[Frames, FrameRows]:
        """`read_frames` and `rows_of`."""
        frames, rows = self._group.read_frames_and_rows(self._checked(frame_ids), out, camera=camera)
        return frames, self.own_rows(rows)
