"""Small stores written straight through `frame_store`'s writers, without any video.

`python -m tests.support.caches.golden_stores OUT` writes the golden stores of the current format version, as they
lie in `tests/data/`. Golden stores are never edited: a new format version adds new ones.
"""

import hashlib
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from frame_store.codec import crc32c, make_codec
from frame_store.containers.shards import FrameRecord, ShardFile, ShardWriter
from frame_store.containers.tar import TarShardWriter
from frame_store.containers.zarr import ZarrShardWriter, write_zarr_metadata
from frame_store.content_order import entry_of_file, write_order_file
from frame_store.index import FrameIndex
from frame_store.manifest import (
    Encoding,
    Generation,
    Layout,
    ShardEntry,
    VideoEntry,
    describe_files,
    encode_manifest,
    fresh_manifest,
    read_tree,
)
from frame_store.names import (
    FORMAT_VERSION,
    INDEX_DTYPE,
    INDEX_NAME,
    PIXEL_DTYPE,
    Container,
    PixelName,
    generation_folder,
    manifest_name,
    shard_name,
)
from frame_store.protocol import Frames
from frame_store.reader import CacheStore
from frame_store.source_files import order_of_index, write_source_order
from tests.support.caches.tree import write_tree, write_videos
from tests.support.content_orders.by_content import order_by_content

FRAMES_PER_SHARD: Final = 4
GOLDEN_ENCODINGS: Final[dict[str, tuple[Container, Encoding]]] = {
    "wds-jpeg": ("wds", Encoding(name="jpeg", quality=95, chroma="444")),
    "wds-raw": ("wds", Encoding(name="raw")),
    "zarr-raw": ("zarr", Encoding(name="raw")),
    "zarr-zstd": ("zarr", Encoding(name="zstd", level=3)),
    "wds-raw-gray16": ("wds", Encoding(name="raw")),
    "zarr-zstd-gray16": ("zarr", Encoding(name="zstd", level=3)),
}

STRIDED: Final = "wds-raw-strided"
"""A shuffled store of every third frame of its videos, which has every file of source order."""

WITH_ORDER: Final = "zarr-raw-content"
"""A shuffled store with an order by content."""


def golden_frames(name: str = "wds-raw") -> Frames:
    """The frames of a golden store: ten of 16x24, gradients that show their number, one all black, one all white.

    uint8 (10, 16, 24, 3), or uint16 (10, 16, 24, 1) for names that end in `gray16`, of levels with two bytes that
    differ.
    """
    frame, y, x, channel = np.ogrid[:10, :16, :24, :3]
    if name.endswith("gray16"):
        frames: Frames = ((frame * 6421 + y * 771 + x * 519)[..., :1] % 65536).astype("<u2")
    else:
        frames = ((frame * 25 + y * 3 + x * 2 * (channel + 1)) % 256).astype(np.uint8)
    frames[3] = 0
    frames[7] = np.iinfo(frames.dtype).max
    return frames


def pixel_of(frames: Frames) -> PixelName:
    """What the pixels of an array are."""
    return next(name for name, dtype in PIXEL_DTYPE.items() if dtype == frames.dtype)


def write_store(
    path: Path,
    container: Container,
    encoding: Encoding,
    frames: Frames,
    *,
    frames_per_shard: int = FRAMES_PER_SHARD,
    layout: Layout = "video",
    stride: int = 1,
    video_paths: Sequence[str] = ("first.mp4", "more/second ü.h264"),
) -> Generation:
    """A complete store of `frames` (N, H, W, C), with rows of two videos, the second without timestamps.

    The shuffled layout has them from the last to the first.
    """
    num_frames = len(frames)
    num_in_first = (num_frames + 1) // 2
    index = np.zeros(num_frames, INDEX_DTYPE)
    index["video_id"] = np.arange(num_frames) >= num_in_first
    index["frame_in_video"] = (np.arange(num_frames) - num_in_first * index["video_id"]) * stride
    index["pts_seconds"] = np.where(index["video_id"] == 0, index["frame_in_video"] / 25, math.nan)
    if layout == "shuffled":
        index = index[::-1].copy()
    num_in_videos = (num_in_first, num_frames - num_in_first)
    num_decoded = [(count - 1) * stride + 1 for count in num_in_videos]
    generation = write_generation(
        path,
        container,
        encoding,
        frames,
        index=index,
        videos=list(map(made_up_video, video_paths, num_in_videos, num_decoded)),
        times=np.concatenate([np.arange(num_decoded[0]) / 25, np.full(num_decoded[1], math.nan)]),
        frames_per_shard=frames_per_shard,
        layout=layout,
    )
    return write_tree(path, generation)


