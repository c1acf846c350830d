"""The command `cache-info`: read what a cache states about itself, print it, or compare it with a folder of videos."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cache_builder.cli.exit_status import EXIT_NOT_WHOLE, OneLineCommand, PathName, PlaceName, exit_codes, say
from cache_builder.cli.info.dataset import dataset_text
from cache_builder.cli.info.growth import SupersededFolder, forgotten_text, versions_text
from cache_builder.cli.info.places import records_at_hand
from cache_builder.cli.info.shards import shard_paths
from cache_builder.cli.info.stated import column_summaries, stated
from cache_builder.cli.info.text import group_text, info_text
from cache_builder.cli.source_flags import ChosenVideos, source_flags
from cache_builder.columns import columns_text
from cache_builder.content_order import content_order_text
from cache_builder.errors import ConfigError
from frame_store import __version__
from frame_store.column_files import read_dataset
from frame_store.manifest import CacheTree, VideoEntry, read_trees
from frame_store.remote import RemoteUrl
from frame_store.shared import counted

if TYPE_CHECKING:
    from cache_builder.sources import Sources


@click.command("cache-info", cls=OneLineCommand)
@click.version_option(__version__)
@click.argument("cache", metavar="CACHE|URL", type=PlaceName(takes_urls=True))
@click.option(
    "--json", "as_json", is_flag=True, help="The manifest, the generations and the table of videos as JSON."
)
@click.option("--videos", "list_videos", is_flag=True, help="A table with a line for every video.")
@click.option(
    "--shards",
    is_flag=True,
    help="Instead, print the path or URL of every tar shard, one a line in the order of frames, for plain WebDataset "
    "readers.",
)
@click.option("--camera", metavar="NAME", help="For --shards: the camera whose shards they are.")
@click.option(
    "--against",
    metavar="SOURCE",
    multiple=True,
    type=PathName(path_type=Path),
    help="Compare with what it was built from instead: name videos that are new, changed or gone, and exit 1. "
    "May be given again; --include, --exclude, --limit and --camera-pattern choose videos as they did for the build.",
)
@source_flags
def cache_info(
    *,
    cache: Path | RemoteUrl,
    as_json: bool,
    list_videos: bool,
    shards: bool,
    camera: str | None,
    against: tuple[Path, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    limit: int | None,
    camera_pattern: str | None,
) -> None:
    """Show what a cache holds and how it was made, without reading a frame."""
    with exit_codes(resumes=False):
        from cache_builder.sources import printable

        choice = ChosenVideos(include=include, exclude=exclude, limit=limit, camera_pattern=camera_pattern)
        if choice.given and not against:
            raise ConfigError(f"{{--{choice.given[0]}}} is for {{--against}}: give both, or none")
        if shards and (
            other := [
                name
                for name, given in {
                    "json": as_json,
                    "videos": list_videos,
                    "against": against,
                }.items()
                if given
            ]
        ):
            raise ConfigError(f"{{--shards}} prints paths alone, without {{--{other[0]}}}: give one of them")
        if camera is not None and not shards:
            raise ConfigError("{--camera} is for {--shards}: give both, or none")
        with records_at_hand(cache, with_videos=not shards) as place:
            trees = read_trees(place.folder)
            if shards:
                place.require_printable_shards()
                say(place.named("\n".join(shard_paths(trees, camera=camera))))
                return
            tables = [tree.read_videos() for tree in trees]
            if against:
                _say_changes(trees, tables, choice.of(against), as_json=as_json)
                return
            superseded = place.superseded(trees[0])
            if as_json:
                what = stated(trees, tables, superseded=superseded)
                say(msgspec.json.format(msgspec.json.encode(what), indent=1).decode())
                return
            path, shared = printable(place.name), _shared_text(trees[0], tables[0], superseded)
            say(
                info_text(trees[0], tables[0], path=path, list_videos=list_videos, shared=shared)
                if trees[0].camera is None
                else group_text(trees, tables, path=path, list_videos=list_videos, shared=shared)
            )


def _shared_text(
    tree: CacheTree, videos: Sequence[VideoEntry], superseded: Sequence[SupersededFolder]
) -> list[str]:
    """Lines about what belongs to the cache, and to none of its cameras."""
    return [
        *dataset_text(read_dataset(tree)),
        *(f"column     {line}" for line in columns_text(column_summaries(tree))),
        *(f"content    ordered {content_order_text(entry)}" for entry in tree.manifest.content_orders),
        *forgotten_text(tree, videos),
        *versions_text(tree, superseded),
    ]


def _say_changes(
    trees: Sequence[CacheTree],
    tables: Sequence[Sequence[VideoEntry]],
    sources: "Sources",
    *,
    as_json: bool,
) -> None:
    from cache_builder.build import changes_since
    from cache_builder.growing import LiveCache

    cache = LiveCache(trees=trees, tables=tables)
    lines = changes_since(cache, sources)
    if as_json:
        say(msgspec.json.encode({"changes": lines}).decode())
    else:
        num_videos = len(cache.live)
        by_cameras = f" by {counted(len(cache.cameras), 'camera')}" if None not in cache.cameras else ""
        unchanged = f"its {counted(num_videos, 'video')}{by_cameras}, unchanged"
        summary = counted(len(lines), "difference") if lines else unchanged
        say("\n".join([*lines, f"{sources.text}: {summary}"]))
    if lines:
        sys.exit(EXIT_NOT_WHOLE)
