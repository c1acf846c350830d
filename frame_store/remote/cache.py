"""What a cache at a URL has beyond a local one: a client, and the folder where its small files are kept."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from frame_store.remote.folder import BoundedFolder
from frame_store.remote.mirror import Mirror, MirroredFile
from frame_store.remote.requests import ObjectClient, RemoteUrl
from frame_store.shared import user_path

_DIGITS: Final = 16


@dataclass(frozen=True, kw_only=True)
class RemoteCache:
    """A cache in an object store. It pickles as its URL and its folders."""

    client: ObjectClient
    mirror: Path
    """The folder of this machine that has the small files under the same names, and stands for the cache."""
    folder_path: Path
    """Where the mirror lies, among those of other caches."""
    folder_bytes: int | None = None
    """How many bytes of whole shards may lie there; None keeps none."""

    @classmethod
    def of(
        cls,
        url: RemoteUrl,
        *,
        folder: str | os.PathLike[str] | None = None,
        folder_bytes: int | None = None,
    ) -> "RemoteCache":
        """The cache at a URL, whose files are kept below `folder`, or below the user's cache folder. Asks for nothing.

        Raises:
            OSError: no folder is given, and the user has no home.
        """
        top = default_folder() if folder is None else user_path(folder).absolute()
        return cls(
            client=ObjectClient(url),
            mirror=top / mirror_name(url),
            folder_path=top,
            folder_bytes=folder_bytes,
        )

    @property
    def url(self) -> RemoteUrl:
        """Where the cache lies."""
        return self.client.url

    def need(self, files: Iterable[MirroredFile]) -> None:
        """Have these files in the mirror. Raises what `Mirror.need` raises."""
        self.mirrored.need(files)

    @cached_property
    def folder(self) -> BoundedFolder | None:
        """Where whole shards lie, beside those of other caches; None where none are kept.

        Raises what `BoundedFolder` raises.
        """
        if self.folder_bytes is None:
            return None
        return BoundedFolder(self.folder_path / "shards", max_bytes=self.folder_bytes)

    @cached_property
    def mirrored(self) -> Mirror:
        """What downloads the files of the mirror."""
        return Mirror(self.client, self.mirror)

    def name_in_folder(self, key: str) -> str:
        """What the shard `key` is called in `folder`, among the shards of all caches that share it."""
        return f"{self.mirror.name}/{key}"

    def __getstate__(self) -> dict[str, Any]:
        names = ("client", "mirror", "folder_path", "folder_bytes")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def mirror_name(url: RemoteUrl) -> str:
    """The name of the folder of a cache among those of others: 16 hex digits of the URL's SHA-256."""
    text = f"{url.scheme}://{url.root}/{url.path}"
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def default_folder() -> Path:
    """The folder for files of remote caches where none is given: `frame-cache` in the user's cache folder.

    Raises:
        OSError: the user has no home.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if named and Path(named).is_absolute():  # the XDG specification has relative ones ignored
        return Path(named) / "frame-cache"
    try:
        return Path.home() / ".cache" / "frame-cache"
    except RuntimeError:
        raise OSError(
            "this user has no home folder to keep the small files of a remote cache in; folder= names one"
        ) from None
