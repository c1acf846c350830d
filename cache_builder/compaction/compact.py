"""`compact_cache`: adjacent generations of a cache joined to larger ones. No video is read, and no frame is decoded.

Each joined generation is written in `CACHE.compact.building/`, synced and renamed into the cache. Then a new version of
the manifest names it in the place of those that it joins. Until then the cache is complete in its old version, whatever
happens, and the same call goes on with the shards that are finished.
"""

import errno
import os
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

from cache_builder.compaction.joins import Join, joins_of, with_joined
from cache_builder.compaction.removal import KeptFolder, RemovedFolder, remove_superseded, superseded_folders
from cache_builder.compaction.report import CompactionReport, JoinSummary
from cache_builder.compaction.tiers import plan_joins
from cache_builder.compaction.writing import JoinPool, JoinWork, remove_stale_work
from cache_builder.errors import MachineError, OutputError
from cache_builder.executors import WorkerPool
from cache_builder.progress import NoProgress, Progress
from cache_builder.stages import REMOVED_NAME, Workspace, commit_manifest, resolved
from frame_store.manifest import read_manifest, read_trees
from frame_store.shared import counted_in_groups, flag, num_usable_cpus, user_path, without_controls

_REMEDY: Final = "copy the cache to a place that can be, and join it there"


def compact_cache(
    cache: Path | str,
    *,
    join_all: bool = False,
    remove_superseded: bool = False,
    dry_run: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CompactionReport:
    """Join generations of a cache that has grown, so that it has few of them. Frames, their ids and pixels stay.

    Ten generations of a size are joined to one, so that a large one is not copied for a few small ones (`plan_joins`).
    Payloads are copied as they are, each compared with its CRC-32C; shards are cut as a build of as many frames cuts
    them. Stores that are open go on reading the old folders, which stay in the cache until they are removed. The
    cache's fingerprint, its columns and its content order stay as they are.

    Args:
        cache: Path of the cache.
        join_all: Join all generations to one, whatever their sizes.
        remove_superseded: Remove the folders that the newest manifest no longer names, before joining and afterwards,
            except for those that a reader has open: generations that were joined, and earlier columns and content
            orders.
        dry_run: Change nothing; the report states what would be done.
        workers: Processes that copy; None for the CPUs that this process may use.
        progress: Receives what is done; None for silence.

    Returns:
        What was done.

    Raises:
        StoreError: no cache at this path, or a file of a generation to join is damaged; the cache is as it was.
        OutputError: another process writes to the cache, it cannot be written, or its generations were made with other
            settings than those of this version.
        MachineError: disk full, I/O error. The same call goes on.
        ConfigError: a flag that is none.
    """
    progress = progress or NoProgress()
    join_all, removes = flag("join_all", join_all), flag("remove_superseded", remove_superseded)
    output = user_path(cache)
    try:
        read_manifest(output)
        output = resolved(output)
        workspace = Workspace(output)
        if flag("dry_run", dry_run):
            return _planned(output, join_all=join_all)
        with workspace.locked(if_not_writable=_REMEDY):
            return _compacted(
                workspace,
                join_all=join_all,
                removes=removes,
                workers=num_usable_cpus() if workers is None else workers,
                progress=progress,
            )
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OutputError(
                f"{output}: is mounted by itself, and a folder cannot be moved into it from beside it; mount the "
                "folder that holds the cache, or copy the cache"
            ) from error
        raise MachineError(
            f"{error.filename or cache}: {error.strerror or error}; the same command resumes"
        ) from error


def _planned(output: Path, *, join_all: bool) -> CompactionReport:
    joins = _joins(output, join_all=join_all)
    return _report(output, joins, before=_num_generations(output), is_dry_run=True)


def _compacted(
    workspace: Workspace, *, join_all: bool, removes: bool, workers: int, progress: Progress
) -> CompactionReport:
    output = workspace.output
    if not os.access(output, os.W_OK | os.X_OK):
        raise OutputError(
            f"{output}: cannot be written; copy the cache to a place that can be, and join it there"
        )
    workspace.require_own_compaction()
    removed: list[RemovedFolder] = []
    kept: list[KeptFolder] = []
    scratch = workspace.compaction / REMOVED_NAME
    if removes:  # before joining, too: the joins may need the room
        removed, kept = remove_superseded(output, scratch=scratch)
    before, start = _num_generations(output), time.monotonic()
    summaries = _join(workspace, join_all=join_all, workers=workers, progress=progress)
    seconds = time.monotonic() - start
    if removes and summaries:  # this process reads no version any more
        more, kept = remove_superseded(output, scratch=scratch)
        removed += more
    workspace.clear_compaction()
    return CompactionReport(
        output=str(output),
        is_dry_run=False,
        num_generations_before=before,
        num_generations=_num_generations(output),
        joins=summaries,
        seconds=seconds,
        removed=removed,
        in_use=kept,
        superseded=superseded_folders(output),
    )


def _report(output: Path, joins: list[Join], *, before: int, is_dry_run: bool) -> CompactionReport:
    num_cameras = max(1, len(read_manifest(output).cameras))
    num_joined = sum(len(join.sources) - 1 for join in joins) // num_cameras
    return CompactionReport(
        output=str(output),
        is_dry_run=is_dry_run,
        num_generations_before=before,
        num_generations=before - num_joined,
        joins=[JoinSummary.of(join) for join in joins],
        seconds=0.0,
        removed=[],
        in_use=[],
        superseded=superseded_folders(output),
    )


def _num_generations(output: Path) -> int:
    return len(read_manifest(output).counted_generations)


def _joins(output: Path, *, join_all: bool) -> list[Join]:
    """What is to be joined, camera by camera: the same runs in each."""
    trees = read_trees(output)
    runs = plan_joins([each.entry.num_frames for each in trees[0].generations], join_all=join_all)
    return [join for tree in trees for join in joins_of(tree, runs)]


def _join(workspace: Workspace, *, join_all: bool, workers: int, progress: Progress) -> list[JoinSummary]:
    output = workspace.output
    joins = _joins(output, join_all=join_all)
    works = [JoinWork(join=join, folder=workspace.compaction / join.folder) for join in joins]
    remove_stale_work(workspace.compaction, works, cache=output)
    if not works:
        return []
    for work in works:
        work.claim()
    _require_space(workspace, joins)
    progress.start("join", sum(join.num_frames for join in joins), "frames")
    made: dict[str | None, list[tuple[Join, str]]] = defaultdict(list)
    pool: JoinPool = WorkerPool(num_workers=workers)
    with pool:
        for work in works:
            made[work.join.camera].append((work.join, work.write(pool, progress=progress.advance)))
    for work in works:
        work.publish()
    while True:
        before = read_manifest(output)
        try:
            commit_manifest(output, with_joined(before, made, cache=output), scratch=workspace.compaction)
        except OutputError:
            if read_manifest(output).version == before.version:
                raise
        else:
            return [JoinSummary.of(join) for join in joins]


def _require_space(workspace: Workspace, joins: list[Join]) -> None:
    """Refuse joins that cannot fit on the disk: what they join stays beside them."""
    needed = sum(join.num_bytes for join in joins)
    there = sum(path.stat().st_size for path in workspace.compaction.rglob("*") if path.is_file())
    free = shutil.disk_usage(workspace.output.parent).free
    if free < needed - there:
        name = without_controls(str(workspace.output))
        raise MachineError(
            f"{name}: {counted_in_groups(needed - there, 'byte')} are needed to copy the generations that are joined, "
            f"{counted_in_groups(free, 'byte')} are free; make room, for example with --remove-superseded, "
            "and run the same command again"
        )
