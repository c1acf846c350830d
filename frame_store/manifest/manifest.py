"""`manifest-0000.json`: the generations that a cache consists of (FORMAT.md section 3)."""

import errno
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from frame_store.errors import StoreDamagedError, StoreError, StoreFormatError, StoreNotFoundError
from frame_store.files import read_inside
from frame_store.frame_findings import Record
from frame_store.manifest.content_orders import ContentOrderEntry, check_content_orders
from frame_store.manifest.records import require_sha256
from frame_store.manifest.signed_json import decode_signed, encode_signed
from frame_store.names import (
    FORMAT_NAME,
    FORMAT_VERSION,
    MAX_CAMERAS,
    camera_folder,
    columns_folder,
    is_camera_folder,
    is_columns_folder,
    is_content_folder,
    is_generation_folder,
    manifest_name,
    manifest_version,
)
from frame_store.not_a_cache import explain_no_cache, is_cache
from frame_store.shared import raise_if_out_of_files, without_controls

MAX_MANIFEST_BYTES: Final = 1 << 24
"""16 MiB, enough for some 40,000 generations."""

_CALLED_A_MANIFEST: Final = re.compile(r"manifest-.*\.json", re.DOTALL)


class GenerationEntry(Record, frozen=True, kw_only=True):
    """A generation of the cache: its folder, and which frames and videos of the cache it holds."""

    folder: str
    """`gen-` and the first 16 hex digits of the generation's fingerprint."""
    digest: str
    """SHA-256, hex, of the bytes of its `generation.json`."""
    first_frame: int
    """Frame id, in the cache, of its frame 0."""
    num_frames: int
    first_video: int
    """video_id, in the cache, of its video 0."""
    num_videos: int

    def __post_init__(self) -> None:
        """Refuse names that are not those of a generation, and numbers that no generation has."""
        if not is_generation_folder(self.folder):
            raise ValueError(
                f"the folder of a generation is gen- and 16 hex digits, found {self.folder[:100]!r}"
            )
        require_sha256(f"digest of {self.folder}", self.digest)
        if self.num_frames < 1 or self.num_videos < 1:
            raise ValueError(
                f"{self.folder}: num_frames is {self.num_frames}, num_videos is {self.num_videos}; both are 1 or more"
            )


class ColumnsEntry(Record, frozen=True, kw_only=True):
    """The columns of a generation."""

    generation: str
    """Folder of the generation; in a cache of cameras, that of the first camera."""
    folder: str
    """`columns-` and the first 16 hex digits of the digest."""
    digest: str
    """SHA-256, hex, of the bytes of its `columns.json`."""

    def __post_init__(self) -> None:
        """Refuse a folder that has not the name of its digest."""
        require_sha256(f"digest of {self.folder[:100]}", self.digest)
        if self.folder != columns_folder(self.digest):
            raise ValueError(f"the folder must be {columns_folder(self.digest)}, found {self.folder[:100]!r}")


class CameraEntry(Record, frozen=True, kw_only=True):
    """A camera of a cache: its name, its folder, and the generations in that folder."""

    name: str
    """Such as `observation.images.front`."""
    folder: str
    """`camera-` and two digits: its row in `cameras`."""
    generations: list[GenerationEntry]


class CacheManifest(Record, frozen=True, kw_only=True):
    """Which generations a version of a cache consists of. All else is in the files of the generations."""

    format: str
    format_version: int
    version: int
    """The number in the name of the file: 0 for a fresh cache."""
    generations: list[GenerationEntry]
    """Empty in a cache of cameras, where each camera has its own."""
    cameras: list[CameraEntry]
    """Empty in a cache without cameras. All cameras have the same videos, with the same numbers of frames."""
    forgotten_videos: list[int]
    superseded: list[str]
    """Folders of columns and of content orders that earlier versions name, and this one does not."""
    columns: list[ColumnsEntry]
    """In the order of generations; empty without columns."""
    content_orders: list[ContentOrderEntry]
    """In the order of generations; empty without a content order."""

    def __post_init__(self) -> None:
        """Cross-check the fields (FORMAT.md section 3.4)."""
        _check_version(self.format, self.format_version)
        if self.cameras:
            _check_cameras(self.generations, self.cameras)
        else:
            _check_generations(self.generations)
        if self.forgotten_videos:
            raise ValueError("forgotten_videos is not empty, and this release reads none; use a newer one")
        generations = [entry.folder for entry in self.counted_generations]
        if self.columns and [entry.generation for entry in self.columns] != generations:
            raise ValueError("columns must list every generation once, in their order, or none")
        check_content_orders(self.content_orders, generations)
        if len(set(self.superseded)) < len(self.superseded):
            raise ValueError("superseded lists a folder twice")
        in_use = {*_folders(self.columns), *_folders(self.content_orders)}
        for folder in self.superseded:
            if folder in in_use or not (is_columns_folder(folder) or is_content_folder(folder)):
                raise ValueError(
                    f"superseded lists {folder[:100]!r}, which is no superseded folder of columns or of a content order"
                )

    @property
    def counted_generations(self) -> list[GenerationEntry]:
        """The generations that count the frames: of a cache of cameras, those of the first camera."""
        return self.cameras[0].generations if self.cameras else self.generations

    @property
    def num_frames(self) -> int:
        """Frames of all generations; of a cache of cameras, those of one camera."""
        return sum(entry.num_frames for entry in self.counted_generations)

    @property
    def num_videos(self) -> int:
        """Videos of all generations; of a cache of cameras, those of one camera."""
        return sum(entry.num_videos for entry in self.counted_generations)


