"""Part of step `correctness`: caches that `cache-build` makes on the GPU against those that it makes on the CPU."""

import hashlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from frame_cache_tools.gpu_commands import run_command
from frame_cache_tools.gpu_findings import Findings, Skip, StepContext
from frame_cache_tools.gpu_samples import Samples

from frame_store import CacheStore, open_store

LEAST_PSNR_DB: Final = 50.0
"""A mean squared difference of 0.65: more than 0.2 on average would show."""
_VIDEOS: Final = 2
_FRAMES_AT_ONCE: Final = 256
_COMMAND: Final = "from cache_builder.cli import cache_build; cache_build()"


class BuildFailedError(Exception):
    """`cache-build` ended with an error; says what it said."""


def check_builds(context: StepContext, findings: Findings) -> None:
    """Build a few videos on the CPU once and on the GPU twice."""
    samples = Samples(work=context.work)
    folder = context.work / "built" / "videos"
    folder.mkdir(parents=True, exist_ok=True)
    mixed = sorted(samples.mixed.glob("01_hevc.*"))
    for path in [*samples.fast_paths()[:_VIDEOS], *mixed]:
        if not (folder / path.name).is_symlink():
            (folder / path.name).symlink_to(path.resolve())
    device = context.device
    caches = {
        name: _build(context, folder, context.work / "built" / name, device=which)
        for name, which in (("cpu", "cpu"), ("gpu", device), ("again", device))
    }
    digests = {name: _digest(path) for name, path in caches.items()}
    findings.check(
        f"cache-build --device {device}, twice",
        digests["gpu"] == digests["again"],
        "the same bytes" if digests["gpu"] == digests["again"] else "other bytes",
        target="the same bytes",
    )
    with findings.part(f"cache-build --device {device} and cpu"):
        compare_caches(caches["gpu"], caches["cpu"], findings, name=f"cache-build --device {device} and cpu")
    with findings.part("cache-build --device auto, all codecs"):
        if device == "cpu":
            raise Skip("a rehearsal on the CPU")
        context.check_time(5)
        said = _run(context, samples.mixed, context.work / "built" / "auto", device="auto", on_error="skip")
        lines = [line.strip() for line in said if "CPU" in line or "GPU" in line]
        findings.measured("cache-build --device auto, all codecs", "built", detail=" / ".join(lines))


def compare_caches(ours: Path, theirs: Path, findings: Findings, *, name: str) -> None:
    """Facts of the manifests, and the signal-to-noise ratio between the frames."""
    store, other = open_store(ours), open_store(theirs)
    try:
        facts, other_facts = _facts(store), _facts(other)
        findings.check(f"{name}: facts", facts == other_facts, facts["videos"], target="the same")
        places, other_places = _places(store), _places(other)
        if set(places) != set(other_places):
            findings.check(f"{name}: frames", False, target="the same videos and frames")
            return
        keys = sorted(places)
        squares = largest = 0
        for start in range(0, len(keys), _FRAMES_AT_ONCE):
            some = keys[start : start + _FRAMES_AT_ONCE]
            frames = store.read_frames([places[key] for key in some]).astype(np.int32)
            distance = np.abs(frames - other.read_frames([other_places[key] for key in some]))
            squares += int((distance * distance).sum())
            largest = max(largest, int(distance.max()))
        psnr = psnr_db(squares / (len(keys) * math.prod(store.frame_shape)))
        findings.check(
            f"{name}: PSNR",
            psnr >= LEAST_PSNR_DB,
            round(psnr, 1) if math.isfinite(psnr) else "equal",
            unit="dB" if math.isfinite(psnr) else "",
            target=f"at least {LEAST_PSNR_DB:.0f} dB",
            detail=f"largest difference {largest}, {len(keys)} frames",
        )
    finally:
        store.close()
        other.close()


def psnr_db(mean_square: float) -> float:
    """Peak signal-to-noise ratio of 8-bit samples, in dB; infinite where there is no noise.

    >>> round(psnr_db(1.0), 2)
    48.13
    """
    return 10 * math.log10(255**2 / mean_square) if mean_square else math.inf


def _facts(store: CacheStore) -> dict[str, Any]:
    """What must not depend on the decoder."""
    return {
        "frame_shape": store.frame_shape,
        "videos": [(video.path, video.verdict, video.num_frames_stored) for video in store.manifest.videos],
        "pts": sorted(store.index["pts_seconds"].tolist()),
    }


def _places(store: CacheStore) -> dict[tuple[int, int], int]:
    """Frame id of each (video_id, frame_in_video)."""
    index = store.index
    keys = zip(index["video_id"].tolist(), index["frame_in_video"].tolist(), strict=True)
    return {key: frame_id for frame_id, key in enumerate(keys)}


def _build(context: StepContext, videos: Path, out: Path, *, device: str) -> Path:
    context.check_time()
    _run(context, videos, out, device=device)
    return out


def _run(
    context: StepContext, videos: Path, out: Path, *, device: str, on_error: str = "fail"
) -> Sequence[str]:
    arguments = [videos, "--out", out, "--device", device, "--encoding", "raw"]
    done = run_command(
        [sys.executable, "-c", _COMMAND, *arguments, "--on-error", on_error, "--overwrite"],
        out.with_name(f"{out.name}.log"),
        timeout_s=context.seconds_left,
    )
    # 1: built, but for what is damaged.
    if done.exit_code not in ((0, 1) if on_error == "skip" else (0,)):
        raise BuildFailedError(f"--device {device}: exit code {done.exit_code}: {done.last_words}")
    return done.lines


def _digest(folder: Path) -> str:
    """Of the names and bytes of all files below a folder."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
