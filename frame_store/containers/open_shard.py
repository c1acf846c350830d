"""What appends frames to a shard of either container."""

from frame_store.containers.shards import ShardFile, ShardWriter
from frame_store.containers.tar import TarShardWriter
from frame_store.containers.zarr import ZarrShardWriter
from frame_store.manifest import Encoding, FramesPerShard
from frame_store.names import Container, PixelDtype


def make_shard_writer(
    file: ShardFile,
    container: Container,
    *,
    encoding: Encoding,
    frame_shape: tuple[int, int, int],
    frame_dtype: PixelDtype,
    frames_per_shard: FramesPerShard,
) -> ShardWriter:
    """What writes encoded frames into a new file of that container."""
    if container == "wds":
        return TarShardWriter(file, encoding=encoding, frame_shape=frame_shape, frame_dtype=frame_dtype)
    if frames_per_shard == "video":
        raise ValueError("Zarr has shards of one size, not one for each video")
    return ZarrShardWriter(file, frames_per_shard=frames_per_shard)
