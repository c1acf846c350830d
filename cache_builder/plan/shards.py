"""The plan of shards: which shard and which slot each stored frame gets."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.settings import BuildConfig
from frame_store.manifest import cut_into_shards


class ShardPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Where each source frame goes. Source frames are numbered by (video, ordinal among its stored frames)."""

    shard_sizes: npt.NDArray[np.int64]
    """Frames per shard, shape (S,)."""
    source_of_frame: npt.NDArray[np.int64]
    """Source frame of each frame id, shape (N,): a permutation of range(N)."""

    @property
    def shard_starts(self) -> npt.NDArray[np.int64]:
        """First frame id of each shard, and N as the last entry, shape (S + 1,)."""
        return np.concatenate([[0], np.cumsum(self.shard_sizes)]).astype(np.int64)


def plan_shards(num_frames_stored: Sequence[int], config: BuildConfig) -> ShardPlan:
    """Give every stored frame a shard and a slot.

    `num_frames_stored` has an entry per video. `cut_into_shards` cuts; with `frames_per_shard="video"` each video that
    has frames is a shard.
    """
    num_frames = sum(num_frames_stored)
    if config.frames_per_shard == "video":
        sizes = [count for count in num_frames_stored if count]
    else:
        sizes = cut_into_shards(num_frames, container=config.format, frames_per_shard=config.frames_per_shard)
    source_of_frame = (
        seeded_permutation(num_frames, seed=config.seed)
        if config.layout == "shuffled"
        else np.arange(num_frames, dtype=np.int64)
    )
    return ShardPlan(shard_sizes=np.array(sizes, np.int64), source_of_frame=source_of_frame)


def seeded_permutation(length: int, *, seed: int) -> npt.NDArray[np.int64]:
    """A uniform permutation of range(length), shape (length,).

    Sorts 64-bit words of Philox keyed by `SeedSequence([seed])`. NumPy promises that raw words stay the same across
    versions; it makes no such promise for `Generator.permutation`.

    >>> seeded_permutation(5, seed=0).tolist()
    [0, 3, 1, 2, 4]
    """
    words = np.random.Philox(np.random.SeedSequence([seed])).random_raw(length)
    return np.argsort(words, kind="stable")
