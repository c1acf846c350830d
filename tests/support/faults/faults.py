"""Builds whose n-th change of the disk kills them or fails, by a library compiled from tests/support/faulty_files.

What is counted are the calls of libc that change something below one folder, in every process of the build: files
opened to write, writes, renames, links, fsyncs, folders made, names removed. Reads of one file can be made to fail.
"""

import errno
import hashlib
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_SOURCE = Path(__file__).parent / "faulty_files" / "faulty_files.c"
_ROOT = Path(__file__).parents[3]
_HEADER = struct.Struct("=9q1024s1024sq")
_PLACE_OF_NUM_READS = 8
_LOG_BYTES = 1 << 20
_ACTIONS = {"nothing": 0, "kill": 1, "full_from": 2, "fail_once": 3}
Action = Literal["nothing", "kill", "full_from", "fail_once"]
ALL_READS = 1 << 62


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong: `action` at change number `at` (from 1) below a folder, and reads of a file that fail."""

    action: Action = "nothing"
    """`full_from`: from `at` on whatever takes space fails; `fail_once`: change `at` alone; both with `error`."""
    at: int = 0
    error: int = errno.ENOSPC
    read_path: Path | None = None
    read_offset: int = 0
    """Reads that touch bytes of `read_path` from here on fail with EIO."""
    first_read: int = 1
    """Earlier reads of `read_path` do not fail: a number, from 1."""
    num_reads_to_fail: int = ALL_READS


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended. Killed by a signal: minus its number, as `subprocess` has it."""

    returncode: int
    stdout: str
    stderr: str
    changes: tuple[str, ...]
    """What was counted, in order: `rename /cache.report.json`."""
    num_reads: int
    """Of the `read_path` of the fault, failed ones too."""


class FaultyFiles:
    """The compiled library and its control file, for the changes below `watched`."""

    def __init__(self, folder: Path, watched: Path) -> None:
        self._library = folder / "faulty_files.so"
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o", self._library, _SOURCE, "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self._control = folder / "control"
        self._control.write_bytes(bytes(_HEADER.size + _LOG_BYTES))
        self._watched = watched.resolve()

    @property
    def environment(self) -> dict[str, str]:
        """For the processes to be disturbed."""
        return os.environ | {
            "LD_PRELOAD": str(self._library),
            "FAULTY_FILES": str(self._control),
            "PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, sys.path)]),
        }

    def arm(self, fault: Fault, *, process: int) -> None:
        """Set the counter to zero. `process` dies of a kill too; -1 is the first to load the library."""
        header = _HEADER.pack(
            0,
            fault.at,
            _ACTIONS[fault.action],
            fault.error,
            process,
            fault.read_offset,
            fault.first_read,
            fault.num_reads_to_fail,
            0,
            os.fsencode(self._watched),
            os.fsencode(fault.read_path.resolve()) if fault.read_path is not None else b"",
            0,
        )
        with self._control.open("r+b") as file, mmap.mmap(file.fileno(), 0) as control:
            control[: len(header)] = header

    def changes(self) -> tuple[str, ...]:
        """What was counted since the last `arm`."""
        raw = self._control.read_bytes()
        used = _HEADER.unpack_from(raw)[-1]
        assert used < _LOG_BYTES, "more changes than the log holds"
        return tuple(raw[_HEADER.size : _HEADER.size + used].decode().splitlines())

    def num_reads(self) -> int:
        """How often the `read_path` of the fault was read since the last `arm`."""
        return int(_HEADER.unpack_from(self._control.read_bytes())[_PLACE_OF_NUM_READS])

    def run(self, command: list[str], fault: Fault) -> Ended:
        """Run a real command, workers and all; a kill hits its first process, too."""
        self.arm(fault, process=-1)
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        return Ended(
            returncode=done.returncode,
            stdout=done.stdout,
            stderr=done.stderr,
            changes=self.changes(),
            num_reads=self.num_reads(),
        )


class BuildServer:
    """Runs commands many times in forks of one process that has imported everything: 0.1 s a build.

    Each runs its jobs by itself, without workers: see `in_process_pool`.
    """

    def __init__(self, faulty_files: FaultyFiles, scratch: Path) -> None:
        self._faulty_files = faulty_files
        self._scratch = scratch
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(scratch)],
            env=faulty_files.environment,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        *arguments: str | Path,
        fault: Fault | None = None,
        kill_after: float | None = None,
        command: str = "cache-build",
    ) -> Ended:
        """Run a command with these arguments; it is killed after `kill_after` seconds, wherever it is."""
        self._faulty_files.arm(fault or Fault(), process=0)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "command": command,
            "arguments": [str(argument) for argument in arguments],
            "kill_after": kill_after,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the build server died"
        return Ended(
            returncode=int(answer),
            stdout=(self._scratch / "stdout").read_text(),
            stderr=(self._scratch / "stderr").read_text(),
            changes=self._faulty_files.changes(),
            num_reads=self._faulty_files.num_reads(),
        )

    def __enter__(self) -> "BuildServer":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


def why_no_faults() -> str | None:
    """Why files cannot be made to fail here, or None if they can."""
    if sys.platform != "linux":
        return f"failing files are made with Linux's preloading, this is {sys.platform}"
    return None if shutil.which("cc") else "failing files need a C compiler, and there is no cc"


def digests(cache: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {
        path.relative_to(cache).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(cache.rglob("*"))
        if path.is_file()
    }


def _serve(scratch: Path) -> None:
    import numcodecs.zarr3  # noqa: F401 - so that no fork has to import it
    import pyarrow.parquet  # noqa: F401
    import simplejpeg  # noqa: F401
    import zarr  # noqa: F401

    import cache_builder.build.pipeline
    import cache_builder.compaction.compact
    from cache_builder.cli import cache_build, cache_compact
    from tests.support.executors.in_process_pool import InProcessPool

    class Pool(InProcessPool):
        def __init__(self, *, num_workers: int) -> None:
            super().__init__()

        def __class_getitem__(cls, _: Any) -> type["Pool"]:
            return cls

    cache_builder.build.pipeline.WorkerPool = Pool  # type: ignore[assignment,misc]
    cache_builder.compaction.compact.WorkerPool = Pool  # type: ignore[assignment,misc]
    commands = {"cache-build": cache_build, "cache-compact": cache_compact}
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            for number, name in ((1, "stdout"), (2, "stderr")):
                opened = os.open(scratch / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(opened, number)
                os.close(opened)
            try:
                commands[request["command"]](request["arguments"], prog_name=request["command"])
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0 if end.code is None else 99
            except BaseException:  # noqa: BLE001 - as the interpreter does
                import traceback

                traceback.print_exc()
                code = 98
            sys.stdout.flush()
            os._exit(code)
        if request["kill_after"] is not None:
            time.sleep(request["kill_after"])
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
