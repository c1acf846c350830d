"""What a manifest lists: generations, cameras, and columns and content orders of stretches of a cache (FORMAT.md 3)."""

import re
from collections.abc import Sequence
from typing import Final

from frame_store.frame_findings import Record
from frame_store.manifest.records import MAX_FILE_BYTES, FileEntry, require_sha256
from frame_store.names import (
    CONTENT_ORDER_NAME,
    MAX_CAMERAS,
    camera_folder,
    columns_folder,
    content_folder,
    is_generation_folder,
)

MAX_VIDEOS: Final = 1 << 32
"""`video_id` has four bytes."""

_METHOD: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


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

    @property
    def end_frame(self) -> int:
        """The frame id, in the cache, behind its last frame."""
        return self.first_frame + self.num_frames

    @property
    def end_video(self) -> int:
        """The video_id, in the cache, behind its last video."""
        return self.first_video + self.num_videos


class ColumnsEntry(Record, frozen=True, kw_only=True):
    """The columns of some videos that follow each other: those of one built generation, or of several."""

    first_video: int
    """video_id, in the cache, of the first one."""
    num_videos: int
    folder: str
    """`columns-` and the first 16 hex digits of the digest."""
    digest: str
    """SHA-256, hex, of the bytes of its `columns.json`."""

    def __post_init__(self) -> None:
        """Refuse a folder that has not the name of its digest, and numbers that no stretch has."""
        require_sha256(f"digest of {self.folder[:100]}", self.digest)
        if self.folder != columns_folder(self.digest):
            raise ValueError(f"the folder must be {columns_folder(self.digest)}, found {self.folder[:100]!r}")
        _require_stretch(self.folder, "video", self.first_video, self.num_videos)


class ContentOrderEntry(Record, frozen=True, kw_only=True):
    """An order by content of some frames that follow each other: those of one built generation, or of several."""

    first_frame: int
    """Frame id, in the cache, of the first one. The ids in the file count from it. Of the first camera."""
    num_frames: int
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
        _require_stretch(self.folder, "frame", self.first_frame, self.num_frames)
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


class CameraEntry(Record, frozen=True, kw_only=True):
    """A camera of a cache: its name, its folder, and the generations in that folder."""

    name: str
    """Such as `observation.images.front`."""
    folder: str
    """`camera-` and two digits: its row in `cameras`."""
    generations: list[GenerationEntry]


def check_generations(generations: Sequence[GenerationEntry]) -> None:
    """Raise ValueError unless the generations follow each other, from frame 0 and video 0 on."""
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
        next_frame, next_video = entry.end_frame, entry.end_video
    if next_video > MAX_VIDEOS:
        raise ValueError(f"the number of videos is {next_video}, at most {MAX_VIDEOS} are read")


def check_cameras(generations: Sequence[GenerationEntry], cameras: Sequence[CameraEntry]) -> None:
    """Raise ValueError unless the cameras have names and folders of their own, and the same numbers of frames."""
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
        check_generations(camera.generations)
        found = [(entry.num_frames, entry.num_videos) for entry in camera.generations]
        if found != counts:
            raise ValueError(
                f"camera {camera.name[:100]!r} has (frames, videos) {found[:3]}, "
                f"camera {cameras[0].name[:100]!r} has {counts[:3]}"
            )


def check_stretches(what: str, stretches: Sequence[tuple[int, int]], *, end: int) -> None:
    """Raise ValueError unless stretches (first, number) follow each other from 0 to `end`, or there are none."""
    at = 0
    for first, number in stretches:
        if first != at:
            raise ValueError(f"{what} begin at {first}, expected {at}: they follow each other")
        at += number
    if stretches and at != end:
        raise ValueError(f"{what} end at {at}, expected {end}: they cover the whole cache, or there are none")


def _require_stretch(folder: str, unit: str, first: int, number: int) -> None:
    if first < 0 or number < 1:
        raise ValueError(f"{folder}: first_{unit} is {first}, num_{unit}s is {number}")
