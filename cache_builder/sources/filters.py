"""Which of a source's videos are taken: `--include`, `--exclude`, `--limit`."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from cache_builder.errors import ConfigError
from cache_builder.setting_names import SettingError
from cache_builder.sources.contents import SourceContents
from cache_builder.sources.patterns import PathPattern
from frame_store.shared import whole_number

_NUM_NAMES_TOLD: Final = 3
_MAX_NAMES_COMPARED: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFilter:
    """Takes the videos whose paths a pattern of `include` matches and none of `exclude`, and of these the first."""

    include: tuple[PathPattern, ...] = ()
    """Empty: every video."""
    exclude: tuple[PathPattern, ...] = ()
    limit: int | None = None
    """The most videos taken, in the order of the source; None: all."""

    def __post_init__(self) -> None:
        """Refuse a limit that is no whole number from 1 on.

        Raises:
            SettingError: it is none.
        """
        if self.limit is not None:
            limit = whole_number("{--limit}", self.limit, least=1, error=SettingError)
            object.__setattr__(self, "limit", limit)

    def applied(self, contents: SourceContents) -> SourceContents:
        """The videos taken, in their order, with a count of those left out.

        With cameras, names of videos are compared, and each camera keeps the same ones.

        Raises:
            ConfigError: a pattern of `include` matches no video, or no video is left.
        """
        paths = [video.relative_path for video in contents.videos_of(next(iter(contents.cameras), None))]
        for pattern in self.include:
            if not any(map(pattern.matches, paths)):
                raise ConfigError(
                    f"{{--include}}: {pattern.text!r} matches no video of {len(paths)}, such as "
                    f"{_names_like(pattern.text, paths)}"
                )
        chosen = [
            row
            for row, path in enumerate(paths)
            if (not self.include or _any_matches(self.include, path)) and not _any_matches(self.exclude, path)
        ]
        if not chosen:
            raise ConfigError(
                f"no video of {len(paths)} is left: {{--include}} and {{--exclude}} leave all out"
            )
        taken = chosen[: self.limit]
        dataset = contents.dataset
        if dataset is not None and len(taken) < len(paths):
            dataset = dataset.of_videos(frozenset(paths[row] for row in taken))
        by_camera = [contents.videos_of(camera) for camera in contents.cameras or [None]]
        return replace(
            contents,
            videos=[videos[row] for videos in by_camera for row in taken],
            dataset=dataset,
            passed_over=msgspec.structs.replace(
                contents.passed_over,
                num_excluded=len(paths) - len(chosen),
                num_beyond_limit=len(chosen) - len(taken),
                unmatched_excludes=[
                    pattern.text for pattern in self.exclude if not any(map(pattern.matches, paths))
                ],
            ),
        )


def _any_matches(patterns: Sequence[PathPattern], path: str) -> bool:
    return any(pattern.matches(path) for pattern in patterns)


def _names_like(text: str, paths: Sequence[str]) -> str:
    """Some of the paths, those first that look like `text`."""
    some = paths[:_MAX_NAMES_COMPARED]
    close = difflib.get_close_matches(text, some, n=_NUM_NAMES_TOLD, cutoff=0.0)
    return ", ".join(map(repr, close))
