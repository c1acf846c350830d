"""`verify_store`: every byte of a cache, file by file, and its frames through other libraries."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from frame_store.containers import check_side_arrays, check_zarr_metadata, frames_per_shard
from frame_store.errors import StoreDamagedError, StoreError
from frame_store.manifest import VideoEntry, read_manifest
from frame_store.names import INDEX_NAME, VIDEOS_NAME, manifest_name
from frame_store.notebook import items, output, paragraphs
from frame_store.reader import CacheStore
from frame_store.shared import counted, raise_if_out_of_files, user_path, without_controls
from frame_store.source_files import SOURCE_FILE_NAMES, find_source_problems, open_source_order
from frame_store.verify.cameras import find_camera_problems
from frame_store.verify.columns import check_columns, column_file_names
from frame_store.verify.content_order import check_content_order, content_order_files
from frame_store.verify.files import check_file, differences, extra_entries, has_size
from frame_store.verify.frames import Sample, check_index, check_shard_frames, check_shard_layout, row_problem
from frame_store.verify.spans import find_span_problems


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

    def _repr_html_(self) -> str:
        """What IPython shows: the summary, and the first problems and notes. Never raises."""
        return output(
            self,
            lambda: [
                paragraphs([self.summary]),
                items("Problems", self.problems),
                items("Notes", self.notes),
            ],
        )


def verify_store(path: Path, *, progress: Callable[[int], None] = lambda _: None) -> VerifyResult:
    """Check every byte of the cache at `path`. `progress` is called with the number of frames of each checked shard.

    A cache of cameras is checked camera by camera, and the cameras against each other.

    The cache may be of unknown origin: nothing outside of its folder is read, and nothing in it is run.

    Raises:
        StoreNotFoundError: `path` holds no cache.
        StoreFormatError: the manifest is wrong, or `generation.json` has the recorded hash and is wrong, so nothing can
            be checked against them.
        OSError: no more files can be opened, so nothing was found out.
    """
    manifest = read_manifest(user_path(path))
    cameras: list[str | None] = [entry.name for entry in manifest.cameras]
    opened = [_opened(path, camera) for camera in cameras or [None]]
    checked = [each for each in opened if isinstance(each, _CheckedGeneration)]
    problems = [each for each in opened if isinstance(each, str)]
    if not checked:
        return _unread(path, problems)
    unread = [
        entry.folder
        for entry, each in zip(manifest.cameras, opened, strict=False)
        if not isinstance(each, _CheckedGeneration)
    ]
    trees = [each.store.tree for each in checked]
    shared_files = [*column_file_names(trees[0]), *(file.name for file in content_order_files(trees[0]))]
    extra = list(extra_entries(trees, shared_files=shared_files, unread=unread))
    problems += [
        *_check_older_manifests(checked[0].store),
        *(entry.line for entry in extra if not entry.is_harmless),
    ]
    for each in checked:
        problems += each.problems_beside_shards()
    if not problems and len(checked) > 1:
        problems += find_camera_problems([each.store for each in checked], [each.videos for each in checked])
    problems += check_columns(trees[0], num_rows=checked[0].num_rows)
    problems += _check_content_order(checked)
    for each in checked:
        problems += each.problems_of_shards(progress)
    if not problems:
        # Other libraries see the files only after every byte that they interpret has been checked.
        problems += [line for each in checked for line in each.of_camera(Sample(each.store).check())]
    return VerifyResult(
        path=str(path),
        num_frames_checked=sum(len(each.store) for each in checked),
        # The manifests and `generation.json` list the other files, and are checked by their digests.
        num_files_checked=(
            trees[0].manifest.version + 1 + len(shared_files) + sum(each.num_files for each in checked)
        ),
        problems=problems,
        notes=[entry.line for entry in extra if entry.is_harmless],
    )


def _check_content_order(checked: "Sequence[_CheckedGeneration]") -> Iterator[str]:
    """What is wrong with the content order, which counts by the generation of the first camera."""
    for each in checked:
        if each.store.tree.leads:
            yield from check_content_order(each.store.tree)


def _unread(path: Path, problems: list[str]) -> VerifyResult:
    """The result for a cache whose frames cannot be checked."""
    return VerifyResult(
        path=str(path), num_frames_checked=0, num_files_checked=0, problems=problems, notes=[]
    )


def _opened(path: Path, camera: str | None) -> "_CheckedGeneration | str":
    """A generation of the cache, or why it cannot be opened.

    Raises:
        StoreFormatError, OSError: as `verify_store`.
    """
    try:
        store = CacheStore(path, camera=camera)
    except StoreDamagedError as error:
        return f"{error}{_of_camera(camera)}"
    tree = store.tree
    try:
        # The index is mapped: a page that the disk cannot read kills the process that touches it. Reading raises.
        differences(store.path, store.common.file(INDEX_NAME).inside(tree.generations[0].folder))
    except OSError as error:
        raise_if_out_of_files(error)
        return f"{tree.generations[0].folder}/{INDEX_NAME}: {error.strerror}{_of_camera(camera)}"
    videos, video_problems = _read_videos(store)
    return _CheckedGeneration(store, videos, video_problems)


def _of_camera(camera: str | None) -> str:
    """The end of a problem of a camera."""
    return "" if camera is None else f" (camera {without_controls(camera)!r})"


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
        videos = store.video_entries
    except StoreDamagedError:
        return None, []
    except StoreError as error:
        return None, [f"{VIDEOS_NAME}: {error}"]
    return videos, [f"{VIDEOS_NAME}: {problem}" for problem in find_span_problems(videos)]


def _in_folder(folder: str, problems: Iterable[str]) -> Iterator[str]:
    """Problems of the files of a generation, with their paths inside the cache."""
    return (f"{folder}/{problem}" for problem in problems)


@dataclass(frozen=True)
class _CheckedGeneration:
    """The checks of the content of a generation's files, beyond their hashes. Paths are inside its folder."""

    store: CacheStore
    videos: list[VideoEntry] | None
    """None where the table of videos cannot be read."""
    video_problems: list[str]
    """What is wrong with the lines of the table."""

    @property
    def video_paths(self) -> list[str] | None:
        """Path of each video."""
        return None if self.videos is None else [video.path for video in self.videos]

    @property
    def num_rows(self) -> int | None:
        """Decoded frames; None where they are not known."""
        return None if self.videos is None else sum(video.num_frames_decoded for video in self.videos)

    @property
    def num_files(self) -> int:
        """Files of the generation."""
        return 1 + len(self.store.common.files) + len(self.store.common.shards)

    def problems_beside_shards(self) -> Iterator[str]:
        """One line for each thing that is wrong with the files beside the shards. Paths are inside the cache."""
        folder = self.store.tree.generations[0].folder
        hashes = (
            problem
            for entry in self.store.common.files
            for problem in check_file(self.store.path, entry.inside(folder))
        )
        yield from self.of_camera(
            chain(
                hashes,
                _in_folder(folder, self.video_problems),
                _in_folder(folder, self.file_problems()),
            )
        )

    def problems_of_shards(self, progress: Callable[[int], None]) -> Iterator[str]:
        """One line for each thing that is wrong with a shard. Paths are inside the cache."""
        folder = self.store.tree.generations[0].folder
        for shard_id, shard in enumerate(self.store.common.shards):
            yield from self.of_camera(check_file(self.store.path, shard.inside(folder)))
            yield from self.of_camera(_in_folder(folder, self.shard_problems(shard_id)))
            progress(shard.num_frames)

    def of_camera(self, problems: Iterable[str]) -> Iterator[str]:
        """The problems with the name of the camera, if there are cameras."""
        return (f"{problem}{_of_camera(self.store.camera)}" for problem in problems)

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
        shard = store.common.shards[shard_id]
        # A reader refuses a shard of another size or with a wrong row, so its frames need no check.
        if has_size(store.generations[0].path, shard) and row_problem(store, shard_id) is None:
            yield from check_shard_frames(store, shard_id)
            yield from check_shard_layout(store, shard_id, video_paths=self.video_paths)


def _check_zarr_files(checked: _CheckedGeneration) -> Iterator[str]:
    store = checked.store
    if store.common.container == "zarr":
        shard_length = frames_per_shard(store.common, store.stored_index)
        yield from check_side_arrays(store.generations[0].path, store.stored_index)
        yield from check_zarr_metadata(store.generations[0].path, store.common, shard_length=shard_length)


def _check_source_order(checked: _CheckedGeneration) -> Iterator[str]:
    generation, folder = checked.store.common, checked.store.generations[0].path
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
