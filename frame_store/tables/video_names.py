"""Which video of a store a table means: by its path, its file name, or its name without the extension."""

import difflib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from frame_store.errors import ColumnError
from frame_store.shared import without_controls

NO_VIDEO: Final = -1


class VideoNames:
    """The videos of a store by every name that a table may use for them."""

    def __init__(self, paths: Sequence[str]) -> None:
        """`paths` by video_id, with forward slashes."""
        self._paths = paths
        self._by_path = {path: video_id for video_id, path in enumerate(paths)}
        self._by_name: dict[str, list[int]] = {}
        for video_id, path in enumerate(paths):
            pure = PurePosixPath(path)
            for name in {pure.name, pure.stem, str(pure.with_suffix(""))} - {path, ""}:
                self._by_name.setdefault(name, []).append(video_id)

    def find(self, name: str) -> int:
        """The video_id of a video, or `NO_VIDEO`. A path of the store comes before the name of another video.

        Raises:
            ColumnError: several videos have this name.
        """
        video_id = self._by_path.get(name)
        if video_id is not None:
            return video_id
        found = self._by_name.get(name, [])
        if len(found) > 1:
            paths = ", ".join(repr(without_controls(self._paths[video_id])) for video_id in found[:3])
            raise ColumnError(
                f"video {without_controls(name)!r} may be any of {len(found)} videos ({paths}); give the path"
            )
        return found[0] if found else NO_VIDEO

    def nearest(self, name: str) -> list[str]:
        """Up to three names that are most like `name`, the nearest first."""
        names = [*self._by_path, *self._by_name]
        return difflib.get_close_matches(name, names, n=3, cutoff=0.0)
