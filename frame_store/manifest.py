"""`manifest.json`: what a cache holds, and hashes to check it (FORMAT.md section 3)."""

import errno
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from frame_store.errors import StoreDamagedError, StoreError, StoreFormatError, StoreNotFoundError
from frame_store.files import read_inside
from frame_store.frame_findings import FrameFindings, Record
from frame_store.names import (
    FORMAT_NAME,
    FORMAT_VERSION,
    INDEX_NAME,
    MANIFEST_NAME,
    Container,
    Verdict,
    shard_name,
)
from frame_store.not_a_cache import explain_no_cache
from frame_store.shared import counted, raise_if_out_of_files
from frame_store.video_table import VideoRow

EncodingName = Literal["jpeg", "raw", "zstd"]
ChromaSubsampling = Literal["444", "420"]
Layout = Literal["shuffled", "video"]

MAX_MANIFEST_BYTES: Final = 1 << 29
"""512 MiB, enough for some 300,000 videos."""

MIN_BYTES_PER_VALUE: Final = 10
"""Indented JSON of named fields has 25 or more. An empty list takes 3 bytes of text and 60 in memory. Denser text is
refused, so that a parsed manifest takes at most some ten times the size of the file."""

MAX_FRAME_SIDE: Final = 8192
MAX_FILE_BYTES: Final = 1 << 48
MAX_STORE_BYTES: Final = 1 << 60
_DIGEST_LINE: Final = re.compile(rb',\n "digest": "([0-9a-f]{64})"\n}\n')
_DIGEST_LINE_BYTES: Final = 82
_PLAIN_PART: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")

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
    """A file of the store with its size and hash."""

    name: str
    """Path inside the store, forward slashes."""
    num_bytes: int
    sha256: str


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


class VideoEntry(Record, frozen=True, kw_only=True):
    """A row of the table of videos; `video_id` is its position."""

    path: str
    """Relative to the videos' folder, forward slashes."""
    verdict: Verdict
    reason: str | None
    """Why the video is not whole; None for whole videos."""
    notes: list[str]
    """Differences that are not damage: counts of the header or of packets that decoding did not confirm."""
    num_bytes: int | None
    sha256: str | None
    num_frames_in_header: int | None
    num_packets: int | None
    num_frames_decoded: int
    num_frames_stored: int
    num_frames_corrupt: int
    num_decoder_errors: int
    pts_monotonic: bool | None
    """Whether pts rises strictly in output order; None where the stream has no pts."""
    fidelity: Fidelity | None
    findings: FrameFindings | None
    """What decoding found out about the frames; None where nothing was decoded."""
    facts: dict[str, JsonValue]
    """The scan's other facts (codec, size, colour, how frames are to be shown, time base), informative."""

    @property
    def row(self) -> VideoRow:
        """What every store tells about a video."""
        facts: dict[str, Any] = self.facts
        rate = facts.get("average_rate")
        return VideoRow(
            path=self.path,
            verdict=self.verdict,
            num_frames_stored=self.num_frames_stored,
            num_frames_decoded=self.num_frames_decoded,
            width=facts.get("width"),
            height=facts.get("height"),
            fps=rate[0] / rate[1] if rate else None,
            duration_seconds=facts.get("end_seconds_of_packets"),
            transfer=facts.get("color_transfer"),
            sha256=self.sha256,
        )


class StoreManifest(Record, frozen=True, kw_only=True):
    """What a reader needs beside `index.npy` and the shards."""

    format: str
    format_version: int
    container: Container
    frame_shape: tuple[int, int, int]
    """(H, W, 3), uint8, RGB."""
    encoding: Encoding
    layout: Layout
    seed: int
    num_frames: int
    config: dict[str, JsonValue]
    """The resolved build configuration, informative."""
    library_versions: dict[str, str]
    fidelity: Fidelity | None
    shards: list[ShardEntry]
    files: list[FileEntry]
    """Every other file of the store except the manifest itself."""
    videos: list[VideoEntry]
    fingerprint: str
    """SHA-256 of the inputs and the configuration."""

    def __post_init__(self) -> None:
        """Cross-check the fields (FORMAT.md section 3.2)."""
        if self.format != FORMAT_NAME:
            raise ValueError(f"format must be {FORMAT_NAME!r}, found {self.format!r}")
        height, width, channels = self.frame_shape
        if not (1 <= height <= MAX_FRAME_SIDE and 1 <= width <= MAX_FRAME_SIDE and channels == 3):
            raise ValueError(
                f"frame_shape must be [H, W, 3], found {list(self.frame_shape)}; H and W are 1..{MAX_FRAME_SIDE}"
            )
        if (self.container, self.encoding.name) in {("wds", "zstd"), ("zarr", "jpeg")}:
            raise ValueError(f"{self.container} does not take {self.encoding.name}")
        for video_id, video in enumerate(self.videos):
            if video.num_frames_stored < 0:
                raise ValueError(f"video {video_id}: num_frames_stored is {video.num_frames_stored}")
        _check_shards(self.shards, self.container)
        num_in_shards = sum(shard.num_frames for shard in self.shards)
        num_in_videos = sum(video.num_frames_stored for video in self.videos)
        if not self.num_frames == num_in_shards == num_in_videos:
            raise ValueError(
                f"num_frames is {self.num_frames}, the shards hold {num_in_shards}, the videos {num_in_videos}"
            )
        _check_files([*self.shards, *self.files])


def _check_shards(shards: Iterable[ShardEntry], container: Container) -> None:
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


