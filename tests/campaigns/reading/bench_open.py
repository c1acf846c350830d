"""A cache of a million videos: time and memory to open it, and to read its table of videos.

    python -m tests.campaigns.reading.bench_open [--videos 1000000] [--folder DIR]

The records are made up: as long as real ones, of one frame each. The cache has a few shards, which are never read. Each
measurement runs in a process of its own, and counts from the import of frame_store on. On a busy machine only the CPU's
seconds tell.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from frame_store.frame_findings import FrameFindings
from frame_store.manifest import Encoding, Generation, ShardEntry, describe_files, encode_videos
from frame_store.names import INDEX_DTYPE, INDEX_NAME, VIDEOS_NAME, generation_folder, tar_shard_name
from tests.support.caches.golden_stores import made_up_video
from tests.support.caches.tree import write_tree

NUM_SHARDS = 8
FINDINGS = FrameFindings(
    num_packets_discarded=0,
    num_packets_corrupt=0,
    num_corrupt_runs=0,
    corrupt_runs=[],
    num_damaged_spans=0,
    damaged_spans=[],
    num_frames_hashed=118,
    num_frames_duplicate=0,
    num_duplicate_runs=0,
    duplicate_runs=[],
    longest_duplicate_run=None,
    start_offset_seconds=0.0,
    median_step_seconds=0.04,
    num_frames_without_pts=0,
    num_pts_gaps=0,
    pts_gaps=[],
    num_pts_repeats=0,
    pts_repeats=[],
    num_frames_interlaced=0,
    num_format_changes=0,
    format_changes=[],
)
FACTS = {
    "container": "mov,mp4,m4a,3gp,3g2,mj2",
    "codec": "h264",
    "width": 320,
    "height": 180,
    "pixel_format": "yuv420p",
    "presentation": {"container_crop": [0, 0, 0, 0], "is_mirrored": False, "sample_aspect_ratio": [1, 1]},
    "time_base": [1, 12800],
    "average_rate": [25, 1],
    "duration_seconds_in_header": 4.72,
    "end_seconds_of_packets": 4.72,
    "num_keyframes": 10,
}

PROGRAM = """
import json, re, time
import numpy

def peak_kilobytes():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

before, started, worked = peak_kilobytes(), time.perf_counter(), time.process_time()
import frame_store
store = frame_store.open_store({cache!r})
{read}
seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
print(json.dumps([seconds, cpu_seconds, (peak_kilobytes() - before) / 1e3]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the cache is made; else in a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="open", dir=options.folder) as folder:
        cache = write_cache(Path(folder) / "cache", options.videos)
        table = next(cache.glob(f"*/{VIDEOS_NAME}")).stat().st_size
        print(f"{options.videos} videos, {table / 1e6:.0f} MB of {VIDEOS_NAME}")
        for what, read in (("open", "store"), ("open and read the table", "store.video_entries")):
            program = PROGRAM.format(cache=str(cache), read=read)
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            seconds, cpu_seconds, megabytes = json.loads(done.stdout)
            print(
                f"{what}: {seconds:.3f} s, of the CPU {cpu_seconds:.3f} s; peak of RSS grows by {megabytes:.1f} MB",
                flush=True,
            )


def write_cache(path: Path, num_videos: int) -> Path:
    """A cache that opens, of `num_videos` videos of one frame. Its shards are too short to be read."""
    fingerprint = hashlib.sha256(str(num_videos).encode()).hexdigest()
    folder = path / generation_folder(fingerprint)
    (folder / "shards").mkdir(parents=True)
    sizes = np.diff(np.linspace(0, num_videos, NUM_SHARDS + 1).astype(int))
    shards = []
    for shard_id, num_frames in enumerate(sizes.tolist()):
        name = tar_shard_name(shard_id)
        (folder / name).write_bytes(b"")
        shards.append(ShardEntry(name=name, num_frames=num_frames, num_bytes=0, sha256="0" * 64))
    index = np.lib.format.open_memmap(folder / INDEX_NAME, "w+", INDEX_DTYPE, (num_videos,))
    index["video_id"] = np.arange(num_videos)
    index.flush()
    video = msgspec.structs.replace(
        made_up_video("", 1), num_bytes=293_769, sha256="0" * 64, findings=FINDINGS, facts=FACTS
    )
    with (folder / VIDEOS_NAME).open("wb") as file:
        paths = (f"part_{number // 1000:04d}/{number:08d}_h264_gop12.mp4" for number in range(num_videos))
        file.writelines(encode_videos(msgspec.structs.replace(video, path=path) for path in paths))
    generation = Generation(
        container="wds",
        frame_shape=(224, 224, 3),
        pixel="rgb8",
        encoding=Encoding(name="jpeg", quality=95, chroma="444"),
        layout="shuffled",
        seed=0,
        num_frames=num_videos,
        num_videos=num_videos,
        config={},
        library_versions={},
        fidelity=None,
        shards=shards,
        files=describe_files(folder, except_for={shard.name for shard in shards}),
        fingerprint=fingerprint,
        parts=[],
    )
    write_tree(path, generation)
    return path


if __name__ == "__main__":
    main()
