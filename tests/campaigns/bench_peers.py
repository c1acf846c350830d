"""`FrameLoader` beside other loaders: the same frames, batches of 128, 2 threads or workers, interleaved rounds.

    python -m tests.campaigns.bench_peers prepare --videos DIR --folder STORE --python PYTHON --ffcv-python PYTHON
    python -m tests.campaigns.bench_peers run [NAME...] --folder STORE --python PYTHON --ffcv-python PYTHON [--rounds 7]

The other loaders need environments of their own, made by hand; PYTHON is the interpreter of each:
    PYTHON        pip install torch torchvision simplejpeg webdataset mosaicml-streaming litdata
    FFCV_PYTHON   apt install libturbojpeg0-dev libopencv-dev pkg-config; pip install "numpy<2" torch torchvision ffcv
`prepare` builds caches of ours (raw tar, raw Zarr, JPEG q95 4:2:0) and converts the same frames for the others. `run`
starts one process for each case, which waits while another is measured. A ratio is the median of the ratios to the
first case, each within a round. With few videos an epoch has few batches, and its start counts too much: link the
videos several times.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

WORKER = Path(__file__).parents[1] / "support" / "peer_worker.py"
REST_SECONDS = 0.3
"""Before each measurement: a loader reads ahead for a moment after its own, which must not count against the next."""
CACHES = {
    "raw": ["--encoding", "raw"],
    "zarr": ["--format", "zarr", "--encoding", "raw"],
    "jpeg": ["--chroma", "420"],
}
CASES = (
    *(
        "take",
        "ours-raw-permutation",
        "ours-raw-sequential",
        "ours-zarr-permutation",
        "zarr-python",
        "ffcv-raw",
    ),
    *(
        "bare-new",
        "bare-buffer",
        "ours-jpeg-permutation",
        "ours-jpeg-sequential",
        "ours-jpegfast-permutation",
        "ffcv-jpg",
        "wds",
        "mds",
        "litdata",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["prepare", "run"])
    parser.add_argument("cases", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--ffcv-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    if options.action == "prepare":
        prepare(options)
    else:
        run(options)


def prepare(options: argparse.Namespace) -> None:
    for name, arguments in CACHES.items():
        out = options.folder / name
        build = [
            Path(sys.executable).with_name("cache-build"),
            "--videos",
            options.videos,
            "--out",
            out,
            *arguments,
        ]
        subprocess.run(build, check=True)
    for python, what in ((sys.executable, "npy"), (options.python, "others"), (options.ffcv_python, "ffcv")):
        subprocess.run([python, WORKER, f"prepare-{what}", options.folder], check=True)


def run(options: argparse.Namespace) -> None:
    names = options.cases or CASES
    workers = {name: start(name, options) for name in names}
    found: dict[str, list[float]] = {name: [] for name in names}
    try:
        for number in range(options.rounds):
            first = number % len(names)
            for name in (*names[first:], *names[:first]):
                time.sleep(REST_SECONDS)
                found[name].append(ask(workers[name], options.seconds))
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    for name, rates in found.items():
        ratio = statistics.median(a / b for a, b in zip(rates, found[names[0]], strict=True))
        print(
            f"{name:24} {statistics.median(rates):9.0f} images/s  {min(rates):9.0f} to {max(rates):9.0f}   "
            f"{ratio:7.3f} of {names[0]}"
        )


def start(name: str, options: argparse.Namespace) -> "subprocess.Popen[str]":
    theirs = {
        "ffcv": options.ffcv_python,
        "wds": options.python,
        "mds": options.python,
        "litdata": options.python,
    }
    command = [
        theirs.get(name.split("-", maxsplit=1)[0], sys.executable),
        str(WORKER),
        name,
        str(options.folder),
    ]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    answer(worker, "ready")
    return worker


def ask(worker: "subprocess.Popen[str]", seconds: float) -> float:
    assert worker.stdin is not None
    worker.stdin.write(f"{seconds}\n")
    worker.stdin.flush()
    return float(answer(worker, "rate").split()[1])


def answer(worker: "subprocess.Popen[str]", wanted: str) -> str:
    """The next line with this beginning. Other loaders print lines of their own in between."""
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.startswith(wanted):
            return line
    raise SystemExit(f"{worker.args} ended, see above")


if __name__ == "__main__":
    main()
