"""A stub of NVIDIA's driver, compiled from tests/support/stub_cuda, and functions called in processes with the stub.

On it PyAV's own binaries walk their whole CUDA path: initialisation, contexts, decoder, surfaces, copies. What it
cannot show: kernels, so nothing of torch.cuda; order of streams; and what a chip really supports.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SOURCES = Path(__file__).parent / "stub_cuda"
ROOT = Path(__file__).parents[3]
CALL = """
import importlib, json, sys
module, name, *arguments = sys.argv[1:]
print(json.dumps(getattr(importlib.import_module(module), name)(*arguments)))
"""


@dataclass(frozen=True, kw_only=True)
class DriverCall:
    """One line of the stub's log."""

    pid: int
    function: str


@dataclass(frozen=True, kw_only=True)
class StubRun:
    """Results of a process on the stub."""

    stdout: str
    stderr: str
    calls: tuple[DriverCall, ...]
    """Calls of the process and of its forked and spawned children."""

    @property
    def value(self) -> Any:
        """What the function returned, as JSON."""
        return json.loads(self.stdout.splitlines()[-1])

    @property
    def num_calls(self) -> Counter[str]:
        return Counter(call.function for call in self.calls)


@dataclass(frozen=True, kw_only=True)
class StubDriver:
    """Folders for the loader's path."""

    folder: Path
    """Contains libcuda.so.1 and libnvcuvid.so.1."""
    without_nvcuvid: Path
    without_driver: Path
    """Empty: no library at all."""

    def call(self, function: Callable[..., Any], *arguments: str | Path, **options: Any) -> StubRun:
        """Call a module's function with strings in a process of its own; `options` are those of `run`."""
        return self.run("-c", CALL, function.__module__, function.__name__, *arguments, **options)

    def run(
        self,
        *arguments: str | Path,
        folder: Path | None = None,
        has_device: bool = True,
        unsupported: Sequence[str] = (),
        min_size: int | None = None,
        expected_exit: int = 0,
    ) -> StubRun:
        """Run Python with these arguments on the stub in `folder`.

        `unsupported` are codecs that the chip lacks, `min_size` is the least width and height it takes, in pixels.
        """
        folder = folder or self.folder
        log = folder / f"calls.{os.urandom(8).hex()}"
        settings = {
            "LD_LIBRARY_PATH": str(folder),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "STUB_CUDA_LOG": str(log),
            "STUB_CUDA_NO_DEVICE": "" if has_device else "1",
            "STUB_CUDA_UNSUPPORTED": ",".join(unsupported),
            "STUB_CUDA_MIN_SIZE": "" if min_size is None else str(min_size),
        }
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == expected_exit, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        calls = tuple(DriverCall(pid=int(pid), function=name) for pid, name in map(str.split, lines))
        return StubRun(stdout=done.stdout, stderr=done.stderr, calls=calls)


def why_not_built() -> str | None:
    """Why the stub cannot be built on this machine; None if it can."""
    if sys.platform != "linux":
        return f"the stub driver is for Linux, this is {sys.platform}"
    return None if shutil.which("cc") else "the stub driver needs a C compiler, and there is no cc"


def build_stub_driver(folder: Path) -> StubDriver:
    """Compile both libraries into folders below `folder`."""
    driver = StubDriver(
        folder=folder / "driver",
        without_nvcuvid=folder / "without_nvcuvid",
        without_driver=folder / "without_driver",
    )
    for path in (driver.folder, driver.without_nvcuvid, driver.without_driver):
        path.mkdir()
    cuda, nvcuvid = driver.folder / "libcuda.so.1", driver.folder / "libnvcuvid.so.1"
    _compile(cuda, "stub_cuda.c")
    _compile(nvcuvid, "stub_nvcuvid.c", "stub_parser.c", needs=cuda)
    shutil.copy(cuda, driver.without_nvcuvid)
    return driver


def _compile(library: Path, *sources: str, needs: Path | None = None) -> None:
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"]
    files = [str(_SOURCES / source) for source in sources]
    linked = [] if needs is None else [str(needs), "-Wl,-rpath,$ORIGIN"]
    command = ["cc", *options, f"-Wl,-soname,{library.name}", "-o", str(library), *files, *linked]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