def _folders(entries: Sequence[ColumnsEntry] | Sequence[ContentOrderEntry]) -> list[str]:
    return [entry.folder for entry in entries]


def _check_generations(generations: Sequence[GenerationEntry]) -> None:
    if not generations:
        raise ValueError("there are no generations")
    if len({entry.folder for entry in generations}) < len(generations):
        raise ValueError("a generation is listed twice")
    next_frame = next_video = 0
    for entry in generations:
        if (entry.first_frame, entry.first_video) != (next_frame, next_video):
            raise ValueError(
                f"{entry.folder}: begins with frame {entry.first_frame} and video {entry.first_video}, "
                f"expected frame {next_frame} and video {next_video}"
            )
        next_frame += entry.num_frames
        next_video += entry.num_videos


def _check_cameras(generations: Sequence[GenerationEntry], cameras: Sequence[CameraEntry]) -> None:
    if generations:
        raise ValueError(
            "a cache of cameras has its generations under cameras, found some in generations, too"
        )
    if len(cameras) > MAX_CAMERAS:
        raise ValueError(f"there are {len(cameras)} cameras, at most {MAX_CAMERAS} are read")
    if len({camera.name for camera in cameras}) < len(cameras):
        raise ValueError("two cameras have the same name")
    counts = [(entry.num_frames, entry.num_videos) for entry in cameras[0].generations]
    for number, camera in enumerate(cameras):
        if camera.folder != camera_folder(number):
            raise ValueError(
                f"camera {number} must have the folder {camera_folder(number)}, found {camera.folder[:100]!r}"
            )
        _check_generations(camera.generations)
        found = [(entry.num_frames, entry.num_videos) for entry in camera.generations]
        if found != counts:
            raise ValueError(
                f"camera {camera.name[:100]!r} has (frames, videos) {found[:3]}, "
                f"camera {cameras[0].name[:100]!r} has {counts[:3]}"
            )


def fresh_manifest(
    generations: Mapping[str | None, GenerationEntry] | GenerationEntry,
    *,
    columns: Sequence[ColumnsEntry] = (),
    content_orders: Sequence[ContentOrderEntry] = (),
) -> CacheManifest:
    """The first manifest of a cache of one generation, or, by the names of its cameras, of one for each camera.

    A single name None stands for a cache without cameras.
    """
    if isinstance(generations, GenerationEntry):
        generations = {None: generations}
    cameras = [(name, entry) for name, entry in generations.items() if name is not None]
    return CacheManifest(
        format=FORMAT_NAME,
        format_version=FORMAT_VERSION,
        version=0,
        generations=[entry for name, entry in generations.items() if name is None],
        cameras=[
            CameraEntry(name=name, folder=camera_folder(number), generations=[entry])
            for number, (name, entry) in enumerate(cameras)
        ],
        forgotten_videos=[],
        superseded=[],
        columns=[*columns],
        content_orders=[*content_orders],
    )


def next_manifest(
    before: CacheManifest,
    *,
    columns: Sequence[ColumnsEntry] | None = None,
    content_orders: Sequence[ContentOrderEntry] | None = None,
) -> CacheManifest:
    """The next version of a manifest, with other columns or other content orders; None keeps them.

    Folders that it no longer names become superseded ones.
    """
    columns = before.columns if columns is None else [*columns]
    content_orders = before.content_orders if content_orders is None else [*content_orders]
    in_use = {*_folders(columns), *_folders(content_orders)}
    named = [*before.superseded, *_folders(before.columns), *_folders(before.content_orders)]
    return msgspec.structs.replace(
        before,
        version=before.version + 1,
        columns=[*columns],
        content_orders=[*content_orders],
        superseded=[folder for folder in dict.fromkeys(named) if folder not in in_use],
    )


def encode_manifest(manifest: CacheManifest) -> bytes:
    """The bytes of a manifest. Equal manifests give equal bytes."""
    return encode_signed(manifest)


class _VersionOnly(msgspec.Struct):
    """The two fields that are read before the rest of a manifest."""

    format: str
    format_version: int


