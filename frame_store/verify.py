"""Proof that a cache is what was built: every hash, every checksum, and readers that are not ours on a sample."""

import hashlib
import io
import json
import math
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np

from frame_store.cache_store import CacheStore
from frame_store.errors import StoreDamagedError, StoreError
from frame_store.frame_index import FrameIndex
from frame_store.layout import MANIFEST_NAME, ZARR_FOLDER, frame_key
from frame_store.manifest import FileEntry
from frame_store.pixel_codec import crc32c

FRAMES_SAMPLED_PER_SHARD = 8


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify_store` found; the cache is sound if `problems` is empty."""

    path: str
    num_frames_checked: int
    num_files_checked: int
    problems: list[str]
    """One line each, naming the file and, where it can be told, the frame."""

    @property
    def summary(self) -> str:
        """One line for a terminal."""
        verdict = "sound" if not self.problems else f"{len(self.problems)} problems"
        return f"{self.path}: {verdict} ({self.num_frames_checked} frames in {self.num_files_checked} files checked)"


def verify_store(path: Path, *, progress: Callable[[int], None] = lambda _: None) -> VerifyResult:
    """Check every byte of the cache at `path`. `progress` is told the frames of each shard checked.

    Raises:
        StoreNotFoundError: no cache there.
        StoreFormatError: the manifest cannot be believed, so nothing else can be.
    """
    try:
        store = CacheStore(path)
    except StoreDamagedError as error:
        return VerifyResult(path=str(path), num_frames_checked=0, num_files_checked=0, problems=[str(error)])
    problems = [*_check_files(store), *_check_strangers(store), *_check_index(store)]
    for shard_id, shard in enumerate(store.manifest.shards):
        broken = _check_file(store.path, shard)
        problems += broken
        if not broken or has_size(
            store.path, shard
        ):  # a reader refuses other sizes whole: no frame to tell apart
            problems += _check_shard_frames(store, shard_id)
        progress(shard.num_frames)
    if not problems:
        check_sample = _check_tar_sample if store.manifest.container == "wds" else _check_zarr_sample
        problems += check_sample(store)
    return VerifyResult(
        path=str(path),
        num_frames_checked=len(store),
        num_files_checked=1 + len(store.manifest.files) + len(store.manifest.shards),
        problems=problems,
    )


def has_size(store_path: Path, entry: FileEntry) -> bool:
    """Whether a file of the store is there and as long as the manifest says."""
    try:
        return (store_path / entry.name).stat().st_size == entry.num_bytes
    except OSError:
        return False


def _check_files(store: CacheStore) -> Iterator[str]:
    for entry in store.manifest.files:
        yield from _check_file(store.path, entry)


def _check_file(store_path: Path, entry: FileEntry) -> list[str]:
    path = store_path / entry.name
    try:
        num_bytes = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return [f"{entry.name}: {error.strerror}"]
    if num_bytes != entry.num_bytes:
        return [f"{entry.name}: expected {entry.num_bytes} bytes, found {num_bytes}"]
    if digest != entry.sha256:
        return [f"{entry.name}: sha256 differs from the manifest's"]
    return []


def _check_strangers(store: CacheStore) -> Iterator[str]:
    known = {entry.name for entry in [*store.manifest.files, *store.manifest.shards]} | {MANIFEST_NAME}
    known |= {parent.as_posix() for name in list(known) for parent in PurePosixPath(name).parents}
    for path in sorted(store.path.rglob("*")):
        name = path.relative_to(store.path).as_posix()
        if name not in known or path.is_symlink():
            yield f"{name}: is not in the manifest" if name not in known else f"{name}: is a link"


def _check_index(store: CacheStore) -> Iterator[str]:
    """Shard, slot, offset and length of every row, and frames per video, against the manifest."""
    index, sizes = store.index, store.shard_sizes
    expected_shard = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    expected_slot = np.arange(len(index)) - starts[expected_shard]
    wrong = (index["shard_id"] != expected_shard) | (index["slot"] != expected_slot)
    ends = np.array([shard.num_bytes for shard in store.manifest.shards], np.uint64)[expected_shard]
    wrong |= (index["byte_length"] > ends) | (index["byte_offset"] > ends - index["byte_length"])
    for frame_id in np.flatnonzero(wrong)[:10]:
        yield f"index.npy: frame {frame_id}: {index[frame_id]} cannot lie in shard {expected_shard[frame_id]}"
    num_videos = len(store.manifest.videos)
    if len(index) and index["video_id"].max() >= num_videos:
        yield f"index.npy: names video {index['video_id'].max()}, there are {num_videos}"
        return
    counts = np.bincount(index["video_id"], minlength=num_videos)
    for video_id, video in enumerate(store.manifest.videos):
        if counts[video_id] != video.num_frames_stored:
            yield (
                f"index.npy: {counts[video_id]} frames of video {video_id}, "
                f"the manifest says {video.num_frames_stored}"
            )
    pairs = index["video_id"].astype(np.uint64) << np.uint64(32) | index["frame_in_video"]
    if len(np.unique(pairs)) != len(pairs):
        yield "index.npy: a frame of a video is stored twice"


def _check_shard_frames(store: CacheStore, shard_id: int) -> Iterator[str]:
    """Checksum and decodability of each frame of a shard."""
    shard = store.manifest.shards[shard_id]
    frame_ids = np.flatnonzero(store.index["shard_id"] == shard_id)
    buffer = np.empty((1, *store.frame_shape), np.uint8)
    for frame_id in map(int, frame_ids):
        row = store.index[frame_id]
        where = f"{shard.name}: frame {frame_id} (video {row['video_id']}, frame {row['frame_in_video']})"
        try:
            payload = store.read_payload(frame_id)
            if crc32c(payload) != row["crc32c"]:
                yield f"{where}: crc32c differs from the index's"
                continue
            store.read_frames([frame_id], buffer)
        except StoreError as error:
            yield f"{where}: {error}"


def _sampled_ids(index: FrameIndex, shard_id: int) -> list[int]:
    ids = np.flatnonzero(index["shard_id"] == shard_id)
    picked = np.linspace(0, len(ids) - 1, min(FRAMES_SAMPLED_PER_SHARD, len(ids)))
    return [int(frame_id) for frame_id in ids[picked.astype(np.int64)]]


def _check_tar_sample(store: CacheStore) -> Iterator[str]:
    """Some frames of each shard through `tarfile` and each format's plain decoder."""
    for shard_id, shard in enumerate(store.manifest.shards):
        with tarfile.open(store.path / shard.name, "r:") as tar:
            for frame_id in _sampled_ids(store.index, shard_id):
                yield from _check_tar_frame(store, tar, shard.name, frame_id)


def _check_tar_frame(
    store: CacheStore, tar: tarfile.TarFile, shard_name: str, frame_id: int
) -> Iterator[str]:
    where = f"{shard_name}: frame {frame_id}"
    suffix = "jpg" if store.manifest.encoding.name == "jpeg" else "npy"
    try:
        image_file = tar.extractfile(f"{frame_key(frame_id)}.{suffix}")
        metadata_file = tar.extractfile(f"{frame_key(frame_id)}.json")
    except KeyError as error:
        yield f"{where}: {error.args[0]}"
        return
    assert image_file is not None and metadata_file is not None  # regular members
    if suffix == "npy":
        pixels = np.load(io.BytesIO(image_file.read()), allow_pickle=False)
        if not np.array_equal(pixels, store.read_frames([frame_id])[0]):
            yield f"{where}: tarfile and numpy read other pixels"
    elif image_file.read() != store.read_payload(frame_id):
        yield f"{where}: tarfile reads other bytes"
    row, metadata = store.index[frame_id], json.loads(metadata_file.read())
    pts_seconds = math.nan if metadata["pts_seconds"] is None else metadata["pts_seconds"]
    same_pts = pts_seconds == row["pts_seconds"] or (
        math.isnan(pts_seconds) and math.isnan(row["pts_seconds"])
    )
    if (metadata["video_id"], metadata["frame_in_video"]) != (
        row["video_id"],
        row["frame_in_video"],
    ) or not same_pts:
        yield f"{where}: its .json says {metadata}, the index {row}"


def _check_zarr_sample(store: CacheStore) -> Iterator[str]:
    """Some frames of each shard, and the side arrays, through zarr-python."""
    import zarr

    group = zarr.open_group(store.path / ZARR_FOLDER, mode="r")
    for name in ("video_id", "frame_in_video", "pts_seconds"):
        array = np.asarray(group[name])
        if not np.array_equal(array, store.index[name], equal_nan=name == "pts_seconds"):
            yield f"{ZARR_FOLDER}/{name}: differs from the index"
    frames = group["frames"]
    for shard_id, shard in enumerate(store.manifest.shards):
        for frame_id in _sampled_ids(store.index, shard_id):
            if not np.array_equal(np.asarray(frames[frame_id]), store.read_frames([frame_id])[0]):  # type: ignore[index]
                yield f"{shard.name}: frame {frame_id}: zarr-python reads other pixels"
