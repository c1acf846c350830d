"""The command `cache-report`: one HTML page about a cache, or about a folder of videos before anything is built.

Exit codes: 0 success; 1 the page is written, and the cache or a video is damaged, or nothing could be read; 2 the
command is wrong; 3 the machine failed.
"""

import sys
import webbrowser
from pathlib import Path

import click
from frame_cache_tools.report.data import report_of_cache
from frame_cache_tools.report.folder import page_of_folder, report_of_folder
from frame_cache_tools.report.page import bytes_text, page_of_cache
from frame_cache_tools.report.writing import check_place, write_page

from cache_builder.cli import OneLineCommand, PathName, PlaceName, exit_codes, say
from cache_builder.progress import NoProgress
from frame_store import __version__
from frame_store.shared import counted

EXIT_DAMAGED = 1


@click.command(
    "cache-report", cls=OneLineCommand, context_settings={"show_default": True, "max_content_width": 110}
)
@click.version_option(__version__)
@click.argument("cache", type=PlaceName(takes_urls=False), required=False)
@click.option(
    "--html",
    metavar="FILE",
    type=PathName(path_type=Path),
    help="Where the page goes.  [default: CACHE.report.html beside the cache]",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--videos",
    metavar="SOURCE",
    type=PathName(path_type=Path),
    help="What the cache was built from: the worst frames are then shown beside their originals.  [default: DIR for a "
    "cache DIR.cache, if it is there]  Without CACHE: a folder, of which the page is before anything is built.",
)
@click.option("--camera-pattern", metavar="PATTERN", help="With --videos: as it was given for the build.")
@click.option(
    "--frames-read",
    type=click.IntRange(min=0),
    default=20_000,
    metavar="N",
    help="Samplers are compared by thumbnails of all frames of a cache of up to N frames; of a larger one by a few.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is no page of cache-report.")
def main(
    *,
    cache: Path | None,
    html: Path | None,
    opens: bool,
    videos: Path | None,
    camera_pattern: str | None,
    frames_read: int,
    overwrite: bool,
) -> None:
    """Write one page about CACHE: what is in it, whether it is right, what training on it will do.

    Without CACHE, the page is about the videos of --videos before anything is built: what is in them, what is damaged,
    what a cache would cost. Then some seconds of videos are decoded, in processes with limits.

    The page is one HTML file. It loads nothing from elsewhere, so it can be sent and kept. It shows pictures of the
    videos: send it to nobody who may not see them.
    """
    with exit_codes(resumes=False):
        if cache is None:
            if videos is None:
                raise click.UsageError(
                    "give a CACHE, or --videos and a folder of which nothing was built yet"
                )
            write_folder(videos, html, camera_pattern=camera_pattern, opens=opens, overwrite=overwrite)
            return
        target = default_page(cache) if html is None else html
        check_place(target, overwrite=overwrite)
        report = report_of_cache(
            cache,
            videos=videos,
            camera_pattern=camera_pattern,
            max_frames_read=frames_read,
            progress=lambda step: click.echo(f"report: {step}", err=True),
        )
        num_bytes = write_page(target, page_of_cache(report), overwrite=overwrite)
        say(f"{target}: {bytes_text(num_bytes)}")
        if opens:
            webbrowser.open(target.absolute().as_uri())
        if report.problems:
            say(f"{cache}: the cache is damaged, {counted(len(report.problems), 'problem')} in the page")
            sys.exit(EXIT_DAMAGED)


def write_folder(
    videos: Path, html: Path | None, *, camera_pattern: str | None, opens: bool, overwrite: bool
) -> None:
    """Write the page of a folder before anything is built; exit with 1 where a video is damaged or unreadable."""
    target = default_page(videos) if html is None else html
    check_place(target, overwrite=overwrite)
    report = report_of_folder(videos, camera_pattern=camera_pattern, progress=_Stages())
    num_bytes = write_page(target, page_of_folder(report), overwrite=overwrite)
    say(f"{target}: {bytes_text(num_bytes)}")
    if opens:
        webbrowser.open(target.absolute().as_uri())
    if num_wrong := report.num_damaged + report.num_unreadable:
        say(f"{videos}: {counted(num_wrong, 'file is', 'files are')} damaged or unreadable, see the page")
        sys.exit(EXIT_DAMAGED)


class _Stages(NoProgress):
    """Names each stage when it begins."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """Say it."""
        click.echo(f"report: {stage} ({total:,} {unit})", err=True)

    def note(self, line: str) -> None:
        """Say it."""
        click.echo(line, err=True)


def default_page(cache: Path) -> Path:
    """The page beside the cache: `dir.cache.report.html` for `dir.cache`."""
    cache = cache.absolute()
    return cache.with_name(f"{cache.name}.report.html")
