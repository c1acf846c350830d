"""Builds of the same videos by the local pool and in a Ray cluster that loses workers, a node or its driver.

    python -m tests.campaigns.executors.losses [--videos 40] [--frames 120] [--scratch DIR]

Every cache must have the bytes of the local one, and no video may be blamed. Prints a line for each trial.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

import cache_builder
from cache_builder.executors import JobLost, RayExecutor
from tests.support.videos.tiny_videos import tiny_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="executors-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        write_videos(folder / "videos", arguments.videos, arguments.frames)
        expected = built(folder, "local", executor="local", workers=2)
        trials: dict[str, Callable[[], str]] = {
            "0 workers killed": lambda: built(folder, "undisturbed", executor="ray:local", workers=2),
            "3 workers killed": lambda: with_killed_workers(folder),
            "a node killed": lambda: with_a_killed_node(folder),
            "the driver killed": lambda: with_a_killed_driver(folder),
        }
        failed = 0
        for name, trial in trials.items():
            with counted_losses() as losses:
                found = trial()
            failed += found != expected
            verdict = "equal" if found == expected else "OTHER BYTES"
            print(f"{name}: {verdict}, {len(losses)} jobs lost {losses}", flush=True)
    sys.exit(failed)


def write_videos(folder: Path, num_videos: int, num_frames: int) -> None:
    for number in range(num_videos):
        path = Path(f"v{number:05d}.mp4")
        tiny_video(folder, path=path, video_number=number % 60, num_frames=num_frames, gop_size=12)


def built(folder: Path, name: str, **options: object) -> str:
    """The digest of a cache of the videos; no video may be damaged."""
    report = cache_builder.build_cache(folder / "videos", folder / name, size=64, **options)
    assert report.is_whole, report.not_whole
    return digest_of(folder / name)


def digest_of(cache: Path) -> str:
    """SHA-256 over names and bytes of all files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in cache.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(cache)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def counted_losses() -> Iterator[list[str]]:
    """How jobs were lost meanwhile in this process."""
    losses = []
    ask = RayExecutor.next_outcome

    def next_outcome(executor: RayExecutor) -> object:
        outcome = ask(executor)
        if isinstance(outcome, JobLost):
            losses.append(outcome.how)
        return outcome

    RayExecutor.next_outcome = next_outcome
    try:
        yield losses
    finally:
        RayExecutor.next_outcome = ask


def ray_workers(of: int) -> list[psutil.Process]:
    """The processes of Ray below a process, while they run a task of ours."""
    found = []
    for process in psutil.Process(of).children(recursive=True):
        try:
            if any("run_on_node" in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def with_killed_workers(folder: Path) -> str:
    """Three processes of Ray are killed while units are decoded, one after the other."""
    spill = folder / "workers.building" / "spill"
    num_units = len(list((folder / "videos").iterdir()))

    def kill() -> None:
        for share in (0.1, 0.4, 0.7):
            while len(list(spill.glob("*.receipt"))) < share * num_units:
                time.sleep(0.005)
            while not (workers := ray_workers(os.getpid())):
                time.sleep(0.005)
            random.choice(workers).kill()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    found = built(folder, "workers", executor="ray:local", workers=2)
    assert not thread.is_alive()
    return found


def with_a_killed_node(folder: Path) -> str:
    """One of two nodes is killed while units are decoded."""
    import ray
    from ray.cluster_utils import Cluster

    memory = 100 << 20
    head = {"num_cpus": 1, "object_store_memory": memory, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=1, object_store_memory=memory)
    cluster.wait_for_nodes()
    spill = folder / "node.building" / "spill"

    def kill() -> None:
        while len(list(spill.glob("*.receipt"))) < 5 or len(ray_workers(os.getpid())) < 2:
            time.sleep(0.001)
        cluster.remove_node(second, allow_graceful=False)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        found = built(folder, "node", executor=f"ray:{cluster.address}")
        assert not thread.is_alive() and not ray.is_initialized()
    finally:
        cluster.shutdown()
    return found


def with_a_killed_driver(folder: Path) -> str:
    """The command is killed while units are decoded, and started again."""
    code = "from cache_builder.cli import cache_build; cache_build()"
    command = [sys.executable, "-c", code, str(folder / "videos"), "--out", str(folder / "driver")]
    command += ["--size", "64", "--executor", "ray:local", "--workers", "2"]
    spill = folder / "driver.building" / "spill"
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while len(list(spill.glob("*.receipt"))) < 5:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.wait()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "an interrupted one" in again.stdout, again.stdout
    return digest_of(folder / "driver")


if __name__ == "__main__":
    main()
