"""Names, versions and little-endian dtypes of the store on disk (FORMAT.md sections 2 and 4)."""

from typing import Final, Literal

import numpy as np

FORMAT_NAME: Final = "frame-cache"
FORMAT_VERSION: Final = 1

MANIFEST_NAME: Final = "manifest.json"
INDEX_NAME: Final = "index.npy"
TAR_SHARD_FOLDER: Final = "shards"
ZARR_FOLDER: Final = "frames.zarr"

Container = Literal["wds", "zarr"]
Verdict = Literal["whole", "damaged", "unreadable"]

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


def frame_key(frame_id: int) -> str:
    """Tar member stem and `__key__` of a frame: 12 decimal digits, no dot.

    >>> frame_key(123)
    '000000000123'
    """
    return f"{frame_id:012d}"


def tar_shard_name(shard_id: int) -> str:
    """Path of a tar shard inside the store.

    >>> tar_shard_name(7)
    'shards/000007.tar'
    """
    return f"{TAR_SHARD_FOLDER}/{shard_id:06d}.tar"


def zarr_shard_name(shard_id: int) -> str:
    """Path of a Zarr shard inside the store (Zarr v3 default chunk keys).

    >>> zarr_shard_name(7)
    'frames.zarr/frames/c/7/0/0/0'
    """
    return f"{ZARR_FOLDER}/frames/c/{shard_id}/0/0/0"


def shard_name(container: Container, shard_id: int) -> str:
    """Path of a shard inside a store of that container."""
    return tar_shard_name(shard_id) if container == "wds" else zarr_shard_name(shard_id)
