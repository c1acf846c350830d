"""A stand-in for `frame_store.remote.BoundedFolder`, with its interface."""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self


class HeldFile:
    """A file that stays while it is held."""

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self.number = number

    def close(self) -> None:
        """Let it go."""
        if self.number >= 0:
            os.close(self.number)
            self.number = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BoundedFolder:
    """Files of at most `max_bytes`, shared by the processes of a host."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes

    def held(self, name: str) -> HeldFile | None:
        """A file that is there."""
        try:
            number = os.open(self.path / name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        fcntl.flock(number, fcntl.LOCK_SH)
        if os.fstat(number).st_nlink == 0:
            os.close(number)
            return None
        return HeldFile(self.path / name, number)

    def fetched(
        self, name: str, num_bytes: int, fetch: Callable[[Path], None], *, waits: bool
    ) -> HeldFile | None:
        """The file, downloaded where it is not there."""
        own = os.open(self.path / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        part = self.path / f"{name}.part"
        try:
            fcntl.flock(own, fcntl.LOCK_EX)
            if (held := self.held(name)) is not None:
                return held
            while not self._reserve(part, num_bytes):
                if not waits:
                    return None
                time.sleep(0.05)
            try:
                fetch(part)
                number = os.open(part, os.O_RDONLY)
                fcntl.flock(number, fcntl.LOCK_SH)
                part.rename(self.path / name)
                return HeldFile(self.path / name, number)
            finally:
                part.unlink(missing_ok=True)
        finally:
            os.close(own)

    def _reserve(self, part: Path, num_bytes: int) -> bool:
        ledger = os.open(self.path / "ledger", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            files = [path for path in self.path.iterdir() if path.suffix != ".lock" and path.name != "ledger"]
            files.sort(key=lambda path: path.stat().st_atime_ns)
            used = sum(path.stat().st_size for path in files)
            for path in files:
                if used + num_bytes <= self.max_bytes:
                    break
                if path.suffix == ".part":
                    continue
                number = os.open(path, os.O_RDONLY)
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    used -= path.stat().st_size
                    path.unlink()
                except BlockingIOError:
                    pass
                finally:
                    os.close(number)
            if used + num_bytes > self.max_bytes:
                return False
            with part.open("wb") as file:
                file.truncate(num_bytes)
            return True
        finally:
            os.close(ledger)
