"""Small caches of cameras, written through `frame_store`'s writers, whose pixels spell camera, video and frame."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from frame_store.column_files import content_of_join, write_columns
from frame_store.manifest import (
    CacheManifest,
    CameraEntry,
    ColumnsEntry,
    Encoding,
    VideoSpan,
    encode_manifest,
    read_trees,
)
from frame_store.names import (
    FORMAT_NAME,
    FORMAT_VERSION,
    INDEX_DTYPE,
    camera_folder,
    columns_folder,
    manifest_name,
)
from frame_store.source_order import source_order_of_rows
from frame_store.tables import JoinTarget, join_tables, read_table
from tests.support.caches.golden_stores import made_up_video, write_generation
from tests.support.caches.tree import write_generation_json, write_tree

CAMERAS = ("front", "wrist")
FPS = 25
SIZES = (7, 0, 12, 5)
"""Decoded frames of the videos, one of which is unreadable."""
DATASET = {
    "kind": "lerobot",
    "info": {"robot_type": "so101", "fps": FPS, "features": {"action": {"dtype": "float32"}}},
    "tasks": ["pick", "place"],
    "stats": {},
}
_STEPS = (50, 25, 5)
"""Levels between neighbouring cameras, videos and frames, far enough apart for JPEG."""


def spelt(frame):
    """(camera, video, frame_in_video) of a frame (H, W, 3), or of several (B, H, W, 3): int64, shape (3,) or (B, 3)."""
    corner = np.asarray(frame)[..., 0, 0, :].astype(np.float64)
    return np.rint(corner / _STEPS).astype(np.int64)


def spelling_frames(camera, video_ids, frame_in_video, shape):
    """Frames of one colour each: uint8 (N, H, W, 3). Numbers wrap around past 5 cameras, 10 videos or 51 frames."""
    numbers = np.stack([np.full(len(video_ids), camera), video_ids, frame_in_video], axis=1)
    colours = (numbers * _STEPS).astype(np.uint8)
    return np.broadcast_to(colours[:, None, None, :], (len(colours), *shape, 3)).copy()


def moments_of(sizes, stride=1, limit=None):
    """Video and `frame_in_video` of every stored frame in source order, the first `limit` of each video."""
    pairs = [(video, frame) for video, size in enumerate(sizes) for frame in range(0, size, stride)[:limit]]
    return np.array(pairs, np.int64).reshape(-1, 2).T


def episode_name(video_id):
    return f"episode_{video_id:06d}"


def write_camera(
    path,
    camera=0,
    *,
    seed=0,
    sizes=SIZES,
    stride=1,
    limit=None,
    container="wds",
    encoding=None,
    layout="shuffled",
    frames_per_shard=4,
    shape=(8, 12),
    names=None,
    with_spans=True,
):
    """The folder of a generation of one camera's frames below `path`, with `generation.json`; returns both records."""
    videos, frames = moments_of(sizes, stride, limit)
    index = np.zeros(len(videos), INDEX_DTYPE)
    index["video_id"], index["frame_in_video"] = videos, frames
    index["pts_seconds"] = frames / FPS
    if layout == "shuffled":
        index = index[np.random.default_rng(seed).permutation(len(index))]
    spelled = spelling_frames(camera, index["video_id"], index["frame_in_video"], shape)
    file = f"videos/{camera}/file-000.mp4"
    entries, first = [], 0
    for video_id, size in enumerate(sizes):
        entry = made_up_video(
            episode_name(video_id) if names is None else names[video_id],
            len(range(0, size, stride)[:limit]),
            size,
        )
        span = VideoSpan(
            file=file, first_frame=first, from_seconds=first / FPS, to_seconds=(first + size) / FPS
        )
        first += size
        entries.append(
            type(entry)(
                **{name: getattr(entry, name) for name in entry.__struct_fields__}
                | {
                    "span": span if with_spans else None,
                    "sha256": hashlib.sha256(file.encode()).hexdigest(),
                    "num_bytes": 1000,
                }
                | ({} if size else {"verdict": "unreadable", "reason": "made up"})
            )
        )
    generation = write_generation(
        path,
        container,
        encoding or Encoding(name="raw"),
        spelled,
        index=index,
        videos=entries,
        times=np.concatenate([np.arange(size) / FPS for size in sizes]),
        frames_per_shard=frames_per_shard,
        layout=layout,
        seed=seed,
        config={"frames_per_shard": frames_per_shard},
        fingerprint=hashlib.sha256(f"{camera} {seed} {sizes} {stride} {shape}".encode()).hexdigest(),
    )
    generation = msgspec.structs.replace(generation, config={"frames_per_shard": frames_per_shard})
    return generation, write_generation_json(path, generation)


