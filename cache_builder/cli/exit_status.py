"""What all commands share: paths as arguments, output, and an exit code for each kind of error.

Exit codes: 0 success; 1 finished or stopped with videos (or files of a cache) that are not whole; 2 a wrong command,
such as a path of the wrong kind, or credentials that a store refuses; 3 the machine or an object store failed; 130
interrupted (SIGINT); 143 terminated (SIGTERM). After 3, 130 and 143 the same command resumes.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Final, Self

import click

from cache_builder.errors import ConfigError, MachineError, OutputError, RepairError, VideosNotWholeError
from cache_builder.setting_names import NamesSettings, Spell, as_flag
from frame_store.errors import (
    FrameCacheError,
    ObjectAccessError,
    ObjectMissingError,
    ObjectStoreError,
    StoreError,
    StoreNotFoundError,
)
from frame_store.remote import RemoteUrl, is_url
from frame_store.shared import user_path, without_controls

EXIT_NOT_WHOLE: Final = 1
EXIT_WRONG_COMMAND: Final = 2
EXIT_MACHINE_FAILED: Final = 3
EXIT_INTERRUPTED: Final = 130
EXIT_TERMINATED: Final = 143


class PathName(click.Path):
    """A path, with `~` expanded. An empty one is refused: it would mean the current folder. So is a URL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """See `click.ParamType.convert`."""
        if not os.fspath(value):
            self.fail("an empty path", param, ctx)
        if is_url(value):
            self.fail("a path on this machine is taken here, and no URL", param, ctx)
        return super().convert(os.fspath(user_path(value)), param, ctx)


class PlaceName(PathName):
    """A path, or, with `takes_urls`, a URL: a `RemoteUrl`. Without, a URL is refused as that of a cache."""

    def __init__(self, *, takes_urls: bool) -> None:
        super().__init__(path_type=Path)
        self._takes_urls = takes_urls

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """See `click.ParamType.convert`."""
        if isinstance(value, RemoteUrl):
            return value
        try:
            if not is_url(value):
                return super().convert(value, param, ctx)
            url = RemoteUrl.of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not self._takes_urls:
            self.fail(
                f"{url.text} is a URL, and this command is for a cache on this machine: cache-fetch URL DIR copies it "
                "to one",
                param,
                ctx,
            )
        return url


class OneLineCommand(click.Command):
    """A command that reports wrong usage in one line."""

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
    """Print to stdout. Control characters are escaped: the text may come from a manifest of unknown origin.

    A reader that closes the pipe (`| head`) is not an error. A full disk is a MachineError.
    """
    try:
        click.echo(without_controls(text, kept="\n"))
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # Python flushes stdout again when it exits, and would fail again: the rest goes to /dev/null.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise MachineError(f"standard output cannot be written: {error.strerror}") from error


def error_text(error: FrameCacheError, *, spell: Spell = as_flag) -> str:
    """The message of an error, with settings spelled by `spell`."""
    return error.text(spell) if isinstance(error, NamesSettings) else str(error)


def exit_code(error: FrameCacheError) -> int:
    """The exit code of a command that fails with this error."""
    if isinstance(error, MachineError):
        return EXIT_MACHINE_FAILED
    if isinstance(error, ObjectStoreError) and not isinstance(error, ObjectAccessError | ObjectMissingError):
        return EXIT_MACHINE_FAILED
    if isinstance(error, ConfigError | OutputError | StoreNotFoundError | ObjectAccessError):
        return EXIT_WRONG_COMMAND
    if isinstance(error, VideosNotWholeError | RepairError | StoreError):
        return EXIT_NOT_WHOLE
    return EXIT_WRONG_COMMAND


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Code that lets a KeyboardInterrupt pass lets this one pass, too."""


class SigtermAsInterrupt:
    """Context in which SIGTERM, which batch systems send first, raises `Terminated` in the main thread.

    So SIGTERM leads to the same clean-up as Ctrl-C.
    """

    def __init__(self) -> None:
        self._handles = False

    def __enter__(self) -> None:
        # A handler of the caller stays, and so does a signal that is ignored on purpose.
        is_main_thread = threading.current_thread() is threading.main_thread()
        if is_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminate)
            self._handles = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handles:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


class exit_codes:  # noqa: N801 - reads as a statement
    """Turn the project's errors into one message on stderr and an exit code.

    Inside, SIGTERM ends the command in the same orderly way as Ctrl-C.
    """

    def __init__(self, *, resumes: bool = True) -> None:
        """`resumes` states whether the same command continues where it was interrupted."""
        self._sigterm = SigtermAsInterrupt()
        self._remedy = "; the same command resumes" if resumes else ""
        self.spell: Spell = as_flag
        """How errors spell settings: as the user gave them."""

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
        if isinstance(error, OSError):  # errors that a file caused have become errors of the kinds above
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            say_error(f"the machine failed: {what}")
            sys.exit(EXIT_MACHINE_FAILED)
