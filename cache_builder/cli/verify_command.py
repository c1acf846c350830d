"""The command `cache-verify`: check a cache, and repair it on request."""

import sys
from pathlib import Path

import click
import msgspec

from cache_builder.cli.exit_status import (
    EXIT_NOT_WHOLE,
    OneLineCommand,
    PlaceName,
    exit_codes,
    say,
)
from cache_builder.cli.shown_progress import shown_progress
from cache_builder.errors import ConfigError
from frame_store import __version__
from frame_store.remote import RemoteUrl
from frame_store.shared import num_usable_cpus
from frame_store.verify import verify_store


@click.command("cache-verify", cls=OneLineCommand)
@click.version_option(__version__)
@click.argument("cache", metavar="CACHE|URL", type=PlaceName(takes_urls=True))
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
@click.option("--repair", is_flag=True, help="Make damaged files again, bit for bit.")
@click.option(
    "--videos",
    metavar="SOURCE",
    multiple=True,
    type=PlaceName(takes_urls=True),
    help="For --repair: what it was built from, as given then; may be given again. Needed if shards are damaged.",
)
@click.option(
    "--camera-pattern", metavar="PATTERN", help="For --videos: as it was given for the build, if it was."
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="For --repair: processes.  [default: the usable CPUs]"
)
def cache_verify(
    *,
    cache: Path | RemoteUrl,
    as_json: bool,
    repair: bool,
    videos: tuple[Path | RemoteUrl, ...],
    camera_pattern: str | None,
    workers: int | None,
) -> None:
    """Check every byte of a cache: hashes, checksums, index against shards, and plain readers on a sample.

    With --repair, files that differ from their recorded hashes are made again and replaced. Then the whole cache is
    checked.

    A cache in an object store is checked in the same way, in a temporary folder that holds one shard at a time.
    """
    with exit_codes(resumes=repair), shown_progress() as progress:
        if not repair and (videos or workers is not None):
            raise ConfigError(f"{'--videos' if videos else '--workers'} is for --repair: give both, or none")
        if camera_pattern is not None and not videos:
            raise ConfigError("{--camera-pattern} is for {--videos}: give both, or none")
        if repair and isinstance(cache, RemoteUrl):
            raise ConfigError(
                f"{{--repair}} is for a cache on this machine, and {cache.text} is a URL: cache-fetch it to a DIR, or "
                "take the copy that it was made of, repair that, and copy the repaired files there"
            )
        if repair:
            assert isinstance(cache, Path)
            from cache_builder.cli.source_flags import ChosenVideos
            from cache_builder.repair import repair_cache

            chosen = ChosenVideos(include=(), exclude=(), limit=None, camera_pattern=camera_pattern)
            sources = chosen.of(videos) if videos else None
            for entry in repair_cache(
                cache, sources, workers=workers or num_usable_cpus(), progress=progress
            ):
                progress.note(f"{entry.name}: made again, with the recorded hash")
        result = verify_store(
            cache, progress=progress.advance, begin=lambda total: progress.start("verify", total, "frames")
        )
        progress.close()
        if as_json:
            say(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
        else:
            notes = [f"note: {line}" for line in result.notes]
            say("\n".join([*result.problems, *notes, result.summary]))
        if result.problems:
            sys.exit(EXIT_NOT_WHOLE)
