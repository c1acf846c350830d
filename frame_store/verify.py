"""Whether a cache is what was built: every hash and checksum, and a sample of frames through other libraries."""

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Container, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec
import numpy as np

from frame_store.codec import crc32c
from frame_store.containers import (
    SIDE_ARRAYS,
    check_side_arrays,
    check_tar_shard,
    check_zarr_metadata,
    check_zarr_shard,
    frames_per_shard,
    image_member,
    image_suffix,
)
from frame_store.errors import StoreDamagedError, StoreError
from frame_store.files import open_inside, require_plain_file
from frame_store.index import FrameIndex, RowProblem, find_row_problem
from frame_store.manifest import FileEntry
from frame_store.names import INDEX_NAME, MANIFEST_NAME, ZARR_FOLDER
from frame_store.reader import CacheStore
from frame_store.shared import counted, raise_if_out_of_files, without_controls

FRAMES_SAMPLED_PER_SHARD = 8


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
        StoreFormatError: the manifest is wrong, so nothing can be checked against it.
        OSError: no more files can be opened, so nothing was found out.
    """
    try:
        store = CacheStore(path)
    except StoreDamagedError as error:
        return _unread(path, str(error))
    try:
        # The index is mapped: a page that the disk cannot read kills the process that touches it. Reading raises.
        _differences(store.path, next(entry for entry in store.manifest.files if entry.name == INDEX_NAME))
    except OSError as error:
        raise_if_out_of_files(error)
        return _unread(path, f"{INDEX_NAME}: {error.strerror}")
    is_tar = store.manifest.container == "wds"
    index_problems = list(_check_index(store))
    extra = list(_extra_entries(store))
    harmful = [entry.line for entry in extra if not entry.is_harmless]
    problems = [*_check_files(store), *harmful, *index_problems]
    if not is_tar and not index_problems:
        shard_length = frames_per_shard(store.manifest, store.stored_index)
        problems += check_side_arrays(store.path, store.stored_index)
        problems += check_zarr_metadata(store.path, store.manifest, shard_length=shard_length)
    for shard_id, shard in enumerate(store.manifest.shards):
        broken = check_file(store.path, shard)
        problems += broken
        # A reader refuses a shard of another size or with a wrong row, so its frames need no check.
        if has_size(store.path, shard) and _row_problem(store, shard_id) is None:
            problems += [*_check_shard_frames(store, shard_id), *_check_shard_layout(store, shard_id)]
        progress(shard.num_frames)
    if not problems:
        # Other libraries see the files only after every byte that they interpret has been checked.
        problems += _Sample(store).check()
    return VerifyResult(
        path=str(path),
        num_frames_checked=len(store),
        num_files_checked=1 + len(store.manifest.files) + len(store.manifest.shards),
        problems=problems,
        notes=[entry.line for entry in extra if entry.is_harmless],
    )


def has_size(store_path: Path, entry: FileEntry) -> bool:
    """Whether a file of the store exists, is not a link, and has the size in the manifest."""
    try:
        require_plain_file(store_path, entry.name)
        return (store_path / entry.name).stat().st_size == entry.num_bytes
    except OSError:
        return False


def _unread(path: Path, problem: str) -> VerifyResult:
    """The result for a cache whose frames cannot be checked."""
    return VerifyResult(
        path=str(path), num_frames_checked=0, num_files_checked=0, problems=[problem], notes=[]
    )


def _check_files(store: CacheStore) -> Iterator[str]:
    for entry in store.manifest.files:
        yield from check_file(store.path, entry)


def check_file(store_path: Path, entry: FileEntry) -> list[str]:
    """What is wrong with a file of the store, by its size and hash: no line, or one.

    Raises:
        OSError: no more files can be opened.
    """
    try:
        return _differences(store_path, entry)
    except OSError as error:
        raise_if_out_of_files(error)
        return [f"{entry.name}: {error.strerror}"]


def _differences(store_path: Path, entry: FileEntry) -> list[str]:
    """As `check_file`, but raises OSError for a file that is missing, a link, or cannot be read."""
    descriptor = open_inside(store_path, entry.name)
    num_bytes = os.fstat(descriptor.number).st_size
    if num_bytes != entry.num_bytes:
        return [f"{entry.name}: expected {counted(entry.num_bytes, 'byte')}, found {num_bytes}"]
    with os.fdopen(os.dup(descriptor.number), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [] if digest == entry.sha256 else [f"{entry.name}: sha256 differs from the manifest's"]


class _ExtraEntry(NamedTuple):
    """A file, link or folder in a cache's folder that the manifest does not list."""

    line: str
    is_harmless: bool


