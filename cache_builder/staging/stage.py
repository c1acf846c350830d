"""The folder into which videos are downloaded: where it is, and how much it may hold."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cache_builder.errors import MachineError
from frame_store.remote import BoundedFolder

DEFAULT_STAGE_BYTES: Final = 10 * 10**9
_SHARE_OF_FREE: Final = 0.8
"""Of the free space, where that is less than the default: the spill and the cache may lie on the same disk."""
_SUBFOLDER: Final = "frame-cache-stage"
_OF_THE_FOLDER: Final = (".ledger", "CACHEDIR.TAG")
_UNDER_WAY: Final = ".part"


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSettings:
    """What the user says of the folder."""

    path: Path | None = None
    """None: a folder below the system's temporary folder, named after the sources."""
    max_bytes: int | None = None
    """None: 10 GB, or 0.8 of what is free there where that is less."""

    @property
    def own_folder(self) -> Path | None:
        """The folder in the one that the user named; None where none was. What else lies there is not counted."""
        return None if self.path is None else Path(os.path.realpath(self.path)) / _SUBFOLDER

    def stage_of(self, sources: Iterable[object]) -> "Stage":
        """The folder for all videos of these sources, of which the texts alone count."""
        folder = self.own_folder
        if folder is None:
            digest = hashlib.sha256("\n".join(map(str, sources)).encode("utf-8", "surrogateescape"))
            name = f"{_SUBFOLDER}-{os.getuid()}-{digest.hexdigest()[:16]}"
            folder = Path(tempfile.gettempdir()) / name
        max_bytes = _default_bytes(folder) if self.max_bytes is None else self.max_bytes
        return Stage(
            folder=folder,
            max_bytes=max_bytes,
            is_bound_by_disk=self.max_bytes is None and max_bytes < DEFAULT_STAGE_BYTES,
            is_temporary=self.path is None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A folder of bounded size. Other machines have it at the same path, each with files of its own."""

    folder: Path
    """Absolute."""
    max_bytes: int
    is_bound_by_disk: bool = False
    """Whether `max_bytes` is what the disk has free, and no choice of the user: then less is no fault of a video."""
    is_temporary: bool
    """Whether it is removed when a build has ended well."""

    def make(self) -> None:
        """Make the folder, which only this user may read.

        Raises:
            MachineError: it cannot be made, or belongs to another user.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = self.folder.stat().st_uid
        except OSError as error:
            raise MachineError(
                f"{self.folder}: cannot be made for downloaded videos: {error.strerror}; give another {{--stage}}"
            ) from error
        if owner != os.getuid():
            raise MachineError(f"{self.folder}: belongs to another user; give another {{--stage}}")

    def remove_if_temporary(self) -> None:
        """Remove the folder where no user named it. What a job of another build holds there stays."""
        if not self.is_temporary or not self.folder.is_dir():
            return
        folder = BoundedFolder(self.folder, max_bytes=self.max_bytes)
        is_held = False
        for path in self.folder.iterdir():
            if path.name not in _OF_THE_FOLDER:
                is_gone = _removed_if_left(path) if path.suffix == _UNDER_WAY else folder.remove(path.name)
                is_held |= not is_gone
        if not is_held:
            with suppress(OSError):  # another build may begin
                for name in _OF_THE_FOLDER:
                    (self.folder / name).unlink(missing_ok=True)
                self.folder.rmdir()


def _removed_if_left(path: Path) -> bool:
    """Remove a file under way whose process is dead; False where it lives."""
    with suppress(FileNotFoundError):
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        except BlockingIOError:
            return False
        finally:
            os.close(number)
    return True


def _default_bytes(folder: Path) -> int:
    there = folder
    while not there.exists():
        there = there.parent
    staged = 0
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):  # a job of another build removes files
            staged += path.stat().st_size
    return min(DEFAULT_STAGE_BYTES, int(_SHARE_OF_FREE * (shutil.disk_usage(there).free + staged)))
