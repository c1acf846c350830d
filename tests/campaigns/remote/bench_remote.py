"""Training from a store behind 30 ms and 90 MB/s a connection: ours, MosaicML Streaming and LitData, side by side.

    python -m tests.campaigns.remote.bench_remote --work DIR [--peers PYTHON] [--quick] [--rounds 3] [CASE...]

Each measurement is a process of its own on two cores, which the server shares; rounds are interleaved, figures are
medians. Frames are JPEGs of 224x224, some 13 KB, in batches of 128. All times count from the start of an iteration,
with worker processes and an empty folder. DIR keeps the data (2 GB) for the next run.

fetch-*: frames a second that arrive as encoded bytes and are not decoded. Ours is `FrameLoader` with a codec that does
nothing, and the CRC of each payload is compared: `block` of 4 shards out of a folder of a third of the data, and
`permutation` by ranges, without a folder. The others give lengths of byte strings, and keep all they download.
fetch-bare is obstore alone, which downloads the shards, see `bare_fetch`.
train-*: the same with JPEGs decoded by simplejpeg. train-local is the cache on the local disk, while another process
takes as many bytes a second from the server as train-block does. train-limit is the same, but that process writes the
bytes into files: what any download costs on these cores, whoever makes it.

"then" is the rate behind the first batch. "CPU us" is of our process, or of theirs with its workers, for a frame.

PYTHON is the interpreter of an environment with the others, see `peers`; without it they are left out.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.campaigns.remote.made_up_cache import BUCKET, CACHE, make_cache, payload_bytes
from tests.campaigns.remote.slow_store import SlowStore, measured, slow_store, why_no_slow_store

PEERS_SCRIPT = Path(__file__).with_name("peers.py")
BARE = [sys.executable, "-m", "tests.campaigns.remote.bare_fetch"]
OURS = [sys.executable, "-m", "tests.campaigns.remote.ours"]
LIMIT_SECONDS = 100
NUM_FRAMES, NUM_FRAMES_QUICK = 48_000, 16_000
FRAMES_OF_RANGES = 8_000

PEER_SETTINGS = {
    "mds": ["--workers", "4", "--predownload", "8192"],
    "litdata": ["--workers", "2", "--pre-chunks", "2"],
}
"""The fastest of those that were tried here."""

CASES = (
    "fetch-bare",
    "fetch-block",
    "fetch-permutation",
    "fetch-mds",
    "fetch-litdata",
    "train-block",
    "train-local",
    "train-limit",
    "train-mds",
    "train-litdata",
)
LIMITS = {"fetch-block": 12_000, "fetch-permutation": 2_000}
LIMIT_OF_LOCAL = 0.9


class Bench:
    """The cases over one running store."""

    def __init__(self, options: argparse.Namespace, store: SlowStore, cache: Path) -> None:
        self.options, self.store, self.cache = options, store, cache
        sizes = [path.stat().st_size for path in cache.glob("gen-*/shards/*.tar")]
        self.cache_bytes = sum(sizes)
        self.num_frames = NUM_FRAMES_QUICK if options.quick else NUM_FRAMES
        self.folder_bytes = max(self.cache_bytes // 3, 6 * max(sizes))
        self.environment = {**os.environ, **store.environment}
        self.found: dict[str, list[dict[str, float]]] = {}

    def run(self, case: str) -> None:
        """Measure a case once."""
        action, what = case.split("-")
        decode = ["--decode"] if action == "train" else []
        epochs = ["--epochs", str(self.options.epochs)] if action == "train" else []
        if what in PEER_SETTINGS:
            command = [self.options.peers, str(PEERS_SCRIPT), "read", what, "--bucket", BUCKET]
            command += ["--local", str(self.options.work / "local"), *PEER_SETTINGS[what], *decode]
        elif what == "bare":
            command = [
                *BARE,
                str(self.cache),
                str(self.options.work / "bare"),
                "--frames",
                str(self.num_frames),
            ]
        elif what in ("local", "limit"):
            command = [*OURS, str(self.cache), *decode, *epochs]
        else:
            command = [*OURS, f"s3://{BUCKET}/{CACHE}", *decode, *epochs]
            if what == "permutation":
                # The index is local: an earlier opening has mirrored it.
                mirror = self.options.work / "mirror"
                command += [
                    "--sampling",
                    "permutation",
                    "--folder",
                    str(mirror),
                    *self._frames(FRAMES_OF_RANGES),
                ]
            else:
                folder = self.options.work / "folder"
                shutil.rmtree(folder, ignore_errors=True)
                command += ["--folder", str(folder), "--folder-bytes", str(self.folder_bytes)]
        if what == "local":
            found = self._beside_null_client(command)
        elif what == "limit":
            with tempfile.TemporaryDirectory(dir=self.options.work) as sink:
                found = self._beside_null_client(command, sink=sink)
        else:
            found = self.measured(command)
        if found.get("failed") and what in PEER_SETTINGS:  # MosaicML fails now and then
            self.found.setdefault(case, []).append(found)
            found = self.measured(command)
        self.found.setdefault(case, []).append(found)

    def _frames(self, number: int) -> list[str]:
        return ["--frames", str(number)] if number < self.num_frames else []

    def _beside_null_client(self, command: list[str], *, sink: str | None = None) -> dict[str, float]:
        taken_by_ours = [each["received"] / each["seconds"] for each in self.found["train-block"]]
        bytes_per_second = statistics.median(taken_by_ours)
        shard = next(self.cache.glob("gen-*/shards/*.tar")).relative_to(self.store.folder)
        client = subprocess.Popen(
            [
                *[sys.executable, "-m", "tests.campaigns.remote.null_client"],
                *[str(self.store.port), str(shard), str(bytes_per_second)],
                *([] if sink is None else [sink]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout is not None
        client.stdout.readline()
        found = self.measured(command)
        taken, _ = client.communicate("")
        return {**found, "server": float(taken), "asked": bytes_per_second}

    def measured(self, command: list[str]) -> dict[str, float]:
        process = subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, errors = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            return {"frames": 0, "seconds": LIMIT_SECONDS, "first": LIMIT_SECONDS, "failed": 1}
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        lines = [line for line in out.splitlines() if line.startswith("{")]
        if not lines:
            print(f"{' '.join(command)} failed:\n{errors[-2000:]}", file=sys.stderr, flush=True)
            return {"frames": 0, "seconds": 1, "first": 0, "failed": 1}
        found: dict[str, float] = json.loads(lines[-1])
        return found

    def rates(self, case: str) -> list[float]:
        """Frames a second of the runs that did not fail; 0 where all have."""
        return [each["frames"] / each["seconds"] for each in self.found[case] if not each.get("failed")] or [
            0.0
        ]

    def rate(self, case: str) -> float:
        return statistics.median(self.rates(case))

    def rates_behind_first(self, case: str) -> list[float]:
        """The frames a second that followed the first batch."""
        whole = [each for each in self.found[case] if not each.get("failed")]
        return [each["frames"] / max(each["seconds"] - each["first"], 1e-9) for each in whole] or [0.0]

    def table(self, latency: float, connection_rate: float) -> None:
        print(
            f"{self.num_frames:,} frames of {payload_bytes(self.cache):,.0f} bytes in "
            f"{len(list(self.cache.glob('gen-*/shards/*.tar')))} shards, "
            f"{latency * 1e3:.1f} ms and {connection_rate / 1e6:.0f} MB/s a connection, "
            f"folder_bytes {self.folder_bytes / 1e6:.1f} MB of {self.cache_bytes / 1e6:.0f} MB"
        )
        print(
            f"{'':18} {'frames/s':>9} {'from':>8} {'to':>8} {'first batch':>12} {'then':>9} {'CPU us':>7} "
            f"{'folder MB':>10}"
        )
        for case, found in self.found.items():
            rates = self.rates(case)
            whole = [each for each in found if not each.get("failed")] or [{"frames": 1.0}]

            def median(key: str, whole: list[dict[str, float]] = whole) -> float:
                return statistics.median(each.get(key, 0.0) for each in whole)

            frames = max(median("frames"), 1)
            failed = len(found) - len([each for each in found if not each.get("failed")])
            print(
                f"{case:18} {self.rate(case):9,.0f} {min(rates):8,.0f} {max(rates):8,.0f} {median('first'):10.2f} s "
                f"{statistics.median(self.rates_behind_first(case)):9,.0f} "
                f"{median('cpu') / frames * 1e6:7.0f} {max(each.get('folder', 0) for each in found) / 1e6:10.1f}"
                + (f"   {failed} of {len(found)} failed" if failed else "")
            )
        for line in self._verdicts():
            print(line)

    def _verdicts(self) -> list[str]:
        lines = []
        for case, limit in LIMITS.items():
            if case in self.found:
                lines.append(_verdict(f"{case} frames/s", self.rate(case), limit))
        if {"train-block", "train-local"} <= self.found.keys():
            for what, rates in (("", self.rates), (" behind the first batch", self.rates_behind_first)):
                pairs = zip(rates("train-block"), rates("train-local"), strict=True)
                ratio = statistics.median(ours / local for ours, local in pairs)
                lines.append(_verdict(f"train-block over train-local{what}", ratio, LIMIT_OF_LOCAL))
            if "train-limit" in self.found:
                pairs = zip(self.rates("train-block"), self.rates("train-limit"), strict=True)
                ratio = statistics.median(ours / limit for ours, limit in pairs)
                lines.append(f"train-block over train-limit: {ratio:.3f}")
            beside = [each for each in self.found["train-local"] if "server" in each]
            taken = statistics.median(each["server"] / each["asked"] for each in beside)
            lines.append(f"the null client took {taken:.3f} of the bytes a second that train-block took")
        if {"fetch-bare", "fetch-block"} <= self.found.keys():
            ratio = self.rate("fetch-block") / self.rate("fetch-bare")
            lines.append(f"fetch-block over fetch-bare: {ratio:.3f}")
        for action in ("fetch", "train"):
            for peer in PEER_SETTINGS:
                if {f"{action}-block", f"{action}-{peer}"} <= self.found.keys() and self.rate(
                    f"{action}-{peer}"
                ):
                    ratio = self.rate(f"{action}-block") / self.rate(f"{action}-{peer}")
                    lines.append(_verdict(f"{action}-block over {action}-{peer}", ratio, 1))
        folders = [
            each["folder"] for case in ("fetch-block", "train-block") for each in self.found.get(case, [])
        ]
        if folders:
            over = "never above" if max(folders) <= self.folder_bytes else "NOT ABOVE WANTED, FOUND ABOVE"
            lines.append(
                f"the folder had at most {max(folders) / 1e6:.1f} MB: {over} {self.folder_bytes / 1e6:.1f} MB"
            )
        return lines


def run_rounds(bench: Bench, cases: list[str], num_rounds: int) -> None:
    """Measure all cases once a round, from another case on in each."""
    for number in range(num_rounds):
        first = number % len(cases)
        for done, case in enumerate([*cases[first:], *cases[:first]]):
            if sys.stderr.isatty():
                text = f"round {number + 1}: {done + 1} of {len(cases)}, {case:20}"
                print(f"\r{text}", end="", file=sys.stderr)
            bench.run(case)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


def _verdict(what: str, found: float, limit: float) -> str:
    shown = f"{found:,.0f}" if limit > 100 else f"{found:.3f}"
    return f"{what}: {shown}, at least {limit:,g} wanted: {'met' if found >= limit else 'NOT MET'}"


def parsed() -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--peers", help="interpreter of an environment with MosaicML Streaming and LitData")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--epochs", type=int, default=1, help="of ours in train-*")
    parser.add_argument("--quick", action="store_true", help="16,000 frames, one round")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def main() -> None:
    options = parsed()
    if (reason := why_no_slow_store()) is not None:
        raise SystemExit(reason)
    options.work = options.work / ("quick" if options.quick else "full")
    options.work.mkdir(parents=True, exist_ok=True)
    cache = make_cache(options.work, NUM_FRAMES_QUICK if options.quick else NUM_FRAMES)
    cases = options.cases or [
        case for case in CASES if options.peers or case.split("-")[1] not in PEER_SETTINGS
    ]
    if any(case.split("-")[1] in PEER_SETTINGS for case in cases) and not (cache.parent / "litdata").exists():
        write = [
            options.peers,
            str(PEERS_SCRIPT),
            "write",
            "--cache",
            str(cache),
            "--bucket",
            str(cache.parent),
        ]
        subprocess.run(write, check=True, stdout=subprocess.DEVNULL)
    with slow_store(options.work) as store:
        bench = Bench(options, store, cache)
        latency, rate = measured(store, str(next(cache.glob("gen-*/shards/*.tar")).relative_to(store.folder)))
        if "fetch-permutation" in cases:  # mirrors the index
            once = ["--folder", str(options.work / "mirror"), "--sampling", "permutation", "--frames", "1"]
            bench.measured([*OURS, f"s3://{BUCKET}/{CACHE}", *once])
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            run_rounds(bench, cases, options.rounds)
        finally:  # also what was measured before an interruption
            bench.table(latency, rate)
    for name in ("folder", "local", "bare"):
        shutil.rmtree(options.work / name, ignore_errors=True)


if __name__ == "__main__":
    main()