def write_camera_cache(path, *, cameras=CAMERAS, seeds=None, columns=True, **options):
    """A complete cache of cameras at `path`.

    `seeds` has the seed of each camera's order; by default they differ, and with them the ids. `options` are those of
    `write_camera`; a list gives each camera its own.
    """
    path = Path(path)
    entries, generations = [], []
    for number, name in enumerate(cameras):
        own = {key: value[number] if isinstance(value, list) else value for key, value in options.items()}
        seed = number if seeds is None else seeds[number]
        generation, entry = write_camera(path / camera_folder(number), number, seed=seed, **own)
        generations.append(generation)
        entries.append(CameraEntry(name=name, folder=camera_folder(number), generations=[entry]))
    manifest = CacheManifest(
        format=FORMAT_NAME,
        format_version=FORMAT_VERSION,
        version=0,
        generations=[],
        cameras=entries,
        forgotten_videos=[],
        superseded=[],
        content_orders=[],
        columns=[],
    )
    (path / manifest_name(0)).write_bytes(encode_manifest(manifest))
    if columns:
        sizes = options.get("sizes", SIZES)
        sizes = sizes[0] if isinstance(sizes, list) else sizes
        manifest = write_shared_columns(path, sizes)
    return generations


def write_shared_columns(path, sizes, *, dataset=DATASET):
    """Columns `action` (float32, 2) of frames and `task` of videos in the fresh cache of cameras at `path`."""
    tree = read_trees(path)[0]
    videos, frames = moments_of(sizes)
    num_videos = len(sizes)
    join = join_tables(
        [
            read_table(
                {
                    "video": [tree.read_videos()[video].path for video in videos],
                    "frame": frames,
                    "action": np.stack([videos, frames], axis=1).astype(np.float32),
                }
            )
        ],
        JoinTarget(
            paths=[entry.path for entry in tree.read_videos()],
            verdicts=[entry.verdict for entry in tree.read_videos()],
            source_order=source_order_of_rows(videos, frames, num_decoded=sizes),
        ),
        missing="refuse",
        tolerance_seconds=None,
        skip=False,
    )
    made = path / "made"
    made.mkdir()
    digest, _ = write_columns(
        made,
        map(content_of_join, join.columns),
        fingerprint=tree.common.fingerprint,
        num_rows=int(sum(sizes)),
        num_videos=num_videos,
        dataset=dataset,
    )
    made.rename(path / columns_folder(digest))
    entry = ColumnsEntry(
        first_video=0,
        num_videos=num_videos,
        folder=columns_folder(digest),
        digest=digest,
    )
    manifest = CacheManifest(
        **{name: getattr(tree.manifest, name) for name in tree.manifest.__struct_fields__}
        | {"columns": [entry]}
    )
    (path / manifest_name(0)).write_bytes(encode_manifest(manifest))
    return manifest


def write_plain_cache(path, camera=0, **options):
    """A cache without cameras, of the frames of one camera."""
    generation, _ = write_camera(Path(path), camera, **options)
    return write_tree(Path(path), generation)
