"""Builds between URLs in a Ray cluster whose nodes do not see the driver's temporary files, and lose worker processes.

    python -m tests.campaigns.executors.remote_builds [--videos 12] [--frames 60] [--scratch DIR]

Videos, unfinished work and cache lie in an object store (SeaweedFS). The cluster is one of `ray start`, with a token,
in a mount namespace of its own (`unshare -m`, as root), where the driver's folder for temporary files is empty. Every
cache must have the bytes of a local build. A cluster without the variables of the store, and one whose token the driver
lacks, must be told of in one line. Prints a line for each trial.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.campaigns.executors.losses import write_videos
from tests.support.object_stores import running_seaweed
from tests.support.object_stores.listing import files_at, keys_at, objects_at

_TOKEN = "0123456789abcdef" * 4
_BUILD = "from cache_builder.cli import cache_build; cache_build()"
_RAY = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
_PORTS_OF_WORKERS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    failed = 0
    with (
        tempfile.TemporaryDirectory(prefix="rb-", dir=arguments.scratch) as scratch,
        running_seaweed(Path(scratch, "store")) as store,
    ):
        folder = Path(scratch)
        for name in ("driver", "nowhere"):
            (folder / name).mkdir()
        write_videos(folder / "videos", arguments.videos, arguments.frames)
        build(folder, folder / "videos", folder / "local", "local")
        expected = files_at(folder / "local")
        os.environ.update(store.environment)
        put_videos(folder / "videos", store.url("videos"))
        with_token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _TOKEN}
        with started_head(folder, 0, {**with_token, **store.environment}) as address:
            for name, num_killed in (("undisturbed", 0), ("2 workers killed", 2)):
                url = store.url(f"c{num_killed}")
                killed: list[int] = []
                with killing(folder, url, num_killed, killed):
                    said = build(folder, store.url("videos"), url, f"ray:{address}", with_token)
                is_same = objects_at(url) == expected and len(killed) == num_killed
                left = [key for key in keys_at(store.url("")) if ".probe" in key or ".building" in key]
                failed += report(
                    name, is_same and not left and said.returncode == 0, said, f"{killed} {left}"
                )
            said = build(folder, store.url("videos"), store.url("d"), f"ray:{address}")
            failed += report("a token that lacks", "asks for a token" in said.stderr, said)
        with started_head(folder, 1, with_token) as address:
            said = build(folder, store.url("videos"), store.url("d"), f"ray:{address}", with_token)
            failed += report("nodes without variables", "its environment lacks AWS_" in said.stderr, said)
    sys.exit(failed)


def report(name: str, is_well: bool, said: "subprocess.CompletedProcess[str]", more: str = "") -> int:
    """Print a line; 1 where the trial failed."""
    print(f"{name}: {'well' if is_well else 'FAILED'}, exit code {said.returncode} {more}", flush=True)
    if not is_well or said.returncode:
        print(said.stderr[-1500:], flush=True)
    return int(not is_well)


def put_videos(videos: Path, url: str) -> None:
    from frame_store.remote import ObjectClient, RemoteUrl

    client = ObjectClient(RemoteUrl.of(url))
    for path in sorted(videos.iterdir()):
        client.put_file(path.name, path)


def build(
    folder: Path, videos: object, out: object, executor: str, variables: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """`cache-build` with its temporary files in a folder that no node sees."""
    command = [sys.executable, "-c", _BUILD, str(videos), "--out", str(out), "--size", "64"]
    command += ["--frames-per-shard", "64", "--executor", executor]
    if str(out).startswith("s3:"):
        command += ["--stage", str(folder / "stage")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"TMPDIR": str(folder / "driver"), "HOME": str(folder / "nowhere"), **(variables or {})}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)


@contextmanager
def started_head(folder: Path, number: int, variables: Mapping[str, str]) -> Iterator[str]:
    """The head of a cluster; nothing lies in the driver's folder for temporary files there."""
    port = 24000 + 1000 * number + os.getpid() % 500
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
    environment |= {
        "TMPDIR": str(folder / "node"),
        "HOME": str(folder / "nowhere"),
        "RAY_USAGE_STATS_ENABLED": "0",
        **variables,
    }
    (folder / "node").mkdir(exist_ok=True)
    start = [sys.executable, "-c", _RAY, "start", "--head", "--block", f"--port={port}", "--num-cpus=2"]
    start += [
        "--object-store-memory=100000000",
        "--include-dashboard=false",
        f"--temp-dir={folder / 'r'}{number}",
    ]
    start += [f"--min-worker-port={port + 10}", f"--max-worker-port={port + 10 + _PORTS_OF_WORKERS}"]
    hide = f"mount -t tmpfs none {shlex.quote(str(folder / 'driver'))} && exec {shlex.join(start)}"
    with (folder / f"head-{number}.log").open("wb") as log:
        head = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", hide],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(head, folder / f"head-{number}.log")
        yield f"127.0.0.1:{port}"
    finally:
        children = psutil.Process(head.pid).children(recursive=True) if head.poll() is None else []
        for process in children:
            with suppress(psutil.Error):
                process.kill()
        head.kill()
        head.wait()


def _wait_for(head: "subprocess.Popen[bytes]", log: Path) -> None:
    ends = time.monotonic() + 120
    while b"Running subprocesses are monitored" not in log.read_bytes():
        if head.poll() is not None or time.monotonic() > ends:
            raise RuntimeError(log.read_text()[-2000:])
        time.sleep(0.2)


@contextmanager
def killing(folder: Path, url: str, number: int, killed: list[int]) -> Iterator[None]:
    """Kill processes of Ray while they decode for the cache at `url`."""
    is_over = threading.Event()

    def kill() -> None:
        while len(killed) < number and not is_over.is_set():
            if len(keys_at(f"{url}.building/spill")) <= 4 * len(killed):
                time.sleep(0.02)
                continue
            for process in psutil.process_iter(["cmdline"]):
                mine = "run_on_node" in " ".join(process.info["cmdline"] or [])
                if mine and process.pid not in killed and _is_of(process, folder):
                    process.send_signal(signal.SIGKILL)
                    killed.append(process.pid)
                    break

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _is_of(process: psutil.Process, folder: Path) -> bool:
    """Whether it is of the head of this campaign, and has begun a job."""
    with suppress(psutil.Error):
        is_ours = process.environ().get("TMPDIR") == str(folder / "node")
        return is_ours and bool(process.children())
    return False


if __name__ == "__main__":
    main()
