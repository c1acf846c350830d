"""A script may end with stores open and iterations under way: the interpreter then prints nothing when it ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from frame_cache_tools.samples.numbered_videos import NumberedVideo, write_numbered_video

KEPT = """
import os, sys
kept = os.kept = []  # there they outlive the content of nearly all modules
"""
STORES = """
import cache_builder, frame_store
from cache_builder.video.opening.watched_file import WatchedFile
caches, videos = sys.argv[1:]
for name in os.listdir(caches):
    for options in ({}, {"reads": "pread"}, {"verify_reads": True}):
        kept.append(frame_store.open_store(os.path.join(caches, name), **options))
        kept[-1].read_frames([0])
        kept[-1].prefetch([0, 1])
        kept[-1].read_encoded([0])
if __name__ == "__main__":
    live = cache_builder.open_videos(videos, size=16, workers=1)
    live.read_frames([0, 21, 5])
    kept += [live, WatchedFile(os.path.join(videos, "a.mp4"))]
"""
ITERATIONS = """
import loader
for store in kept[:-2:3]:
    kept.append(iter(loader.FrameLoader(store, batch_size=2, num_threads=2)))
kept.append(iter(loader.FrameLoader(live, batch_size=2, num_threads=2)))
kept.append(iter(loader.FrameLoader(live, batch_size=2, num_threads=2, lookahead=6)))
kept.append(iter(loader.FrameLoader(live, batch_size=2, augment=lambda frames: frames)))
kept += [next(batches) for batches in kept if hasattr(batches, "send")]
del kept, live, store
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("a.mp4", "b.mkv")):
        write_numbered_video(
            NumberedVideo(path=folder / name, num_frames=20, gop_size=5, video_number=number)
        )
    return folder


@pytest.mark.parametrize(
    "script",
    [
        KEPT + STORES + "assert 'torch' not in sys.modules",
        "import torch" + KEPT + STORES + ITERATIONS,
        KEPT + STORES + ITERATIONS + "raise SystemExit",
    ],
    ids=["without torch", "torch first", "torch last"],
)
def test_the_interpreter_ends_without_a_word(script, golden_caches, videos):
    repository = Path(__file__).parents[3]
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, golden_caches, videos],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