def decode_manifest(raw: bytes | bytearray, *, version: int = 0, name: str | None = None) -> CacheManifest:
    """Parse and check the bytes of the manifest of that version. Errors begin with `name`, a path or its file name.

    Raises:
        StoreFormatError: unknown version, wrong digest, a missing, unknown or ill-typed key.
    """
    name = manifest_name(version) if name is None else name
    try:
        found = msgspec.json.decode(raw, type=_VersionOnly)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreFormatError(f"{name}: not a frame-cache manifest: {error}") from error
    try:
        _check_version(found.format, found.format_version)
    except ValueError as error:
        raise StoreFormatError(f"{name}: {error}") from error
    manifest = decode_signed(raw, CacheManifest, name=name)
    if manifest.version != version:
        raise StoreFormatError(f"{name}: version is {manifest.version}, the name says {version}")
    return manifest


def _check_version(format_name: str, format_version: int) -> None:
    if format_name != FORMAT_NAME:
        raise ValueError(f"format must be {FORMAT_NAME!r}, found {format_name[:100]!r}")
    if format_version != FORMAT_VERSION:
        raise ValueError(
            f"format version {format_version} is not supported, this reader knows "
            f"{FORMAT_VERSION}; use the frame-cache release that wrote it, or build again"
        )


def read_manifest(store_path: Path, *, version: int | None = None) -> CacheManifest:
    """The newest manifest of the cache at `store_path`, or the one of that version.

    Raises:
        StoreNotFoundError: the path holds no cache; the message states what it holds instead, and the remedy.
        StoreFormatError: as `decode_manifest`. Also: the manifest has more than 16 MiB, is a symbolic link or is not a
            file; a manifest is missing, while a later one or a generation is there; a file has a name like that of a
            manifest.
        StoreDamagedError: the disk cannot read the manifest.
        OSError: no more files can be opened.
    """
    try:
        if version is None:
            version = _newest_version(store_path)
        raw = read_inside(store_path, manifest_name(version), max_bytes=MAX_MANIFEST_BYTES)
    except OSError as error:
        raise_if_out_of_files(error)
        raise _no_manifest(store_path, version or 0, error) from error
    return decode_manifest(raw, version=version, name=str(store_path / manifest_name(version)))


def _newest_version(store_path: Path) -> int:
    """The highest version of a manifest in a folder; 0 if there is none.

    Raises:
        StoreFormatError: a version below it is missing, or a file has a name like that of a manifest.
        OSError: the folder cannot be listed.
    """
    versions = set()
    with os.scandir(store_path) as entries:
        for entry in entries:
            if _CALLED_A_MANIFEST.fullmatch(entry.name):
                version = manifest_version(entry.name)
                if version is None:
                    raise StoreFormatError(
                        f"{store_path / without_controls(entry.name)}: is not the name of a manifest, which is like "
                        f"{manifest_name(0)}; move it away"
                    )
                versions.add(version)
    newest = max(versions, default=0)
    missing = next((version for version in range(newest) if version not in versions), None)
    if missing is not None:
        raise StoreFormatError(
            f"{store_path / manifest_name(missing)}: is missing, and {manifest_name(newest)} is there; "
            "copy the cache again"
        )
    return newest


_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG})
_REFUSED: Final = frozenset({errno.ELOOP, errno.EFBIG, errno.EINVAL})


def _no_manifest(store_path: Path, version: int, error: OSError) -> StoreError:
    """The error to raise where the manifest of `store_path` could not be read."""
    path = store_path / manifest_name(version)
    is_folder = os.path.isdir(store_path)  # noqa: PTH112 - pathlib's version raises where it may not look
    if error.errno == errno.ENOENT and is_folder and _is_without_manifest(store_path):
        return StoreFormatError(f"{path}: is missing, and the rest of a cache is there; copy it again")
    if error.errno in _NOT_THERE or not is_folder:
        return StoreNotFoundError(explain_no_cache(store_path, error=error))
    kind = StoreFormatError if error.errno in _REFUSED else StoreDamagedError
    return kind(f"{path}: {error.strerror}")


def _is_without_manifest(store_path: Path) -> bool:
    """Whether a folder is the rest of a cache, and not a camera of a whole one."""
    if is_camera_folder(store_path.name) and is_cache(store_path.absolute().parent):
        return False
    try:
        with os.scandir(store_path) as entries:
            return any(is_generation_folder(entry.name) or is_camera_folder(entry.name) for entry in entries)
    except OSError:
        return False


def only_generation(generations: Sequence[GenerationEntry], *, name: str) -> GenerationEntry:
    """The generation of a cache that has one, as this release reads it.

    Raises:
        StoreFormatError: there are several.
    """
    if len(generations) != 1:
        raise StoreFormatError(
            f"{name}: the cache has {len(generations)} generations, and this release reads caches of one; "
            "use a newer release"
        )
    return generations[0]
