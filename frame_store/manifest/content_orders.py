"""The content orders that a manifest names (FORMAT.md section 4.3)."""

import re
from collections.abc import Sequence
from typing import Final

from frame_store.frame_findings import Record
from frame_store.manifest.records import MAX_FILE_BYTES, FileEntry, require_sha256
from frame_store.names import CONTENT_ORDER_NAME, content_folder

_METHOD: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


class ContentOrderEntry(Record, frozen=True, kw_only=True):
    """An order of the frames of some generations by content."""

    generations: list[str]
    """Folders of the generations, which follow each other; of a cache of cameras, those of the first camera."""
    folder: str
    """`content-` and the first 16 hex digits of `sha256`."""
    sha256: str
    """SHA-256, hex, of its file `content_order.npy`."""
    num_bytes: int
    """Of that file."""
    method: str
    """What made it, with a version, such as `pca-bisection-1`."""

    def __post_init__(self) -> None:
        """Refuse a folder that has not the name of its hash, and what no order can be."""
        require_sha256(f"sha256 of {self.folder[:100]}", self.sha256)
        if self.folder != content_folder(self.sha256):
            raise ValueError(f"the folder must be {content_folder(self.sha256)}, found {self.folder[:100]!r}")
        if not 0 <= self.num_bytes <= MAX_FILE_BYTES:
            raise ValueError(f"{self.folder}: num_bytes is {self.num_bytes}")
        if not _METHOD.fullmatch(self.method):
            raise ValueError(
                f"{self.folder}: method is a name of lower-case letters, digits, dots and dashes, "
                f"found {self.method[:100]!r}"
            )

    @property
    def file(self) -> FileEntry:
        """The file of the order, with its path inside the cache."""
        return FileEntry(
            name=f"{self.folder}/{CONTENT_ORDER_NAME}", num_bytes=self.num_bytes, sha256=self.sha256
        )


def check_content_orders(orders: Sequence[ContentOrderEntry], generations: Sequence[str]) -> None:
    """Raise ValueError unless there are no orders, or each of the `generations` is in one of them, in their order."""
    ordered = [folder for entry in orders for folder in entry.generations]
    if orders and (ordered != [*generations] or not all(entry.generations for entry in orders)):
        raise ValueError("content_orders must list every generation once, in their order, or none")
