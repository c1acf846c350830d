"""Thousands of broken videos through `build_cache` and `open_videos`: verdicts, and errors that must not occur.

    python -m tests.campaigns.fuzz_videos [--num 2000] [--seed 0] [--first 0] [--batch 50] [--folder DIR]

Mutants are of every codec and container of `tiny_videos`, and depend on the seed, their number and
the samples alone. Each batch is one folder, built with `--on-error skip` in a process of its own; see
`video_trial` for what is checked. The exit status is 1 if anything was found; a find is repeated by
its seed and numbers: `--seed S --first N --num 1`.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support.videos.video_trial import TrialResult, run_trial, write_samples

VERDICTS = ("whole", "damaged", "unreadable")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=2000, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--batch", type=int, default=50, help="mutants a folder")
    parser.add_argument("--folder", type=Path, help="where the samples are written; else a temporary folder")
    options = parser.parse_args()
    started = time.monotonic()
    results: list[TrialResult] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        samples = write_samples(Path(folder))
        end = options.first + options.num
        for first in range(options.first, end, options.batch):
            num = min(options.batch, end - first)
            result = run_trial(samples.path, seed=options.seed, first=first, num=num)
            results.append(result)
            print(f"{first} to {first + num - 1}: {result.seconds:.1f} s", flush=True)
            for find in result.finds:
                print(f"FOUND (--seed {options.seed} --first {first} --num {num}): {find}", flush=True)
    for text in [text for result in results for text in result.unlike_built][:20]:
        print(text)
    print(summary(results, seconds=time.monotonic() - started))
    sys.exit(any(result.finds for result in results))


def summary(results: list[TrialResult], *, seconds: float) -> str:
    """Verdicts by kind of mutation, the reasons, time and memory."""
    kinds: dict[str, Counter[str]] = {}
    reasons: Counter[str] = Counter()
    for result in results:
        reasons.update(result.reasons)
        for kind, counts in result.verdicts.items():
            kinds.setdefault(kind, Counter()).update(counts)
    rows = [*sorted(kinds.items()), ("all", sum(kinds.values(), Counter()))]
    lines = [f"{'':12} {'mutants':>8} " + " ".join(f"{verdict:>10}" for verdict in VERDICTS)]
    lines += [
        f"{kind:12} {counts.total():8} " + " ".join(f"{counts[verdict]:10}" for verdict in VERDICTS)
        for kind, counts in rows
    ]
    lines += [f"{count:6} {reason}" for reason, count in reasons.most_common(40)]
    lines.append(
        f"{sum(result.num_frames_stored for result in results)} frames stored and read back, "
        f"{sum(result.num_frames_read_live for result in results)} read live; "
        f"{sum(result.num_live_errors for result in results)} videos refused live; "
        f"{sum(len(result.unlike_built) for result in results)} broken frames are others live"
    )
    lines.append(
        f"{seconds:.0f} s; peak memory: a worker {max(r.peak_worker_bytes for r in results) / 1e6:.0f} MB, "
        f"the builder {max(r.peak_own_bytes for r in results) / 1e6:.0f} MB"
    )
    lines.append(f"{sum(len(result.finds) for result in results)} finds")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