def _extra_entries(store: CacheStore) -> Iterator[_ExtraEntry]:
    """Entries of the folder that are not in the manifest, and links, which are not followed."""
    known = {entry.name for entry in [*store.manifest.files, *store.manifest.shards]} | {MANIFEST_NAME}
    known |= {parent.as_posix() for name in list(known) for parent in PurePosixPath(name).parents}
    for name, mode in sorted(_entries_below(store.path, known)):
        if name not in known:
            yield _ExtraEntry(
                f"{without_controls(name)}: is not in the manifest", _is_read_by_nobody(name, mode)
            )
        elif stat.S_ISLNK(mode):
            yield _ExtraEntry(f"{without_controls(name)}: is a link", is_harmless=False)


def _is_read_by_nobody(name: str, mode: int) -> bool:
    """Whether readers ignore such an entry. They may open any tar file, and anything in the Zarr folder."""
    is_plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return is_plain and not name.endswith(".tar") and name.split("/", maxsplit=1)[0] != ZARR_FOLDER


def _entries_below(top: Path, known: Container[str]) -> Iterator[tuple[str, int]]:
    """Relative path and mode of everything in a folder and in its known subfolders. Other folders are not opened."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            for entry in os.scandir(top / folder):
                name = f"{folder}/{entry.name}" if folder else entry.name
                mode = entry.stat(follow_symlinks=False).st_mode
                yield name, mode
                if stat.S_ISDIR(mode) and name in known:
                    folders.append(name)
        except OSError as error:  # the checks of its files report it
            raise_if_out_of_files(error)


def _check_index(store: CacheStore) -> Iterator[str]:
    """Shard, slot, offset and length of every row, and frames per video, against the manifest."""
    index, manifest = store.stored_index, store.manifest
    num_videos = len(manifest.videos)
    num_problems = 0
    for shard_id in range(len(manifest.shards)):
        frame_ids = store.frame_ids_of(shard_id)
        problem = _row_problem(store, shard_id)
        if problem is not None:
            num_problems += 1
            if num_problems <= 10:
                frame_id = frame_ids[problem.slot]
                yield f"index.npy: frame {frame_id}: {index[frame_id]} cannot lie in shard {shard_id}: {problem.reason}"
    if num_problems:
        return
    counts = np.bincount(index["video_id"], minlength=num_videos)
    for video_id, video in enumerate(manifest.videos):
        if counts[video_id] != video.num_frames_stored:
            yield (
                f"index.npy: {counted(counts[video_id], 'frame')} of video {video_id}, "
                f"the manifest has {video.num_frames_stored}"
            )
    pairs = index["video_id"].astype(np.uint64) << np.uint64(32) | index["frame_in_video"]
    pairs.sort()  # numpy.unique takes a hundred times as long for ten million rows
    if (pairs[1:] == pairs[:-1]).any():
        yield "index.npy: a frame of a video is stored twice"


def _row_problem(store: CacheStore, shard_id: int) -> RowProblem | None:
    return find_row_problem(_rows_of(store, shard_id), manifest=store.manifest, shard_id=shard_id)


def _rows_of(store: CacheStore, shard_id: int) -> FrameIndex:
    frame_ids = store.frame_ids_of(shard_id)
    return store.stored_index[frame_ids.start : frame_ids.stop]


def _check_shard_frames(store: CacheStore, shard_id: int) -> Iterator[str]:
    """Checksum and decodability of each frame of a shard."""
    shard = store.manifest.shards[shard_id]
    buffer = np.empty((1, *store.frame_shape), np.uint8)
    for frame_id in store.frame_ids_of(shard_id):
        row = store.stored_index[frame_id]
        where = f"{shard.name}: frame {frame_id} (video {row['video_id']}, frame {row['frame_in_video']})"
        try:
            payload = store.read_payload(frame_id)
            if crc32c(payload) != row["crc32c"]:
                yield f"{where}: crc32c differs from the index's"
                continue
            store.read_frames([frame_id], buffer)
        except (StoreError, OSError) as error:
            raise_if_out_of_files(error)
            yield f"{where}: {error}"


def _check_shard_layout(store: CacheStore, shard_id: int) -> Iterator[str]:
    """The bytes between a shard's payloads."""
    shard, manifest = store.manifest.shards[shard_id], store.manifest
    first, rows = store.frame_ids_of(shard_id).start, _rows_of(store, shard_id)
    try:
        file = open_inside(store.path, shard.name)
        if manifest.container == "wds":
            found = check_tar_shard(file, rows=rows, first_frame_id=first, manifest=manifest)
        else:
            shard_length = frames_per_shard(manifest, store.stored_index)
            found = check_zarr_shard(file, rows=rows, first_frame_id=first, shard_length=shard_length)
        for problem in found:
            yield f"{shard.name}: {problem}"
    except OSError as error:
        raise_if_out_of_files(error)
        yield f"{shard.name}: {error.strerror}"


