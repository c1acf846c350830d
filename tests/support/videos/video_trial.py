"""Builds a folder of mutants, reads it live, and reports what should not happen.

    python -m tests.support.videos.video_trial SAMPLES SEED FIRST NUM     one trial; its result as JSON

A trial is a process of its own: a crash or a hang is a find, and its memory is its own.
"""

import hashlib
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import psutil

from cache_builder import open_videos
from cache_builder.build.pipeline import run_build
from cache_builder.build.report import BuildReport
from cache_builder.errors import VideoError
from cache_builder.live.store import LiveStore
from cache_builder.settings import BuildConfig, RunOptions
from cache_builder.video.picture.geometry import FrameGeometry
from frame_store import CacheStore, open_store
from frame_store.manifest import Encoding, VideoEntry
from frame_store.verify import verify_store
from tests.support.videos.tiny_videos import TINY_SPECS, TinyFolder, tiny_folder
from tests.support.videos.video_mutants import make_mutant, read_samples

SECONDS_A_TRIAL = 900.0
"""Two hangs of a unit, each ended by the builder after 60 to 80 s, are no find. A longer run is a find."""

GOOD_NAME = "zz_good.mp4"
"""An unchanged video, the last of the folder. The others must not affect it."""

SILENT_CODECS = {"hevc"}
"""A slice that ends too early, after a flipped bit, is not an error to FFmpeg's decoder, with any `err_detect`. The
rest of the picture shows what was in its memory: another picture after a seek. Nothing reports this, so the video is
whole.
"""

LIVE_FRAMES_A_VIDEO = 3
GEOMETRY = FrameGeometry(height=32, width=40)
_RAW = BuildConfig(encoding=Encoding(name="raw"), geometry=GEOMETRY, frames_per_shard=300)
_CONFIGS = (
    _RAW,
    msgspec.structs.replace(_RAW, encoding=Encoding(name="jpeg", quality=90, chroma="444"), layout="video"),
    msgspec.structs.replace(_RAW, format="zarr", encoding=Encoding(name="zstd", level=1)),
)


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """Results of some mutants."""

    finds: list[str]
    """Finds, one text each; empty if all went well."""
    verdicts: dict[str, dict[str, int]]
    """Kind of mutation -> verdict -> number of videos."""
    reasons: dict[str, int]
    """Reason why videos are not whole, shortened -> number of videos."""
    num_frames_stored: int = 0
    num_frames_read_live: int = 0
    num_live_errors: int = 0
    """Number of videos whose live reading ended in a `VideoError`."""
    unlike_built: list[str] = []
    """Frames that, due to damage, differ between the live store and the lossless cache: video, frame, verdict."""
    peak_worker_bytes: int = 0
    """Resident memory of the largest worker process."""
    peak_own_bytes: int = 0
    """Resident memory of the process that builds, verifies and reads live."""
    seconds: float = 0.0


def write_samples(folder: Path) -> TinyFolder:
    """The tiny videos, for `run_trial`."""
    return tiny_folder(folder)


def run_trial(samples: Path, *, seed: int, first: int, num: int) -> TrialResult:
    """Try the mutants [first, first + num) of the samples in that folder, in a process of its own."""
    numbers = [str(number) for number in (seed, first, num)]
    started = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.videos.video_trial", str(samples), *numbers],
            capture_output=True,
            text=True,
            timeout=SECONDS_A_TRIAL,
        )
        if done.returncode == 0:
            return msgspec.json.decode(done.stdout, type=TrialResult)
        find = f"the process ended with {done.returncode}: {done.stderr[-3000:]}"
    except subprocess.TimeoutExpired:
        find = f"not done after {SECONDS_A_TRIAL:.0f} s"
    return TrialResult(finds=[find], verdicts={}, reasons={}, seconds=time.monotonic() - started)


def _try(samples: TinyFolder, folder: Path, *, seed: int, first: int, num: int) -> TrialResult:
    started = time.monotonic()
    sources = read_samples(samples)
    mutants = [make_mutant(sources, seed=seed, number=number) for number in range(first, first + num)]
    videos, output = folder / "videos", folder / "out" / "cache"
    videos.mkdir()
    for mutant in mutants:
        (videos / mutant.name).write_bytes(mutant.content)
    good = next(spec for spec in samples.specs if spec.path.suffix == ".mp4")
    (videos / GOOD_NAME).write_bytes(good.path.read_bytes())
    before = _digest(videos)
    random = np.random.default_rng([seed, first, num])
    config = _CONFIGS[int(random.integers(len(_CONFIGS)))]
    finds: list[str] = []
    verdicts: dict[str, Counter[str]] = {}
    reasons: Counter[str] = Counter()
    num_stored = num_live = num_errors = 0
    unlike_built: list[str] = []
    try:
        report = run_build(videos, output, config, RunOptions(workers=2, on_error="skip"))
        names = [mutant.name for mutant in mutants] + [GOOD_NAME]
        finds += _faults_of_report(report, names, good.num_frames)
        finds += _faults_around(output)
        for mutant, entry in zip(mutants, report.videos, strict=False):
            verdicts.setdefault(mutant.kind, Counter())[entry.verdict] += 1
            if entry.verdict != "whole":
                reasons[_shortened(entry.reason or "")] += 1
        finds += verify_store(output).problems
        store = open_store(output)
        finds += _faults_of_store(store, report)
        num_stored = len(store)
        exact = None if config.encoding.name == "jpeg" else store
        live = open_videos(
            videos,
            size=(GEOMETRY.height, GEOMETRY.width),
            workers=2,
            scan_cache=output.with_name("cache.scan"),
        )
        num_live, num_errors, unlike = _read_live(live, exact, random)
        for video_id, row in unlike:
            entry, frame = report.videos[video_id], int(store.index["frame_in_video"][row])
            named = " where damage is named" if _is_named(entry, frame) else ", said nowhere"
            text = f"{entry.path}: frame {frame} of a {entry.verdict} video: live and built differ{named}"
            is_find = entry.verdict == "whole" and entry.facts["codec"] not in SILENT_CODECS
            (finds if is_find else unlike_built).append(text)
    except Exception:  # noqa: BLE001 - every exception is a find
        finds.append(traceback.format_exc())
    if _digest(videos) != before:
        finds.append("the videos were changed")
    return TrialResult(
        finds=finds,
        verdicts={kind: dict(counts) for kind, counts in verdicts.items()},
        reasons=dict(reasons),
        num_frames_stored=num_stored,
        num_frames_read_live=num_live,
        num_live_errors=num_errors,
        unlike_built=unlike_built,
        peak_worker_bytes=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10,
        peak_own_bytes=_peak_own_bytes(),
        seconds=time.monotonic() - started,
    )


