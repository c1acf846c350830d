"""Thousands of caches with changed files: only documented errors, no hang, no signal, nothing read outside.

    python -m tests.campaigns.fuzz_caches [--caches 5000] [--seed 0] [--batch 100] [--only SEED]
    python -m tests.campaigns.fuzz_caches --bits 500
    python -m tests.campaigns.fuzz_caches --cameras 2000 [--seed 0]
    python -m tests.campaigns.fuzz_caches --grown 2000 [--seed 0]

Batches run in processes of their own, so that a crash or a hang costs one and is seen. `--only` does one cache in this
process. `--bits` flips single bits of sound caches, all kinds by turns, with columns and without: `cache-verify` must
find each one. `--cameras` changes caches of cameras in this process: each is refused, reported by `cache-verify`, or
shows one moment in all cameras. `--grown` does the same to caches of several generations, with cameras and without,
some of them joined: what is harmless shows the frames that its rows name.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

import frame_store
from cache_builder.compaction import compact_cache
from frame_store.errors import StoreFormatError
from frame_store.manifest import read_manifest
from frame_store.verify import verify_store
from tests.support.caches.camera_cache import CAMERAS, write_camera_cache
from tests.support.caches.opened_paths import opened_paths, paths_outside
from tests.support.grown.steps import grow
from tests.support.grown.written import write_grown
from tests.support.mutations.of_caches import (
    Mutator,
    files_of,
    read_everything,
    write_golden_caches,
)
from tests.support.mutations.of_cameras import read_cameras, spoil_cameras
from tests.support.mutations.of_grown import copied, read_grown, spoil_grown

SECONDS_PER_CACHE = 60
MAX_BYTES = 6 << 30
"""Limit of the address space of a batch: an allocation by a wrong size in a file fails and is reported."""


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--caches", type=int, default=5000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--batch", type=int, default=100)
    arguments.add_argument("--bits", type=int)
    arguments.add_argument("--range", type=int, nargs=2)
    arguments.add_argument("--only", type=int)
    arguments.add_argument("--cameras", type=int)
    arguments.add_argument("--grown", type=int)
    options = arguments.parse_args()
    if options.bits is not None:
        sys.exit(flip_bits(options.bits, options.seed))
    if options.cameras is not None:
        sys.exit(spoil_groups(options.cameras, options.seed))
    if options.grown is not None:
        sys.exit(spoil_generations(options.grown, options.seed))
    if options.only is not None:
        options.range = [options.only, options.only + 1]
    if options.range is not None:
        sys.exit(run_batch(*options.range, verbose=options.only is not None))
    started, num_bad = time.monotonic(), 0
    told: Counter[str] = Counter()
    for first in range(options.seed, options.seed + options.caches, options.batch):
        last = min(first + options.batch, options.seed + options.caches)
        command = [sys.executable, "-m", __spec__.name, "--range", str(first), str(last)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS_PER_CACHE * options.batch
            )
        except subprocess.TimeoutExpired as error:
            num_bad += 1
            print(f"{first}..{last}: hangs: {(error.stdout or b'')[-500:]!r}", flush=True)
            continue
        told.update(line for line in done.stdout.splitlines() if line.startswith("told "))
        if done.returncode:
            num_bad += 1
            print(
                f"{first}..{last}: status {done.returncode}",
                *_finds(done.stdout),
                done.stderr[-3000:],
                sep="\n",
                flush=True,
            )
    print(f"{options.caches} caches in {time.monotonic() - started:.0f} s, {num_bad} batches with finds")
    for line, count in told.most_common():
        print(f"  {count:6d} {line}")
    sys.exit(bool(num_bad))


def _finds(output: str) -> list[str]:
    return [line for line in output.splitlines() if not line.startswith("told ")][-200:]


def run_batch(first: int, last: int, *, verbose: bool = False) -> int:
    """Change and read the caches of these seeds; the exit status shows whether anything was wrong."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    opened = opened_paths()
    num_bad = 0
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        top = Path(folder)
        originals = write_golden_caches(top / "golden")
        for seed in range(first, last):
            cache = top / "cache"
            shutil.rmtree(cache, ignore_errors=True)
            shutil.copytree(originals[seed % len(originals)], cache)
            done = Mutator(seed).spoil(cache)
            opened.clear()
            began = time.monotonic()
            try:
                told = read_everything(cache, with_loader=seed % 5 == 0)
            except Exception:  # noqa: BLE001 - the campaign looks for these
                num_bad += 1
                print(f"seed {seed}: {done}: {traceback.format_exc()}", flush=True)
                continue
            outside = paths_outside(opened, cache)
            if outside or time.monotonic() - began > SECONDS_PER_CACHE:
                num_bad += 1
                print(f"seed {seed}: {done}: {outside}, {time.monotonic() - began:.1f} s", flush=True)
            print("told " + ("by verify" if "verify" in told else "by nobody"), flush=True)
            if verbose:
                print(done, told, sep="\n")
    return bool(num_bad)


