"""Where a build works: beside the output, locked, and only ever for one set of inputs and settings.

```
CACHE                  appears whole, by one rename
CACHE.building/        everything of an unfinished build; removed when it is done
    identity.json      the inputs and settings this folder belongs to
    spill/             encoded frames and receipts of decoded units
    plan/              sources.npy, source_of_frame.npy: the shard plan
    receipts/          one per finished shard
    cache/             the cache itself, in the making
CACHE.scan             scan cache       CACHE.report.json  last report       CACHE.lock  held while building
```
"""

import errno
import fcntl
import glob
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from cache_builder.build.differences import identity_differences
from cache_builder.errors import OutputError
from frame_store.files import write_file
from frame_store.shared import counted, listed, raise_if_out_of_files

_MAX_NAME_BYTES = 255
_MAX_START_BYTES = 1 << 16
_REPORT_START = re.compile(rb'\{\n "output": "[^\n]*",\n "status": "(built|already complete)",\n')
_SCAN_CACHE_START = re.compile(rb".{32}\x82\xa7version", re.DOTALL)
"""A digest, and MessagePack of two keys. What comes behind may be of another version, or damaged: it is ours."""
_FAILURES_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}

_NOT_PERMITTED = {errno.EROFS, errno.EACCES, errno.EPERM}


class Workspace:
    """Paths around one output."""

    def __init__(self, output: Path) -> None:
        if not output.name:
            raise OutputError(f"{output}: cannot be a cache, there is no place beside it")
        self.output = output
        self.building = output.with_name(output.name + ".building")
        self.scan_cache = output.with_name(output.name + ".scan")
        self.report = output.with_name(output.name + ".report.json")
        self.lock = output.with_name(output.name + ".lock")
        self.identity = self.building / "identity.json"
        self.spill = self.building / "spill"
        self.plan = self.building / "plan"
        self.receipts = self.building / "receipts"
        self.cache = self.building / "cache"
        self._folders = (self.spill, self.plan, self.receipts, self.cache)
        self._check_places()

    @property
    def own_places(self) -> tuple[Path, ...]:
        """All that builds put beside the output, and the output."""
        return (self.output, self.building, self.scan_cache, self.report, self.lock)

    def require_own_files(self) -> None:
        """Refuse a report or scan cache that no build wrote, which this one would replace.

        Raises:
            OutputError: there is one.
            OSError: the disk fails.
        """
        for path, start, what in (
            (self.report, _REPORT_START, "report"),
            (self.scan_cache, _SCAN_CACHE_START, "scan cache"),
        ):
            if os.path.lexists(path) and not _begins_with(path, start):
                raise OutputError(
                    f"{path}: is not the {what} of a build, which would be written there; "
                    "move it away, or give another {--out}"
                )

    @contextmanager
    def locked(self, *, if_not_writable: str) -> Iterator[None]:
        """Hold the output for this process; the lock goes with the process, however it ends.

        `if_not_writable` says what to do where nothing can be written beside the output.

        Raises:
            OutputError: another build holds it, something else is in the way, or nothing can be written there.
            OSError: disk full or failing.
        """
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno in _FAILURES_OF_THE_MACHINE:
                raise
            raise self.not_writable(error, remedy=if_not_writable) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(f"{self.output}: another cache-build is writing it") from error
            self._remove_temporaries()
            try:
                yield
            except OSError as error:
                if error.errno not in _NOT_PERMITTED or not self._is_own(error.filename):
                    raise
                raise self.not_writable(error, remedy=if_not_writable) from error
        finally:
            os.close(descriptor)

    def not_writable(self, error: OSError, *, remedy: str) -> OutputError:
        """What it means that nothing can be written beside the output, as on a share that is mounted read-only."""
        return OutputError(f"{self.output}: cannot be written: {error.filename}: {error.strerror}; {remedy}")

    def _is_own(self, path: object) -> bool:
        """Whether a path is one of what a build puts beside the output, or lies in it."""
        if not isinstance(path, str):
            return False
        return not {Path(path), *Path(path).parents}.isdisjoint(self.own_places)

    def claim(self, identity: dict[str, Any], *, overwrite: bool) -> None:
        """Make `building/` belong to `identity`, keeping what an interrupted build of the same left there.

        Raises:
            OutputError: it holds an unfinished build of something else and `overwrite` is not given.
        """
        if self.building.exists():
            found = self._read_identity()
            if found == identity:
                self._make_folders()
                return
            if found is None:
                self._require_ours()
            elif not overwrite:
                raise OutputError(
                    listed(
                        f"{self.building}: holds an unfinished build of something else",
                        identity_differences(identity, found),
                        "finish that one with its own command, or discard it with {--overwrite}",
                    )
                )
            self.identity.unlink(missing_ok=True)  # first: what is half removed belongs to nobody
            shutil.rmtree(self.building)
        self._make_folders()
        write_file(self.identity, msgspec.json.format(msgspec.json.encode(identity), indent=1))

    def _check_places(self) -> None:
        """Refuse before any work what would fail behind it."""
        longest = len(os.fsencode(self.report.name)) + len(f".{2**22}.tmp")
        if longest > _MAX_NAME_BYTES:
            raise OutputError(
                f"{self.output}: its name is too long by {counted(longest - _MAX_NAME_BYTES, 'byte')}; "
                "give a shorter {--out}"
            )
        for path in (self.scan_cache, self.report, self.lock):
            if path.is_dir():
                raise OutputError(f"{path}: is a folder, and a build needs that name; give another {{--out}}")
        if os.path.lexists(self.building) and not self.building.is_dir():
            raise OutputError(
                f"{self.building}: is a file, and a build needs that name; give another {{--out}}"
            )

    def _require_ours(self) -> None:
        """Without an identity a folder is ours only if it holds nothing but what a build leaves half removed."""
        known = {path.name for path in self._folders}
        strange = sorted(
            path.name
            for path in self.building.iterdir()
            if path.name not in known and not path.name.startswith(self.identity.name)
        )
        if strange:
            raise OutputError(
                f"{self.building}: holds {strange[0]!r}, which no build put there; "
                "move it away, or give another {--out}"
            )

    def remove_building(self, *, of: dict[str, Any]) -> None:
        """Drop what a finished build of the identity `of` no longer needs; another's unfinished work stays."""
        if self._read_identity() in (of, None):
            for folder in self._folders:
                shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(self.building, ignore_errors=True)  # last the identity, which says whose this was

    def _remove_temporaries(self) -> None:
        """Remove what a killed build was about to rename; only the holder of the lock writes such files."""
        for path in (self.scan_cache, self.report):
            for leftover in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
                if (
                    leftover.name.removeprefix(f"{path.name}.").removesuffix(".tmp").isdecimal()
                ):  # a process id
                    leftover.unlink()

    def _make_folders(self) -> None:
        for folder in self._folders:
            folder.mkdir(parents=True, exist_ok=True)

    def _read_identity(self) -> dict[str, Any] | None:
        try:
            return msgspec.json.decode(self.identity.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError) as error:
            raise_if_out_of_files(error)  # whose work this is stays unknown, and it is not to be removed
            return None


def _begins_with(path: Path, start: re.Pattern[bytes]) -> bool:
    """Whether a file begins so, or is empty; only regular files do, or links to such."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_MAX_START_BYTES)
    except PermissionError:
        return False
    return not head or start.match(head) is not None
