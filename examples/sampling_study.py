"""What a way to sample does to training: bias and noise of batches, predicted and measured, and training curves.

    python examples/sampling_study.py DIR                            # a folder of clips, or a cache of frames
    python examples/sampling_study.py                                # sample videos
    python examples/sampling_study.py DIR --out study --figures study

Eight samplers, over the same frames. The figures are explained in docs/SAMPLING_GUIDE.md. It takes minutes on two CPU
cores; --quick takes seconds, and its figures mean little. Needs matplotlib for --figures: pip install matplotlib
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import torch
from study.run import run_study
from study.text import study_text


def main() -> None:
    """Run the study, print it, and write its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "videos", nargs="?", type=Path, help="a folder of clips, or a cache; default: sample videos"
    )
    parser.add_argument(
        "--out", type=Path, help="where the cache and study.json go; default: a temporary folder"
    )
    parser.add_argument("--figures", type=Path, help="where the pictures go")
    parser.add_argument(
        "--seeds", type=int, default=8, help="orders (and first weights) of the training curves"
    )
    parser.add_argument("--quick", action="store_true", help="few steps and epochs, as for a test")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        results = run_study(options.videos, out, num_seeds=options.seeds, quick=options.quick)
        results["machine"] = f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}"
        results["minutes"] = round((time.monotonic() - start) / 60, 1)
        print(study_text(results))
        (out / "study.json").write_text(json.dumps(results, indent=1))
        if options.figures is not None:
            from study.figures import draw_figures

            options.figures.mkdir(parents=True, exist_ok=True)
            draw_figures(results, options.figures)
        print(f"\n{results['minutes']} minutes on {results['machine']}")


if __name__ == "__main__":
    main()