class _Sample:
    """Some frames of each shard, read through other libraries: `tarfile` and `numpy`, or zarr-python."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store

    def check(self) -> Iterator[str]:
        """One line for each frame that another library reads differently, or not at all."""
        open_shards = self._in_tars() if self._store.manifest.container == "wds" else self._in_zarr()
        try:
            for where, is_equal in open_shards:
                if not is_equal:
                    yield f"{where}: another reader reads other pixels"
        except Exception as error:  # noqa: BLE001 - another library may raise anything
            raise_if_out_of_files(error)
            yield f"{self._store.path}: another reader fails: {type(error).__name__}: {error}"

    def _sampled_ids(self, shard_id: int) -> list[int]:
        frame_ids = self._store.frame_ids_of(shard_id)
        picked = np.linspace(0, len(frame_ids) - 1, min(FRAMES_SAMPLED_PER_SHARD, len(frame_ids)))
        return [frame_ids[int(slot)] for slot in picked]

    def _in_tars(self) -> Iterator[tuple[str, bool]]:
        store, encoding = self._store, self._store.manifest.encoding
        for shard_id, shard in enumerate(store.manifest.shards):
            with tarfile.open(store.path / shard.name, "r:") as tar:
                for frame_id in self._sampled_ids(shard_id):
                    member = tar.extractfile(image_member(frame_id, encoding))
                    assert member is not None  # a regular file
                    if image_suffix(encoding) == "npy":
                        pixels = np.load(io.BytesIO(member.read()), allow_pickle=False)
                        is_equal = np.array_equal(pixels, store.read_frames([frame_id])[0])
                    else:
                        is_equal = member.read() == store.read_payload(frame_id)
                    yield f"{shard.name}: frame {frame_id}", is_equal

    def _in_zarr(self) -> Iterator[tuple[str, bool]]:
        import zarr

        store = self._store
        group = zarr.open_group(
            store.path / ZARR_FOLDER, mode="r", zarr_format=3
        )  # version 2 may name pickle
        for name in SIDE_ARRAYS:
            array = np.asarray(group[name])
            is_equal = np.array_equal(array, store.stored_index[name], equal_nan=name == "pts_seconds")
            yield f"{ZARR_FOLDER}/{name}", is_equal
        frames = group["frames"]
        for shard_id, shard in enumerate(store.manifest.shards):
            for frame_id in self._sampled_ids(shard_id):
                pixels = np.asarray(frames[frame_id])  # type: ignore[index]
                yield (
                    f"{shard.name}: frame {frame_id}",
                    np.array_equal(pixels, store.read_frames([frame_id])[0]),
                )
