"""The command `cache-bench`: usual loader, live and cached frames on this machine, side by side.

Exit codes: 0 success; 1 nothing was measured, for reasons in the report, or a cache is damaged; 2 a wrong command;
3 the machine failed; 130 interrupted, with the figures until then; 143 terminated (SIGTERM), without figures. The files
in a temporary folder are removed in every case.

Modules whose import takes seconds are imported within the budget.
"""

import errno
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from frame_cache_tools.bench.lerobot import read_items
from frame_cache_tools.bench.measure import start_server
from frame_cache_tools.bench.settings import LEROBOT, QUICK, BenchSettings

from cache_builder.cli import (
    EXIT_INTERRUPTED,
    EXIT_MACHINE_FAILED,
    EXIT_TERMINATED,
    EXIT_WRONG_COMMAND,
    OneLineCommand,
    PathName,
    PlaceName,
    SigtermAsInterrupt,
    Terminated,
    error_text,
    exit_code,
    say,
    say_error,
)
from cache_builder.errors import ConfigError, MachineError
from cache_builder.sources import discover_videos
from frame_store import __version__
from frame_store.errors import FrameCacheError
from frame_store.manifest import read_tree
from frame_store.remote import RemoteUrl

EXIT_NOTHING_MEASURED = 1

_PATH = PathName(path_type=Path)


