r"""Everything that only a machine with a GPU can tell, in one command of a few minutes.

    python -m frame_cache_tools.gpu_acceptance --out OUT             where the package is installed
    python3 tools/gpu_acceptance.py --out OUT                        in a bare checkout

No network, no build step; Python 3.11 or newer, torch 2.4 or newer. Each step runs in a process of its own with a time
limit; a step that fails or hangs does not stop the next, and one that cannot run says why it is skipped. OUT gets
`results.jsonl` (one line a finding, written as soon as it is known), `table.md` and `log.txt` (what the steps printed).

Steps, and the most seconds that each may take:

    samples      120   videos of several codecs, made here, and a raw and a JPEG cache of some
    machine       30   driver, libraries, torch; codecs and engines of NVDEC
    correctness   90   planes and colours of NVDEC against the CPU's decoder, and what falls back
    fork          90   the error of worker processes forked under CUDA, and what meets it
    copies        60   bytes copied an image each way, by torch's profiler
    throughput   150   live and cached frames to the GPU, beside the limits of the same machine
    model         90   training a small network, and how long the GPU waits
    tests        120   `pytest -m gpu`

Exit code 0: nothing failed (what was skipped counts as such: without a GPU everything but `machine` is); 1: a check
failed, or something broke, as table and results say; 2: a wrong command.

On a machine that has torch and nothing else, bring what is missing as wheels of its Python, downloaded elsewhere:

    pip download --only-binary :all: --python-version 3.12 --no-deps --dest wheels \
        av==18.1.0 msgspec numcodecs simplejpeg zarr webdataset google-crc32c donfig braceexpand torchcodec
    python3 -m pip install --no-index --no-deps --target site wheels/*.whl         # there
    PYTHONPATH=$PWD/site python3 tools/gpu_acceptance.py --out OUT

(numpy, click, tqdm, pyyaml, packaging and typing-extensions are taken to be there, and pytest, hypothesis, psutil
and pytest-timeout for the step `tests`. torchcodec 0.17 wants torch 2.11 or newer; without it torchvision decodes JPEG
on the GPU.)

What is worth keeping of OUT goes to `tools/results/DATE-gpu-NAME.json`, by hand.
"""

import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Run the command, in a bare checkout, too."""
    if __package__:
        _start()
        return
    tools = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory(prefix="frame-cache-tools-") as folder:
        (Path(folder) / "frame_cache_tools").symlink_to(tools)
        sys.path[:1] = [folder, str(tools.parent)]
        _start()


def _start() -> None:
    # Processes below look for modules where this one does.
    os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in sys.path if path)
    from frame_cache_tools.gpu_cli import command

    command.main(prog_name="gpu_acceptance")


if __name__ == "__main__":
    main()