def _check_files(entries: Iterable[FileEntry]) -> None:
    seen = {MANIFEST_NAME}
    total = 0
    for entry in entries:
        require_path_inside(entry.name)
        if not 0 <= entry.num_bytes <= MAX_FILE_BYTES:
            raise ValueError(f"{entry.name}: num_bytes is {entry.num_bytes}")
        if entry.name in seen:
            raise ValueError(f"{entry.name} is listed twice, or is the manifest itself")
        seen.add(entry.name)
        total += entry.num_bytes
    if total > MAX_STORE_BYTES:
        raise ValueError(f"the files have {total} bytes together, more than {MAX_STORE_BYTES}")


def require_path_inside(name: str) -> None:
    """Raise ValueError unless `name` is a plain relative path that stays inside the store.

    A plain name has only ASCII letters, digits, dots, dashes and underscores, which no tool expands.

    >>> require_path_inside("shards/000000.tar")
    >>> require_path_inside("../secret")
    Traceback (most recent call last):
    ValueError: a file of the store must be a plain relative path, found '../secret'
    """
    if any(part in {".", ".."} or not _PLAIN_PART.fullmatch(part) for part in name.split("/")):
        raise ValueError(f"a file of the store must be a plain relative path, found {name!r}")


def describe_files(store_path: Path, *, except_for: set[str]) -> list[FileEntry]:
    """Entries of all files below `store_path` by name, except for the manifest and the names in `except_for`."""
    entries = []
    for path in sorted(path for path in store_path.rglob("*") if path.is_file()):
        name = path.relative_to(store_path).as_posix()
        if name != MANIFEST_NAME and name not in except_for:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            entries.append(FileEntry(name=name, num_bytes=path.stat().st_size, sha256=digest))
    return entries


def encode_manifest(manifest: StoreManifest) -> bytes:
    """JSON with its own digest at the end (FORMAT.md section 3.1). Equal manifests give equal bytes."""
    body = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    body = body.removesuffix(b"\n}")
    return body + b',\n "digest": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def decode_manifest(raw: bytes | bytearray, *, name: str = MANIFEST_NAME) -> StoreManifest:
    """Parse and check the bytes of a manifest.

    Raises:
        StoreFormatError: unknown version, wrong digest, a missing, unknown or ill-typed key.
    """
    try:
        version = msgspec.json.decode(raw, type=_VersionOnly)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreFormatError(f"{name}: not a frame-cache manifest: {error}") from error
    if version.format != FORMAT_NAME:
        raise StoreFormatError(f"{name}: format must be {FORMAT_NAME!r}, found {version.format[:100]!r}")
    if version.format_version != FORMAT_VERSION:
        raise StoreFormatError(
            f"{name}: format version {version.format_version} is not supported, this reader knows "
            f"{FORMAT_VERSION}; use the frame-cache release that wrote it, or build again"
        )
    match = _DIGEST_LINE.fullmatch(raw, max(0, len(raw) - _DIGEST_LINE_BYTES))
    if match is None:
        raise StoreFormatError(f"{name}: its last key must be the digest; the file was cut or edited")
    expected = bytes(match.group(1)).decode()
    body = bytearray(memoryview(raw)[: len(raw) - _DIGEST_LINE_BYTES])
    found = hashlib.sha256(body).hexdigest()
    if found != expected:
        raise StoreFormatError(
            f"{name}: the digest is {expected[:16]}..., but the content has {found[:16]}...; the file was altered"
        )
    num_values = sum(body.count(mark) for mark in (b",", b"[", b"{"))
    if num_values > 1000 + len(body) // MIN_BYTES_PER_VALUE:
        raise StoreFormatError(
            f"{name}: {counted(num_values, 'value')} in {counted(len(body), 'byte')}, more than any manifest has"
        )
    body += b"\n}"
    try:
        return msgspec.json.decode(body, type=StoreManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreFormatError(f"{name}: {error}") from error


class _VersionOnly(msgspec.Struct):
    """The two fields that are read before the rest of a manifest."""

    format: str
    format_version: int


def read_manifest(store_path: Path) -> StoreManifest:
    """The manifest of the store at `store_path`.

    Raises:
        StoreNotFoundError: the path holds no cache; the message states what it holds instead, and the remedy.
        StoreFormatError: as `decode_manifest`. Also: the manifest has more than 512 MiB, is a symbolic link or is not a
            file, or only the manifest of a cache is missing.
        StoreDamagedError: the disk cannot read the manifest.
        OSError: no more files can be opened.
    """
    path = store_path / MANIFEST_NAME
    try:
        raw = read_inside(store_path, MANIFEST_NAME, max_bytes=MAX_MANIFEST_BYTES)
    except OSError as error:
        raise_if_out_of_files(error)
        raise _no_manifest(store_path, error) from error
    except MemoryError as error:
        raise StoreFormatError(f"{path}: takes more memory than the machine has") from error
    return decode_manifest(raw, name=str(path))


_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG})
_REFUSED: Final = frozenset({errno.ELOOP, errno.EFBIG, errno.EINVAL})


def _no_manifest(store_path: Path, error: OSError) -> StoreError:
    """The error to raise where the manifest of `store_path` could not be read."""
    path = store_path / MANIFEST_NAME
    is_folder = os.path.isdir(store_path)  # noqa: PTH112 - pathlib's version raises where it may not look
    if error.errno == errno.ENOENT and os.path.isfile(store_path / INDEX_NAME):  # noqa: PTH113
        return StoreFormatError(f"{path}: is missing, and the rest of a cache is there; copy it again")
    if error.errno in _NOT_THERE or not is_folder:
        return StoreNotFoundError(explain_no_cache(store_path, error=error))
    kind = StoreFormatError if error.errno in _REFUSED else StoreDamagedError
    return kind(f"{path}: {error.strerror}")
