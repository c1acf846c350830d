"""Which of a source's videos are taken: `--include`, `--exclude`, `--limit`."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
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

        Raises:
            ConfigError: a pattern of `include` matches no video, or no video is left.
        """
        videos = contents.videos
        paths = [video.relative_path for video in videos]
        for pattern in self.include:
            if not any(map(pattern.matches, paths)):
                raise ConfigError(
                    f"{{--include}}: {pattern.text!r} matches no video of {len(paths)}, such as "
                    f"{_names_like(pattern.text, paths)}"
                )
        taken = [
            video
            for video in videos
            if (not self.include or _any_matches(self.include, video.relative_path))
            and not _any_matches(self.exclude, video.relative_path)
        ]
        if not taken:
            raise ConfigError(
                f"no video of {len(videos)} is left: {{--include}} and {{--exclude}} leave all out"
            )
        return SourceContents(
            videos=taken[: self.limit],
            passed_over=msgspec.structs.replace(
                contents.passed_over,
                num_excluded=len(videos) - len(taken),
                num_beyond_limit=len(taken) - len(taken[: self.limit]),
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
