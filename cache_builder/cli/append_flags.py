"""The flags of a cache that grows: `--append`, `--forget` and `--rehash`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from cache_builder.cli.column_flags import ColumnsRequest
from cache_builder.errors import ConfigError
from cache_builder.growing import AppendRequest, TablesGiven
from cache_builder.settings import BuildSettings, ErrorPolicy
from frame_store.tables import Missing

Command = TypeVar("Command", bound=Callable[..., Any])


def append_flags(command: Command) -> Command:
    """Give a command `--append`, `--forget` and `--rehash`: the keywords of `GrowingFlags`."""
    for option in (
        click.option(
            "--rehash",
            is_flag=True,
            help="With --append: read all videos that the cache has and compare hashes, not only sizes and times.",
        ),
        click.option(
            "--forget",
            metavar="PATH",
            multiple=True,
            help="Leave this video out of the cache from now on, by its path there; may be given again. With --append "
            "the sources may have another one of that path. Needs no SOURCE.",
        ),
        click.option(
            "--append",
            is_flag=True,
            help="Add the videos that the cache does not have, as a new generation, with its settings. Ids of frames "
            "stay, and its videos are not read again.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, kw_only=True)
class GrowingFlags:
    """What the flags say."""

    append: bool
    forget: Sequence[str]
    rehash: bool

    def check(self, *, overwrite: bool, has_sources: bool) -> None:
        """Raise ConfigError for flags that contradict each other."""
        if self.append and overwrite:
            raise ConfigError("{--append} keeps the cache and {--overwrite} replaces it: give one of them")
        if self.rehash and not self.append:
            raise ConfigError("{--rehash} is for {--append}: give both, or none")
        if self.append and not has_sources:
            raise ConfigError("{--append} has no videos to add: give SOURCE, too")
        if self.forget and has_sources and not self.append:
            raise ConfigError("{--forget} with videos is for {--append}: give it, too, or leave out SOURCE")

    def request(
        self,
        given: BuildSettings,
        columns: ColumnsRequest | None,
        *,
        missing: Missing | None,
        on_error: ErrorPolicy,
    ) -> AppendRequest | None:
        """What an append is asked for; None without `--append`."""
        if not self.append:
            return None
        return AppendRequest(
            given=given,
            forget=self.forget,
            rehash=self.rehash,
            tables=TablesGiven(
                tables=() if columns is None else columns.tables,
                missing=missing or "refuse",
                tolerance_seconds=None if columns is None else columns.tolerance_seconds,
                skip=on_error == "skip",
            ),
        )


def require_output(out: Path | None) -> Path:
    """The cache that is to forget videos; raises ConfigError where none is given."""
    if out is None:
        raise ConfigError("{--forget} without videos needs the path of the cache: give {--out}")
    return out
