"""`verify_store`: every byte of a cache, file by file, and its frames through other libraries."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from frame_store.containers import check_side_arrays, check_zarr_metadata, frames_per_shard
from frame_store.errors import StoreDamagedError, StoreError
from frame_store.manifest import VideoEntry, read_manifest
from frame_store.names import INDEX_NAME, VIDEOS_NAME, manifest_name
from frame_store.reader import CacheStore
from frame_store.shared import counted, raise_if_out_of_files
from frame_store.source_files import SOURCE_FILE_NAMES, find_source_problems, open_source_order
from frame_store.verify.columns import check_columns, column_file_names
from frame_store.verify.files import check_file, differences, extra_entries, has_size
from frame_store.verify.frames import Sample, check_index, check_shard_frames, check_shard_layout, row_problem


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify_store` found; the cache is sound if `problems` is empty."""

    path: str
    num_frames_checked: int
    num_files_checked: int
    problems: list[str]
    """One line each, with the file and, where it is known, the frame."""
    notes: list[str]
    """Files and folders that are not part of the cache and that no reader opens, such as an editor's backup."""

    @property
    def summary(self) -> str:
        """One line for a terminal."""
        verdict = "sound" if not self.problems else counted(len(self.problems), "problem")
        frames, files = counted(self.num_frames_checked, "frame"), counted(self.num_files_checked, "file")
        return f"{self.path}: {verdict} ({frames} in {files} checked)"


def verify_store(path: Path, *, progress: Callable[[int], None] = lambda _: None) -> VerifyResult:
    """Check every byte of the cache at `path`. `progress` is called with the number of frames of each checked shard.

    The cache may be of unknown origin: nothing outside of its folder is read, and nothing in it is run.

    Raises:
        StoreNotFoundError: `path` holds no cache.
        StoreFormatError: the manifest is wrong, or `generation.json` has the recorded hash and is wrong, so nothing can
            be checked against them.
        OSError: no more files can be opened, so nothing was found out.
    """
    try:
        store = CacheStore(path)
    except StoreDamagedError as error:
        return _unread(path, str(error))
    tree = store.tree
    try:
        # The index is mapped: a page that the disk cannot read kills the process that touches it. Reading raises.
        differences(store.path, store.generation.file(INDEX_NAME).inside(tree.folder))
    except OSError as error:
        raise_if_out_of_files(error)
        return _unread(path, f"{tree.folder}/{INDEX_NAME}: {error.strerror}")
    videos, video_problems = _read_videos(store)
    generation = _CheckedGeneration(
        store, videos, None if videos is None else [video.path for video in videos]
    )
    extra = list(extra_entries(tree, column_files=column_file_names(tree)))
    problems = [
        *_check_older_manifests(store),
        *(
            problem
            for entry in store.generation.files
            for problem in check_file(store.path, entry.inside(tree.folder))
        ),
        *(entry.line for entry in extra if not entry.is_harmless),
        *video_problems,
        *_in_folder(tree.folder, generation.file_problems()),
        *check_columns(
            tree, num_rows=None if videos is None else sum(video.num_frames_decoded for video in videos)
        ),
    ]
    for shard_id, shard in enumerate(store.generation.shards):
        problems += check_file(store.path, shard.inside(tree.folder))
        problems += _in_folder(tree.folder, generation.shard_problems(shard_id))
        progress(shard.num_frames)
    if not problems:
        # Other libraries see the files only after every byte that they interpret has been checked.
        problems += Sample(store).check()
    return VerifyResult(
        path=str(path),
        num_frames_checked=len(store),
        # The manifests and `generation.json` list the other files, and are checked by their digests.
        num_files_checked=(
            tree.manifest.version
            + 2
            + len(store.generation.files)
            + len(store.generation.shards)
            + len(list(column_file_names(tree)))
        ),
        problems=problems,
        notes=[entry.line for entry in extra if entry.is_harmless],
    )


def _unread(path: Path, problem: str) -> VerifyResult:
    """The result for a cache whose frames cannot be checked."""
    return VerifyResult(
        path=str(path), num_frames_checked=0, num_files_checked=0, problems=[problem], notes=[]
    )


def _in_folder(folder: str, problems: Iterable[str]) -> Iterator[str]:
    """Problems of the files of a generation, with their paths inside the cache."""
    return (f"{folder}/{problem}" for problem in problems)


def _check_older_manifests(store: CacheStore) -> Iterator[str]:
    """One line for each manifest before the newest that is missing or damaged."""
    for version in range(store.manifest.version):
        try:
            read_manifest(store.path, version=version)
        except StoreError as error:
            yield f"{manifest_name(version)}: {error}"


def _read_videos(store: CacheStore) -> tuple[list[VideoEntry] | None, list[str]]:
    """The table of videos, and what is wrong with its lines; None if it cannot be read.

    The size and the hash of its file are checked with those of the other files.
    """
    try:
        return store.video_entries, []
    except StoreDamagedError:
        return None, []
    except StoreError as error:
        return None, [f"{store.generation_path.name}/{VIDEOS_NAME}: {error}"]


@dataclass(frozen=True)
class _CheckedGeneration:
    """The checks of the content of a generation's files, beyond their hashes. Paths are inside its folder."""

    store: CacheStore
    videos: list[VideoEntry] | None
    """None where the table of videos cannot be read."""
    video_paths: list[str] | None

    def file_problems(self) -> Iterator[str]:
        """One line for each thing that is wrong with the content of the files beside the shards."""
        index_problems = list(check_index(self.store, self.videos))
        yield from index_problems
        if not index_problems:
            # Each compares a file with the index, and may rely on it.
            for check in _CHECKS_OF_FILES:
                yield from check(self)

    def shard_problems(self, shard_id: int) -> Iterator[str]:
        """One line for each thing that is wrong in a shard, beyond its hash."""
        store = self.store
        shard = store.generation.shards[shard_id]
        # A reader refuses a shard of another size or with a wrong row, so its frames need no check.
        if has_size(store.generation_path, shard) and row_problem(store, shard_id) is None:
            yield from check_shard_frames(store, shard_id)
            yield from check_shard_layout(store, shard_id, video_paths=self.video_paths)


def _check_zarr_files(checked: _CheckedGeneration) -> Iterator[str]:
    store = checked.store
    if store.generation.container == "zarr":
        shard_length = frames_per_shard(store.generation, store.stored_index)
        yield from check_side_arrays(store.generation_path, store.stored_index)
        yield from check_zarr_metadata(store.generation_path, store.generation, shard_length=shard_length)


def _check_source_order(checked: _CheckedGeneration) -> Iterator[str]:
    generation, folder = checked.store.generation, checked.store.generation_path
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


_CHECKS_OF_FILES: Final[tuple[Callable[[_CheckedGeneration], Iterator[str]], ...]] = (
    _check_zarr_files,
    _check_source_order,
)
"""A check for each kind of file beside the index, the table of videos and the shards: of a file's content."""
