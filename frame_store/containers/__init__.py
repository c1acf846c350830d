"""The two containers of frames, tar and Zarr: written, checked and read back (FORMAT.md 5 and 6)."""

from frame_store.containers.shard_rows import (
    read_side_array,
    side_array_names,
    tar_shard_rows,
    zarr_shard_rows,
)
from frame_store.containers.tar_check import check_tar_shard
from frame_store.containers.tar_writer import TarShardWriter
from frame_store.containers.writing import FrameRecord, ShardFile, ShardReceipt, ShardWriter
from frame_store.containers.zarr_check import (
    SIDE_ARRAYS,
    check_side_arrays,
    check_zarr_metadata,
    check_zarr_shard,
    frames_per_shard,
)
from frame_store.containers.zarr_writer import ZarrShardWriter, write_zarr_metadata

__all__ = [
    "SIDE_ARRAYS",
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
    "read_side_array",
    "side_array_names",
    "tar_shard_rows",
    "write_zarr_metadata",
    "zarr_shard_rows",
]
