"""`repair_cache`: damaged files of a cache made again, bit for bit.

`generation.json` has the size and SHA-256 of every file. Only files that differ from it are made again: shards from the
videos of their frames, the index from the shards, the table of videos from the report of the build, the times of frames
that are not stored from the videos, the content order from the payloads, and the other files from the index. A new file
must have the recorded SHA-256; then it replaces the damaged one by a rename. So a repair can be killed at any moment
and run again. It cannot add damage.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cache_builder.content_order import repaired_content_order
from cache_builder.errors import MachineError, RepairError, VideosNotWholeError
from cache_builder.progress import NoProgress, Progress
from cache_builder.repair.checks import REBUILD, broken_files
from cache_builder.repair.columns import repaired_columns
from cache_builder.repair.generation import GenerationRepair, repair_identity
from cache_builder.sources import Sources, look_into
from cache_builder.stages import Workspace, resolved
from frame_store.errors import StoreDamagedError, StoreError, StoreFormatError
from frame_store.manifest import CacheTree, FileEntry, read_manifest, read_trees
from frame_store.names import GENERATION_NAME, manifest_name, manifest_version
from frame_store.shared import user_path


def repair_cache(
    cache: Path, videos: Path | Sources | None = None, *, workers: int, progress: Progress | None = None
) -> list[FileEntry]:
    """Make the damaged files of the cache at `cache` again, shards from the sources `videos` that it was built from.

    Returns the files that were damaged, with their paths inside the cache; an empty list means that every file had its
    recorded hash. Each generation is repaired by itself. One that cannot be repaired does not keep the others from it,
    and the error comes at the end. Videos are read only if a shard is damaged, or `source_pts.npy` of a generation that
    does not store all frames. A repair needs disk space for the damaged shards, and for all stored frames of every
    video that has frames in them.

    Raises:
        StoreNotFoundError: no cache exists at this path.
        RepairError: columns are damaged, which no video has (all other files were made again); the manifest,
            `generation.json`, or the table of videos without the report of the build, is damaged; videos are needed and
            none are given; the cache was made with other versions of the libraries, or a GPU decoded the needed videos;
            or a new file has another hash than the recorded one.
        VideosNotWholeError: needed videos are missing or have changed since the cache was made.
        InputFolderError: a source does not exist or holds no video; see `look_into`.
        ConfigError: two sources hold one file.
        OutputError: a build or another repair is running on it, or left unfinished work of another kind.
        MachineError: disk full, I/O error. The same call resumes.
    """
    cache = user_path(cache)
    try:
        _read_trees(cache)
        cache = resolved(cache)
        sources = None if videos is None else Sources.of(videos)
        contents = None if sources is None else look_into(sources)  # a wrong path is an error in any case
        workspace = Workspace(cache)
        with workspace.locked(if_not_writable="copy the cache to a place that can be, and repair it there"):
            repaired = _repaired(
                _read_trees(cache),
                sources=sources,
                workspace=workspace,
                workers=workers,
                progress=progress or NoProgress(),
            )
    except OSError as error:
        raise MachineError(
            f"{error.filename or cache}: {error.strerror or error}; the same command resumes"
        ) from error
    if contents is not None:
        contents.remove_temporary_stages()
    return repaired


def _repaired(
    trees: Sequence[CacheTree],
    *,
    sources: Sources | None,
    workspace: Workspace,
    workers: int,
    progress: Progress,
) -> list[FileEntry]:
    """Repair the generations of each camera, then what all of them share.

    Raises:
        RepairError, VideosNotWholeError: something was not repaired; all that can be was.
    """
    made: list[FileEntry] = []
    failures: list[RepairError | VideosNotWholeError] = []
    for camera, tree in enumerate(trees):
        for number, each in enumerate(tree.generations):
            alone = tree.alone(number)
            broken = broken_files(alone, progress)
            if not broken:
                identity = repair_identity(alone.common)
                if (
                    workspace.unfinished() == identity
                ):  # a repair that was killed when all files had their places
                    workspace.remove_building(of=identity)
                continue
            try:
                GenerationRepair(
                    alone,
                    broken,
                    number=camera,
                    sources=sources,
                    workspace=workspace,
                    workers=workers,
                    progress=progress,
                    forgotten=[
                        video - each.entry.first_video
                        for video in tree.manifest.forgotten_videos
                        if each.entry.first_video <= video < each.entry.end_video
                    ],
                ).run()
            except (RepairError, VideosNotWholeError) as error:
                failures.append(error)
                continue
            made += [entry.inside(each.folder) for entry in broken]
    if not failures:  # content orders are made of frames, columns of source order
        first, manifest = trees[0], trees[0].manifest
        repairs = [
            *(
                partial(repaired_content_order, first, order, workspace=workspace, progress=progress)
                for order in manifest.content_orders
            ),
            *(
                partial(repaired_columns, first, columns, sources=sources, workspace=workspace)
                for columns in manifest.columns
            ),
        ]
        for repair in repairs:
            try:
                made += repair()
            except RepairError as error:
                failures.append(error)
    if not failures:
        return made
    if len(failures) == 1:
        raise failures[0]
    raise RepairError("\n".join(error.marked_text for error in failures))


def _is_there(cache: Path, version: int) -> bool:
    """Whether a version of a cache can be read, and none of its folders was removed."""
    try:
        return all((cache / folder).is_dir() for folder in read_manifest(cache, version=version).folders)
    except StoreError:
        return False


def _read_trees(cache: Path) -> list[CacheTree]:
    """The tree of each camera; one of a cache without cameras."""
    try:
        return read_trees(cache)
    except (StoreFormatError, StoreDamagedError) as error:
        versions = sorted(
            version for path in cache.iterdir() if (version := manifest_version(path.name)) is not None
        )
        names = [manifest_name(version) for version in versions[-2:]]
        if (
            len(names) > 1
            and str(error).startswith(f"{cache / names[-1]}:")
            and _is_there(cache, versions[-2])
        ):
            raise RepairError(
                f"{error}\nremove {names[-1]}, and the cache is what {names[-2]} states; then do again what was done "
                "last: cache-build --append, --forget or --columns, cache-compact, or cache-bias CACHE --write-order"
            ) from error
        newest = names[-1] if names else manifest_name(0)
        raise RepairError(
            f"{error}\nonly {newest} and {GENERATION_NAME} state what the other files must be; "
            f"move {cache} away and {REBUILD}"
        ) from error
