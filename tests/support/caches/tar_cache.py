"""Tar caches made with the standard library's `tarfile` alone, after FORMAT.md."""

import hashlib
import io
import json
import tarfile

import numpy as np

from frame_store.codec import make_codec
from frame_store.manifest import Encoding, FileEntry, Generation, ShardEntry, VideoEntry
from frame_store.names import INDEX_NAME, frame_key, generation_folder, shard_name
from tests.support.caches.tree import write_tree, write_videos

FINGERPRINT = "0" * 64
ENCODINGS = {
    "raw": Encoding(name="raw"),
    "jpeg": Encoding(name="jpeg", quality=95, chroma="444"),
}


def write_tar_cache(path, store, *, encoding="raw", container="wds"):
    """A cache of `store`'s frames at `path`, without `index.npy`, which plain webdataset does not read."""
    folder = path / generation_folder(FINGERPRINT)
    first_ids = np.cumsum([0, *store.shard_sizes])
    shards = [
        _write_shard(
            folder / shard_name(container, shard_id),
            shard_name(container, shard_id),
            store,
            range(first_ids[shard_id], first_ids[shard_id + 1]),
            ENCODINGS[encoding],
        )
        for shard_id in range(len(store.shard_sizes))
    ]
    video = VideoEntry(
        path="made up.mp4",
        span=None,
        verdict="whole",
        reason=None,
        notes=[],
        num_bytes=None,
        sha256=None,
        num_frames_in_header=None,
        num_packets=None,
        num_frames_decoded=len(store),
        num_frames_stored=len(store),
        num_frames_corrupt=0,
        num_decoder_errors=0,
        pts_monotonic=None,
        fidelity=None,
        findings=None,
        facts={},
    )
    no_index = FileEntry(name=INDEX_NAME, num_bytes=0, sha256="0" * 64)
    generation = Generation(
        container=container,
        frame_shape=store.frame_shape,
        pixel="gray16" if store.frame_dtype == np.uint16 else "rgb8",
        encoding=ENCODINGS[encoding],
        layout="shuffled",
        seed=0,
        num_frames=len(store),
        num_videos=1,
        config={},
        library_versions={},
        fidelity=None,
        shards=shards,
        files=[no_index, write_videos(folder, [video])],
        fingerprint=FINGERPRINT,
        parts=[],
    )
    write_tree(path, generation)
    return path


def _write_shard(path, name, store, frame_ids, encoding):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for frame_id in frame_ids:
            row = store.index[frame_id]
            pts_seconds = None if np.isnan(row["pts_seconds"]) else float(row["pts_seconds"])
            facts = {
                "video_id": int(row["video_id"]),
                "video": "made up.mp4",
                "frame_in_video": int(row["frame_in_video"]),
                "pts_seconds": pts_seconds,
            }
            frame = store.read_frames([frame_id])[0]
            if encoding.name == "jpeg":
                _add(tar, f"{frame_key(frame_id)}.jpg", make_codec(encoding).encode(frame))
            else:
                npy = io.BytesIO()
                np.save(npy, frame)
                _add(tar, f"{frame_key(frame_id)}.npy", npy.getvalue())
            _add(tar, f"{frame_key(frame_id)}.json", json.dumps(facts).encode())
    raw = path.read_bytes()
    return ShardEntry(
        name=name, num_bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest(), num_frames=len(frame_ids)
    )


def _add(tar, name, payload):
    member = tarfile.TarInfo(name)
    member.size = len(payload)
    tar.addfile(member, io.BytesIO(payload))
