"""What an append costs, against a build of the same videos alone.

    python -m tests.campaigns.growing.bench_append [--base 200] [--new 20] [--frames 120] [--rounds 3] [--scratch DIR]

Both are the command `cache-build` with 2 workers, in turn, over sample videos of 160x96; each round begins with a copy
of the cache of `--base` videos. Prints each round, the medians and their ratio, by the clock and by the processors.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.videos.tiny_videos import tiny_video

FLAGS = ("--size", "64", "--workers", "2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", type=int, default=200)
    parser.add_argument("--new", type=int, default=20)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="append-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        for number in range(arguments.base + arguments.new):
            place = folder / ("alone" if number >= arguments.base else "videos")
            path = Path(f"v{number:05d}.mp4")
            tiny_video(place, path=path, video_number=number % 60, num_frames=arguments.frames, gop_size=12)
        _seconds(folder / "videos", folder / "base" / "c", *FLAGS)
        shutil.copytree(folder / "alone", folder / "videos", dirs_exist_ok=True)
        seconds: dict[str, list[tuple[float, float]]] = {"append": [], "alone": []}
        for _ in range(arguments.rounds):
            shutil.rmtree(folder / "round", ignore_errors=True)
            shutil.copytree(folder / "base", folder / "round")
            seconds["append"].append(
                _seconds(folder / "videos", folder / "round" / "c", "--append", "--workers", "2")
            )
            seconds["alone"].append(_seconds(folder / "alone", folder / "round" / "d", *FLAGS))
            print(*(f"{name} {each[-1][0]:.2f} s" for name, each in seconds.items()), flush=True)
    print(f"{arguments.new} videos of {arguments.frames} frames, {arguments.base} there before:")
    for which, place in (("by the clock", 0), ("of processors", 1)):
        append, alone = (statistics.median(each[place] for each in rounds) for rounds in seconds.values())
        print(f"{which}: append {append:.2f} s, alone {alone:.2f} s, ratio {append / alone:.2f}")


def _seconds(videos: Path, cache: Path, *flags: str) -> tuple[float, float]:
    """Seconds by the clock, and of processors, which other processes of the machine disturb less."""
    code = "from cache_builder.cli import cache_build; cache_build()"
    started, before = time.monotonic(), os.times()
    subprocess.run(
        [sys.executable, "-c", code, str(videos), "--out", str(cache), *flags],
        check=True,
        capture_output=True,
    )
    seconds, after = time.monotonic() - started, os.times()
    user, system = "children_user", "children_system"
    return seconds, sum(getattr(after, name) - getattr(before, name) for name in (user, system))


if __name__ == "__main__":
    main()
