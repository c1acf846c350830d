"""Which video of a store a table means: by its path, its file name, or its name without the extension."""

import difflib
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import Final

from frame_store.errors import ColumnError
from frame_store.shared import counted, without_controls

NO_VIDEO: Final = -1


class VideoNames:
    """The videos of a store by every name that a table may use for them."""

    def __init__(self, paths: Sequence[str], *, left_out: Collection[int] = ()) -> None:
        """`paths` by video_id, with forward slashes. The videos `left_out` have no name."""
        self._paths = paths
        self._by_path: dict[str, list[int]] = {}
        self._by_name: dict[str, list[int]] = {}
        for video_id, path in enumerate(paths):
            if video_id in left_out:
                continue
            self._by_path.setdefault(path, []).append(video_id)
            pure = PurePosixPath(path)
            for name in {pure.name, pure.stem, str(pure.with_suffix(""))} - {path, ""}:
                self._by_name.setdefault(name, []).append(video_id)

    def find(self, name: str) -> int:
        """The video_id of a video, or `NO_VIDEO`. A path of the store comes before the name of another video.

        Raises:
            ColumnError: several videos have this name.
        """
        found = self._by_path.get(name) or self._by_name.get(name, [])
        if len(found) > 1:
            what = f"video {without_controls(name)!r} may be any of {counted(len(found), 'video')}"
            if name in self._by_path:
                raise ColumnError(f"{what}: stores of a concat have one path in common")
            paths = ", ".join(repr(without_controls(self._paths[video_id])) for video_id in found[:3])
            raise ColumnError(f"{what} ({paths}); give its path")
        return found[0] if found else NO_VIDEO

    def nearest(self, name: str) -> list[str]:
        """Up to three names that are most like `name`, the nearest first."""
        names = [*self._by_path, *self._by_name]
        return difflib.get_close_matches(name, names, n=3, cutoff=0.0)