def _faults_of_report(report: BuildReport, names: list[str], num_good_frames: int) -> list[str]:
    finds = []
    if [entry.path for entry in report.videos] != names:
        finds.append(f"the report lists {[entry.path for entry in report.videos]}, the folder holds {names}")
    for entry in report.videos:
        where = f"{entry.path}: {entry.verdict}, {entry.reason!r}"
        if entry.verdict not in {"whole", "damaged", "unreadable"}:
            finds.append(f"{where}: no verdict")
        if (entry.verdict == "whole") == bool(entry.reason):
            finds.append(f"{where}: a reason is what a video has that is not whole")
        if entry.reason is not None and "/tmp" in entry.reason:
            finds.append(f"{where}: names a path of this machine")
        if entry.verdict == "unreadable" and entry.num_frames_stored:
            finds.append(f"{where}: {entry.num_frames_stored} frames stored")
    good = report.videos[-1]
    if (good.verdict, good.num_frames_stored) != ("whole", num_good_frames):
        finds.append(f"{good.path}: {good.verdict}, {good.num_frames_stored} of {num_good_frames} frames")
    return finds


def _faults_around(output: Path) -> list[str]:
    expected = {"cache", "cache.lock", "cache.report.json", "cache.scan"}
    left = {path.name for path in output.parent.iterdir()} ^ expected
    running = psutil.Process().children(recursive=True)
    return [f"beside the cache, or missing: {sorted(left)}"] * bool(left) + [
        f"still running: {process}" for process in running
    ]


def _faults_of_store(store: CacheStore, report: BuildReport) -> list[str]:
    """Every frame can be read, and each video has the number of frames in the report."""
    for first in range(0, len(store), 500):
        store.read_frames(range(first, min(first + 500, len(store))))
    counts = np.bincount(store.index["video_id"], minlength=len(report.videos)).tolist()
    return [
        f"{entry.path}: {count} frames in the cache, {entry.num_frames_stored} in the report"
        for entry, count in zip(report.videos, counts, strict=True)
        if count != entry.num_frames_stored
    ]


def _read_live(
    live: LiveStore, exact: CacheStore | None, random: np.random.Generator
) -> tuple[int, int, list[tuple[int, int]]]:
    """Frames read, videos that raised `VideoError`, and (video, frame id) that differ from the lossless cache."""
    unlike: list[tuple[int, int]] = []
    num_read = num_errors = 0
    # Compared by time: live frames are numbered by packets, frames of a cache by the decoder's output.
    row_of = {} if exact is None else _rows_by_time(exact)
    first = 0
    for video_id, num_frames in enumerate(live.shard_sizes.tolist()):
        for frame in random.integers(num_frames, size=LIVE_FRAMES_A_VIDEO if num_frames else 0).tolist():
            try:
                pixels = live.read_frames([first + frame])[0]
            except VideoError:
                num_errors += 1
                break
            num_read += 1
            row = row_of.get((video_id, float(live.index["pts_seconds"][first + frame])))
            if exact is not None and row is not None:
                built = exact.read_frames([row])[0]
                unlike += [] if np.array_equal(built, pixels) else [(video_id, row)]
        first += num_frames
    live.close()
    return num_read, num_errors, unlike


def _is_named(entry: VideoEntry, frame: int) -> bool:
    """Whether the frame lies in a damaged span of the report."""
    spans = entry.findings.damaged_spans if entry.findings is not None else []
    return any(
        span.first_frame is not None and span.first_frame <= frame <= (span.last_frame or 0) for span in spans
    )


def _rows_by_time(store: CacheStore) -> dict[tuple[int, float], int]:
    """(video, pts in seconds) -> frame id, for times that only one frame has."""
    keys = list(zip(store.index["video_id"].tolist(), store.index["pts_seconds"].tolist(), strict=True))
    times = Counter(keys)
    return {key: row for row, key in enumerate(keys) if times[key] == 1}


def _shortened(reason: str) -> str:
    """The reason without its numbers and details."""
    words = re.split(r"; | \(", reason, maxsplit=1)[0]
    return "".join("#" if char.isdigit() else char for char in words)[:90]


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _peak_own_bytes() -> int:
    """Resident memory; not `ru_maxrss`, which starts with that of the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    samples, *numbers = sys.argv[1:]
    seed, first, num = map(int, numbers)
    folder = Path(samples)
    specs = tuple(replace(spec, path=folder / spec.path) for spec in TINY_SPECS)
    with tempfile.TemporaryDirectory(prefix="video_trial.") as scratch:
        result = _try(TinyFolder(path=folder, specs=specs), Path(scratch), seed=seed, first=first, num=num)
    print(json.dumps(msgspec.to_builtins(result)))


if __name__ == "__main__":
    main()
