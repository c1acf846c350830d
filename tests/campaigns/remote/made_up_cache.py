"""The cache that the campaigns read: made-up videos of 224x224, built by `cache-build`, whose JPEGs take some 13 KB.

    python -m tests.campaigns.remote.made_up_cache FOLDER [--frames 48000]

A few videos are encoded; the others are links to them. What lies in FOLDER already is kept.
"""

import argparse
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import frame_store

SIDE = 224
FRAMES_OF_A_VIDEO = 250
NUM_DIFFERENT = 12
CELL = 28
"""Pixels of a side of the cells that move through the picture: the edges are what takes bytes."""

BUCKET = "bkt"
CACHE = "cache"


def make_cache(folder: Path, num_frames: int) -> Path:
    """The cache `folder/bkt/cache`; it is made unless it is there."""
    cache = folder / BUCKET / CACHE
    if (cache / "manifest-0000.json").exists():
        if len(frame_store.open_store(cache)) != num_frames:
            raise SystemExit(f"{cache} has another number of frames: remove it, or name another folder")
        return cache
    videos = folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    for number in range(max(num_frames // FRAMES_OF_A_VIDEO, 1)):
        path = videos / f"{number:04d}.mp4"
        if path.exists():
            continue
        if number < NUM_DIFFERENT:
            write_video(path, seed=number)
        else:
            os.link(videos / f"{number % NUM_DIFFERENT:04d}.mp4", path)
    cache.parent.mkdir(exist_ok=True)
    build = [Path(sys.executable).with_name("cache-build"), "--videos", videos, "--out", cache]
    done = subprocess.run(
        [*map(str, build), "--size", str(SIDE)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"cache-build failed:\n{done.stdout}{done.stderr}")
    return cache


def write_video(path: Path, *, seed: int) -> None:
    """Coloured cells that slide over a slow gradient."""
    rng = np.random.default_rng(seed)
    cells = rng.normal(0, 22, (SIDE // CELL, SIDE // CELL, 3))
    texture = np.kron(cells, np.ones((CELL, CELL, 1)))
    texture += rng.normal(0, 0.5, (SIDE, SIDE, 1))
    partial = path.with_suffix(".part.mp4")
    with av.open(str(partial), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"preset": "ultrafast", "crf": "23", "g": "25"}
        )
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, 25)
        for number in range(FRAMES_OF_A_VIDEO):
            waves = 40 * np.sin(np.linspace(0, 4, SIDE) + number / 20)[:, None, None]
            pixels = np.clip(128 + waves + np.roll(texture, number, axis=1), 0, 255).astype(np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    partial.rename(path)


def payload_bytes(cache: Path) -> float:
    """Mean bytes of a payload."""
    return float(frame_store.open_store(cache).stored_index["byte_length"].mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=48_000)
    options = parser.parse_args()
    cache = make_cache(options.folder, options.frames)
    print(f"{cache}: {options.frames} frames, {payload_bytes(cache):.0f} bytes each")


if __name__ == "__main__":
    main()
