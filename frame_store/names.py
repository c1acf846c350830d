"""Names, versions and little-endian dtypes of the store on disk (FORMAT.md sections 2 and 4)."""

import re
from typing import Final, Literal, TypeAlias

import numpy as np

FORMAT_NAME: Final = "frame-cache"
FORMAT_VERSION: Final = 1

GENERATION_NAME: Final = "generation.json"
VIDEOS_NAME: Final = "videos.jsonl"
INDEX_NAME: Final = "index.npy"
TAR_SHARD_FOLDER: Final = "shards"
ZARR_FOLDER: Final = "frames.zarr"

COLUMNS_NAME: Final = "columns.json"
CONTENT_ORDER_NAME: Final = "content_order.npy"

_FINGERPRINT_DIGITS: Final = 16
_GENERATION_FOLDER: Final = re.compile(rf"gen-[0-9a-f]{{{_FINGERPRINT_DIGITS}}}")
_COLUMNS_FOLDER: Final = re.compile(rf"columns-[0-9a-f]{{{_FINGERPRINT_DIGITS}}}")
_CONTENT_FOLDER: Final = re.compile(rf"content-[0-9a-f]{{{_FINGERPRINT_DIGITS}}}")
_CAMERA_FOLDER: Final = re.compile(r"camera-[0-9]{2}")
_MANIFEST: Final = re.compile(r"manifest-([0-9]{4,9})\.json")

Container = Literal["wds", "zarr"]
Verdict = Literal["whole", "damaged", "unreadable"]

PixelName = Literal["rgb8", "gray16"]
"""What a stored pixel is: `rgb8` is three uint8 (red, green, blue), `gray16` one uint16 (depth, infrared)."""

NUM_CHANNELS: Final[dict[PixelName, int]] = {"rgb8": 3, "gray16": 1}
PixelDtype: TypeAlias = np.dtype[np.uint8 | np.uint16]
PIXEL_DTYPE: Final[dict[PixelName, PixelDtype]] = {
    "rgb8": np.dtype("u1"),
    "gray16": np.dtype("<u2"),
}

MAX_CAMERAS: Final = 100

INDEX_DTYPE: Final = np.dtype(
    [
        ("video_id", "<u4"),
        ("frame_in_video", "<u4"),
        ("pts_seconds", "<f8"),
        ("shard_id", "<u4"),
        ("slot", "<u4"),
        ("byte_offset", "<u8"),
        ("byte_length", "<u4"),
        ("crc32c", "<u4"),
    ]
)
"""A row per frame in disk order: row i describes frame id i. 40 bytes a row."""


def manifest_name(version: int) -> str:
    """Name of the manifest of a version, inside the cache.

    >>> manifest_name(7)
    'manifest-0007.json'
    """
    return f"manifest-{version:04d}.json"


def manifest_version(name: str) -> int | None:
    """The version in the name of a manifest; None for any other name.

    >>> manifest_version("manifest-0007.json"), manifest_version("manifest-00007.json")
    (7, None)
    """
    match = _MANIFEST.fullmatch(name)
    if match is None or manifest_name(int(match.group(1))) != name:
        return None
    return int(match.group(1))


def generation_folder(fingerprint: str) -> str:
    """Name of the folder of a generation, inside the cache.

    >>> generation_folder("0123456789abcdef" * 4)
    'gen-0123456789abcdef'
    """
    return f"gen-{fingerprint[:_FINGERPRINT_DIGITS]}"


def is_generation_folder(name: str) -> bool:
    """Whether a name is that of a generation's folder."""
    return _GENERATION_FOLDER.fullmatch(name) is not None


def columns_folder(digest: str) -> str:
    """Name of a folder of columns, inside the cache; `digest` is the SHA-256 of its `columns.json`.

    >>> columns_folder("0123456789abcdef" * 4)
    'columns-0123456789abcdef'
    """
    return f"columns-{digest[:_FINGERPRINT_DIGITS]}"


def is_columns_folder(name: str) -> bool:
    """Whether a name is that of a folder of columns."""
    return _COLUMNS_FOLDER.fullmatch(name) is not None


def content_folder(sha256: str) -> str:
    """Name of the folder of a content order, inside the cache; `sha256` is that of its file.

    >>> content_folder("0123456789abcdef" * 4)
    'content-0123456789abcdef'
    """
    return f"content-{sha256[:_FINGERPRINT_DIGITS]}"


def is_content_folder(name: str) -> bool:
    """Whether a name is that of the folder of a content order."""
    return _CONTENT_FOLDER.fullmatch(name) is not None


def camera_folder(number: int) -> str:
    """Name of the folder of a camera, inside a cache of cameras.

    >>> camera_folder(7)
    'camera-07'
    """
    return f"camera-{number:02d}"


def is_camera_folder(name: str) -> bool:
    """Whether a name is that of a camera's folder."""
    return _CAMERA_FOLDER.fullmatch(name) is not None


def frame_key(frame_id: int) -> str:
    """Tar member stem and `__key__` of a frame: 12 decimal digits, no dot.

    >>> frame_key(123)
    '000000000123'
    """
    return f"{frame_id:012d}"


def tar_shard_name(shard_id: int) -> str:
    """Path of a tar shard inside its generation.

    >>> tar_shard_name(7)
    'shards/000007.tar'
    """
    return f"{TAR_SHARD_FOLDER}/{shard_id:06d}.tar"


def zarr_shard_name(shard_id: int) -> str:
    """Path of a Zarr shard inside its generation (Zarr v3 default chunk keys).

    >>> zarr_shard_name(7)
    'frames.zarr/frames/c/7/0/0/0'
    """
    return f"{ZARR_FOLDER}/frames/c/{shard_id}/0/0/0"


def shard_name(container: Container, shard_id: int) -> str:
    """Path of a shard inside a generation of that container."""
    return tar_shard_name(shard_id) if container == "wds" else zarr_shard_name(shard_id)
