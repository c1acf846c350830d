"""A manifest held open with a shared lock, by which whoever removes old folders sees that they are in use."""

import fcntl
import os
from pathlib import Path

from frame_store.files import OpenFile
from frame_store.names import manifest_name
from frame_store.shared import raise_if_out_of_files


class ManifestInUseError(Exception):
    """A reader holds the manifest."""


class ClaimedManifest:
    """A manifest that nobody holds, and nobody gets to hold before `release`."""

    def __init__(self, store_path: Path, version: int) -> None:
        """Lock the manifest of that version of the cache at `store_path` for this object alone, without waiting.

        Raises:
            ManifestInUseError: a reader holds it.
            OSError: it cannot be opened, or the file system has no locks.
        """
        path = store_path / manifest_name(version)
        try:
            self._number = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)  # NFS locks no others
        except PermissionError:
            self._number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._number)
            if isinstance(error, BlockingIOError):
                raise ManifestInUseError(path) from error
            raise

    def release(self) -> None:
        """Give the lock back, once."""
        os.close(self._number)


class HeldManifest:
    """Keeps the folders that a manifest names from being removed, for as long as this object lives.

    It costs one descriptor. A forked child shares it, and a pickled copy takes a lock of its own. Where the file system
    has no locks, nothing is held.
    """

    def __init__(self, store_path: Path, version: int) -> None:
        """Lock the manifest of that version of the cache at `store_path`, without waiting.

        Raises:
            OSError: no more files can be opened.
        """
        self._named = store_path, version
        self.is_refused = False
        """Whether another process is just removing folders that this manifest names."""
        self._file: OpenFile | None = None
        try:
            file = OpenFile(store_path / manifest_name(version))
            fcntl.flock(file.number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self.is_refused = True
        except OSError as error:
            raise_if_out_of_files(error)
        else:
            self._file = file

    @property
    def is_held(self) -> bool:
        """Whether the lock is there."""
        return self._file is not None

    def __reduce__(self) -> tuple[type["HeldManifest"], tuple[Path, int]]:
        return (HeldManifest, self._named)