class _BenchCommand(OneLineCommand):
    """Takes options alone. A folder without one is answered with the options for folders."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "unexpected extra argument" not in error.message:
                raise
            remedy = "give a folder of videos as --videos DIR, a cache as --cache DIR"
            raise click.UsageError(f"{error.message}; {remedy}", ctx) from error


@click.command("cache-bench", cls=_BenchCommand, context_settings={"max_content_width": 110})
@click.version_option(__version__)
@click.option("--videos", type=_PATH, help="Folder of videos.  [default: sample videos, made here]")
@click.option(
    "--cache",
    "caches",
    multiple=True,
    type=_PATH,
    help="An existing cache, measured as it is; may be given again.  [default: one of each kind, built here]",
)
@click.option(
    "--url",
    type=PlaceName(takes_urls=True),
    metavar="URL",
    help="A cache in an object store, by ranges and from a folder, beside each --cache and bare requests; no others.",
)
@click.option(
    "--folder-bytes",
    type=int,
    help="With --url: that of open_store.  [default: half of the cache]",
)
@click.option(
    "--lerobot",
    type=_PATH,
    metavar="ROOT",
    help="A LeRobot v3 data set: LeRobot's own reading, live and cached, side by side; no other rows.",
)
@click.option(
    "--lerobot-python",
    type=_PATH,
    metavar="PATH",
    help="The interpreter of an environment that has LeRobot.  [default: this one]",
)
@click.option(
    "--delta-timestamps",
    metavar="JSON",
    help="Windows of LeRobot's items: seconds by feature.  [default: 16 steps of action]",
)
@click.option(
    "--work",
    type=_PATH,
    help="Make videos and caches in this folder, keep them, and use those of an earlier run.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="A budget of 120 s: small samples, batches of 32, fewer rows, shorter slices.",
)
@click.option(
    "--budget",
    "budget_seconds",
    type=float,
    metavar="SECONDS",
    help="End within this time. The most important rows are measured first; rows left out are named."
    "  30 or more.  [default: no end, quick 120]",
)
@click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Rows whose name contains this (* and ? match); repeatable.",
)
@click.option("--rounds", "num_rounds", type=int, help="Interleaved rounds.  [default: 3]")
@click.option("--seconds", type=float, help="Slice of a fast row in a round.  [default: 0.6, quick 0.3]")
@click.option(
    "--seconds-per-row",
    type=float,
    help="A slow row (usual loader, live, another loader) is not measured again after this time."
    "  [default: 45, quick 20, --lerobot 240]",
)
@click.option("--batch-size", type=int, help="Frames per batch.  [default: 128, quick or --lerobot 32]")
@click.option(
    "--copies",
    "num_copies",
    type=int,
    help="Fewer videos than this are linked again until there are as many.  [default: 200, quick 20]",
)
@click.option(
    "--cache-frames",
    type=int,
    help="Caches are built of the first videos with this number of frames.  [default: 2400, quick 640]",
)
@click.option(
    "--usual-images",
    type=int,
    help="Least number of images of the usual loader in a round.  [default: 60, quick 20]",
)
@click.option(
    "--usual-workers",
    type=int,
    multiple=True,
    help="Workers of the usual loader; repeatable.  [default: 10, one a CPU, two a CPU (not quick); with --lerobot"
    " 0, 1, 2, 4 ... up to the CPUs]",
)
@click.option("--lookahead", "lookahead_batches", type=int, help="Batches.  [default: 32, quick 8]")
@click.option("--lookahead-bytes", type=int, help="Memory for waiting frames.  [default: 2500000000]")
@click.option("--json", "as_json", is_flag=True, help="Every figure, rounds included, as JSON.")
@click.option("--plot", type=_PATH, help="PNG: usual loader, live and cached beside the limits.")
def main(**flags: Any) -> None:  # noqa: ANN401 - click's values
    """Images/s of the usual loader, of live decoding and of every cache, with the limits of this machine.

    Without options it makes its own sample videos and caches in a temporary folder; about 15 minutes on 2 CPUs.
    """
    started_at = time.monotonic()
    as_json, plot = flags.pop("as_json"), flags.pop("plot")
    try:
        settings = _settings(flags)
        _check_paths(settings, plot)
        start_server()
        from frame_cache_tools.bench.report import plot_report, report_text, require_matplotlib
        from frame_cache_tools.bench.run import command_line, run_bench

        if plot is not None:
            require_matplotlib()
        with SigtermAsInterrupt():
            report = run_bench(settings, command=command_line(), say=_say, started_at=started_at)
        if as_json:
            say(msgspec.json.format(msgspec.json.encode(report.builtins()), indent=1).decode())
        else:
            say(report_text(report))
        if plot is not None and report.has_figures:
            plot_report(report, plot)
            click.echo(f"plot: {plot}", err=True)
    except Terminated:
        click.echo("terminated", err=True)
        sys.exit(EXIT_TERMINATED)
    except KeyboardInterrupt:
        click.echo("interrupted before anything was measured", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except (MachineError, OSError) as error:
        say_error(_machine_text(error))
        sys.exit(EXIT_MACHINE_FAILED)
    except FrameCacheError as error:
        say_error(error_text(error))
        sys.exit(exit_code(error))
    except (ModuleNotFoundError, ValueError) as error:
        say_error(str(error))
        sys.exit(EXIT_WRONG_COMMAND)
    if report.interrupted:
        sys.exit(EXIT_INTERRUPTED)
    if not report.has_figures:
        say_error("nothing was measured; the report says why")
        sys.exit(EXIT_NOTHING_MEASURED)


def _settings(flags: dict[str, Any]) -> BenchSettings:
    """Options given override those of `--quick`, which override the defaults."""
    quick = QUICK if flags.pop("quick") else {}
    if flags["lerobot"] is not None:
        quick = {**LEROBOT, **quick}
    if flags["url"] is not None and not isinstance(flags["url"], RemoteUrl):
        raise ConfigError(f"--url {flags['url']}: is a path; give it as --cache")
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    return BenchSettings(**{**quick, **given})


def _check_paths(settings: BenchSettings, plot: Path | None) -> None:
    """Check now what would fail later."""
    if settings.videos is not None:
        discover_videos(settings.videos)
    if settings.lerobot is not None:
        read_items(settings.lerobot, settings.delta_timestamps)
    for cache in settings.caches:
        read_tree(cache)
    if plot is not None and not plot.absolute().parent.is_dir():
        raise ConfigError(f"--plot {plot}: no folder {plot.absolute().parent}")


def _machine_text(error: Exception) -> str:
    if isinstance(error, FrameCacheError):
        return error_text(error)
    assert isinstance(error, OSError)  # it is one of the two
    where = f"{error.filename}: " if error.filename else ""
    is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return f"{where}{error.strerror or error}" + ("; give --work DIR on another disk" if is_full else "")


def _say(line: str) -> None:
    """Show progress: on one line of a terminal, or in lines of a log."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[2K{line}", nl=False, err=True)
    else:
        click.echo(line, err=True)


if __name__ == "__main__":
    main()
