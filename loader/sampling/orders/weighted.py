"""`sampling="iid"`, `"shards"` and `"stratified"` with weights: a draw shows video v as often as the weights state.

Probabilities are whole numbers over 2**53, and a draw compares 53 random bits with their running sums. So an order is a
function of the weights, the sizes, the seed, the epoch and the position, and no draw rounds.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameStore
from frame_store.views import content_ids_at, ids_by_video, is_video_by_video
from loader.sampling.orders.base import EpochOrder, Int64s
from loader.sampling.orders.random_words import Words, integers_below, words_at
from loader.sampling.orders.spread_points import spread_points
from loader.sampling.spec import SamplingSpec
from loader.sampling.weights import WHOLE, VideoWeights, Weights, video_weights, whole_parts

MAX_SHARDS_TABULATED: Final = 256
"""Shards whose stretches are kept for weighted visits; those of another shard are made again when it is visited.

A shard of 1,000 shuffled frames takes 24 KB. In a shard that lies video by video a stretch is a video: 24 bytes."""

_FRAME_KEY: Final = 0
_FIRST_KEY: Final = 1
_STRETCH_KEY: Final = 2
_TURN_KEY: Final = 3
_ROWS_AT_ONCE: Final = 1 << 16
_UNUSED_BITS: Final = np.uint64(11)


class Stretches(NamedTuple):
    """Runs of neighbouring frames of one video in a shard, those of weight 0 left out: int64, shape (n,) each."""

    ends: Int64s
    """Running sums of the weights, up to 2**53."""
    first_ids: Int64s
    lengths: Int64s


class WeightedFrames:
    """A store's frames under weights: where the frames of a video lie, and what a shard weighs.

    It keeps a number for each video and shard. Where the frames lie in another order than video by video, `iid` looks
    into the store's source order (4 bytes a frame, of a cache in mapped memory), and `shards` reads the rows of all
    frames once, to weigh the shards.
    """

    def __init__(self, store: FrameStore, weights: Weights, *, weighted: FrameStore | None = None) -> None:
        """Of the frames of `store`. See `video_weights` for `weighted` and for errors."""
        self._store = store
        self.weights: VideoWeights = video_weights(store, weights, weighted=weighted)
        self._shard_ends = np.cumsum(store.shard_sizes)

    @cached_property
    def first_stored(self) -> Int64s:
        """Frames of the videos before each one: int64, shape (V + 1,)."""
        return np.append(0, np.cumsum(self.weights.video_sizes))

    def ids_at(self, places: Int64s) -> Int64s:
        """Frame ids at places of the source order: int64 of the same shape."""
        return places if self._order is None else self._order[places].astype(np.int64)

    def probabilities(self) -> npt.NDArray[np.float64]:
        """Probability of each frame under the target, shape (N,): 8 bytes a frame, for reports on stores in memory."""
        videos = self._store.rows_of(np.arange(len(self._store)))["video_id"]
        probabilities: npt.NDArray[np.float64] = self.weights.per_frame[videos] / WHOLE
        return probabilities

    def ids_by_time(self, points: Words) -> Int64s:
        """Frame ids at points of the circle [0, 2^64) that the videos share by weight, each in time order: int64.

        A point is uniform in its video, and so is the frame, up to a relative n / 2^52 for a video of n frames. (Up to
        n / (2^11 p) for one whose weight is p / 2^53 with p < 2^41.)
        """
        weights = self.weights
        videos = _drawn(points, weights.ends)
        starts = (weights.ends[videos] - weights.parts[videos]).astype(np.uint64) << _UNUSED_BITS
        inside = (points - starts).astype(np.float64) / (weights.parts[videos] * 2.0**11)
        sizes = weights.video_sizes[videos]
        frames = np.minimum((inside * sizes).astype(np.int64), sizes - 1)
        return self.ids_at(self.first_stored[videos] + frames)

    def ids_by_content(self, points: Words) -> Int64s:
        """Frame ids at points of the circle [0, 2^64) that the frames share by weight, in content order: int64.

        The store has a content order. Raises as `StratumOrder.ids_at`.
        """
        return content_ids_at(self._store, _drawn(points, self._ends_by_content))

    @cached_property
    def _ends_by_content(self) -> Int64s:
        """Running sums, up to 2**53, of the weights of the frames in content order: 8 bytes a frame.

        Sums are rounded to whole numbers: a frame whose weight is far below 2^-53 of all may never be drawn.
        """
        num_frames = len(self._store)
        ends = np.empty(num_frames, np.int64)
        total = 0.0
        for first in range(0, num_frames, _ROWS_AT_ONCE):
            places = np.arange(first, min(first + _ROWS_AT_ONCE, num_frames))
            videos = self._store.rows_of(content_ids_at(self._store, places))["video_id"]
            sums = total + np.cumsum(self.weights.per_frame[videos])
            ends[places] = np.rint(sums)
            total = float(sums[-1])
        # The total is 2**53 up to rounding. Frames of weight 0 at the end have the sum of the last frame above 0.
        ends[np.searchsorted(ends, min(int(ends[-1]), WHOLE)) :] = WHOLE
        return ends

    @cached_property
    def _order(self) -> npt.NDArray[Any] | None:
        return ids_by_video(self._store)

    @cached_property
    def _is_video_by_video(self) -> bool:
        return is_video_by_video(self._store)

    def __getstate__(self) -> dict[str, Any]:
        made = {"_order", "_ends_by_content", "stretches_of"}  # they are made again where they are needed
        return {name: value for name, value in self.__dict__.items() if name not in made}

    @cached_property
    def shard_parts(self) -> Int64s:
        """Weight of each shard as a whole number, shape (S,); the sum is 2**53."""
        ends, per_frame = self._shard_ends, self.weights.per_frame
        totals = np.zeros(len(ends))
        if self._is_video_by_video:
            edges = np.unique(np.concatenate([[0], ends, self.first_stored]))
            videos = np.searchsorted(self.first_stored, edges[:-1], side="right") - 1
            shards = np.searchsorted(ends, edges[:-1], side="right")
            totals += np.bincount(shards, per_frame[videos] * np.diff(edges), minlength=len(ends))
        else:
            num_frames = int(ends[-1])
            for first in range(0, num_frames, _ROWS_AT_ONCE):
                ids = np.arange(first, min(first + _ROWS_AT_ONCE, num_frames))
                of_frames = per_frame[self._store.rows_of(ids)["video_id"]]
                shards = np.searchsorted(ends, ids, side="right")
                totals += np.bincount(shards, of_frames, minlength=len(ends))
        return whole_parts(totals)

    @property
    def shard_shares(self) -> npt.NDArray[np.float64]:
        """Probability of each shard, shape (S,)."""
        return self.shard_parts / WHOLE

    @cached_property
    def stretches_of(self) -> Callable[[int], Stretches]:
        """Gives the stretches of a shard that holds weight, and keeps those of `MAX_SHARDS_TABULATED` shards."""
        return lru_cache(maxsize=MAX_SHARDS_TABULATED)(self._stretches_of)

    def _stretches_of(self, shard: int) -> Stretches:
        end = int(self._shard_ends[shard])
        first = end - int(self._store.shard_sizes[shard])
        if self._is_video_by_video:
            inside = slice(*np.searchsorted(self.first_stored, [first, end], side="right").tolist())
            edges = np.unique(np.concatenate([[first], self.first_stored[inside], [end]]))
            videos = np.searchsorted(self.first_stored, edges[:-1], side="right") - 1
        else:
            of_frames = self._store.rows_of(np.arange(first, end))["video_id"]
            starts = np.flatnonzero(np.diff(of_frames, prepend=-1))
            videos, edges = of_frames[starts], first + np.append(starts, end - first)
        lengths = np.diff(edges)
        weights = self.weights.per_frame[videos] * lengths
        held = weights > 0
        sums = np.cumsum(weights[held])
        ends = np.rint(sums * (WHOLE / sums[-1])).astype(np.int64)
        ends[-1] = WHOLE  # the product may be rounded
        return Stretches(ends, edges[:-1][held], lengths[held])


class WeightedIidOrder(EpochOrder):
    """Each position draws a video by weight and then one of its frames uniformly, independently of other positions."""

    def __init__(self, frames: WeightedFrames, keys: Words) -> None:
        """Over `frames`, under `keys`, uint64 of shape (2 or more,)."""
        self._frames = frames
        self._keys = keys

    def __len__(self) -> int:
        """As many positions as the store has frames."""
        return int(self._frames.first_stored[-1])

    def _ids_at(self, positions: Int64s) -> Int64s:
        counters = positions.astype(np.uint64)
        weights = self._frames.weights
        videos = _drawn(words_at(self._keys[_FIRST_KEY], counters), weights.ends)
        sizes = weights.video_sizes[videos].astype(np.uint64)
        frames = integers_below(words_at(self._keys[_FRAME_KEY], counters), sizes).astype(np.int64)
        return self._frames.ids_at(self._frames.first_stored[videos] + frames)


class WeightedVisitOrder(EpochOrder):
    """Visits: each draws a shard by its summed weight, then frames of it by weight, with replacement.

    A visit that took different frames would show heavy frames too rarely. Visit v owns the positions
    [v * frames_per_visit, (v + 1) * frames_per_visit) and is a function of (seed, epoch, v) alone. The shards lie on a
    circle, each on an arc of its weight, and the points of neighbouring visits are spread over it (S58).
    """

    def __init__(self, frames: WeightedFrames, spec: SamplingSpec, keys: Words) -> None:
        """Over `frames`, under `keys`, uint64 of shape (4 or more,)."""
        assert spec.frames_per_visit is not None  # SamplingSpec checks this
        self._frames = frames
        self._frames_per_visit = spec.frames_per_visit
        self._keys = keys
        self._shard_ends = np.cumsum(frames.shard_parts)

    def __len__(self) -> int:
        """Positions of whole visits, as many as the store has frames."""
        num_frames = int(self._frames.first_stored[-1])
        return num_frames // self._frames_per_visit * self._frames_per_visit

    def _ids_at(self, positions: Int64s) -> Int64s:
        visits = positions // self._frames_per_visit
        points = spread_points(
            self._keys[_FIRST_KEY], visits, num_counters=len(self) // self._frames_per_visit
        )
        shards = _drawn(points + self._keys[_TURN_KEY], self._shard_ends)
        counters = positions.astype(np.uint64)
        stretch_words = words_at(self._keys[_STRETCH_KEY], counters)
        frame_words = words_at(self._keys[_FRAME_KEY], counters)
        ids = np.empty(len(positions), np.int64)
        by_shard = np.argsort(shards, kind="stable")
        starts = np.flatnonzero(np.diff(shards[by_shard], prepend=-1))
        for here in np.split(by_shard, starts[1:]):
            if not len(here):
                continue
            table = self._frames.stretches_of(int(shards[here[0]]))
            stretches = _drawn(stretch_words[here], table.ends)
            lengths = table.lengths[stretches].astype(np.uint64)
            places = integers_below(frame_words[here], lengths).astype(np.int64)
            ids[here] = table.first_ids[stretches] + places
        return ids


class WeightedStratifiedOrder(EpochOrder):
    """Points that are spread evenly over a circle, which frames share by weight; a heavy frame may come twice."""

    def __init__(self, frames: WeightedFrames, spec: SamplingSpec, keys: Words) -> None:
        """Over `frames`, under `keys`, uint64 of shape (2 or more,)."""
        self._frames = frames
        self._by_content = spec.strata != "time"
        self._key, self._turn = keys[0], keys[1]

    def __len__(self) -> int:
        """As many positions as the store has frames."""
        return int(self._frames.first_stored[-1])

    def _ids_at(self, positions: Int64s) -> Int64s:
        points = spread_points(self._key, positions, num_counters=len(self)) + self._turn
        return self._frames.ids_by_content(points) if self._by_content else self._frames.ids_by_time(points)


def _drawn(words: Words, ends: Int64s) -> Int64s:
    """The item of each word, drawn with the whole numbers whose running sums are `ends`: int64, as `words`."""
    numbers = (words >> _UNUSED_BITS).astype(np.int64)
    return np.searchsorted(ends, numbers, side="right").astype(np.int64)
