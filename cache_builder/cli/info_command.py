"""The command `cache-info`: read what a cache states about itself, print it, or compare it with a folder of videos."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from cache_builder.cli.exit_status import EXIT_NOT_WHOLE, OneLineCommand, PathName, exit_codes, say
from cache_builder.cli.info_dataset import dataset_text
from cache_builder.cli.info_text import group_text, info_text
from cache_builder.cli.source_flags import ChosenVideos, source_flags
from cache_builder.columns import ColumnSummary, columns_text, summaries_of
from cache_builder.content_order import content_order_text
from cache_builder.errors import ConfigError
from frame_store import __version__
from frame_store.column_files import read_columns_record, read_dataset
from frame_store.manifest import CacheTree, VideoEntry, read_trees
from frame_store.shared import counted

if TYPE_CHECKING:
    from cache_builder.growing import LiveCache
    from cache_builder.sources import Sources


@click.command("cache-info", cls=OneLineCommand)
@click.version_option(__version__)
@click.argument("cache", type=PathName(path_type=Path))
@click.option(
    "--json", "as_json", is_flag=True, help="The manifest, the generation and the table of videos as JSON."
)
@click.option("--videos", "list_videos", is_flag=True, help="A table with a line for every video.")
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
    cache: Path,
    as_json: bool,
    list_videos: bool,
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
        trees = read_trees(cache)
        tables = [tree.read_videos() for tree in trees]
        if against:
            from cache_builder.growing import LiveCache

            _say_changes(LiveCache(trees=trees, tables=tables), choice.of(against), as_json=as_json)
        elif as_json:
            say(msgspec.json.format(msgspec.json.encode(_stated(trees, tables)), indent=1).decode())
        else:
            path = printable(str(cache))
            lines = dataset_text(read_dataset(trees[0]))
            lines += [f"column     {line}" for line in columns_text(_columns(trees[0]))]
            orders = trees[0].manifest.content_orders
            lines += [f"content    ordered {content_order_text(entry)}" for entry in orders]
            columns = [f"  {line}" for line in lines]
            cameras = [
                (tree.camera, tree.common, table)
                for tree, table in zip(trees, tables, strict=True)
                if tree.camera is not None
            ]
            text = (
                group_text(cameras, path=path, list_videos=list_videos, columns=columns)
                if cameras
                else info_text(
                    trees[0].common, tables[0], path=path, list_videos=list_videos, columns=columns
                )
            )
            say(text)


def _stated(trees: Sequence[CacheTree], tables: Sequence[list[VideoEntry]]) -> dict[str, Any]:
    """What a cache states. Of a cache of cameras, `generation` and `videos` are null, and each camera has its own."""
    first = trees[0]
    cameras = [
        {
            "name": tree.camera.name,
            "folder": tree.camera.folder,
            "generation": tree.common,
            "videos": table,
        }
        for tree, table in zip(trees, tables, strict=True)
        if tree.camera is not None
    ]
    return {
        "manifest": first.manifest,
        "generation": None if cameras else first.common,
        "cameras": cameras,
        "columns": _columns(first),
        "dataset": read_dataset(first),
        "videos": None if cameras else tables[0],
    }


def _columns(tree: CacheTree) -> list[ColumnSummary]:
    return [
        summary
        for entry in tree.manifest.columns
        for summary in summaries_of(read_columns_record(tree.store_path, entry))
    ]


def _say_changes(
    cache: "LiveCache",
    sources: "Sources",
    *,
    as_json: bool,
) -> None:
    from cache_builder.build import changes_since

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
