"""`manifest-0000.json`: the generations that a cache consists of (FORMAT.md section 3)."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from frame_store.errors import StoreFormatError
from frame_store.frame_findings import Record
from frame_store.manifest.entries import (
    CameraEntry,
    ColumnsEntry,
    ContentOrderEntry,
    GenerationEntry,
    check_cameras,
    check_generations,
    check_stretches,
)
from frame_store.manifest.signed_json import decode_signed, encode_signed
from frame_store.names import (
    FORMAT_NAME,
    FORMAT_VERSION,
    camera_folder,
    is_camera_folder,
    is_columns_folder,
    is_content_folder,
    is_generation_folder,
    manifest_name,
)
from frame_store.shared import counted


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
    """video_ids, ascending, of videos that readers leave out. Their frames keep their ids."""
    superseded: list[str]
    """Folders, inside the cache, that earlier versions name and this one does not."""
    columns: list[ColumnsEntry]
    """Of all videos, in their order; empty without columns."""
    content_orders: list[ContentOrderEntry]
    """Of all frames, in their order; empty without a content order."""

    def __post_init__(self) -> None:
        """Cross-check the fields (FORMAT.md section 3.4)."""
        _check_version(self.format, self.format_version)
        if self.cameras:
            check_cameras(self.generations, self.cameras)
        else:
            check_generations(self.generations)
        forgotten = self.forgotten_videos
        if any(later <= earlier for earlier, later in zip([-1, *forgotten], forgotten, strict=False)):
            raise ValueError("forgotten_videos must be ascending video_ids")
        if forgotten and forgotten[-1] >= self.num_videos:
            raise ValueError(
                f"forgotten_videos has {forgotten[-1]}, there are {counted(self.num_videos, 'video')}"
            )
        check_stretches(
            "videos of columns",
            [(entry.first_video, entry.num_videos) for entry in self.columns],
            end=self.num_videos,
        )
        check_stretches(
            "frames of content_orders",
            [(entry.first_frame, entry.num_frames) for entry in self.content_orders],
            end=self.num_frames,
        )
        ends_of_columns = {entry.first_video + entry.num_videos for entry in self.columns}
        if self.columns and not {entry.end_video for entry in self.counted_generations} <= ends_of_columns:
            raise ValueError("columns of one folder go over the end of a generation")
        if len(set(self.superseded)) < len(self.superseded):
            raise ValueError("superseded lists a folder twice")
        in_use = set(self.folders)
        for folder in self.superseded:
            if folder in in_use or not _can_be_superseded(folder):
                raise ValueError(f"superseded lists {folder[:100]!r}, which is no superseded folder")

    @property
    def folders(self) -> list[str]:
        """Every folder that this version names, inside the cache: `gen-...`, `camera-00/gen-...`, `columns-...`."""
        return [
            *(entry.folder for entry in self.generations),
            *(f"{camera.folder}/{entry.folder}" for camera in self.cameras for entry in camera.generations),
            *(entry.folder for entry in self.columns),
            *(entry.folder for entry in self.content_orders),
        ]

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


def _can_be_superseded(folder: str) -> bool:
    """Whether it is the folder of a generation, of columns or of a content order, inside a cache."""
    camera, _, name = folder.rpartition("/")
    if camera:
        return is_camera_folder(camera) and is_generation_folder(name)
    return is_generation_folder(name) or is_columns_folder(name) or is_content_folder(name)


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
    generations: Mapping[str | None, Sequence[GenerationEntry]] | None = None,
    columns: Sequence[ColumnsEntry] | None = None,
    content_orders: Sequence[ContentOrderEntry] | None = None,
    forgotten_videos: Iterable[int] | None = None,
) -> CacheManifest:
    """The next version of a manifest, with what is given in place of what it had; None keeps it.

    `generations` has all generations of each camera by its name; a single name None stands for a cache without cameras.
    Folders that the new version no longer names become superseded ones.
    """
    after = msgspec.structs.replace(
        before,
        version=before.version + 1,
        generations=before.generations if generations is None else [*generations.get(None, [])],
        cameras=[
            camera
            if generations is None
            else msgspec.structs.replace(camera, generations=[*generations[camera.name]])
            for camera in before.cameras
        ],
        columns=before.columns if columns is None else [*columns],
        content_orders=before.content_orders if content_orders is None else [*content_orders],
        forgotten_videos=(
            before.forgotten_videos if forgotten_videos is None else sorted(set(forgotten_videos))
        ),
        superseded=[],
    )
    in_use = set(after.folders)
    named = dict.fromkeys([*before.superseded, *before.folders])
    return msgspec.structs.replace(after, superseded=[folder for folder in named if folder not in in_use])


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
