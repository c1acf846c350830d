"""`run_append`: the videos of the sources that a cache does not have become one new generation of it.

```
 compare      names, sizes and times: new videos, changed ones, absent ones; nothing is read
   |
 make         the pipeline of a build, with the new videos alone, in CACHE.building
   |
 columns, content order of the new generation, beside the cache
   |
 renames      the folders get their names inside the cache; no manifest has them yet
   |
 commit       the next version of the manifest names them; only now readers see them
```
No published file is rewritten: until the commit the cache is complete in its old version.
"""

import errno
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from cache_builder.build.making import Making
from cache_builder.build.report import AppendSummary, BuildReport, make_report
from cache_builder.build.settle import settle
from cache_builder.build.task import BuildTask
from cache_builder.columns import read_dataset
from cache_builder.content_order import MadeOrder, made_order
from cache_builder.errors import OutputError, VideosNotWholeError
from cache_builder.findings import find_copies_of
from cache_builder.folder_scan import scanned_files
from cache_builder.growing import (
    AppendRequest,
    ColumnsPlan,
    Compared,
    Growth,
    WrittenColumns,
    changed_error,
    columns_of,
    compared_or_refused,
    differing_episodes,
    found_whole,
    ids_to_forget,
    plan_columns,
    publish_growth,
    read_live_cache,
    recorded_configs,
    require_same_cameras,
    require_same_settings,
    require_same_size,
    require_same_versions,
    require_writable,
    same_as_recorded,
    tree_of_new,
    unchanged_forgotten,
    write_append_columns,
)
from cache_builder.inputs import (
    Inputs,
    chosen_decoders,
    foreseen_problems,
    scan_inputs,
    settled_alone,
)
from cache_builder.sources import SourceContents, printable
from cache_builder.stages import RemoteWorkspace, write_report
from cache_builder.video.decode import DecodeBackend
from frame_store.files import sync_tree
from frame_store.manifest import CacheTree, Generation, VideoEntry
from frame_store.reader import CacheStore
from frame_store.shared import without_controls

APPEND_KEY: Final = "append"
"""Of the identity of unfinished work: it is of an append."""
_NUM_NAMES_TOLD: Final = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class _New:
    """The videos to add, with their scans."""

    task: BuildTask
    checked: Inputs
    """Episodes of the cache in files that have grown."""
    take_back: list[int]
    """video_ids of forgotten videos that are among the sources, unchanged."""
    names: list[str]


