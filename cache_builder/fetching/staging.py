"""The folder beside a cache in which its files gather while they are downloaded.

```
DIR              appears whole, by one rename; a cache that grows gets whole folders, and then its manifests
DIR.fetching/    removed when the fetch is done
    source       SHA-256 of manifest-0000.json: which cache this is
    cache/       what has been downloaded; NAME.part has the first bytes of a file
DIR.lock         held while it is written, as by a build
```
"""

import hashlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from cache_builder.errors import OutputError
from frame_store.files import create_file, publish_folder, sync_path, sync_tree, write_file
from frame_store.names import manifest_name
from frame_store.remote_files import FilesOfFolder

_NEW: Final = "give another DIR"


class Staging:
    """The files of a cache that are not in their place yet."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.path = output.with_name(f"{output.name}.fetching")
        self.cache = self.path / "cache"
        self._source = self.path / "source"
        self._next_manifest = self.path / "manifest"

    def claim(self, first_manifest: bytes) -> None:
        """Make the folder that of a cache, and keep what an interrupted fetch of that cache left there.

        Raises:
            OutputError: it has parts of another cache, or is no such folder.
            OSError: the disk fails.
        """
        source = hashlib.sha256(first_manifest).hexdigest().encode()
        if os.path.lexists(self.path):
            if self.path.is_symlink() or not self.path.is_dir():
                raise OutputError(f"{self.path}: is no folder, and the fetch needs that name; {_NEW}")
            found = self._source.read_bytes() if self._source.is_file() else None
            if found is None and (strange := sorted(path.name for path in self.path.iterdir())):
                raise OutputError(
                    f"{self.path}: holds {strange[0]!r}, which no fetch put there; move it away, or {_NEW}"
                )
            if found is not None and found != source:
                raise OutputError(
                    f"{self.path}: holds parts of another cache, whose fetch did not end; finish that one with its own "
                    f"command, remove the folder, or {_NEW}"
                )
        self.path.mkdir(exist_ok=True)
        write_file(self._source, source)
        self.cache.mkdir(exist_ok=True)

    def take_records(self, folders: Collection[tuple[str, str | None, str]]) -> None:
        """Prepare for folders (folder, record, digest of the record).

        A record that the output has is copied. What was downloaded by another record is removed.
        """
        for folder, record, digest in folders:
            if record is None:
                continue
            if has_content(self.output / record, digest):
                target = self.cache / record
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.output / record, target)
            elif not has_content(self.cache / record, digest) and (self.cache / folder).is_dir():
                shutil.rmtree(self.cache / folder)

    def publish_new(self, folders: Collection[FilesOfFolder], manifests: list[bytes]) -> None:
        """Make the output appear: all files are in the staging folder."""
        self._remove_others(folders)
        for version, raw in enumerate(manifests):
            write_file(self.cache / manifest_name(version), raw)
        sync_tree(self.cache)
        publish_folder(self.cache, self.output)

    def publish_more(
        self, folders: Collection[FilesOfFolder], manifests: list[bytes], *, num_there: int
    ) -> None:
        """Give a cache its new folders and files, then its new manifests, the first `num_there` being there."""
        self._remove_others(folders)
        for folder in folders:
            if folder.record is None or has_content(self.output / folder.record, folder.digest):
                for entry in folder.all_files:
                    if (self.cache / entry.name).exists():
                        target = self.output / entry.name
                        target.parent.mkdir(parents=True, exist_ok=True)
                        (self.cache / entry.name).replace(target)
                        sync_path(target.parent)
                continue
            staged, target = self.cache / folder.folder, self.output / folder.folder
            sync_tree(staged)
            target.parent.mkdir(parents=True, exist_ok=True)
            publish_folder(staged, target)
        for version in range(num_there, len(manifests)):
            self._next_manifest.unlink(missing_ok=True)
            create_file(self.output / manifest_name(version), manifests[version], scratch=self._next_manifest)

    def remove(self) -> None:
        """Remove the folder: everything is in its place. The file that tells whose it is goes last."""
        shutil.rmtree(self.cache, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def _remove_others(self, folders: Collection[FilesOfFolder]) -> None:
        """Remove what belongs to an earlier version of the cache, downloaded while that was the newest."""
        names = {entry.name for folder in folders for entry in folder.all_files}
        names |= {folder.record for folder in folders if folder.record is not None}
        for parent, inside, files in os.walk(self.cache, topdown=False):
            for name in files:
                path = Path(parent, name)
                if path.relative_to(self.cache).as_posix() not in names:
                    path.unlink()
            for name in inside:
                if not any(Path(parent, name).iterdir()):
                    Path(parent, name).rmdir()


def has_content(path: Path, digest: str) -> bool:
    """Whether a regular file is there and has that SHA-256."""
    try:
        if path.is_symlink():
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
