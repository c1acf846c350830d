"""Builds from a bucket into a bucket on a small disk, killed again and again; and races of publishers.

    python -m tests.campaigns.remote.bucket_to_bucket [--kills 10] [--races 20] [--disk-mb 400] [--scratch DIR]

The videos together are larger than the disk, a tmpfs; so would be spill and cache. Every build that is killed (SIGKILL
of the command, at a random moment; every second time the disk is emptied, too) must end in the bytes of a build on
disk. Races: two processes publish caches of other seeds at one URL, and then of the same inputs. Prints a line for each
trial, and the most that lay on the disk. Needs root, for the tmpfs; exits 1 where a promise was broken.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from unittest import mock

from cache_builder.build import pipeline, run_build
from cache_builder.errors import OutputError
from cache_builder.settings import BuildSettings, resolve
from cache_builder.sources import Sources
from cache_builder.stages import RemoteWorkspace
from frame_store.remote import ObjectClient, RemoteUrl
from tests.support.executors.in_process_pool import InProcessPool
from tests.support.object_stores import no_seaweed_reason, running_seaweed
from tests.support.object_stores.listing import files_at, keys_at, objects_at
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

MB = 10**6
NUM_VIDEOS, NUM_FRAMES, VIDEO_BYTES = 12, 60, 40 * MB
STAGE_BYTES = 200 * MB
FLAGS = ["--encoding", "raw", "--frames-per-shard", "100", "--workers", "2"]
COMMAND = [sys.executable, "-c", "from cache_builder.cli import cache_build; cache_build()"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--races", type=int, default=20)
    parser.add_argument("--disk-mb", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    if reason := no_seaweed_reason():
        sys.exit(reason)
    num_broken = 0
    with tempfile.TemporaryDirectory(prefix="bucket-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        with (
            running_seaweed(folder / "store") as store,
            small_disk(folder / "disk", arguments.disk_mb) as disk,
        ):
            os.environ |= store.environment
            if arguments.kills:
                num_broken += kills(folder, disk, store.url("kills"), arguments.kills, arguments.seed)
            if arguments.races:
                num_broken += races(folder, store.url("races"), arguments.races)
    sys.exit(1 if num_broken else 0)


@contextmanager
def small_disk(path: Path, num_mb: int) -> Iterator["Disk"]:
    """A tmpfs, whose use is watched."""
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={num_mb}m", "none", path], check=False, capture_output=True
    )
    if done.returncode:
        sys.exit("no tmpfs can be mounted here: this campaign needs root")
    watched = Disk(path)
    try:
        yield watched
    finally:
        watched.ended.set()
        watched.thread.join()
        subprocess.run(["umount", "-l", path], check=True)


class Disk:
    """A file system, and the most that lay on it."""

    def __init__(self, path: Path) -> None:
        self.path, self.most = path, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self) -> None:
        while not self.ended.wait(0.02):
            self.most = max(self.most, shutil.disk_usage(self.path).used)

    def empty(self) -> None:
        for path in self.path.iterdir():
            shutil.rmtree(path)


def kills(folder: Path, disk: Disk, url: str, num_kills: int, seed: int) -> int:
    """Builds until `num_kills` were killed; how many promises were broken."""
    videos = tiny_folder(folder / "videos", simple_specs(NUM_VIDEOS, num_frames=NUM_FRAMES))
    client = ObjectClient(RemoteUrl.of(f"{url}/videos"))
    for spec in videos.specs:
        pad(spec.path)
        client.put_file(spec.path.name, spec.path)
    run([*FLAGS, "--videos", str(videos.path), "--out", str(folder / "local")], os.environ)
    expected = files_at(folder / "local")
    num_bytes = sum(map(len, expected.values()))
    print(
        f"videos {NUM_VIDEOS * VIDEO_BYTES / MB:.0f} MB, cache {num_bytes / MB:.0f} MB and as much spill, disk "
        f"{shutil.disk_usage(disk.path).total / MB:.0f} MB, stage {STAGE_BYTES / MB:.0f} MB",
        flush=True,
    )
    environment = os.environ | {"TMPDIR": str(disk.path / "tmp")}
    chance = random.Random(seed)
    num_killed = num_broken = number = 0
    longest: float | None = None
    while longest is None or num_killed < num_kills:
        out = f"{url}/c{number}"
        command = [*FLAGS, "--videos", f"{url}/videos", "--out", out]
        command += ["--stage", str(disk.path / "stage"), "--stage-bytes", f"{STAGE_BYTES // MB}MB"]
        of_this, started = 0, time.monotonic()
        while True:
            (disk.path / "tmp").mkdir(parents=True, exist_ok=True)
            kill_after = None
            if longest is not None and num_killed < num_kills:
                kill_after = chance.uniform(0.05, 0.9) * longest
            end = run(command, environment, kill_after=kill_after)
            if end != "killed":
                break
            num_killed, of_this = num_killed + 1, of_this + 1
            if num_killed % 2:
                disk.empty()
        if longest is None:
            longest = time.monotonic() - started
        is_equal = end == "built" and objects_at(out) == expected
        left = [key for key in keys_at(url) if key.startswith(f"c{number}.building")]
        num_broken += not is_equal or bool(left)
        print(
            f"build {number}: killed {of_this} times, {'equal bytes' if is_equal else f'BROKEN: {end}'}, "
            f"{len(left)} objects left, most on the disk {disk.most / MB:.0f} MB",
            flush=True,
        )
        number += 1
    return num_broken


def pad(path: Path) -> None:
    """Make an MP4 file as large as a long video: a box that players pass over."""
    size = VIDEO_BYTES - path.stat().st_size
    with path.open("ab") as file:
        file.write(size.to_bytes(4, "big") + b"free")
        file.truncate(VIDEO_BYTES)


def run(flags: list[str], environment: Any, *, kill_after: float | None = None) -> str:
    """How `cache-build` ended: `built`, `killed`, or what it said."""
    process = subprocess.Popen(
        [*COMMAND, *flags], env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    try:
        _, said = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "killed"
    return "built" if process.returncode == 0 else f"exit {process.returncode}: {said[-500:]}"


def races(folder: Path, url: str, num_races: int) -> int:
    """Races of two publishers, first of other seeds, then of the same inputs; how many promises were broken."""
    videos = tiny_folder(folder / "small", simple_specs())
    for seed in (0, 1):
        build(videos.path, folder / f"seed-{seed}", seed=seed)
    expected = [files_at(folder / f"seed-{seed}") for seed in (0, 1)]
    context = multiprocessing.get_context("spawn")
    num_broken = 0
    for kind, seeds in (("other seeds", (0, 1)), ("same inputs", (0, 0))):
        both, ends = context.Barrier(2), context.Queue()
        racers = [
            context.Process(
                target=race,
                args=(videos.path, folder / f"racer-{kind}-{number}"),
                kwargs={
                    "url": f"{url}/{kind[0]}",
                    "seed": seed,
                    "num_races": num_races,
                    "both": both,
                    "ends": ends,
                },
            )
            for number, seed in enumerate(seeds)
        ]
        for racer in racers:
            racer.start()
        found: dict[int, list[tuple[int, str]]] = {}
        for _ in range(2 * num_races):
            number, seed, end = ends.get(timeout=600)
            found.setdefault(number, []).append((seed, end))
        for racer in racers:
            racer.join()
        num_wins = []
        for number, of_round in sorted(found.items()):
            winners = [seed for seed, end in of_round if end == "built"]
            there = objects_at(f"{url}/{kind[0]}{number}")
            num_wins.append(len(winners))
            named = expected[winners[0]] if winners else {}
            is_right = bool(winners) and {key: there.get(key) for key in named} == named
            others = [
                end for _, end in of_round if end != "built" and "another process has published" not in end
            ]
            if not is_right or others or (len(winners) != 1 and len(set(seeds)) == 2):
                num_broken += 1
                print(f"race {number}, {kind}: BROKEN {of_round}")
        print(f"{num_races} races, {kind}: winners {num_wins}", flush=True)
    return num_broken


def race(
    videos: Path, folder: Path, *, url: str, seed: int, num_races: int, both: Barrier, ends: Any
) -> None:
    """One of two publishers: meets the other one just before the manifest is created."""
    tempfile.tempdir = str(folder)
    folder.mkdir()
    create = RemoteWorkspace._create

    def created(workspace: RemoteWorkspace, name: str, content: bytes) -> None:
        both.wait(timeout=300)
        create(workspace, name, content)

    with mock.patch.object(RemoteWorkspace, "_create", created):
        for number in range(num_races):
            try:
                build(videos, RemoteUrl.of(f"{url}{number}"), seed=seed, scratch=folder / f"scratch-{number}")
                end = "built"
            except OutputError as error:
                end = str(error)
            ends.put((number, seed, end))


def build(videos: Path, out: Path | RemoteUrl, *, seed: int, scratch: Path | None = None) -> None:
    """A build whose jobs run in this process."""
    config, options = resolve(BuildSettings(size=32, frames_per_shard=20, seed=seed))
    pools = {(Any, Any): lambda **_: InProcessPool()}
    with mock.patch.object(pipeline, "WorkerPool", pools):
        run_build(Sources.of(videos), out, config, options, scratch=scratch)


if __name__ == "__main__":
    main()
