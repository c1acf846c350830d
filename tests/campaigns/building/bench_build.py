"""Speed of `cache-build` compared with its own limit and with `ffmpeg` writing JPEG files, and its memory.

The limit is what decoding, resizing and encoding alone make in two processes (`bare_worker`), their start not counted.

    python -m tests.campaigns.building.bench_build --videos DIR [--long FILE] [--rounds 3] [--defaults]
    python -m tests.campaigns.building.bench_build --videos DIR --side-by-side [--rounds 3]

Every round runs every command once, in turn, so that a ratio compares neighbours in time; medians are printed. Memory
is measured in one more run of each command before, because measuring slows down.
Videos should be 1080p H.264 of a few seconds; `--long` is a folder with one file of minutes. Where `ffmpeg` is not
installed, its rows are left out and a line states this. `--defaults` leaves out all builds but that of the defaults.
`--side-by-side` runs a build with one worker and the limit in one process at once, and nothing else: on a machine with
loud neighbours both have the same noise.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from cache_builder.sources import discover_videos
from frame_store.manifest import read_manifest

BUILDS = {
    "wds jpeg, shuffled": [],
    "wds jpeg, video": ["--layout", "video"],
    "wds raw, shuffled": ["--encoding", "raw"],
    "zarr raw, shuffled": ["--format", "zarr", "--encoding", "raw"],
    "zarr zstd, shuffled": ["--format", "zarr", "--encoding", "zstd"],
}
LIMIT = "bare, two processes"
MEMORY_SAMPLE_SECONDS = 0.5


def main() -> None:
    arguments = _arguments()
    scratch = Path(tempfile.mkdtemp(prefix="bench-build-", dir=arguments.scratch))
    if arguments.side_by_side:
        for _ in range(arguments.rounds):
            limit, ours = _side_by_side(arguments.videos, scratch / "cache")
            print(f"limit {limit:.2f} s, build {ours:.2f} s: {limit / ours:.3f} of the limit", flush=True)
        shutil.rmtree(scratch)
        return
    builds = dict(list(BUILDS.items())[: 1 if arguments.defaults else None])
    memory = {
        name: _peak_megabytes(_build_command(arguments.videos, scratch / "cache", flags))
        for name, flags in builds.items()
    }
    num_frames = read_manifest(scratch / "cache").num_frames
    rows: dict[str, Callable[[], float]] = {}
    if shutil.which("ffmpeg"):
        for number in (1, 2):
            rows[f"ffmpeg x {number}"] = lambda number=number: _ffmpeg(
                arguments.videos, scratch / "jpg", number
            )
    else:
        print("no ffmpeg on PATH: its rows are left out")
    rows[LIMIT] = lambda: _bare(arguments.videos)
    for name, flags in builds.items():
        rows[name] = lambda flags=flags: _seconds(
            [_build_command(arguments.videos, scratch / "cache", flags)]
        )
    rates: dict[str, list[float]] = {name: [] for name in rows}
    long_rates: list[float] = []
    for round_number in range(arguments.rounds):
        for name, run in rows.items():
            rates[name].append(num_frames / run())
        if arguments.long is not None:
            seconds = _seconds([_build_command(arguments.long, scratch / "cache", [])])
            long_rates.append(read_manifest(scratch / "cache").num_frames / seconds)
        print(f"round {round_number + 1} of {arguments.rounds} done", file=sys.stderr)
    base = max(
        (name for name in rows if "ffmpeg" in name), key=lambda n: statistics.median(rates[n]), default=None
    )
    print(f"{'':24} {'frames/s':>9} {'spread':>15} {'to ffmpeg':>10} {'of limit':>9} {'peak MB':>8}")
    for name in rows:
        ratio = _ratio(rates[name], rates[base]) if base else float("nan")
        spread = f"{min(rates[name]):.0f}-{max(rates[name]):.0f}"
        print(
            f"{name:24} {statistics.median(rates[name]):9.0f} {spread:>15} {ratio:10.2f} "
            f"{_ratio(rates[name], rates[LIMIT]):9.3f} {f'{memory[name]:.0f}' if name in memory else '-':>8}"
        )
    if not arguments.defaults:
        print(
            f"shuffled to video layout  {_ratio(rates['wds jpeg, shuffled'], rates['wds jpeg, video']):.3f}"
        )
        print(
            f"zarr raw to tar raw       {_ratio(rates['zarr raw, shuffled'], rates['wds raw, shuffled']):.3f}"
        )
    if long_rates:
        print(
            f"one long file to {len(discover_videos(arguments.videos))} short ones  "
            f"{_ratio(long_rates, rates['wds jpeg, shuffled']):.3f}"
        )
    shutil.rmtree(scratch)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--long", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--defaults", action="store_true")
    parser.add_argument("--side-by-side", action="store_true")
    return parser.parse_args()


def _ratio(ours: list[float], theirs: list[float]) -> float:
    """Median of the ratios of neighbours in time."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def _build_command(videos: Path, output: Path, flags: list[str]) -> list[str]:
    """The command of a new build, scan included. What lies at `output` is removed."""
    for leftover in output.parent.glob(output.name + "*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    program = Path(sys.executable).with_name("cache-build")
    return [str(program), "--videos", str(videos), "--out", str(output), *flags]


def _ffmpeg(videos: Path, output: Path, side_by_side: int) -> float:
    """Turn every video into 224x224 JPEG files, with a number of processes at a time."""
    shutil.rmtree(output, ignore_errors=True)
    commands = []
    for number, video in enumerate(discover_videos(videos)):
        folder = output / f"{number:04d}"
        folder.mkdir(parents=True)
        commands.append(
            [
                *["ffmpeg", "-v", "error", "-i"],
                str(video.path),
                *["-vf", "scale=224:224:flags=area", "-q:v", "2"],
                str(folder / "%08d.jpg"),
            ]
        )
    return _seconds(commands, side_by_side=side_by_side)


def _bare(videos: Path) -> float:
    """Decode, resize and encode every video in two processes."""
    workers = _ready_workers(videos, number=2)
    started = time.monotonic()
    for worker in workers:
        _begin(worker)
    for worker in workers:
        worker.wait()
        _require_success(worker)
    return time.monotonic() - started


def _ready_workers(videos: Path, *, number: int) -> list[subprocess.Popen[str]]:
    paths = [str(video.path) for video in discover_videos(videos)]
    command = [sys.executable, "-m", "tests.campaigns.building.bare_worker"]
    workers = [
        subprocess.Popen(
            [*command, *paths[part::number]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for part in range(number)
    ]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    return workers


def _begin(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("\n")
    worker.stdin.flush()


def _side_by_side(videos: Path, output: Path) -> tuple[float, float]:
    """Seconds of the limit in one process and of a build with one worker, begun at once."""
    shutil.rmtree(output, ignore_errors=True)
    limit = _ready_workers(videos, number=1)[0]
    program = Path(sys.executable).with_name("cache-build")
    command = [str(program), "--videos", str(videos), "--out", str(output), "--workers", "1"]
    seconds: dict[str, float] = {}
    started = time.monotonic()
    _begin(limit)
    build = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    running: dict[str, subprocess.Popen[Any]] = {"limit": limit, "build": build}
    while running:
        time.sleep(0.01)
        for name, process in list(running.items()):
            if process.poll() is not None:
                seconds[name] = time.monotonic() - started
                _require_success(process)
                del running[name]
    return seconds["limit"], seconds["build"]


def _seconds(commands: list[list[str]], *, side_by_side: int = 1) -> float:
    """Seconds that the commands take, so many at a time."""
    waiting, running = list(commands), list[subprocess.Popen[bytes]]()
    started = time.monotonic()
    while waiting or running:
        while waiting and len(running) < side_by_side:
            running.append(_started(waiting.pop(0)))
        time.sleep(0.005)
        for process in list(running):
            if process.poll() is not None:
                _require_success(process)
                running.remove(process)
    return time.monotonic() - started


def _peak_megabytes(command: list[str]) -> float:
    """Peak PSS in MB of the processes of a command, summed."""
    process, peak = _started(command), 0.0
    while process.poll() is None:
        time.sleep(MEMORY_SAMPLE_SECONDS)
        peak = max(peak, _tree_megabytes(process.pid))
    _require_success(process)
    return peak


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _require_success(process: subprocess.Popen[Any]) -> None:
    if process.returncode:
        raise SystemExit(f"{process.args} ended with {process.returncode}")


def _tree_megabytes(pid: int) -> float:
    """PSS of a process and its children. Shared memory counts once."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in family:
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1e3


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
