"""The two containers of frames, tar and Zarr: written, checked and read back (FORMAT.md sections 5 and 6)."""

from frame_store.containers.open_shard import make_shard_writer
from frame_store.containers.shards import FrameRecord, ShardFile, ShardReceipt, ShardWriter
from frame_store.containers.tar import (
    FrameMetadata,
    TarShardWriter,
    check_tar_shard,
    image_member,
    image_suffix,
    tar_shard_rows,
)
from frame_store.containers.zarr import (
    SIDE_ARRAYS,
    ZarrShardWriter,
    check_side_arrays,
    check_zarr_metadata,
    check_zarr_shard,
    frames_per_shard,
    read_side_array,
    side_array_names,
    write_zarr_metadata,
    zarr_shard_rows,
)

__all__ = [
    "SIDE_ARRAYS",
    "FrameMetadata",
    "FrameRecord",
    "ShardFile",
    "ShardReceipt",
    "ShardWriter",
    "TarShardWriter",
    "ZarrShardWriter",
    "check_side_arrays",
    "check_tar_shard",
    "check_zarr_metadata",
    "check_zarr_shard",
    "frames_per_shard",
    "image_member",
    "image_suffix",
    "make_shard_writer",
    "read_side_array",
    "side_array_names",
    "tar_shard_rows",
    "write_zarr_metadata",
    "zarr_shard_rows",
]
