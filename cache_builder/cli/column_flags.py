"""The flags of columns: tables that are read before anything is decoded, and joined to the cache at the end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from cache_builder.cli.exit_status import PathName
from cache_builder.columns import ColumnsReport, add_columns, read_tables
from cache_builder.errors import ColumnsError, ConfigError
from cache_builder.progress import Progress
from cache_builder.settings import ErrorPolicy
from frame_store.tables import Missing, Table

Command = TypeVar("Command", bound=Callable[..., Any])


def column_flags(command: Command) -> Command:
    """Give a command `--columns`, `--columns-missing` and `--columns-tolerance`."""
    for option in (
        click.option(
            "--columns-tolerance",
            metavar="SECONDS",
            type=click.FloatRange(min=0),
            help="How far the pts may be from the 'seconds' of a row.  [default: half the median step of the video]",
        ),
        click.option(
            "--columns-missing",
            type=click.Choice(["refuse", "mask"]),
            help="Frames and videos without a row: an error, or marked as missing.  [default: refuse]",
        ),
        click.option(
            "--columns",
            metavar="TABLE",
            multiple=True,
            type=PathName(path_type=Path),
            help=(
                "Columns beside the frames, from a .parquet, .csv or .npz file with 'video' and 'frame' or 'seconds', "
                "or 'video' alone; may be given again. Without SOURCE, the complete cache --out gets them, and nothing "
                "is decoded."
            ),
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, kw_only=True)
class ColumnsRequest:
    """Tables for a cache, and how they are joined."""

    tables: list[Table]
    missing: Missing
    tolerance_seconds: float | None

    @classmethod
    def of(
        cls,
        paths: Sequence[Path],
        *,
        missing: Missing | None,
        tolerance_seconds: float | None,
        may_mask_alone: bool = False,
    ) -> "ColumnsRequest | None":
        """What the flags ask for, with the tables read and checked; None without a table.

        With `may_mask_alone`, `--columns-missing` may stand without a table.

        Raises:
            ConfigError: a flag that needs `--columns`.
            ColumnsError: a table cannot be read.
            MachineError: a file cannot be read.
        """
        if not paths:
            for flag, value in (("columns-missing", missing), ("columns-tolerance", tolerance_seconds)):
                if value is not None and not (may_mask_alone and flag == "columns-missing"):
                    raise ConfigError(f"{{--{flag}}} is for {{--columns}}: give both, or none")
            return None
        missing = missing or "refuse"
        return cls(
            tables=read_tables(paths, missing=missing, tolerance_seconds=tolerance_seconds),
            missing=missing,
            tolerance_seconds=tolerance_seconds,
        )

    def add_to(self, cache: Path, *, on_error: ErrorPolicy, progress: Progress) -> ColumnsReport:
        """Write the columns into a complete cache. Raises as `add_columns`."""
        return add_columns(
            cache,
            self.tables,
            missing=self.missing,
            tolerance_seconds=self.tolerance_seconds,
            on_error=on_error,
            progress=progress,
        )

    def add_to_built(self, cache: Path, *, on_error: ErrorPolicy, progress: Progress) -> ColumnsReport:
        """As `add_to`; its errors state that the build itself is done."""
        try:
            return self.add_to(cache, on_error=on_error, progress=progress)
        except ColumnsError as error:
            raise ColumnsError(
                f"{error.marked_text}\nthe cache {cache} is complete without these columns; after a correction, the "
                "same command adds them and decodes nothing"
            ) from error
