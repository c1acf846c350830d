"""The command `cache-build`: parse, build, print the report."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from cache_builder.build import estimate_build, report_text, run_build
from cache_builder.cli.append_flags import GrowingFlags, append_flags, require_output
from cache_builder.cli.column_flags import ColumnsRequest, column_flags
from cache_builder.cli.estimate_text import estimate_text
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE, OneLineCommand, PathName, PlaceName, exit_codes, say
from cache_builder.cli.shown_progress import ShownProgress, shown_progress
from cache_builder.cli.source_flags import ChosenVideos, source_flags
from cache_builder.columns import report_lines
from cache_builder.content_order import content_order_lines, write_content_order
from cache_builder.errors import ConfigError
from cache_builder.growing import AppendRequest, forget_text, forget_videos, refuse_at_url, resolve_for
from cache_builder.setting_names import as_flag, as_key_of
from cache_builder.settings import (
    SETTINGS,
    BuildConfig,
    BuildSettings,
    RunOptions,
    Setting,
    default_text,
    read_settings,
)
from cache_builder.sources import Sources, default_output
from frame_store import __version__
from frame_store.remote import RemoteUrl
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
@click.argument("sources", metavar="SOURCE...", nargs=-1, type=PlaceName(takes_urls=True))
@click.option("--videos", multiple=True, type=PlaceName(takes_urls=True), help="The same as SOURCE.")
@click.option(
    "--out",
    type=PlaceName(takes_urls=True),
    metavar="PATH|URL",
    help="Where the cache goes, a folder or a URL such as s3://bucket/cache; several sources and URLs need it.  "
    "[default: SOURCE.cache]",
)
@click.option(
    "--scratch",
    type=PlaceName(takes_urls=True),
    metavar="DIR|URL",
    help="Where decoded frames and other unfinished work go until the cache is complete.  [default: OUT.building]",
)
@append_flags
@source_flags
@_setting_flags
@column_flags
@click.option(
    "--content-order",
    is_flag=True,
    help="Also order the frames of the finished cache by content, for samplers that spread batches over it; decodes "
    "no video again.",
)
@click.option(
    "--config",
    type=PathName(path_type=Path),
    help="TOML file of these settings, or the name of a preset; flags override it.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Build nothing: scan, decode a sample for some 10 s, and say how many frames, bytes and seconds it takes.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace a cache (or unfinished build) of other settings or videos."
)
def cache_build(
    *,
    sources: tuple[Path | RemoteUrl, ...],
    videos: tuple[Path | RemoteUrl, ...],
    out: Path | RemoteUrl | None,
    scratch: Path | RemoteUrl | None,
    append: bool,
    forget: tuple[str, ...],
    rehash: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    limit: int | None,
    camera_pattern: str | None,
    columns: tuple[Path, ...],
    columns_missing: Missing | None,
    columns_tolerance: float | None,
    content_order: bool,
    config: Path | None,
    dry_run: bool,
    overwrite: bool,
    **flags: Any,  # noqa: ANN401 - click's values, checked by BuildSettings
) -> None:
    """Decode every video of the sources into a sharded frame store.

    A SOURCE is a folder, with its subfolders, a video, a text file with the path of one video in each line, or the
    folder of a LeRobot v3 data set. All but the last may be URLs, such as s3://bucket/folder. Paths of several sources
    begin with the base name of their source. A killed build is resumed by the same command; a finished one is left
    untouched. With --append a finished cache gets the videos that it does not have.
    """
    with exit_codes(resumes=not dry_run) as codes, shown_progress() as progress:
        growing = GrowingFlags(append=append, forget=forget, rehash=rehash)
        growing.check(overwrite=overwrite, has_sources=bool(sources or videos))
        request = ColumnsRequest.of(
            columns, missing=columns_missing, tolerance_seconds=columns_tolerance, may_mask_alone=append
        )  # before anything is decoded
        refuse_at_url(
            out,
            {
                "columns": bool(columns),
                "content-order": content_order,
                "dry-run": dry_run and append,
                "forget": bool(forget) and not append,
            },
        )
        settings = BuildSettings(**flags)
        choice = ChosenVideos(include=include, exclude=exclude, limit=limit, camera_pattern=camera_pattern)
        if (request is not None or forget) and not (sources or videos):
            of_a_build = {
                "content-order": content_order,
                "config": config,
                "dry-run": dry_run,
                "overwrite": overwrite,
                "scratch": scratch is not None,
            }
            others = choice.given + [name for name, value in of_a_build.items() if value]
            assert not isinstance(out, RemoteUrl)  # refused above
            if forget:
                _forget(forget, out, settings, others=[*others, *["columns"] * (request is not None)])
            elif request is not None:
                _add_columns(request, out, settings, others=others, progress=progress)
            return
        if not sources and not videos:
            raise ConfigError(
                "nothing to build from: give cache-build SOURCE, a folder of videos, a video, or a list of videos"
            )
        chosen = choice.of([*sources, *videos])
        if config is not None:
            of_file = read_settings(config)
            codes.spell = as_key_of(config, of_file.given().keys() - settings.given().keys(), else_as=as_flag)
            settings = of_file.overridden_by(settings)
        output = out if out is not None else default_output(chosen)
        build_config, options = resolve_for(settings, output, append=append)
        to_append = growing.request(settings, request, missing=columns_missing, on_error=options.on_error)
        if dry_run:
            _estimate(
                chosen,
                output,
                build_config,
                options,
                append=to_append,
                content_order=content_order,
                progress=progress,
            )
            return
        report = run_build(
            chosen,
            output,
            build_config,
            options,
            scratch=scratch,
            overwrite=overwrite,
            append=to_append,
            progress=progress,
        )
        lines = [report_text(report)]
        is_whole = report.is_whole
        if request is not None and report.wants_columns:
            assert isinstance(output, Path)  # refused above
            added = request.add_to_built(output, on_error=options.on_error, progress=progress)
            lines += report_lines(added)
            is_whole = is_whole and not added.problems
        if content_order and not report.has_content_order:
            assert isinstance(output, Path)  # refused above
            lines += content_order_lines(write_content_order(output, progress=progress))
        progress.close()
        say("\n".join(lines))
        if not is_whole:
            sys.exit(EXIT_NOT_WHOLE)


def _forget(
    paths: Sequence[str], out: Path | None, settings: BuildSettings, *, others: Sequence[str]
) -> None:
    """Forget videos of a complete cache. `others` has flags that were given and are for something else."""
    output = require_output(out)
    needless = [name.replace("_", "-") for name in sorted(settings.given())] + [*others]
    if needless:
        raise ConfigError(
            f"{{--{needless[0]}}} is for a build, and {{--forget}} without videos is none: leave it out"
        )
    say(forget_text(forget_videos(output, paths)))


def _add_columns(
    request: ColumnsRequest,
    out: Path | None,
    settings: BuildSettings,
    *,
    others: Sequence[str],
    progress: ShownProgress,
) -> None:
    """Columns for a complete cache, without its videos. `others` has flags that were given and need videos."""
    if out is None:
        raise ConfigError("{--columns} without videos is for a complete cache: give its path as {--out}")
    needless = [name.replace("_", "-") for name in sorted(settings.given().keys() - {"on_error"})] + [*others]
    if needless:
        raise ConfigError(
            f"{{--{needless[0]}}} is for a build: give the videos, too, or {{--columns}} and {{--out}} alone"
        )
    report = request.add_to(out, on_error=settings.on_error or "fail", progress=progress)
    progress.close()
    say("\n".join(report_lines(report)))
    if report.problems:
        sys.exit(EXIT_NOT_WHOLE)


def _estimate(
    sources: Sources,
    output: Path | RemoteUrl,
    config: BuildConfig,
    options: RunOptions,
    *,
    append: AppendRequest | None,
    content_order: bool,
    progress: ShownProgress,
) -> None:
    estimate = estimate_build(sources, output, config, options, append=append, progress=progress)
    progress.close()
    say(estimate_text(estimate, stops_at_problems=options.on_error == "fail"))
    if content_order:
        say("content order: not counted above; it reads every stored frame again, and takes 4 bytes a frame")
    if estimate.problems:
        sys.exit(EXIT_NOT_WHOLE)
