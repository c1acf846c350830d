"""Kills a small build, or makes its write fail, at every change of the disk, and checks the promises for each.

    python -m tests.campaigns.crash_campaign [--every 1] [--random 40] [--scratch DIR]
        [--variant NAME | --reads | --columns | --append | --compaction]

For each container, with columns and without, alone and with `--overwrite` over another cache: kill -9 at every write,
rename, link, fsync, folder made and name removed (a write is left half done); kill -9 at random moments; a disk that is
full from every change on; ENOSPC and EIO at every change alone. After each the same command must end in the bytes of an
undisturbed build. The same while columns are added to a complete cache, and while videos are appended, at every change;
and while the generations of a cache are joined and the old ones removed.
Then, for a video of each kind, EIO at every read of it, once and from there on: exit code 3, the video named.
`--every K` takes every K-th change of builds and reads. Exits 1 where a promise was broken, and prints how.
"""

import argparse
import errno
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.faults.append_trials import APPEND_STARTS, AppendTrials
from tests.support.faults.compaction_trials import CompactionTrials
from tests.support.faults.fault_trials import (
    CODECS,
    COLUMNS_STARTS,
    VARIANTS,
    ColumnsTrials,
    FaultTrials,
    ReadTrials,
)
from tests.support.faults.faults import ALL_READS, BuildServer, Fault, FaultyFiles, why_no_faults

LONGEST_SECONDS = 0.6
"""About the duration of the small build."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--random", type=int, default=40, help="random kills, per container and start")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--variant", choices=list(VARIANTS))
    parser.add_argument("--reads", action="store_true", help="reads of videos alone")
    parser.add_argument("--columns", action="store_true", help="columns for a complete cache alone")
    parser.add_argument("--append", action="store_true", help="videos appended to a complete cache alone")
    parser.add_argument("--compaction", action="store_true", help="joined generations alone")
    arguments = parser.parse_args()
    if reason := why_no_faults():
        sys.exit(reason)
    num_broken = 0
    with tempfile.TemporaryDirectory(prefix="crash-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        with BuildServer(FaultyFiles(folder, folder / "out"), folder) as server:
            if arguments.compaction:
                for variant in ("wds-raw", "zarr-zstd", "cameras"):
                    joins = CompactionTrials(server, folder, variant=variant)
                    num_broken += _campaign(f"join, {variant}", joins, arguments.every, arguments.random)
                sys.exit(1 if num_broken else 0)
            chosen = VARIANTS if arguments.variant is None else [arguments.variant]
            alone = arguments.reads or arguments.columns or arguments.append
            for variant in [] if alone else chosen:
                for replaces in (False, True):
                    trials = FaultTrials(server, folder, variant=variant, replaces=replaces)
                    name = f"{variant}{', --overwrite' if replaces else ''}"
                    num_broken += _campaign(name, trials, arguments.every, arguments.random)
            for start in COLUMNS_STARTS if arguments.columns or not (alone or arguments.variant) else ():
                columns = ColumnsTrials(server, folder, start=start)
                num_broken += _campaign(f"add columns, {start}", columns, 1, arguments.random)
            for start in APPEND_STARTS if arguments.append or not (alone or arguments.variant) else ():
                appends = AppendTrials(server, folder, start=start)
                num_broken += _campaign(f"append, {start}", appends, arguments.every, arguments.random)
            for suffix in CODECS if arguments.reads or not (alone or arguments.variant) else []:
                num_broken += _read_campaign(
                    suffix, ReadTrials(server, folder, suffix=suffix), arguments.every
                )
    sys.exit(1 if num_broken else 0)


def _read_campaign(suffix: str, trials: ReadTrials, every: int) -> int:
    num_broken = 0
    for kind, num_reads in (("once", 1), ("from there on", ALL_READS)):
        started, places = time.monotonic(), range(1, trials.num_reads + 1, every)
        broken = {
            number: found for number in places if (found := trials.problems(number, num_reads=num_reads))
        }
        for number, problems in broken.items():
            print(f"{suffix}: EIO {kind} at read {number}: {'; '.join(problems)}", flush=True)
        seconds = time.monotonic() - started
        print(
            f"{suffix}: EIO {kind}: {len(places)} trials, {len(broken)} broken, {seconds:.0f} s", flush=True
        )
        num_broken += len(broken)
    return num_broken


def _campaign(
    name: str,
    trials: FaultTrials | ColumnsTrials | AppendTrials | CompactionTrials,
    every: int,
    num_random: int,
) -> int:
    num_broken = 0
    for kind, faults in _faults(len(trials.changes), every, num_random).items():
        started, num_trials, num_bad = time.monotonic(), 0, 0
        for fault, kill_after in faults:
            problems = trials.problems(fault, kill_after=kill_after)
            num_trials += 1
            print(f"{kind}: {num_trials}", end="\r", file=sys.stderr)
            num_bad += bool(problems)
            for problem in problems:
                where = trials.changes[fault.at - 1] if fault.at else f"after {kill_after:.3f} s"
                print(f"{name}: {kind} at {fault.at} ({where}): {problem}", flush=True)
        seconds = time.monotonic() - started
        print(f"{name}: {kind}: {num_trials} trials, {num_bad} broken, {seconds:.0f} s", flush=True)
        num_broken += num_bad
    return num_broken


def _faults(num_changes: int, every: int, num_random: int) -> dict[str, Iterator[tuple[Fault, float | None]]]:
    places = range(1, num_changes + 1, every)
    generator = random.Random(0)
    return {
        "kill": ((Fault(action="kill", at=at), None) for at in places),
        "kill at random": ((Fault(), generator.uniform(0, LONGEST_SECONDS)) for _ in range(num_random)),
        "full from there on": ((Fault(action="full_from", at=at), None) for at in places),
        "ENOSPC once": ((Fault(action="fail_once", at=at), None) for at in places),
        "EIO once": ((Fault(action="fail_once", at=at, error=errno.EIO), None) for at in places),
    }


if __name__ == "__main__":
    main()
