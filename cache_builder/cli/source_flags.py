"""The flags that say which videos of the sources are taken, and by which cameras: `--include` and others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from cache_builder.errors import ConfigError
from cache_builder.setting_names import SettingError
from cache_builder.sources import Sources
from frame_store.remote import RemoteUrl

Command = TypeVar("Command", bound=Callable[..., Any])


def source_flags(command: Command) -> Command:
    """Give a command `--include`, `--exclude`, `--limit` and `--camera-pattern`: the keywords of `ChosenVideos`."""
    for option in (
        click.option(
            "--camera-pattern",
            metavar="PATTERN",
            help="The folder has cameras, and its videos paths such as '{episode}/{camera}.mp4'.",
        ),
        click.option(
            "--limit", metavar="N", type=click.IntRange(min=1), help="Take the first N of these videos alone."
        ),
        click.option(
            "--exclude",
            metavar="GLOB",
            multiple=True,
            help="Leave out videos whose paths match; may be given again.",
        ),
        click.option(
            "--include",
            metavar="GLOB",
            multiple=True,
            help="Take the videos alone whose paths match, such as 'day1/*.mp4' or '**/cam0/*'; may be given again.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, kw_only=True)
class ChosenVideos:
    """What the flags say."""

    include: Sequence[str]
    exclude: Sequence[str]
    limit: int | None
    camera_pattern: str | None

    @property
    def given(self) -> list[str]:
        """The names of the flags that were given."""
        flags = {
            "include": self.include,
            "exclude": self.exclude,
            "limit": self.limit,
            "camera-pattern": self.camera_pattern,
        }
        return [name for name, value in flags.items() if value]

    def of(self, paths: Sequence[Path | RemoteUrl]) -> Sources:
        """The sources at `paths`, at least one, with these videos of them.

        Raises:
            ConfigError: a pattern is none.
        """
        try:
            return Sources.of(
                paths,
                include=self.include,
                exclude=self.exclude,
                limit=self.limit,
                camera_pattern=self.camera_pattern,
            )
        except SettingError as error:
            raise ConfigError(error.marked_text) from error