def write_generation(
    path: Path,
    container: Container,
    encoding: Encoding,
    frames: Frames,
    *,
    index: FrameIndex,
    videos: Sequence[VideoEntry],
    times: npt.NDArray[np.float64],
    frames_per_shard: int = FRAMES_PER_SHARD,
    layout: Layout = "video",
    seed: int = 0,
    fingerprint: str | None = None,
    config: dict[str, Any] | None = None,
) -> Generation:
    """The folder of a generation below `path`, without `generation.json`.

    Frames lie in the order of `index`, whose video, frame and pts are given. `times` has the pts of all decoded frames.
    """
    num_frames, frame_shape = len(frames), frames.shape[1:]
    codec = make_codec(encoding)
    fingerprint = fingerprint or hashlib.sha256(frames.tobytes()).hexdigest()
    folder = path / generation_folder(fingerprint)
    index["shard_id"] = np.arange(num_frames) // frames_per_shard
    index["slot"] = np.arange(num_frames) % frames_per_shard
    shards = []
    for shard_id in range(math.ceil(num_frames / frames_per_shard)):
        name = shard_name(container, shard_id)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with ShardFile(folder / name) as file:
            writer: ShardWriter = (
                TarShardWriter(file, encoding=encoding, frame_shape=frame_shape, frame_dtype=frames.dtype)
                if container == "wds"
                else ZarrShardWriter(file, frames_per_shard=frames_per_shard)
            )
            for frame_id in map(int, np.flatnonzero(index["shard_id"] == shard_id)):
                row = index[frame_id]
                record = FrameRecord(
                    frame_id=frame_id,
                    video_id=int(row["video_id"]),
                    video_path=videos[row["video_id"]].path,
                    frame_in_video=int(row["frame_in_video"]),
                    pts_seconds=float(row["pts_seconds"]),
                )
                payload = codec.encode(frames[frame_id])
                row["byte_offset"] = writer.append(record, payload)
                row["byte_length"], row["crc32c"] = len(payload), crc32c(payload)
            sealed = writer.seal()
        shards.append(
            ShardEntry(
                name=name, num_frames=sealed.num_frames, num_bytes=sealed.num_bytes, sha256=sealed.sha256
            )
        )
    np.save(folder / INDEX_NAME, index, allow_pickle=False)
    write_videos(folder, videos)
    num_decoded = [video.num_frames_decoded for video in videos]
    order = replace(order_of_index(index, num_decoded=num_decoded), source_pts=times)
    write_source_order(folder, order, is_shuffled=layout == "shuffled")
    if container == "zarr":
        write_zarr_metadata(
            folder,
            index=index,
            frame_shape=frame_shape,
            frame_dtype=frames.dtype,
            frames_per_shard=frames_per_shard,
            encoding=encoding,
        )
    return Generation(
        container=container,
        frame_shape=frame_shape,
        pixel=pixel_of(frames),
        encoding=encoding,
        layout=layout,
        seed=seed,
        num_frames=num_frames,
        num_videos=len(videos),
        config=config or {},
        library_versions={},
        fidelity=None,
        shards=shards,
        files=describe_files(folder, except_for={shard.name for shard in shards}),
        fingerprint=fingerprint,
        parts=[],
    )


def write_golden_stores(folder: Path, *, prefix: str = "") -> None:
    """Write every golden store below `folder`, under its name after `prefix`."""
    for name, (container, encoding) in GOLDEN_ENCODINGS.items():
        write_store(folder / f"{prefix}{name}", container, encoding, golden_frames(name))
    container, encoding = GOLDEN_ENCODINGS["wds-raw"]
    write_store(
        folder / f"{prefix}{STRIDED}", container, encoding, golden_frames(), layout="shuffled", stride=3
    )
    write_store_with_order(folder / f"{prefix}{WITH_ORDER}")


def write_store_with_order(path: Path) -> None:
    """The golden store with an order by content, in its first manifest."""
    container, encoding = GOLDEN_ENCODINGS["zarr-raw"]
    write_store(path, container, encoding, golden_frames(), layout="shuffled")
    tree = read_tree(path)
    with CacheStore(path) as store:
        file = write_order_file(path, order_by_content(store))
    entry = entry_of_file(file, first_frame=0, num_frames=tree.num_frames)
    (path / entry.folder).mkdir()
    (path / file.name).rename(path / entry.file.name)
    (path / manifest_name(0)).write_bytes(
        encode_manifest(fresh_manifest(tree.generations[0].entry, content_orders=[entry]))
    )


def made_up_video(path: str, num_frames: int, num_decoded: int | None = None) -> VideoEntry:
    """The entry of a whole video that does not exist; all its frames are stored unless more were decoded."""
    num_decoded = num_frames if num_decoded is None else num_decoded
    return VideoEntry(
        path=path,
        span=None,
        verdict="whole",
        reason=None,
        notes=[],
        num_bytes=None,
        sha256=None,
        num_frames_in_header=None,
        num_packets=num_decoded,
        num_frames_decoded=num_decoded,
        num_frames_stored=num_frames,
        num_frames_corrupt=0,
        num_decoder_errors=0,
        pts_monotonic=None,
        fidelity=None,
        findings=None,
        facts={},
    )


def main() -> None:
    """Write every golden store below the folder named on the command line."""
    write_golden_stores(Path(sys.argv[1]), prefix=f"store-v{FORMAT_VERSION}-")


if __name__ == "__main__":
    main()
