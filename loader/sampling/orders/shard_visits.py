"""`sampling="shards"`: visits, each of which reads several frames of one shard, so that a batch needs few seeks."""

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.errors import SamplingError
from loader.sampling.orders.base import EpochOrder, Int64s
from loader.sampling.orders.random_words import Words, draw_without_replacement, integers_below, words_at
from loader.sampling.orders.spread_points import scaled_down, spread_points
from loader.sampling.spec import SamplingSpec

_ITEM_KEY = 0
_SHARD_KEY = 1
_TURN_KEY = 2

ShortShards: TypeAlias = Literal["refuse", "replace"]
"""What becomes of a shard with fewer frames than a visit draws, m. `refuse`: the order is refused, as for a cache,
which would better be built with larger shards. `replace`: visits to that shard may draw a frame twice, and visits to
other shards take different frames. This is for views, which leave few frames of some shards."""


def draws_again(shard_sizes: Int64s, spec: SamplingSpec) -> npt.NDArray[np.bool_]:
    """Whether a visit to each shard may draw a frame twice, under the rule `replace`: bool, shape (S,)."""
    if spec.frames_with_replacement or spec.weights is not None:
        return np.ones(len(shard_sizes), np.bool_)
    return shard_sizes < (spec.frames_per_visit or 1)


def short_shards_text(shard_sizes: Int64s, spec: SamplingSpec) -> str | None:
    """A sentence on the shards whose visits draw with replacement, though `spec` does not ask for it; None if none."""
    if spec.sampling != "shards" or spec.frames_with_replacement or spec.weights is not None:
        return None
    held = shard_sizes[shard_sizes > 0]
    num_short = int(draws_again(held, spec).sum())
    if not num_short:
        return None
    return (
        f"{counted(num_short, 'shard has', 'shards have')} fewer frames to draw than frames_per_visit="
        f"{spec.frames_per_visit} (of {len(held)}): a visit there draws with replacement and may show a frame twice; "
        f"every frame is still drawn equally often"
    )


class ShardVisitOrder(EpochOrder):
    """Visits: each reads one shard, and draws `frames_per_visit` frames of it, different ones by default.

    Visit v owns the positions [v * frames_per_visit, (v + 1) * frames_per_visit) and is a function of
    (seed, epoch, v) alone. The `proportional` rule draws a frame uniformly and visits its shard (the anchor-frame
    rule). So the probability of a shard is proportional to its size, and every frame is equally likely, for any sizes.
    The anchor frames of neighbouring visits are spread over the store: any 2^k neighbouring visits, 2^k at most the
    visits of an epoch, have one anchor in each of 2^k equal stretches of the frames in id order, seen as a circle
    (S26). The frames of different visits are drawn independently, given their shards. The `uniform` rule draws the
    shards independently. Empty shards are never visited. `ShortShards` says what becomes of shards with fewer frames
    than a visit draws.
    """

    def __init__(
        self, shard_sizes: Int64s, spec: SamplingSpec, keys: Words, *, short_shards: ShortShards = "refuse"
    ) -> None:
        """Over shards of `shard_sizes` frames, shape (S,), under `keys`, uint64 of shape (3 or more,).

        Raises:
            SamplingError: visits are longer than the smallest shard and take different frames, and `short_shards`
                refuses that.
        """
        assert spec.frames_per_visit is not None  # SamplingSpec checks this
        shard_ends = np.cumsum(shard_sizes)
        occupied = shard_sizes > 0
        self._sizes, self._ends = shard_sizes[occupied], shard_ends[occupied]
        self._frames_per_visit = spec.frames_per_visit
        self._is_uniform_choice = spec.shard_choice == "uniform"
        self._draws_again = draws_again(self._sizes, spec)
        self._keys = keys
        smallest = int(self._sizes.min())
        is_short = self._frames_per_visit > smallest and not spec.frames_with_replacement
        if is_short and short_shards == "refuse":
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
        again = self._draws_again[shards]
        drawn = np.empty(words.shape, np.int64)
        drawn[again] = words[again] % sizes[again, None].astype(np.uint64)
        for visit in np.flatnonzero(~again).tolist():
            drawn[visit] = draw_without_replacement(words[visit], int(sizes[visit]))
        drawn += (self._ends[shards] - sizes)[:, None]
        return drawn[row_of_position, positions % self._frames_per_visit]

    def _shards_of(self, visits: Int64s) -> Int64s:
        """The shard of each visit, as its number among the shards that hold frames."""
        key = self._keys[_SHARD_KEY]
        if self._is_uniform_choice:
            return integers_below(words_at(key, visits.astype(np.uint64)), len(self._sizes)).astype(np.int64)
        points = spread_points(key, visits, num_counters=len(self) // self._frames_per_visit)
        anchor_frames = scaled_down(points + self._keys[_TURN_KEY], self._num_frames)
        return np.searchsorted(self._ends, anchor_frames, side="right").astype(np.int64)
