"""The command `cache-fetch`: copy a cache from an object store to this machine."""

from pathlib import Path

import click
import msgspec

from cache_builder.cli.exit_status import OneLineCommand, PathName, exit_codes, say
from cache_builder.cli.shown_progress import shown_progress
from cache_builder.fetching import DEFAULT_JOBS, fetch_cache
from frame_store import __version__


@click.command("cache-fetch", cls=OneLineCommand)
@click.version_option(__version__)
@click.argument("url", metavar="URL")
@click.argument("directory", metavar="DIR", type=PathName(path_type=Path))
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=DEFAULT_JOBS,
    show_default=True,
    help="The most requests at once; memory is at most some 8 MiB for each.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def cache_fetch(*, url: str, directory: Path, jobs: int, as_json: bool) -> None:
    """Copy the cache at URL (s3, gs, az, http or https) to DIR, which is a cache only when it is whole.

    Each file is held to its recorded size and SHA-256. The same command goes on after an interruption, and later adds
    what the cache at URL has got since. Nothing in DIR is removed.
    """
    with exit_codes(), shown_progress() as progress:
        report = fetch_cache(url, directory, jobs=jobs, progress=progress)
        progress.close()
        say(
            msgspec.json.format(msgspec.json.encode(report), indent=1).decode() if as_json else report.summary
        )
