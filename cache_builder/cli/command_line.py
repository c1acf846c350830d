"""What all commands share: how they read paths, what they print where, and the exit code that stands for an error.

Exit codes: 0 all well; 1 finished or stopped with videos (or, for caches, files) that are not whole; 2 the command was
wrong, as where a path is not what it should be; 3 the machine failed and the same command resumes; 130 interrupted
(SIGINT), 143 terminated (SIGTERM), and the same command resumes.
"""

import os
import sys
from types import TracebackType
from typing import IO, Any, Final, Self

import click

from cache_builder.cli.interrupts import SigtermAsInterrupt, Terminated
from cache_builder.errors import ConfigError, MachineError, OutputError, RepairError, VideosError
from cache_builder.setting_names import NamesSettings, Spell, as_flag
from frame_store.errors import FrameCacheError, StoreError, StoreNotFoundError
from frame_store.shared import user_path, without_controls

EXIT_NOT_WHOLE: Final = 1
EXIT_WRONG_COMMAND: Final = 2
EXIT_MACHINE_FAILED: Final = 3
EXIT_INTERRUPTED: Final = 130
EXIT_TERMINATED: Final = 143


class PathName(click.Path):
    """A path, `~` put out. It must be written: an empty one would mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """See `click.ParamType.convert`."""
        if not os.fspath(value):
            self.fail("an empty path", param, ctx)
        return super().convert(os.fspath(user_path(value)), param, ctx)


class OneLineCommand(click.Command):
    """A command that says in one line what it does not understand."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - click's own
    ) -> click.Context:
        """See `click.Command.make_context`."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise _NotUnderstoodError(
                f"{error.format_message()} ({self.name} --help lists what it takes)"
            ) from error


class _NotUnderstoodError(click.ClickException):
    exit_code = EXIT_WRONG_COMMAND

    def show(self, file: IO[Any] | None = None) -> None:
        say_error(self.message)


def say_error(text: str) -> None:
    """Print an error on stderr."""
    click.echo(without_controls(f"error: {text}", kept="\n"), err=True)


def say(text: str) -> None:
    """Print to stdout, and what a stranger's manifest says without what moves a terminal's cursor.

    A reader that has had enough (`| head`) is no failure of ours; a full disk is the machine's.
    """
    try:
        click.echo(without_controls(text, kept="\n"))
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is still buffered goes nowhere: Python would fail on it once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise MachineError(f"standard output cannot be written: {error.strerror}") from error


def error_text(error: FrameCacheError, *, spell: Spell = as_flag) -> str:
    """What a command says of an error; `spell` is how its user said settings."""
    return error.told(spell) if isinstance(error, NamesSettings) else str(error)


def exit_code(error: FrameCacheError) -> int:
    """What a command ends with that met this error."""
    if isinstance(error, MachineError):
        return EXIT_MACHINE_FAILED
    if isinstance(error, ConfigError | OutputError | StoreNotFoundError):
        return EXIT_WRONG_COMMAND
    if isinstance(error, VideosError | RepairError | StoreError):
        return EXIT_NOT_WHOLE
    return EXIT_WRONG_COMMAND


class exit_codes:  # noqa: N801 - reads as a statement
    """Turn the project's errors into one message on stderr and the exit code that stands for them.

    Meanwhile SIGTERM, which batch systems send first, ends the command as orderly as Ctrl-C does.
    """

    def __init__(self, *, resumes: bool = True) -> None:
        """`resumes` is whether the same command goes on where it was interrupted."""
        self._sigterm = SigtermAsInterrupt()
        self._remedy = "; the same command resumes" if resumes else ""
        self.spell: Spell = as_flag
        """How the user said the settings that errors name."""

    def __enter__(self) -> Self:
        self._sigterm.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sigterm.__exit__(kind, error, trace)
        if isinstance(error, KeyboardInterrupt):
            is_sigterm = isinstance(error, Terminated)
            click.echo(f"{'terminated' if is_sigterm else 'interrupted'}{self._remedy}", err=True)
            sys.exit(EXIT_TERMINATED if is_sigterm else EXIT_INTERRUPTED)
        if isinstance(error, FrameCacheError):
            say_error(error_text(error, spell=self.spell))
            sys.exit(exit_code(error))
        if isinstance(error, OSError):  # what the file is to blame for has become an error of the kinds above
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            say_error(f"the machine failed: {what}")
            sys.exit(EXIT_MACHINE_FAILED)
