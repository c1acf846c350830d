"""Records that the JSON files of a cache have in common: files with their hashes, the encoding, the fidelity."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import msgspec

from frame_store.frame_findings import Record
from frame_store.names import Container, shard_name

EncodingName = Literal["jpeg", "raw", "zstd"]
ChromaSubsampling = Literal["444", "420"]
Layout = Literal["shuffled", "video"]

MAX_FRAME_SIDE: Final = 8192
MAX_FILE_BYTES: Final = 1 << 48
MAX_STORE_BYTES: Final = 1 << 60
_PLAIN_PART: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

if TYPE_CHECKING:
    JsonValue = Any
else:
    # The type bounds the depth of a value, so the decoder cannot recurse without limit.
    _Scalar = None | bool | int | float | str
    _Shallow = _Scalar | list[_Scalar] | dict[str, _Scalar]
    _Deep = _Scalar | list[_Shallow] | dict[str, _Shallow]
    JsonValue = _Scalar | list[_Deep] | dict[str, _Deep]
    """JSON with at most three levels of lists or objects."""


class Encoding(Record, frozen=True, kw_only=True):
    """How one frame's pixels become bytes."""

    name: EncodingName
    quality: int | None = None
    """JPEG quality 1..100; None for lossless encodings."""
    chroma: ChromaSubsampling | None = None
    """JPEG chroma subsampling; None for lossless encodings."""
    level: int | None = None
    """Zstandard level; None for the others."""

    def __post_init__(self) -> None:
        """Refuse parameters that do not belong to the encoding."""
        is_jpeg = self.name == "jpeg"
        if is_jpeg != (self.quality is not None) or is_jpeg != (self.chroma is not None):
            raise ValueError(f"quality and chroma belong to jpeg, and to jpeg alone; encoding is {self.name}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"JPEG quality must be 1..100, found {self.quality}")
        if (self.name == "zstd") != (self.level is not None):
            raise ValueError(f"level belongs to zstd, and to zstd alone; encoding is {self.name}")


class FileEntry(Record, frozen=True, kw_only=True):
    """A file with its size and hash."""

    name: str
    """Path inside the folder of the generation, forward slashes."""
    num_bytes: int
    sha256: str

    def inside(self, folder: str) -> Self:
        """The entry with its path inside the cache, for a generation in that folder of the cache."""
        return msgspec.structs.replace(self, name=f"{folder}/{self.name}")


class ShardEntry(FileEntry, frozen=True, kw_only=True):
    """A shard file; shard s is row s of the table."""

    num_frames: int


class Fidelity(Record, frozen=True, kw_only=True):
    """PSNR of stored frames against unencoded ones, over the frames that the build sampled."""

    num_frames_sampled: int
    psnr_db_of_mean_error: float | None
    """10 log10(255^2 / mean squared error over all samples); None when lossless or nothing was sampled."""
    psnr_db_worst_frame: float | None

    def __post_init__(self) -> None:
        """Refuse one figure without the other: both come from the same samples."""
        if (self.psnr_db_of_mean_error is None) != (self.psnr_db_worst_frame is None):
            raise ValueError("psnr_db_of_mean_error and psnr_db_worst_frame are both numbers or both null")


def check_shards(shards: Iterable[ShardEntry], container: Container) -> None:
    """Raise ValueError unless the shards have the names of their rows, and hold frames."""
    num_shards = 0
    for shard_id, shard in enumerate(shards):
        if shard.name != (expected := shard_name(container, shard_id)):
            require_path_inside(shard.name)
            raise ValueError(f"shard {shard_id} must be {expected!r}, found {shard.name!r}")
        if shard.num_frames < 1:
            raise ValueError(f"{shard.name}: num_frames is {shard.num_frames}")
        num_shards += 1
    if not num_shards:
        raise ValueError("there are no shards")


def check_files(entries: Iterable[FileEntry], *, taken: str) -> None:
    """Raise ValueError unless all names are plain and different, and no size is impossible.

    `taken` is the name of the file that the entries stand in, which cannot list itself.
    """
    seen = {taken}
    total = 0
    for entry in entries:
        require_path_inside(entry.name)
        if not 0 <= entry.num_bytes <= MAX_FILE_BYTES:
            raise ValueError(f"{entry.name}: num_bytes is {entry.num_bytes}")
        if entry.name in seen:
            raise ValueError(f"{entry.name} is listed twice, or is the file that lists it")
        seen.add(entry.name)
        total += entry.num_bytes
    if total > MAX_STORE_BYTES:
        raise ValueError(f"the files have {total} bytes together, more than {MAX_STORE_BYTES}")


def require_path_inside(name: str) -> None:
    """Raise ValueError unless `name` is a plain relative path that stays inside the folder.

    A plain name has only ASCII letters, digits, dots, dashes and underscores, which no tool expands.

    >>> require_path_inside("shards/000000.tar")
    >>> require_path_inside("../secret")
    Traceback (most recent call last):
    ValueError: a file of the store must be a plain relative path, found '../secret'
    """
    if any(part in {".", ".."} or not _PLAIN_PART.fullmatch(part) for part in name.split("/")):
        raise ValueError(f"a file of the store must be a plain relative path, found {name!r}")


def require_sha256(key: str, value: str) -> None:
    """Raise ValueError unless `value`, which stands under `key`, is a SHA-256 in lower-case hex."""
    if not _SHA256.fullmatch(value):
        raise ValueError(f"{key} must be 64 hex digits, found {value[:100]!r}")


def describe_file(folder: Path, name: str) -> FileEntry:
    """The entry of the file `name` of a folder, which is read."""
    with (folder / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(name=name, num_bytes=file.tell(), sha256=digest)


def describe_files(folder: Path, *, except_for: set[str]) -> list[FileEntry]:
    """Entries of all files below `folder` by name, except for the names in `except_for`."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [describe_file(folder, name) for name in names if name not in except_for]
