"""Flipped bits at random places of built caches, each found and undone: `cache-verify`, then `--repair`.

    python -m tests.campaigns.fuzz_repair [--bits 500] [--together 10] [--seed 0]

Every bit is looked for alone; then `--together` of them are undone in one repair, and the bytes compared. The caches
have columns, which no video has: their tables are given again after the repair.
"""

import argparse
import random
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from cache_builder import add_columns
from cache_builder.build.pipeline import run_build
from cache_builder.errors import RepairError
from cache_builder.repair.repair import repair_cache
from cache_builder.settings import BuildSettings, resolve
from frame_store.names import INDEX_NAME
from frame_store.verify import verify_store
from tests.support.caches.tree import generation_folder, generation_of
from tests.support.faults.fault_trials import write_tables
from tests.support.mutations.of_caches import files_of
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

KINDS = (
    BuildSettings(encoding="jpeg", frames_per_shard=30, size=64),
    BuildSettings(encoding="raw", layout="video", frames_per_shard="video", size=32, fps=10),
    BuildSettings(format="zarr", encoding="zstd", frames_per_shard=30, size=64),
    BuildSettings(format="zarr", encoding="raw", stride=2, frames_per_shard=100, size=32),
)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--bits", type=int, default=500)
    arguments.add_argument("--together", type=int, default=10)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    generator, started = random.Random(options.seed), time.monotonic()
    num_missed = num_repairs = num_restored = num_wrong = num_made_again = num_without_videos = 0
    seconds_repairing = 0.0
    with tempfile.TemporaryDirectory(prefix="repair") as folder:
        videos = tiny_folder(Path(folder) / "videos", simple_specs()).path
        tables = write_tables(Path(folder) / "tables", num_frames=20)
        caches = [Path(folder) / f"cache{number}" for number in range(len(KINDS))]
        for cache, settings in zip(caches, KINDS, strict=True):
            run_build(videos, cache, *resolve(settings))
            add_columns(cache, tables, missing="mask")
        for first in range(0, options.bits, options.together):
            cache = caches[num_repairs % len(caches)]
            sound = {
                path: path.read_bytes()
                for path in files_of(cache)
                if path.parent != cache and path.name != "generation.json"  # nothing gives them again
            }
            spoilt = {path: bytearray(content) for path, content in sound.items()}
            for _ in range(first, min(first + options.together, options.bits)):
                path = generator.choice(list(sound))
                position, bit = generator.randrange(len(sound[path])), 1 << generator.randrange(8)
                alone = bytearray(sound[path])
                alone[position] ^= bit
                path.write_bytes(alone)
                name = path.relative_to(cache).as_posix()
                if not any(name in problem for problem in verify_store(cache).problems):
                    num_missed += 1
                    print(f"missed: {cache.name} {name} byte {position}", flush=True)
                path.write_bytes(sound[path])
                spoilt[path][position] ^= bit
            for path, content in spoilt.items():
                path.write_bytes(content)
            shards = {generation_folder(cache) / shard.name for shard in generation_of(cache).shards}
            needs_videos = any(spoilt[path] != sound[path] for path in shards)
            needs_tables = any(
                path.parent.name.startswith("columns-") and spoilt[path] != content
                for path, content in sound.items()
            )
            began = time.monotonic()
            if needs_tables:
                with suppress(
                    RepairError
                ):  # the columns are damaged; everything else is repaired before that
                    repair_cache(cache, videos, workers=2)
                num_wrong += add_columns(cache, tables, missing="mask").status != "restored"
                num_restored += 1
            elif not needs_videos:
                try:
                    num_made_again += len(repair_cache(cache, None, workers=2))
                except RepairError:  # both copies of the timestamps are damaged
                    index = generation_folder(cache) / INDEX_NAME
                    is_told_twice = spoilt[index] != sound[index]
                    num_wrong += not is_told_twice
                    needs_videos = True
            if needs_videos and not needs_tables:
                num_made_again += len(repair_cache(cache, videos, workers=2))
            seconds_repairing += time.monotonic() - began
            num_without_videos += not (needs_videos or needs_tables)
            num_repairs += 1
            if any(path.read_bytes() != content for path, content in sound.items()):
                num_wrong += 1
                print(f"not the same bytes after repair {num_repairs} of {cache.name}", flush=True)
    print(
        f"{options.bits} bits: {num_missed} missed; {num_made_again} files made again in {num_repairs} "
        f"repairs ({num_without_videos} without videos, {num_restored} with tables, "
        f"{seconds_repairing:.1f} s in all), {num_wrong} not to the bit; "
        f"{time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
