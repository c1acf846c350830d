"""One generation of a cache against its `generation.json`: its files, its frames, and the videos that they are of."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import numpy as np

from frame_store.containers import check_side_arrays, check_zarr_metadata, frames_per_shard
from frame_store.errors import StoreDamagedError, StoreError
from frame_store.manifest import (
    CacheManifest,
    CacheTree,
    CameraEntry,
    GenerationTree,
    VideoEntry,
    read_generation,
)
from frame_store.names import INDEX_NAME, VIDEOS_NAME
from frame_store.reader import CacheStore
from frame_store.shared import raise_if_out_of_files, without_controls
from frame_store.source_files import SOURCE_FILE_NAMES, find_source_problems, open_source_order
from frame_store.verify.files import check_file, differences, has_size
from frame_store.verify.frames import (
    CacheIds,
    Sample,
    check_index,
    check_shard_frames,
    check_shard_layout,
    row_problem,
)
from frame_store.verify.spans import find_span_problems

ShardsAtHand: TypeAlias = Callable[[GenerationTree], Iterable[str | None]]
"""Brings the shards of a generation, one after another, to their places: each is there until the next one is asked for.
A text says why one cannot be."""


def all_at_hand(tree: GenerationTree) -> Iterable[str | None]:
    """The shards of a cache on this machine."""
    return [None] * len(tree.generation.shards)


@dataclass(frozen=True, kw_only=True)
class CheckedGeneration:
    """The checks of a generation: the content of its files, and their hashes."""

    tree: GenerationTree
    """With its ids in the cache."""
    store: CacheStore
    """The generation alone: its frames and videos count from 0."""
    videos: list[VideoEntry] | None
    """None where the table of videos cannot be read."""
    video_problems: list[str]
    """What is wrong with the lines of the table."""

    @property
    def video_paths(self) -> list[str] | None:
        """Path of each video."""
        return None if self.videos is None else [video.path for video in self.videos]

    @property
    def cache_ids(self) -> CacheIds:
        """The ids in the cache of its frames and videos."""
        return CacheIds(self.tree.entry.first_frame, self.tree.entry.first_video)

    @property
    def num_files(self) -> int:
        """Files of the generation."""
        return 1 + len(self.store.common.files) + len(self.store.common.shards)

    def problems_beside_shards(self) -> Iterator[str]:
        """One line for each thing that is wrong with the files beside the shards. Paths are inside the cache."""
        folder = self.tree.folder
        hashes = (
            problem
            for entry in self.store.common.files
            for problem in check_file(self.store.path, entry.inside(folder))
        )
        yield from self.of_camera(
            chain(
                hashes,
                _in_folder(folder, self.video_problems),
                _in_folder(folder, self._file_problems()),
            )
        )

    def problems_of_shards(
        self, at_hand: ShardsAtHand, progress: Callable[[int], None], *, samples: bool
    ) -> Iterator[str]:
        """One line for each thing that is wrong with a shard. Paths are inside the cache.

        With `samples`, other libraries see some frames of each shard, whose every byte has been checked before. Then
        nothing may be wrong with the files beside the shards.
        """
        folder, sample = self.tree.folder, Sample(self.store)
        if samples:
            yield from self.of_camera(sample.check_side_arrays())
        for shard_id, problem in enumerate(at_hand(self.tree)):
            shard = self.store.common.shards[shard_id]
            problems = (
                [*check_file(self.store.path, shard.inside(folder))]
                if problem is None
                else [f"{folder}/{shard.name}: {problem}"]
            )
            problems += _in_folder(folder, self._shard_problems(shard_id))
            if samples and not problems:
                problems += sample.check_shard(shard_id)
            yield from self.of_camera(problems)
            progress(shard.num_frames)
            if at_hand is not all_at_hand:
                self.store.close()  # an open file would keep its room on the disk

    def of_camera(self, problems: Iterable[str]) -> Iterator[str]:
        """The problems with the name of the camera, if there are cameras."""
        return (f"{problem}{of_camera(self.tree.camera)}" for problem in problems)

    def _file_problems(self) -> Iterator[str]:
        """One line for each thing that is wrong with the content of the files beside the shards."""
        index_problems = list(check_index(self.store, self.videos, cache_ids=self.cache_ids))
        yield from index_problems
        if not index_problems:
            # Each compares a file with the index, and may rely on it.
            for check in _CHECKS_OF_FILES:
                yield from check(self)

    def _shard_problems(self, shard_id: int) -> Iterator[str]:
        """One line for each thing that is wrong in a shard, beyond its hash."""
        store = self.store
        shard = store.common.shards[shard_id]
        # A reader refuses a shard of another size or with a wrong row, so its frames need no check.
        if has_size(self.tree.path, shard) and row_problem(store, shard_id) is None:
            yield from check_shard_frames(store, shard_id, cache_ids=self.cache_ids)
            yield from check_shard_layout(store, shard_id, video_paths=self.video_paths)


def open_generation(
    store_path: Path, manifest: CacheManifest, camera: CameraEntry | None, number: int
) -> CheckedGeneration | str:
    """A generation of the cache or of one of its cameras, or why it cannot be opened.

    Raises:
        StoreFormatError: `generation.json` has the recorded hash and is wrong.
        OSError: no more files can be opened.
    """
    entry = (manifest.generations if camera is None else camera.generations)[number]
    folder = entry.folder if camera is None else f"{camera.folder}/{entry.folder}"
    try:
        tree = GenerationTree(
            store_path=store_path,
            entry=entry,
            generation=read_generation(store_path, entry, folder=folder),
            camera=camera,
        )
        entry = msgspec.structs.replace(entry, first_frame=0, first_video=0)
        alone = GenerationTree(store_path=store_path, entry=entry, generation=tree.generation, camera=camera)
        store = CacheStore.of_tree(
            CacheTree(store_path=store_path, manifest=manifest, generations=(alone,), camera=camera)
        )
    except StoreDamagedError as error:
        return f"{error}{of_camera(camera)}"
    try:
        # The index is mapped: a page that the disk cannot read kills the process that touches it. Reading raises.
        differences(store_path, tree.generation.file(INDEX_NAME).inside(folder))
    except OSError as error:
        raise_if_out_of_files(error)
        return f"{folder}/{INDEX_NAME}: {error.strerror}{of_camera(camera)}"
    videos, problems = _read_videos(store)
    return CheckedGeneration(tree=tree, store=store, videos=videos, video_problems=problems)


def of_camera(camera: CameraEntry | None) -> str:
    """The end of a problem of a camera."""
    return "" if camera is None else f" (camera {without_controls(camera.name)!r})"


def _read_videos(store: CacheStore) -> tuple[list[VideoEntry] | None, list[str]]:
    """The table of videos, and what is wrong with its lines; None if it cannot be read.

    The size and the hash of its file are checked with those of the other files.
    """
    try:
        videos = store.video_entries
    except StoreDamagedError:
        return None, []
    except StoreError as error:
        return None, [f"{VIDEOS_NAME}: {error}"]
    # A file that grew between two builds has another SHA-256 in each of them.
    edges = accumulate((part.num_videos for part in store.tree.parts), initial=0)
    problems = chain.from_iterable(find_span_problems(videos[begin:end]) for begin, end in pairwise(edges))
    return videos, [f"{VIDEOS_NAME}: {problem}" for problem in problems]


def _in_folder(folder: str, problems: Iterable[str]) -> Iterator[str]:
    """Problems of the files of a generation, with their paths inside the cache."""
    return (f"{folder}/{problem}" for problem in problems)


def _check_parts(checked: CheckedGeneration) -> Iterator[str]:
    """Whether the frames of each part lie together, and are of its videos."""
    parts = checked.store.common.parts
    if not parts:
        return
    frame_edges = [*accumulate((part.num_frames for part in parts), initial=0)]
    video_edges = np.cumsum([part.num_videos for part in parts])
    part_of = np.searchsorted(video_edges, checked.store.stored_index["video_id"], side="right")
    for number, (begin, end) in enumerate(pairwise(frame_edges)):
        is_strange = part_of[begin:end] != number
        if is_strange.any():
            frame = begin + int(np.argmax(is_strange))
            yield (
                f"{INDEX_NAME}: frame {frame}{checked.cache_ids.of_frame(frame)}: is of a video of part "
                f"{part_of[frame]}; frames {begin} to {end - 1} are those of part {number}"
            )
            return


def _check_zarr_files(checked: CheckedGeneration) -> Iterator[str]:
    store, folder = checked.store, checked.tree.path
    if store.common.container == "zarr":
        shard_length = frames_per_shard(store.common, store.stored_index)
        yield from check_side_arrays(folder, store.stored_index)
        yield from check_zarr_metadata(folder, store.common, shard_length=shard_length)


def _check_source_order(checked: CheckedGeneration) -> Iterator[str]:
    generation, folder = checked.store.common, checked.tree.path
    entries = [entry for entry in generation.files if entry.name in SOURCE_FILE_NAMES]
    if checked.videos is None or any(check_file(folder, entry) for entry in entries):
        return  # that is reported, and the files are mapped: a page that the disk cannot read kills the process
    try:
        order = open_source_order(
            folder,
            listed={entry.name for entry in generation.files},
            num_frames=generation.num_frames,
            num_videos=generation.num_videos,
            is_shuffled=generation.layout == "shuffled",
        )
    except StoreDamagedError as error:
        yield str(error).removeprefix(f"{folder}/")
        return
    yield from find_source_problems(
        order,
        checked.store.stored_index,
        num_decoded=[video.num_frames_decoded for video in checked.videos],
        num_stored=[video.num_frames_stored for video in checked.videos],
    )


_CHECKS_OF_FILES: Final[tuple[Callable[[CheckedGeneration], Iterator[str]], ...]] = (
    _check_parts,
    _check_zarr_files,
    _check_source_order,
)
"""A check for each kind of file beside the index, the table of videos and the shards: of a file's content."""
