"""Caches that `cache-build` makes on the GPU: the same bytes each time, and close to those of the CPU."""

import math
import subprocess
import sys

import numpy as np
import pytest

from frame_store import open_store

pytestmark = pytest.mark.gpu

LEAST_PSNR_DB = 50.0
"""A mean squared difference of 0.65: more than 0.2 on average would show."""
_COMMAND = "from cache_builder.cli.entry_points import cache_build; cache_build()"


def build(videos, out, device, *options, exit_codes=(0,)):
    """Run the command in a process of its own, and return its output."""
    arguments = ["--out", out, "--device", device, "--encoding", "raw", *options]
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, videos, *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode in exit_codes, f"--device {device}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def some_videos(codec_videos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("some")
    for name in ("00_h264.mp4", "01_hevc.mp4"):
        (folder / name).symlink_to(codec_videos / name)
    return folder


@pytest.fixture(scope="module")
def built(some_videos, tmp_path_factory):
    """Caches by name: built by the CPU, and twice by the GPU."""
    folder = tmp_path_factory.mktemp("built")
    for name, device in (("cpu", "cpu"), ("gpu", "cuda"), ("again", "cuda")):
        build(some_videos, folder / name, device)
    return folder


def contents(cache):
    return {path.relative_to(cache): path.read_bytes() for path in sorted(cache.rglob("*")) if path.is_file()}


def test_a_build_on_the_gpu_gives_the_same_bytes_twice(built):
    assert contents(built / "gpu") == contents(built / "again")


def test_a_build_on_the_gpu_is_close_to_the_cpus(built, record_property):
    psnr = psnr_between(built / "gpu", built / "cpu")
    record_property("PSNR dB", psnr)
    assert psnr >= LEAST_PSNR_DB


def psnr_between(ours, theirs):
    """PSNR of all frames in dB. Facts that must not depend on the decoder are asserted to be equal."""
    store, other = open_store(ours), open_store(theirs)
    try:
        assert facts(store) == facts(other)
        places, other_places = places_of(store), places_of(other)
        assert places.keys() == other_places.keys()
        keys = sorted(places)
        frames = store.read_frames([places[key] for key in keys]).astype(np.int32)
        distance = frames - other.read_frames([other_places[key] for key in keys])
        mean_square = float((distance * distance).mean())
        return 10 * math.log10(255**2 / mean_square) if mean_square else math.inf
    finally:
        store.close()
        other.close()


def facts(store):
    return {
        "frame_shape": store.frame_shape,
        "videos": [(video.path, video.verdict, video.num_frames_stored) for video in store.video_entries],
        "pts": np.sort(store.index["pts_seconds"]).tobytes(),
    }


def places_of(store):
    """Frame id of each (video_id, frame_in_video)."""
    keys = zip(store.index["video_id"].tolist(), store.index["frame_in_video"].tolist(), strict=True)
    return {key: frame_id for frame_id, key in enumerate(keys)}


def test_auto_builds_every_codec_and_counts_what_the_gpu_decoded(codec_videos, tmp_path, record_property):
    # Exit code 1: built, without the damaged videos.
    options = ("--on-error", "skip")
    said = build(codec_videos, tmp_path / "auto", "auto", *options, exit_codes=(0, 1))
    lines = [line.strip() for line in said.splitlines() if "CPU" in line or "GPU" in line]
    record_property("said", " / ".join(lines))
    assert any(line.startswith("decoded by the GPU: ") for line in lines)
    with_frames = {
        video.path for video in open_store(tmp_path / "auto").video_entries if video.num_frames_stored
    }
    assert with_frames == {path.name for path in codec_videos.iterdir()}