class Append:
    """One append to an existing cache. The caller holds the lock of the workspace."""

    def __init__(
        self,
        *,
        contents: SourceContents,
        making: Making,
        backend: DecodeBackend,
        request: AppendRequest,
    ) -> None:
        self._contents = contents
        self._making = making
        self._workspace = making.workspace
        self._options = making.options
        self._progress = making.progress
        self._backend = backend
        self._request = request
        self._cache = read_live_cache(making.workspace.output)
        self._seconds_scan = 0.0

    def run(self) -> BuildReport:
        """Append.

        Raises: as `run_build`; ColumnsError: columns of the new videos that the cache does not have, or the reverse.
        """
        require_writable(self._workspace)
        self._refuse_content_orders()
        require_same_cameras(self._cache, self._contents)
        require_same_settings(self._cache, self._request.given, self._contents)
        forget = self._ids_to_forget()
        compared = compared_or_refused(
            self._cache,
            self._contents,
            forget=forget,
            scanned=scanned_files(self._workspace.scan_cache),
            rehash=self._request.rehash,
        )
        names = [
            video.relative_path
            for video in self._contents.videos_of(self._cache.cameras[0])
            if self._cache.live.get(video.relative_path) is None
            or self._cache.live[video.relative_path] in forget
        ]
        if not names:
            return self._without_new(forget, [], compared)
        new = self._scanned(names, compared)
        if not new.names:
            return self._without_new(forget, new.take_back, compared)
        plan = plan_columns(self._cache, dataset=new.task.dataset, given=self._request.tables)
        return self._with_new(new, plan, forget, compared)

    def _refuse_content_orders(self) -> None:
        """A new generation would need one, too, and frames of a cache in a store are not read by builds."""
        if isinstance(self._workspace, RemoteWorkspace) and self._cache.manifest.content_orders:
            raise OutputError(
                f"{self._workspace.title}: has a content order, and {{--append}} to a URL cannot extend it; append to "
                "a local copy, and copy that there as a new cache"
            )

    def _ids_to_forget(self) -> set[int]:
        """video_ids to forget. A video that is the same among the sources stays: it would only come again."""
        cache = self._cache
        ids = set(ids_to_forget(cache, self._request.forget))
        given = {video.relative_path for video in self._contents.videos}
        asked = [name for name, video_id in cache.live.items() if video_id in ids and name in given]
        for name in sorted(same_as_recorded(cache, asked, self._contents)) if asked else ():
            ids.discard(cache.live[name])
            self._progress.note(
                f"{without_controls(name)!r} stays: the sources have it unchanged; to forget it, leave it out of them "
                "(--exclude)"
            )
        return ids

    def _scanned(self, names: list[str], compared: Compared) -> _New:
        started = time.monotonic()
        contents = self._contents.of_names([*names, *compared.grown])
        inputs = scan_inputs(
            contents,
            scan_cache=self._workspace.scan_cache,
            pool=self._making.pool,
            progress=self._progress,
            keep_others=True,
        )
        self._workspace.put_scan_cache()
        self._seconds_scan = time.monotonic() - started
        take_back = unchanged_forgotten(self._cache, inputs, names)
        back = {self._cache.tables[0][video_id].path for video_id in take_back}
        names = [name for name in names if name not in back]
        decoders = chosen_decoders(
            inputs, backend=self._backend, options=self._options, progress=self._progress
        )
        require_same_versions(self._cache, decoders)
        of_new = inputs.of_names(frozenset(names))
        require_same_size(self._cache, self._request.given, of_new)
        task = BuildTask(
            inputs=of_new,
            configs=recorded_configs(self._cache),
            decoders=decoders,
            dataset=read_dataset(self._contents.of_names(names)) if names else None,
        )
        checked = inputs.of_names(frozenset(compared.grown))
        return _New(task=task, checked=checked, take_back=take_back, names=names)

    def _with_new(
        self, new: _New, plan: ColumnsPlan, forget: Collection[int], compared: Compared
    ) -> BuildReport:
        workspace, task = self._workspace, new.task
        identity = task.identity(task.configs[0]) | {APPEND_KEY: "new videos for a cache that exists"}
        started = time.monotonic()
        seconds_decode = 0.0
        is_resumed = True
        trees = found_whole(self._cache, task.fingerprints())
        if trees is None or new.checked.videos:
            is_resumed, seconds_decode, trees = self._made(new, identity)
        workspace.clear_columns()
        workspace.clear_content()
        try:
            with CacheStore.of_tree(trees[0]) as store:
                columns = write_append_columns(plan, self._cache, store, workspace=workspace)
                order = self._ordered(store)
            growth = Growth(
                base=self._cache,
                new=trees,
                names=new.names,
                columns=columns,
                content_order=None if order is None else order.entry,
                forget=forget,
                take_back=new.take_back,
            )
            report = self._report(
                [([tree.common], tree.read_videos()) for tree in trees],
                growth,
                compared,
                columns=columns,
                is_resumed=is_resumed,
                seconds_decode=seconds_decode,
                seconds_gather=time.monotonic() - started - seconds_decode,
            )
            # Written before the new version, so that every version has its report.
            self._write_report(report)
            self._publish(growth)
        finally:
            workspace.clear_columns()
            workspace.clear_content()
        workspace.remove_building(of=identity)
        return report

    def _made(self, new: _New, identity: dict[str, Any]) -> tuple[bool, float, list[CacheTree]]:
        """Decode and gather; whether an interrupted run had begun, the seconds of decoding, and what was made."""
        workspace, task = self._workspace, new.task
        if self._options.on_error == "fail":
            problems = foreseen_problems(task.inputs, task.configs_of_files)
            if problems:
                raise VideosNotWholeError(problems)
        self._claim(identity)
        self._making.require_space(task)
        is_resumed = workspace.has_units
        started = time.monotonic()
        episodes = task.inputs.episodes()
        for file_id, checked in new.checked.episodes().items():
            episodes = episodes | {file_id: [*episodes.get(file_id, []), *checked]}
        decoded, task = self._making.decoded(task, episodes=episodes)
        seconds_decode = time.monotonic() - started
        if new.checked.videos:
            settled = settled_alone(new.checked, decoded.videos)
            differing = differing_episodes(self._cache, new.checked, settled)
            if differing:
                raise changed_error(self._cache, differing)
        videos = settle(task.inputs, decoded.videos, on_error=self._options.on_error)
        gathered = self._making.gathered(task, videos, decoded.unit_names)
        sync_tree(workspace.cache)
        entries = {camera: made.entry for camera, made in gathered.items()}
        return is_resumed, seconds_decode, tree_of_new(workspace.cache, entries)

    def _claim(self, identity: dict[str, Any]) -> None:
        """Take over the unfinished work of this append. That of another append is discarded."""
        found = self._workspace.unfinished()
        is_other_append = found is not None and APPEND_KEY in found and found != identity
        if is_other_append:
            self._progress.note(
                f"{self._workspace.unfinished_title}: an unfinished append of other videos is discarded; this one has "
                "the videos that are new now"
            )
        self._workspace.claim(
            identity, overwrite=is_other_append, to_discard=f"remove {self._workspace.unfinished_title}"
        )

    def _ordered(self, store: CacheStore) -> MadeOrder | None:
        """The content order of the new generation, where the cache has one; synced, beside the cache."""
        if not self._cache.manifest.content_orders:
            return None
        order = made_order(store, self._workspace.made_content, progress=self._progress)
        sync_tree(self._workspace.made_content)
        return order

    def _publish(self, growth: Growth) -> None:
        try:
            publish_growth(growth, workspace=self._workspace)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise OutputError(
                    f"{self._workspace.output}: is on another disk than the folder beside it; copy the cache"
                ) from error
            raise

    def _without_new(
        self, forget: Collection[int], take_back: Sequence[int], compared: Compared
    ) -> BuildReport:
        cache = self._cache
        growth = Growth(base=cache, forget=forget, take_back=take_back)
        left = sorted({*cache.live.values(), *take_back} - set(forget))
        report = self._report(
            [
                (
                    [each.generation for each in tree.generations],
                    [table[video_id] for video_id in left],
                )
                for tree, table in zip(cache.trees, cache.tables, strict=True)
            ],
            growth,
            compared,
            columns=None,
        )
        workspace = self._workspace
        self._remove_finished()
        if forget or take_back:
            workspace.clear_columns()
            try:
                self._publish(growth)
            finally:
                workspace.clear_columns()
            self._write_report(report)
        return report

    def _remove_finished(self) -> None:
        """Remove what an append that was killed after its version was there has left beside the cache."""
        workspace, cache = self._workspace, self._cache
        workspace.clear_columns()
        workspace.clear_content()
        found = workspace.unfinished() or {}
        if APPEND_KEY not in found:
            return
        starts = [f"camera {camera}: " for camera in cache.cameras if camera is not None] or [""]
        names = {
            name.removeprefix(start)
            for name in found.get("videos", {})
            for start in starts
            if name.startswith(start)
        }
        if names <= cache.live.keys():
            workspace.remove_building(of=found)

    def _report(
        self,
        made: Sequence[tuple[Sequence[Generation], list[VideoEntry]]],
        growth: Growth,
        compared: Compared,
        *,
        columns: WrittenColumns | None,
        is_resumed: bool = False,
        seconds_decode: float = 0.0,
        seconds_gather: float = 0.0,
    ) -> BuildReport:
        cache = self._cache
        for line in [] if columns is None else [*columns.problems, *columns.notes]:
            self._progress.note(line)
        paths = cache.tables[0]
        num_new = 0 if growth.new is None else growth.new[0].num_videos
        num_new_frames = 0 if growth.new is None else growth.new[0].num_frames
        gone = set(growth.forget)
        left = [video_id for video_id in cache.live.values() if video_id not in gone]
        left += growth.take_back
        append = AppendSummary(
            num_videos_added=num_new,
            num_frames_added=num_new_frames,
            num_videos_there=len(compared.there),
            num_videos_checked=len(compared.grown),
            forgotten=[paths[video_id].path for video_id in sorted(gone)],
            taken_back=[paths[video_id].path for video_id in growth.take_back],
            copies=find_copies_of((paths[video_id] for video_id in left), made[0][1]) if num_new else [],
            absent=[name for name in compared.absent if cache.live[name] not in gone],
            has_content_order=bool(cache.manifest.content_orders),
            columns_to_write=[] if growth.new is not None else self._columns_to_write(),
            num_column_problems=0 if columns is None else len(columns.problems),
            num_generations=len(cache.trees[0].generations) + (growth.new is not None),
            num_videos=len(left) + num_new,
            num_frames=sum(paths[video_id].num_frames_stored for video_id in left) + num_new_frames,
        )
        changes = growth.new is not None or growth.forget or growth.take_back
        return make_report(
            dict(zip(cache.cameras, made, strict=True)),
            output=printable(self._workspace.title),
            status="appended" if changes else "already complete",
            passed_over=self._contents.passed_over,
            is_resumed=is_resumed,
            seconds_scan=self._seconds_scan,
            seconds_decode=seconds_decode,
            seconds_gather=seconds_gather,
            append=append,
        )

    def _columns_to_write(self) -> list[str]:
        there = {column.name for record in columns_of(self._cache) for column in record.columns}
        return sorted({name for table in self._request.tables.tables for name in table.columns} - there)

    def _write_report(self, report: BuildReport) -> None:
        write_report(self._workspace, msgspec.json.format(msgspec.json.encode(report), indent=1))
        self._workspace.put_reports()