def spoil_groups(num_caches: int, seed: int) -> int:
    """Change and read caches of cameras; the exit status shows whether anything was wrong."""
    told: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        originals = [Path(folder) / layout for layout in ("shuffled", "video")]
        for original in originals:
            write_camera_cache(original, layout=original.name, stride=2)
        for number in range(seed, seed + num_caches):
            cache = Path(folder) / "cache"
            shutil.rmtree(cache, ignore_errors=True)
            shutil.copytree(originals[number % 2], cache)
            done = spoil_cameras(cache, number)
            try:
                told[read_cameras(cache)] += 1
            except Exception:  # noqa: BLE001 - the campaign looks for these
                told["find"] += 1
                print(f"seed {number}: {done}: {traceback.format_exc()}", flush=True)
    print(f"{num_caches} caches of cameras: {dict(told)}")
    return bool(told["find"])


def spoil_generations(num_caches: int, seed: int) -> int:
    """Change and read caches of several generations; the exit status shows whether anything was wrong."""
    told: Counter[str] = Counter()
    opened = opened_paths()
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        originals = [
            write_grown(Path(folder) / "plain", stride=2)[0],
            write_grown(Path(folder) / "cameras", cameras=CAMERAS)[0],
            write_grown(Path(folder) / "joined", generations=((5, 3), (4,), (2, 6), (7,)), stride=2)[0],
            write_grown(Path(folder) / "zarr", container="zarr", layout="video")[0],
        ]
        compact_cache(originals[2], join_all=True, workers=1)
        grow(originals[2], write_grown(Path(folder) / "more", generations=((9, 1),), stride=2)[1][0])
        for number in range(seed, seed + num_caches):
            cache = copied(originals[number % len(originals)], Path(folder) / "cache")
            done = spoil_grown(cache, number)
            opened.clear()
            try:
                told[read_grown(cache)] += 1
                assert not (outside := paths_outside(opened, cache)), outside
            except Exception:  # noqa: BLE001 - the campaign looks for these
                told["find"] += 1
                print(f"seed {number}: {done}: {traceback.format_exc()}", flush=True)
    print(f"{num_caches} caches of several generations: {dict(told)}")
    return bool(told["find"])


def flip_bits(num_bits: int, seed: int) -> int:
    """Flip one bit at a time; a byte of a frame must name it, of another file that file."""
    generator = random.Random(seed)
    num_missed = num_named = 0
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        originals = write_golden_caches(Path(folder))
        for number in range(num_bits):
            cache = originals[number % len(originals)]
            files = [file for file in files_of(cache) if not is_superseded(file, cache)]
            weights = [file.stat().st_size for file in files]
            # Every second bit lies in a file drawn with equal probability, so that small files get their share.
            file = generator.choice(files) if number % 8 < 4 else generator.choices(files, weights)[0]
            sound = file.read_bytes()
            position = generator.randrange(len(sound))
            altered = bytearray(sound)
            altered[position] ^= 1 << generator.randrange(8)
            file.write_bytes(altered)
            problems = problems_of(cache)
            file.write_bytes(sound)
            name = file.relative_to(cache).as_posix()
            frame = frame_at(cache, name, position)
            named = [problem for problem in problems if name in problem]
            if not named or (
                frame is not None and not any(f"frame {frame} " in problem for problem in named)
            ):
                num_missed += 1
                print(f"missed: {cache.name} {name} byte {position}, frame {frame}: {problems}")
            num_named += frame is not None
    print(f"{num_bits} bits, {num_missed} missed; {num_named} lay in a frame's payload and named it")
    return bool(num_missed)


def is_superseded(file: Path, cache: Path) -> bool:
    """Whether it holds columns of an earlier version of the cache. They are named by verify, and not opened."""
    return any(folder.name in read_manifest(cache).superseded for folder in file.parents)


def problems_of(cache: Path) -> list[str]:
    try:
        return verify_store(cache).problems
    except StoreFormatError as error:
        return [str(error)]


def frame_at(cache: Path, name: str, position: int) -> int | None:
    """The frame whose payload has that byte."""
    store = frame_store.open_store(cache)
    names = [f"{store.tree.generations[0].folder}/{shard.name}" for shard in store.common.shards]
    if name not in names:
        return None
    index = store.index
    is_there = (index["shard_id"] == names.index(name)) & (index["byte_offset"] <= position)
    is_there &= position < index["byte_offset"] + index["byte_length"]
    found = np.flatnonzero(is_there)
    return int(found[0]) if len(found) else None


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
