"""Lets a cache grow by many appends that are killed on the way, and compares it with one that was left alone.

    python -m tests.campaigns.growing.grow_cache [--appends 50] [--races 10] [--compact-every K] [--seed 0]
        [--scratch DIR]

Each append adds one to four sample videos of random lengths, now and then replaces one (`--forget`), and is killed
(kill -9) at random moments, once to three times, before it may end. At the end the cache must have the bytes of one
that took the same appends undisturbed; it is verified, every sampler must give each frame once, and `split` must not
have moved a video. Then two processes that no lock keeps apart append at once: every video must be there once.
With `--compact-every`, both caches are joined after every K-th append. Faults of the disk at every change of an append
are those of `crash_campaign --append`. Exits 1 where a promise was broken, and prints how.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from frame_store import open_store, split
from frame_store.manifest import read_manifest
from frame_store.verify import verify_store
from tests.support.faults.faults import BuildServer, FaultyFiles, digests, why_no_faults
from tests.support.videos.tiny_videos import tiny_video

FLAGS = ("--size", "32", "--frames-per-shard", "50", "--on-error", "fail")
SAMPLINGS = {
    "permutation": {},
    "block": {"shards_per_block": 3},
}
SHARES = {"train": 0.8, "val": 0.2}
_UNLOCKED = (
    "import fcntl, sys; fcntl.flock = lambda *_: None\n"
    "from cache_builder.cli import cache_build\n"
    "cache_build(sys.argv[1:], prog_name='cache-build')"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--appends", type=int, default=50)
    parser.add_argument("--races", type=int, default=10)
    parser.add_argument("--compact-every", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    if reason := why_no_faults():
        sys.exit(reason)
    with tempfile.TemporaryDirectory(prefix="grow-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        with BuildServer(FaultyFiles(folder, folder / "watched"), folder) as server:
            growing = _Growing(server, folder, random.Random(arguments.seed))
            problems = growing.run(arguments.appends, compact_every=arguments.compact_every)
            problems += growing.race(arguments.races)
    for problem in problems:
        print(problem, flush=True)
    sys.exit(1 if problems else 0)


class _Growing:
    def __init__(self, server: BuildServer, folder: Path, draw: random.Random) -> None:
        self._server = server
        self._folder = folder
        self._draw = draw
        self._made = 0
        self._num_killed = 0
        self._seconds = 0.5
        """About the duration of an append."""

    def run(self, num_appends: int, *, compact_every: int) -> list[str]:
        """Both caches grow; returns the promises that were broken."""
        started, found = time.monotonic(), []
        caches = [self._folder / "calm" / "cache", self._folder / "disturbed" / "cache"]
        videos = self._folder / "videos"
        self._add(videos, 4)
        for cache in caches:
            found += self._done(cache, videos, "--append", *FLAGS)
        parts: dict[str, set[str]] = {}
        for number in range(1, num_appends + 1):
            forget = self._change(videos) if number % 7 == 0 else []
            self._add(videos, self._draw.randint(1, 4))
            for cache in caches:
                if cache is caches[1]:
                    self._disturb(cache, videos, "--append", *forget)
                found += self._done(cache, videos, "--append", *forget)
                if compact_every and number % compact_every == 0:
                    ended = self._server.run(cache, "--all", command="cache-compact")
                    found += [] if ended.returncode == 0 else [f"cache-compact: {ended.stderr}"]
            found += self._moved(caches[1], parts)
            print(f"append {number}: {self._num_killed} kills", end="\r", file=sys.stderr)
        calm, disturbed = map(digests, caches)
        if calm != disturbed:
            found.append(f"bytes differ: {sorted(calm.keys() ^ disturbed.keys())[:5]}")
        found += self._problems_of(caches[1], {path.name for path in videos.iterdir()})
        manifest = read_manifest(caches[1])
        print(
            f"{num_appends} appends of {self._made} videos, {self._num_killed} kills -9 that hit: version "
            f"{manifest.version}, {len(manifest.generations)} generations, {manifest.num_frames} frames, "
            f"{len(manifest.forgotten_videos)} videos forgotten; {len(found)} promises broken; "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )
        return found

    def race(self, number: int) -> list[str]:
        """Two processes without a lock append at once, then both again until both are done."""
        started, found, cache = time.monotonic(), [], self._folder / "race" / "cache"
        first = self._folder / "race-0"
        self._add(first, 2)
        names = {path.name for path in first.iterdir()}
        found += self._done(cache, first, "--append", *FLAGS)
        num_failed = 0
        for race in range(1, number + 1):
            folders = [self._folder / f"race-{race}-{one}" for one in "ab"]
            for folder in folders:
                self._add(folder, self._draw.randint(1, 3))
                names |= {path.name for path in folder.iterdir()}
            commands = [
                [
                    sys.executable,
                    "-c",
                    _UNLOCKED,
                    str(folder),
                    "--out",
                    str(cache),
                    "--append",
                    "--workers",
                    "1",
                ]
                for folder in folders
            ]
            running = []
            for command in commands:
                running.append(
                    subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                )
                time.sleep(self._draw.uniform(0, 1))
            for command, process in zip(commands, running, strict=True):
                _, said = process.communicate(timeout=120)
                if "Traceback" in said:
                    found.append(f"race {race}: {said}")
                num_failed += process.returncode != 0
                again = subprocess.run(command, capture_output=True, text=True, timeout=120)
                if again.returncode != 0:
                    found.append(f"race {race}: again: {again.stderr}")
        found += self._problems_of(cache, names)
        print(
            f"{number} races of two publishers without a lock: {num_failed} had to be run again; "
            f"version {read_manifest(cache).version}; {time.monotonic() - started:.0f} s",
            flush=True,
        )
        return found

    def _add(self, folder: Path, number: int) -> None:
        for _ in range(number):
            length = self._draw.randint(5, 40)
            path = Path(f"v{self._made:04d}.mp4")
            tiny_video(folder, path=path, video_number=self._made % 60, num_frames=length, gop_size=8)
            self._made += 1

    def _change(self, folder: Path) -> list[str]:
        """Write one of the videos anew; returns the flags that replace it in a cache."""
        path = self._draw.choice(sorted(folder.iterdir()))
        path.unlink()
        number = self._draw.randint(0, 59)
        tiny_video(folder, path=Path(path.name), video_number=number, num_frames=self._draw.randint(41, 60))
        return ["--forget", path.name]

    def _done(self, cache: Path, videos: Path, *flags: str) -> list[str]:
        started = time.monotonic()
        ended = self._server.run(videos, "--out", cache, *flags)
        if cache.parent.name == "calm":
            self._seconds = time.monotonic() - started
        return [] if ended.returncode == 0 else [f"{cache.parent.name}: {ended.returncode}: {ended.stderr}"]

    def _disturb(self, cache: Path, videos: Path, *flags: str) -> None:
        for _ in range(self._draw.randint(1, 3)):
            ended = self._server.run(
                videos, "--out", cache, *flags, kill_after=self._draw.uniform(0, self._seconds)
            )
            self._num_killed += ended.returncode == -9
            if "Traceback" in ended.stderr:
                raise AssertionError(ended.stderr)

    def _moved(self, cache: Path, parts: dict[str, set[str]]) -> list[str]:
        """Videos that are in another part of a split than before."""
        found = []
        now = {
            name: {f"{row.path} {row.sha256}" for row in store.videos}
            for name, store in split(open_store(cache), SHARES).items()
        }
        for name, paths in now.items():
            for other, earlier in parts.items():
                if other != name and paths & earlier:
                    found.append(f"split moved {sorted(paths & earlier)[:3]} from {other} to {name}")
            parts[name] = parts.get(name, set()) | paths
        return found

    def _problems_of(self, cache: Path, names: set[str]) -> list[str]:
        from loader import FrameLoader

        found = [f"verify: {problem}" for problem in verify_store(cache).problems]
        store = open_store(cache)
        there = [row.path for row in store.videos]
        if sorted(there) != sorted(names):
            found.append(f"videos: {set(there) ^ names}, {len(there)} of {len(names)}")
        for sampling, options in SAMPLINGS.items():
            loader = FrameLoader(
                store, batch_size=16, sampling=sampling, seed=1, remainder="uneven", **options
            )
            ids = np.concatenate([np.asarray(batch.frame_ids) for batch in loader])
            if not np.array_equal(np.sort(ids), np.arange(len(store))):
                found.append(f"sampling {sampling!r} is no permutation of {len(store)} frames")
        return found


if __name__ == "__main__":
    main()
