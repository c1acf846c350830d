"""`sampling="shards"`: visits, each of which reads several frames of one shard, so that a batch needs few seeks."""

import numpy as np

from frame_store.shared import counted
from loader.errors import SamplingError
from loader.sampling.orders.base import EpochOrder, Int64s
from loader.sampling.orders.random_words import Words, draw_without_replacement, integers_below, words_at
from loader.sampling.spec import SamplingSpec

_ITEM_KEY = 0
_SHARD_KEY = 1


class ShardVisitOrder(EpochOrder):
    """Independent visits: each draws one shard, then `frames_per_visit` frames of it, different ones by default.

    Visit v owns the positions [v * frames_per_visit, (v + 1) * frames_per_visit) and is a function of
    (seed, epoch, v) alone. The `proportional` rule draws a frame uniformly and visits its shard (the anchor-frame
    rule). So the probability of a shard is proportional to its size, and every frame is equally likely, for any sizes.
    Empty shards are never visited.
    """

    def __init__(self, shard_sizes: Int64s, spec: SamplingSpec, keys: Words) -> None:
        """Over shards of `shard_sizes` frames, shape (S,), under `keys`, uint64 of shape (2 or more,).

        Raises:
            SamplingError: visits are longer than the smallest shard and take different frames.
        """
        assert spec.frames_per_visit is not None  # SamplingSpec checks this
        shard_ends = np.cumsum(shard_sizes)
        occupied = shard_sizes > 0
        self._sizes, self._ends = shard_sizes[occupied], shard_ends[occupied]
        self._frames_per_visit = spec.frames_per_visit
        self._is_uniform_choice = spec.shard_choice == "uniform"
        self._with_replacement = spec.frames_with_replacement
        self._keys = keys
        smallest = int(self._sizes.min())
        if self._frames_per_visit > smallest and not self._with_replacement:
            raise SamplingError(
                f"frames_per_visit is {self._frames_per_visit}, but shard "
                f"{int(np.flatnonzero(shard_sizes == smallest)[0])} holds {counted(smallest, 'frame')}, and a "
                f"visit takes different frames of one shard; ask for at most {smallest}, or "
                f"frames_with_replacement=True"
            )

    def __len__(self) -> int:
        """Positions of whole visits."""
        return self._num_frames // self._frames_per_visit * self._frames_per_visit

    @property
    def _num_frames(self) -> int:
        return int(self._ends[-1])

    def _ids_at(self, positions: Int64s) -> Int64s:
        visits, row_of_position = np.unique(positions // self._frames_per_visit, return_inverse=True)
        shards = self._shards_of(visits)
        counters = visits[:, None] * self._frames_per_visit + np.arange(self._frames_per_visit)
        words = words_at(self._keys[_ITEM_KEY], counters.astype(np.uint64))
        sizes = self._sizes[shards]
        if self._with_replacement:
            drawn = (words % sizes[:, None].astype(np.uint64)).astype(np.int64)
        else:
            drawn = np.empty(words.shape, np.int64)
            for visit, size in enumerate(sizes.tolist()):
                drawn[visit] = draw_without_replacement(words[visit], size)
        drawn += (self._ends[shards] - sizes)[:, None]
        return drawn[row_of_position, positions % self._frames_per_visit]

    def _shards_of(self, visits: Int64s) -> Int64s:
        """The shard of each visit, as its number among the shards that hold frames."""
        words = words_at(self._keys[_SHARD_KEY], visits.astype(np.uint64))
        if self._is_uniform_choice:
            return integers_below(words, len(self._sizes)).astype(np.int64)
        anchor_frames = integers_below(words, self._num_frames).astype(np.int64)
        return np.searchsorted(self._ends, anchor_frames, side="right").astype(np.int64)
