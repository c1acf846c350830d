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

    def __init__(self, paths: Sequence[str], *, hidden: Collection[int] = ()) -> None:
        """`paths` by video_id, with forward slashes.

        A path means a video of `hidden`, such as a forgotten one, only where no other video has it; of several hidden
        ones, the last. So do the other names.
        """
        self._paths = paths
        self._by_path: dict[str, list[int]] = {}
        self._by_name: dict[str, list[int]] = {}
        hides = frozenset(hidden)
        for video_id, path in enumerate(paths):
            if video_id not in hides:
                self._by_path.setdefault(path, []).append(video_id)
                for name in _other_names(path):
                    self._by_name.setdefault(name, []).append(video_id)
        self._hidden_by_path = {paths[video_id]: video_id for video_id in sorted(hides)}
        self._hidden_by_name: dict[str, int] = {}
        for video_id in sorted(hides):
            self._hidden_by_name |= dict.fromkeys(_other_names(paths[video_id]), video_id)

    def find(self, name: str) -> int:
        """The video_id of a video, or `NO_VIDEO`. A path of the store comes before the name of another video.

        Raises:
            ColumnError: several videos have this name.
        """
        if name in self._hidden_by_path and name not in self._by_path:
            return self._hidden_by_path[name]
        found = self._by_path.get(name) or self._by_name.get(name, [])
        if len(found) > 1:
            what = f"video {without_controls(name)!r} may be any of {counted(len(found), 'video')}"
            if name in self._by_path:
                raise ColumnError(f"{what}: stores of a concat have one path in common")
            paths = ", ".join(repr(without_controls(self._paths[video_id])) for video_id in found[:3])
            raise ColumnError(f"{what} ({paths}); give its path")
        return found[0] if found else self._hidden_by_name.get(name, NO_VIDEO)

    def nearest(self, name: str) -> list[str]:
        """Up to three names that are most like `name`, the nearest first."""
        names = [*self._by_path, *self._by_name]
        return difflib.get_close_matches(name, names, n=3, cutoff=0.0)


def _other_names(path: str) -> set[str]:
    """What a table may call a video, beside its path."""
    pure = PurePosixPath(path)
    return {pure.name, pure.stem, str(pure.with_suffix(""))} - {path, ""}
