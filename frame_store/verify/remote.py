"""A cache in an object store, checked like one on this machine: its files come to a temporary folder, then each shard.

The folder has the files beside the shards and one shard; the next one waits in memory, in parts.
"""

import errno
import shutil
import stat
import tempfile
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from frame_store.errors import FrameCacheError
from frame_store.manifest import FileEntry, GenerationTree
from frame_store.remote import Downloaded, ObjectClient, RemoteUrl, WantedObject, download_objects
from frame_store.remote_files import bring_manifests, files_of_cache
from frame_store.shared import counted_in_groups
from frame_store.verify.store import VerifyResult, verify_folder

_JOBS: Final = 16
_MOST_TOO_MANY: Final = 1 << 20
"""Bytes by which a file may be longer than recorded to be downloaded nevertheless."""


def verify_at_url(
    url: RemoteUrl, *, progress: Callable[[int], None], begin: Callable[[int], None]
) -> VerifyResult:
    """As `verify_store`.

    Raises:
        OSError: also where the disk of the temporary folder has too little room; nothing was downloaded then.
    """
    with tempfile.TemporaryDirectory(prefix="cache-verify-") as name:
        folder = Path(name).resolve()
        copy = _Copy(ObjectClient(url), folder)

        def renamed(text: str) -> str:
            return text.replace(str(folder), url.text)

        try:
            copy.bring_small_files()
            result = verify_folder(
                folder,
                name=url.text,
                progress=progress,
                begin=begin,
                at_hand=copy.shards,
                entries_below=copy.entries_below if url.is_writable else None,
            )
        except FrameCacheError as error:
            raise type(error)(renamed(str(error))) from None
        notes = [] if url.is_writable else ["a web server has no list of what else is there"]
        return msgspec.structs.replace(
            result,
            problems=[*map(renamed, result.problems)],
            notes=[*map(renamed, result.notes), *notes],
            num_bytes_read=copy.num_bytes_read,
        )


class _Copy:
    """The part of a cache that is in the temporary folder."""

    def __init__(self, client: ObjectClient, folder: Path) -> None:
        self.num_bytes_read = 0
        self._client = client
        self._folder = folder

    def bring_small_files(self) -> None:
        """Download what is not a shard. What is missing or of another size, the checks of the folder find out."""
        manifest = bring_manifests(self._client, self._folder)
        files: list[FileEntry] = []
        largest_shard = 0
        for each in files_of_cache(self._client, manifest, records=self._folder, on_damage=lambda _: None):
            files += each.files
            largest_shard = max([largest_shard, *(shard.num_bytes for shard in each.shards)])
        self._count(sum(path.stat().st_size for path in self._folder.rglob("*.json")))
        self._require_room(sum(entry.num_bytes for entry in files) + largest_shard)
        other_sizes = []
        for done in self._download(files):
            found = done.num_bytes_found
            if (
                done.problem is not None
                and found is not None
                and found <= done.wanted.num_bytes + _MOST_TOO_MANY
            ):
                other_sizes.append(FileEntry(name=done.wanted.key, num_bytes=found, sha256=""))
        for _ in self._download(other_sizes):  # as they are, for the checks to say what is wrong
            pass

    def shards(self, tree: GenerationTree) -> Iterator[str | None]:
        """See `ShardsAtHand`."""
        shards = [shard.inside(tree.folder) for shard in tree.generation.shards]
        with closing(self._download(shards)) as downloaded:
            for done in downloaded:
                yield None if done.num_bytes_found is not None else done.problem
                done.wanted.path.unlink(missing_ok=True)

    def entries_below(self, known: Container[str]) -> Iterator[tuple[str, int]]:
        """Path and mode of the objects and of their folders, as of files. What is in an unknown folder is left out."""
        seen: set[str] = set()
        for each in self._client.objects():
            for folder in [*PurePosixPath(each.key).parents][-2::-1]:
                if folder.as_posix() not in seen:
                    seen.add(folder.as_posix())
                    yield folder.as_posix(), stat.S_IFDIR
                if folder.as_posix() not in known:
                    break
            else:
                yield each.key, stat.S_IFREG

    def _download(self, files: Sequence[FileEntry]) -> Generator[Downloaded, None, None]:
        """Download files in order. Their hashes are checked by others, and the sizes of those of another size, too."""
        wanted = [
            WantedObject(
                key=entry.name, path=self._folder / entry.name, num_bytes=entry.num_bytes, sha256=None
            )
            for entry in files
        ]
        for done in download_objects(self._client, wanted, jobs=_JOBS, received=self._count, sync=False):
            if done.problem is not None and done.num_bytes_found is not None:
                done.wanted.path.parent.mkdir(parents=True, exist_ok=True)
                with done.wanted.path.open("wb") as file:
                    file.truncate(done.num_bytes_found)  # a hole: its size is what the checks name
            yield done

    def _count(self, num_bytes: int) -> None:
        self.num_bytes_read += num_bytes

    def _require_room(self, num_bytes: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if num_bytes > free:
            raise OSError(
                errno.ENOSPC,
                f"{counted_in_groups(num_bytes, 'byte')} are needed for the files beside the shards and one shard, "
                f"{counted_in_groups(free, 'byte')} are free; TMPDIR names another place",
                str(self._folder.parent),
            )
