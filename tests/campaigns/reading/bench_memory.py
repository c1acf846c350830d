"""Caches of 10,000 and of 10 million frames: time to open, speed, and anonymous memory at batches of 128.

    python -m tests.campaigns.reading.bench_memory [--frames 10000000] [--folder DIR]

Each cache is one shard of 1,000 frames of 224x224 under many names (hard links), with an index row for every frame. It
is read in a process of its own, in global permutation. Memory is the peak of RssAnon + RssShmem, less that of the same
interpreter with torch imported. Pages of shards and index belong to the cache of the system and do not count.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np

from frame_store.codec import crc32c, make_codec
from frame_store.containers.shards import FrameRecord, ShardFile
from frame_store.containers.tar import TarShardWriter
from frame_store.manifest import (
    Encoding,
    Generation,
    ShardEntry,
    describe_files,
)
from frame_store.names import (
    INDEX_DTYPE,
    INDEX_NAME,
    generation_folder,
    tar_shard_name,
)
from tests.support.caches.golden_stores import made_up_video
from tests.support.caches.tree import write_tree, write_videos

FRAMES_PER_SHARD = 1000
FRAME_SHAPE = (224, 224, 3)
NUM_BATCHES = 150
ENCODINGS = {"raw": Encoding(name="raw"), "jpeg": Encoding(name="jpeg", quality=95, chroma="444")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where the caches are made; else in a temporary folder")
    parser.add_argument("--probe", nargs=2, metavar=("CACHE", "AUGMENTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        print(json.dumps(probe(options.probe[0], augments=bool(int(options.probe[1])))))
        return
    print(f"{'':36} {'open':>9} {'first batch':>12} {'images/s':>9} {'memory':>9}")
    for name, encoding in ENCODINGS.items():
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            for num_frames in (10 * FRAMES_PER_SHARD, options.frames):
                cache = write_cache(Path(folder), num_frames, encoding)
                for augments in (False, True):
                    report(
                        f"{name}, {num_frames:,} frames{', augmented' if augments else ''}", cache, augments
                    )


def report(title: str, cache: Path, augments: bool) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.campaigns.reading.bench_memory",
        "--probe",
        str(cache),
        str(int(augments)),
    ]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    print(
        f"{title:36} {found['open_seconds'] * 1e3:6.0f} ms {found['first_batch_seconds'] * 1e3:9.0f} ms "
        f"{found['images_per_second']:9.0f} {found['anonymous_bytes'] / 1e6:6.0f} MB",
        flush=True,
    )


def probe(cache: str, *, augments: bool) -> dict[str, float]:
    """Open and read, in this process."""
    import torch  # noqa: F401 - its memory is subtracted

    before, peak, stop = anonymous_bytes(), [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.005):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    import frame_store
    from loader import FrameLoader, exercise_augmentation

    start = time.perf_counter()
    store = frame_store.open_store(cache)
    opened = time.perf_counter()
    augment = exercise_augmentation(cached=True) if augments else None
    batches = iter(FrameLoader(store, batch_size=128, sampling="permutation", augment=augment))
    batch_started = time.perf_counter()
    next(batches)
    first = time.perf_counter()
    num_images = sum(len(batch) for batch in islice(batches, 60 if augments else NUM_BATCHES))
    seconds = time.perf_counter() - first
    stop.set()
    watcher.join()
    return {
        "open_seconds": opened - start,
        "first_batch_seconds": first - batch_started,
        "images_per_second": num_images / seconds,
        "anonymous_bytes": peak[0] - before,
    }


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssAnon", "RssShmem")))


def write_cache(folder: Path, num_frames: int, encoding: Encoding) -> Path:
    """A cache of `num_frames`, the same thousand frames repeated."""
    path = folder / str(num_frames)
    fingerprint = hashlib.sha256(str(num_frames).encode()).hexdigest()
    generation_path = path / generation_folder(fingerprint)
    (generation_path / "shards").mkdir(parents=True)
    rows, shard = write_shard(generation_path / tar_shard_name(0), encoding)
    num_shards = num_frames // FRAMES_PER_SHARD
    index = np.lib.format.open_memmap(generation_path / INDEX_NAME, "w+", INDEX_DTYPE, (num_frames,))
    for shard_id in range(num_shards):
        if shard_id:
            os.link(generation_path / tar_shard_name(0), generation_path / tar_shard_name(shard_id))
        rows["shard_id"] = shard_id
        index[shard_id * FRAMES_PER_SHARD : (shard_id + 1) * FRAMES_PER_SHARD] = rows
    index.flush()
    names = [tar_shard_name(shard_id) for shard_id in range(num_shards)]
    shards = [ShardEntry(name=name, num_frames=FRAMES_PER_SHARD, **shard) for name in names]
    write_videos(generation_path, [made_up_video("waves.mp4", num_frames)])
    generation = Generation(
        container="wds",
        frame_shape=FRAME_SHAPE,
        pixel="rgb8",
        encoding=encoding,
        layout="shuffled",
        seed=0,
        num_frames=num_frames,
        num_videos=1,
        config={},
        library_versions={},
        fidelity=None,
        shards=shards,
        files=describe_files(generation_path, except_for=set(names)),
        fingerprint=fingerprint,
        parts=[],
    )
    write_tree(path, generation)
    return path


def write_shard(path: Path, encoding: Encoding) -> tuple[np.ndarray, dict[str, int | str]]:
    """The shard with its index rows, and its size and hash."""
    codec, rows = make_codec(encoding), np.zeros(FRAMES_PER_SHARD, INDEX_DTYPE)
    y, x, channel = np.ogrid[:224, :224, :3]
    with ShardFile(path) as file:
        writer = TarShardWriter(
            file, encoding=encoding, frame_shape=FRAME_SHAPE, frame_dtype=np.dtype(np.uint8)
        )
        for number, row in enumerate(rows):
            waves = np.sin((x + number) / 9) * np.cos(y / (7 + channel)) * 100 + 128
            payload = codec.encode(np.ascontiguousarray(waves.astype(np.uint8)))
            record = FrameRecord(
                frame_id=number,
                video_id=0,
                video_path="waves.mp4",
                frame_in_video=number,
                pts_seconds=number / 25,
            )
            row["byte_offset"] = writer.append(record, payload)
            row["byte_length"], row["crc32c"] = len(payload), crc32c(payload)
            row["slot"] = row["frame_in_video"] = number
        sealed = writer.seal()
    return rows, {"num_bytes": sealed.num_bytes, "sha256": sealed.sha256}


if __name__ == "__main__":
    main()
