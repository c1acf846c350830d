"""Damaged files of one generation made again: in the folder of the workspace first, then moved to their places."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from cache_builder.errors import RepairError, VideoError, VideosNotWholeError
from cache_builder.executors import WorkerPool
from cache_builder.findings import ON_DEVICE_COUNT, SOURCE_DTYPE, LeftOutVideo, UnitReceipt
from cache_builder.folder_scan import scan_videos
from cache_builder.gpu import DecoderChoice
from cache_builder.inputs import Inputs, Settled, settled_alone
from cache_builder.jobs import GatherPlaces, PlanNames, ShardJob, UnitJob, shard_rows_path
from cache_builder.plan import ShardPlan, plan_shards
from cache_builder.progress import Progress
from cache_builder.repair.checks import REBUILD, config_of, require_place
from cache_builder.repair.index_rows import IndexRows
from cache_builder.repair.needed_videos import NeededVideos
from cache_builder.repair.source_order import SourceOrderRepair
from cache_builder.repair.videos_table import videos_of
from cache_builder.sources import Sources, SourceVideo
from cache_builder.stages import (
    DecodeStage,
    Workspace,
    json_differences,
    library_versions,
    reports_of,
    write_files_of_index,
    write_index,
    write_plan,
    write_shards,
    write_videos,
)
from cache_builder.video.scan import VideoScan
from frame_store.containers import ShardReceipt
from frame_store.files import sync_path
from frame_store.index import FrameIndex, open_index
from frame_store.manifest import CacheTree, FileEntry, Generation
from frame_store.names import INDEX_NAME, VIDEOS_NAME
from frame_store.shared import counted, listed
from frame_store.verify import check_file


def repair_identity(generation: Generation) -> dict[str, Any]:
    """What a folder of unfinished work belongs to."""
    return {"repair of": generation.fingerprint, "library_versions": generation.library_versions}


class GenerationRepair:
    """The damaged files of one generation of a cache, or of one of its cameras."""

    def __init__(
        self,
        tree: CacheTree,
        broken: Sequence[FileEntry],
        *,
        number: int,
        sources: Sources | None,
        workspace: Workspace,
        workers: int,
        progress: Progress,
        forgotten: Collection[int] = (),
    ) -> None:
        """Of the only generation of `tree`, which counts from 0. Reads its table of videos.

        Args:
            tree: the generation alone.
            broken: its damaged files; at least one.
            number: of the camera, 0 for a cache without cameras.
            sources: where the videos are.
            workspace: the lock of which the caller holds.
            workers: how many processes decode.
            progress: receives what is done.
            forgotten: `video_id`s, in the generation, of forgotten videos.

        Raises:
            RepairError: its table of videos is damaged, and no report of its build is there; or its settings are none.
        """
        self._number = number
        self._forgotten = forgotten
        self._camera = None if tree.camera is None else tree.camera.name
        self._generation = generation = tree.common
        self._folder = tree.generations[0].folder
        self._generation_folder = tree.generations[0].entry.folder
        self._place = workspace.output / tree.generations[0].folder
        self._made = workspace.cache / tree.generations[0].folder
        self._broken = broken
        self._sources = sources
        self._workspace = workspace
        self._workers = workers
        self._progress = progress
        self._config = config_of(generation)
        self._broken_names = {entry.name for entry in broken}
        self._broken_shard_ids = [
            shard_id for shard_id, shard in enumerate(generation.shards) if shard.name in self._broken_names
        ]
        self._entries = videos_of(tree, reports=reports_of(workspace), broken=self._broken_names)
        self._source_order = SourceOrderRepair(
            cache=workspace.output,
            folder=tree.generations[0].folder,
            entries=self._entries,
            broken=broken,
            is_shuffled=generation.layout == "shuffled",
            sources=sources,
            camera=self._camera,
            workers=workers,
            progress=progress,
            forgotten=forgotten,
        )

    def run(self) -> None:
        """Make the files again, and put them in their places.

        Raises: as `repair_cache`.
        """
        generation, workspace = self._generation, self._workspace
        plan = self._plan()
        if self._broken_shard_ids:
            self._require_decodable(plan, self._broken_shard_ids)
        self._source_order.require_videos()
        for entry in self._broken:
            require_place(workspace.output, entry.inside(self._folder))
        identity = repair_identity(generation)
        workspace.claim(identity, overwrite=False, to_discard="remove that folder")
        self._places = self._places_of(workspace)
        self._made.mkdir(exist_ok=True)
        try:
            self._make_again(plan)
        except (RepairError, VideosNotWholeError):
            workspace.remove_building(of=identity)  # the same call would fail again
            raise
        for entry in self._broken:
            sync_path(self._made / entry.name)
            place = self._place / entry.name
            (self._made / entry.name).replace(place)
            sync_path(place.parent)
        workspace.remove_building(of=identity)

    def _places_of(self, workspace: Workspace) -> GatherPlaces:
        return workspace.places if self._camera is None else workspace.places_of_camera(self._number)

    def _make_again(self, plan: ShardPlan) -> None:
        """Write all broken files into the folder of the generation in `workspace.cache`, and check them."""
        if self._broken_shard_ids:
            self._write_shards(plan, self._broken_shard_ids)
        if self._index_is_broken and not self._make_index_of_shards(plan):
            every_shard = range(len(self._generation.shards))
            self._require_decodable(plan, every_shard)
            self._write_shards(plan, every_shard)
            self._write_index(self._written_rows(shard_id) for shard_id in every_shard)
        if VIDEOS_NAME in self._broken_names:
            write_videos(self._made, self._entries)
        shard_names = {shard.name for shard in self._generation.shards}
        if self._broken_names - shard_names - {INDEX_NAME, VIDEOS_NAME}:
            where = self._made if self._index_is_broken else self._place
            index = open_index(where, num_frames=self._generation.num_frames)
            write_files_of_index(self._made, self._config, index)
            self._source_order.write(self._made, index)
        self._require_right()

    @property
    def _index_is_broken(self) -> bool:
        return INDEX_NAME in self._broken_names

    def _make_index_of_shards(self, plan: ShardPlan) -> bool:
        """Write the index from the intact and the new shards; returns whether it has the recorded hash."""
        generation = self._generation
        intact = IndexRows(
            self._place,
            generation=generation,
            videos=self._entries,
            config=self._config,
            plan=plan,
            broken=self._broken_names,
        )
        self._progress.start("index", generation.num_frames, "frames")

        def rows_of_shards() -> Iterator[FrameIndex]:
            for shard_id, shard in enumerate(generation.shards):
                is_broken = shard.name in self._broken_names
                yield self._written_rows(shard_id) if is_broken else intact.of_shard(shard_id)
                self._progress.advance(shard.num_frames)

        try:
            self._write_index(rows_of_shards())
        except ValueError:
            return False
        return not any(check_file(self._made, entry) for entry in self._broken if entry.name == INDEX_NAME)

    def _write_index(self, rows_of_shards: Iterable[FrameIndex]) -> None:
        write_index(self._made, rows_of_shards, num_frames=self._generation.num_frames)

    def _written_rows(self, shard_id: int) -> FrameIndex:
        """Rows of a shard that was written again."""
        rows: FrameIndex = np.load(shard_rows_path(self._places.receipts, shard_id), allow_pickle=False)
        return rows

    def _plan(self) -> ShardPlan:
        num_stored = [video.num_frames_stored for video in self._entries]
        recorded = [shard.num_frames for shard in self._generation.shards]
        parts = self._generation.built_parts
        edges = [*accumulate((part.num_videos for part in parts), initial=0)]
        plans = [plan_shards(num_stored[begin:end], self._config) for begin, end in pairwise(edges)]
        planned = [len(plan.source_of_frame) for plan in plans]
        first_frames = np.cumsum([0, *planned])
        # The frames of a part keep their order where it is joined to others; the shards are cut anew.
        is_planned = (
            plans[0].shard_sizes.tolist() == recorded
            if len(parts) == 1
            else planned == [part.num_frames for part in parts]
        )
        if not is_planned:
            raise RepairError(f"{self._place}: its shards are not those of its settings; {REBUILD}")
        return ShardPlan(
            shard_sizes=np.array(recorded, np.int64),
            source_of_frame=np.concatenate(
                [plan.source_of_frame + first for plan, first in zip(plans, first_frames[:-1], strict=True)]
            ),
        )

    def _needed_videos(self, plan: ShardPlan, shard_ids: Iterable[int]) -> list[int]:
        """video_id of every video that has frames in these shards, in order."""
        ends = np.cumsum([video.num_frames_stored for video in self._entries])
        starts = plan.shard_starts
        found: set[int] = set()
        for shard_id in shard_ids:
            sources = plan.source_of_frame[starts[shard_id] : starts[shard_id + 1]]
            found.update(np.searchsorted(ends, sources, side="right").tolist())
        return sorted(found)

    def _require_decodable(self, plan: ShardPlan, shard_ids: Sequence[int]) -> None:
        """Refuse early what cannot give the same shards again: no videos, frames from a GPU, other library versions."""
        if self._sources is None:
            names = [self._generation.shards[shard_id].name for shard_id in self._broken_shard_ids] or [
                INDEX_NAME
            ]
            raise RepairError(
                f"{self._workspace.output}: only the videos can give {self._folder}/{names[0]} again"
                f"{f' and {len(names) - 1} more' if names[1:] else ''}; give what it was built from: "
                "{--videos SOURCE}"
            )
        needed = self._needed_videos(plan, shard_ids)
        by_gpu = [self._entries[row].path for row in needed if ON_DEVICE_COUNT in self._entries[row].facts]
        if by_gpu:
            others = f" and {counted(len(by_gpu) - 1, 'other')}" if by_gpu[1:] else ""
            raise RepairError(
                f"{self._workspace.output}: a GPU decoded {by_gpu[0]}{others} of the videos "
                f"needed, and only such a GPU gives the same bytes; {REBUILD} --device cuda"
            )
        if versions := self._other_versions():
            raise RepairError(
                listed(
                    f"{self._workspace.output}: was made with other versions, which may give other bytes",
                    versions,
                    f"install those, or {REBUILD}",
                )
            )

    def _other_versions(self) -> list[str]:
        """One line for each library whose version differs from the recorded one."""
        installed = library_versions(DecoderChoice())
        recorded = {
            name: version
            for name, version in self._generation.library_versions.items()
            if name not in {"GPU", "torch"}  # a GPU decoded none of the needed videos
        }
        return [line.replace("asked for", "installed here") for line in json_differences(installed, recorded)]

    def _write_shards(self, plan: ShardPlan, shard_ids: Sequence[int]) -> None:
        videos, unit_names = self._decode(self._needed_videos(plan, shard_ids))
        parts = []
        for video_id, (entry, video) in enumerate(zip(self._entries, videos, strict=True)):
            if not isinstance(video, LeftOutVideo):
                sources = video.sources(video_id)
                if len(sources) != entry.num_frames_stored:
                    raise RepairError(
                        f"{entry.path}: gave {counted(len(sources), 'frame')}, and {entry.num_frames_stored} when the "
                        f"cache was made; {REBUILD}"
                    )
                parts.append(sources)
            else:
                parts.append(np.zeros(entry.num_frames_stored, SOURCE_DTYPE))  # none of its frames is needed
        names = PlanNames(videos=[entry.path for entry in self._entries], units=unit_names)
        write_plan(
            self._places,
            plan,
            folder=self._generation_folder,
            container=self._config.format,
            sources=np.concatenate(parts),
            names=names,
        )
        num_frames = int(plan.shard_sizes[list(shard_ids)].sum())
        self._progress.start("gather", num_frames, "frames")
        with WorkerPool[ShardJob, ShardReceipt](num_workers=self._workers) as pool:
            write_shards(
                pool,
                self._places,
                folder=self._generation_folder,
                config=self._config,
                plan=plan,
                shard_ids=shard_ids,
                progress=self._progress.advance,
            )

    def _decode(self, needed: list[int]) -> tuple[list[Settled], list[str]]:
        """All videos, of which those that are not needed are left out, and the names of the decoded units."""
        inputs = self._scan(needed)
        self._progress.start("decode", inputs.num_packets, "frames")
        with WorkerPool[UnitJob, UnitReceipt](num_workers=self._workers) as pool:
            decoded = DecodeStage(
                pool,
                files=inputs.files,
                spill=self._workspace.spill,
                scans=inputs.scans,
                decoders=DecoderChoice(),
                configs=[self._config] * len(inputs.files),
                on_error="skip",
                progress=self._progress.advance,
                episodes=inputs.episodes(),
            ).run()
        videos = settled_alone(inputs, decoded.videos)
        errors = [
            str(VideoError(video.name, video.reason))
            for video in (videos[row] for row in needed)
            if isinstance(video, LeftOutVideo)
        ]
        if errors:
            raise VideosNotWholeError(errors, fault="cannot be decoded as they were", remedy=REBUILD)
        return videos, decoded.unit_names

    def _scan(self, needed: list[int]) -> Inputs:
        """The needed videos and their files, scanned."""
        assert self._sources is not None  # `_require_decodable` has refused that
        videos = NeededVideos(
            self._sources, self._entries, needed, camera=self._camera, forgotten=self._forgotten
        )

        def scan(files: list[SourceVideo]) -> list[VideoScan | VideoError]:
            self._progress.start("scan", len(files), "videos")
            # No scan cache: it recognizes files by size and time, but in a repair every byte must be the same.
            with WorkerPool[Any, Any](num_workers=self._workers) as pool:
                return scan_videos(files, cache_path=None, pool=pool)

        return videos.inputs(scan)

    def _require_right(self) -> None:
        """Check that all new files have their recorded hashes, before any of them replaces a damaged one."""
        wrong = [entry.inside(self._folder).name for entry in self._broken if check_file(self._made, entry)]
        if wrong:
            what = f"{self._workspace.output}: {', '.join(wrong[:10])}: the new files differ from the recorded hashes"
            if versions := self._other_versions():
                remedy = f"nothing was replaced; install those, or {REBUILD}"
                raise RepairError(listed(f"{what}, with other versions", versions, remedy))
            raise RepairError(
                f"{what}, although the libraries are the same (another kind of CPU?); nothing was replaced; {REBUILD}"
            )
