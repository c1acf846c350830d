"""How many frames each shard of a generation has: a pure function of its frames and of `frames_per_shard`."""

import math
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from frame_store.manifest.parts import PartEntry
from frame_store.names import Container

FramesPerShard: TypeAlias = int | Literal["video"]
"""The setting of a build: a number, or `video` for a shard for each video that gave frames."""


def cut_into_shards(num_frames: int, *, container: Container, frames_per_shard: int) -> list[int]:
    """Frames of each shard of a generation of `num_frames` frames.

    Tar shards differ by one frame at most, and the larger ones come first. Zarr shards have `frames_per_shard` frames,
    all but the last one, which may have fewer.

    >>> cut_into_shards(7, container="wds", frames_per_shard=3)
    [3, 2, 2]
    >>> cut_into_shards(7, container="zarr", frames_per_shard=3)
    [3, 3, 1]
    """
    if container == "zarr":
        full, rest = divmod(num_frames, frames_per_shard)
        return [frames_per_shard] * full + [rest] * (rest > 0)
    num_shards = math.ceil(num_frames / frames_per_shard)
    small, num_larger = divmod(num_frames, num_shards) if num_shards else (0, 0)
    return [small + (shard < num_larger) for shard in range(num_shards)]


def shard_sizes_of_parts(
    parts: Sequence[PartEntry], *, container: Container, frames_per_shard: FramesPerShard
) -> npt.NDArray[np.int64]:
    """Frames of each shard of one generation that consists of these built ones, int64, shape (S,).

    A single part is a generation as it was built. Several were joined: their frames are cut as a build of as many
    frames cuts them; with `video` the shards of the parts stay as they are.

    >>> one = PartEntry(fingerprint="0" * 64, num_frames=5, num_videos=1, shard_sizes=[(4, 1), (1, 1)])
    >>> shard_sizes_of_parts([one], container="wds", frames_per_shard=4).tolist()
    [4, 1]
    >>> shard_sizes_of_parts([one, one], container="wds", frames_per_shard=4).tolist()
    [4, 3, 3]
    """
    if len(parts) > 1 and frames_per_shard != "video":
        num_frames = sum(part.num_frames for part in parts)
        sizes = cut_into_shards(num_frames, container=container, frames_per_shard=frames_per_shard)
    else:
        runs = chain.from_iterable(part.shard_sizes for part in parts)
        sizes = [*chain.from_iterable(repeat(size, count) for size, count in runs)]
    return np.array(sizes, np.int64)
