"""`sampling="block"`: every frame once, in blocks; the order inside a block is nested and needs only a few shards."""

import numpy as np

from frame_store.shared import counted
from loader.errors import SamplingError
from loader.sampling.orders.base import EpochOrder, Int64s
from loader.sampling.orders.nested import NestedTree
from loader.sampling.orders.random_words import Words, integers_below, words_at
from loader.sampling.spec import SamplingSpec

_SHARD_KEY = 0
_ROTATION_KEY = 1
_BLOCK_KEY = 2
MAX_BLOCKS_REMEMBERED = 4


def frames_per_block(shard_sizes: Int64s, *, shards_per_block: int) -> int:
    """Frames in a block of `shards_per_block` shards of average size, rounded up: ceil(k N / S).

    S counts the shards that hold frames. Equal shards of n frames give exactly k n.

    Raises:
        SamplingError: more shards than there are.
    """
    num_shards = int(np.count_nonzero(shard_sizes))
    if shards_per_block > num_shards:
        raise SamplingError(
            f"shards_per_block is {shards_per_block}, but only "
            f"{counted(num_shards, 'shard holds', 'shards hold')} frames; ask for at most {num_shards}"
        )
    return -(-shards_per_block * int(shard_sizes.sum()) // num_shards)


class BlockOrder(EpochOrder):
    """Shards in a random order form a circle. A random frame starts the first block. A block has a random nested order.

    Any 2^k neighbouring positions of a block, 2^k at most its frames, lie in 2^k different stretches of its frames.
    Each stretch has a 2^k-th of them, rounded up or down (`NestedTree`). So batches are spread over a block's shards.
    The random start (rotation) makes every frame equally likely at every position of the epoch, for any shard sizes.
    Without it, frames of small shards would be more frequent at the ends of an epoch. An epoch is a permutation of all
    frames. For equal shards a block spans at most one shard more than `shards_per_block`. Memory: one number a shard,
    and nothing that grows with N.
    """

    def __init__(self, shard_sizes: Int64s, spec: SamplingSpec, keys: Words) -> None:
        """Over shards of `shard_sizes` frames, shape (S,), under `keys`, uint64 of shape (3 or more,).

        Raises:
            SamplingError: more shards in a block than there are.
        """
        assert spec.shards_per_block is not None  # SamplingSpec checks this
        self._num_frames = int(shard_sizes.sum())
        self._block_frames = frames_per_block(shard_sizes, shards_per_block=spec.shards_per_block)
        words = words_at(keys[_SHARD_KEY], np.arange(len(shard_sizes), dtype=np.uint64))
        shard_order = np.argsort(words, kind="stable")
        starts = np.cumsum(shard_sizes) - shard_sizes
        self._first_ids = starts[shard_order]
        self._circle_ends = np.cumsum(shard_sizes[shard_order])
        self._rotation = int(integers_below(keys[_ROTATION_KEY : _ROTATION_KEY + 1], self._num_frames)[0])
        self._block_key = keys[_BLOCK_KEY]
        self._sizes = shard_sizes[shard_order]
        self._trees: dict[int, NestedTree] = {}

    def __len__(self) -> int:
        return self._num_frames

    def _ids_at(self, positions: Int64s) -> Int64s:
        blocks, places = np.divmod(positions, self._block_frames)
        on_circle = np.empty_like(positions)
        for block in np.unique(blocks).tolist():
            chosen = blocks == block
            on_circle[chosen] = block * self._block_frames + self._tree_of(block).places_at(places[chosen])
        on_circle = (on_circle + self._rotation) % self._num_frames
        rows = np.searchsorted(self._circle_ends, on_circle, side="right")
        in_shard: Int64s = on_circle - (self._circle_ends[rows] - self._sizes[rows])
        return in_shard + self._first_ids[rows]

    def _tree_of(self, block: int) -> NestedTree:
        trees = self._trees
        if block not in trees:
            num_frames = min(self._block_frames, self._num_frames - block * self._block_frames)
            made = NestedTree(num_frames, words_at(self._block_key, np.array([block], np.uint64))[0])
            # The dict is replaced, not changed: other threads go on reading the old one.
            self._trees = {**dict(list(trees.items())[1 - MAX_BLOCKS_REMEMBERED :]), block: made}
            return made
        return trees[block]
