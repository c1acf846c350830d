"""The command `cache-build`: parse, build, print the report."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cache_builder.build import default_output, report_text, run_build
from cache_builder.cli.column_flags import ColumnsRequest, column_flags
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE, OneLineCommand, PathName, exit_codes, say
from cache_builder.cli.shown_progress import ShownProgress, shown_progress
from cache_builder.columns import report_lines
from cache_builder.errors import ConfigError
from cache_builder.setting_names import as_flag, as_key_of
from cache_builder.settings import SETTINGS, BuildSettings, Setting, default_text, read_settings, resolve
from frame_store import __version__
from frame_store.tables import Missing

Command = TypeVar("Command", bound=Callable[..., Any])


def _number_or(word: str) -> Callable[[str], int | str]:
    """Convert a flag's value: a whole number, or this word."""

    def convert(value: str) -> int | str:
        try:
            return value if value == word else int(value)
        except ValueError:
            raise click.BadParameter(f"{value!r} is neither a number nor {word!r}") from None

    return convert


def _type_of_flag(setting: Setting) -> Any:  # noqa: ANN401 - what click.option takes
    if setting.words:
        return _number_or(*setting.words) if setting.kinds else click.Choice(setting.words)
    return str if str in setting.kinds else next(iter(setting.kinds))


def _setting_flags(command: Command) -> Command:
    """Give a command a flag for every setting of a build."""
    for name, setting in reversed(SETTINGS.items()):
        default = default_text(name)
        command = click.option(
            f"--{name.replace('_', '-')}",
            type=_type_of_flag(setting),
            metavar=setting.metavar,
            help=setting.help if default is None else f"{setting.help}  [default: {default}]",
        )(command)
    return command


@click.command(
    "cache-build",
    cls=OneLineCommand,
    context_settings={"show_default": True, "max_content_width": 110},
)
@click.version_option(__version__)
@click.argument("sources", metavar="DIR", nargs=-1, type=PathName(path_type=Path))
@click.option("--videos", type=PathName(path_type=Path), help="The same as DIR.")
@click.option("--out", type=PathName(path_type=Path), help="Where the cache goes.  [default: DIR.cache]")
@_setting_flags
@column_flags
@click.option(
    "--config",
    type=PathName(path_type=Path),
    help="TOML file of these settings, or the name of a preset; flags override it.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace a cache (or unfinished build) of other settings or videos."
)
def cache_build(
    *,
    sources: tuple[Path, ...],
    videos: Path | None,
    out: Path | None,
    columns: tuple[Path, ...],
    columns_missing: Missing | None,
    columns_tolerance: float | None,
    config: Path | None,
    overwrite: bool,
    **flags: Any,  # noqa: ANN401 - click's values, checked by BuildSettings
) -> None:
    """Decode every video of the folder DIR and its subfolders, or the one video DIR, into a sharded frame store.

    A killed build is resumed by the same command; a finished one is left untouched.
    """
    with exit_codes() as codes, shown_progress() as progress:
        request = ColumnsRequest.of(
            columns, missing=columns_missing, tolerance_seconds=columns_tolerance
        )  # before anything is decoded
        settings = BuildSettings(**flags)
        if request is not None and not sources and videos is None:
            _add_columns(request, out, settings, progress=progress)
            return
        source = _single_source(sources, videos)
        if config is not None:
            of_file = read_settings(config)
            codes.spell = as_key_of(config, of_file.given().keys() - settings.given().keys(), else_as=as_flag)
            settings = of_file.overridden_by(settings)
        output = out if out is not None else default_output(source)
        build_config, options = resolve(settings)
        report = run_build(source, output, build_config, options, overwrite=overwrite, progress=progress)
        lines = [report_text(report)]
        is_whole = not report.not_whole
        if request is not None:
            added = request.add_to_built(output, on_error=options.on_error, progress=progress)
            lines += report_lines(added)
            is_whole = is_whole and not added.problems
        progress.close()
        say("\n".join(lines))
        if not is_whole:
            sys.exit(EXIT_NOT_WHOLE)


def _add_columns(
    request: ColumnsRequest, out: Path | None, settings: BuildSettings, *, progress: ShownProgress
) -> None:
    """Columns for a complete cache, without its videos."""
    if out is None:
        raise ConfigError("{--columns} without videos is for a complete cache: give its path as {--out}")
    others = sorted(settings.given().keys() - {"on_error"})
    if others:
        raise ConfigError(
            f"{{--{others[0].replace('_', '-')}}} is for a build: give the videos, too, or {{--columns}} and "
            "{--out} alone"
        )
    report = request.add_to(out, on_error=settings.on_error or "fail", progress=progress)
    progress.close()
    say("\n".join(report_lines(report)))
    if report.problems:
        sys.exit(EXIT_NOT_WHOLE)


def _single_source(sources: tuple[Path, ...], videos: Path | None) -> Path:
    given = [*sources, *([] if videos is None else [videos])]
    if not given:
        raise ConfigError(
            "nothing to build from: give cache-build DIR, where DIR is a folder of videos, or one video"
        )
    if len(given) > 1:
        listed = ", ".join(map(str, given))
        raise ConfigError(
            f"one cache is built from one DIR, and {len(given)} are given: {listed}; "
            "build each by a command of its own, or put links to them into one folder"
        )
    return given[0]
