"""The command `cache-compact`: join the generations of a cache that has grown."""

from pathlib import Path

import click

from cache_builder.cli.exit_status import OneLineCommand, PlaceName, exit_codes, say
from cache_builder.cli.shown_progress import shown_progress
from cache_builder.compaction import compact_cache, compaction_lines
from frame_store import __version__


@click.command("cache-compact", cls=OneLineCommand)
@click.version_option(__version__)
@click.argument("cache", type=PlaceName(takes_urls=False))
@click.option("--all", "join_all", is_flag=True, help="Join all generations to one, whatever their sizes.")
@click.option(
    "--remove-superseded",
    is_flag=True,
    help="Before joining and afterwards, remove the folders that the newest version does not need and no reader has "
    "open.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing, and say what would be done.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: the usable CPUs]")
def cache_compact(
    *, cache: Path, join_all: bool, remove_superseded: bool, dry_run: bool, workers: int | None
) -> None:
    """Join generations of a cache, so that it has few of them: ten of a size become one.

    Payloads are copied as they are. Frames keep their ids, and stores that are open go on reading.
    """
    with exit_codes(resumes=not dry_run), shown_progress() as progress:
        report = compact_cache(
            cache,
            join_all=join_all,
            remove_superseded=remove_superseded,
            dry_run=dry_run,
            workers=workers,
            progress=progress,
        )
        progress.close()
        say("\n".join(compaction_lines(report)))
