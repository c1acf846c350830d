"""The order of an epoch as a pure function: (shard sizes, sampling, seed, epoch, position) -> frame id.

An order is immutable, answers for any positions without going through those before them, and keeps no array of N:
what grows is one number a shard.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from loader.errors import SamplingError
from loader.permutation import NUM_ROUNDS, Permutation
from loader.random_words import Words, draw_without_replacement, epoch_keys, integers_below, words_at

Sampling: TypeAlias = Literal["permutation", "iid", "sequential", "shards"]
"""`permutation`: every frame once an epoch, in a global random order. `iid`: uniform, with replacement.
`sequential`: ids in order. `shards`: draw a shard, then frames of it, the fewer seeks the more frames a visit."""

ShardChoice: TypeAlias = Literal["proportional", "uniform"]
"""How `shards` draws a shard: `proportional` to its frames, so that every frame is equally likely; or every shard
alike (`uniform`, the naive rule), which draws the frames of small shards too often."""

FrameIds: TypeAlias = npt.NDArray[np.int64]

_ITEM_KEY: Final = 0
_SHARD_KEY: Final = 1


class EpochOrder(ABC):
    """Frame ids of one epoch by position."""

    with_replacement: ClassVar[bool] = False
    """Whether an epoch may hold a frame twice and miss another; such orders are cut to whole batches."""

    @abstractmethod
    def __len__(self) -> int:
        """Positions in the epoch."""

    def ids(self, start: int, stop: int) -> FrameIds:
        """Frame ids at positions [start, stop): int64, shape (stop - start,)."""
        return self.ids_at(np.arange(start, stop, dtype=np.int64))

    def ids_at(self, positions: FrameIds) -> FrameIds:
        """Frame ids at any `positions`, shape (P,): int64 of the same shape.

        Raises:
            IndexError: a position outside [0, len(self)).
        """
        if positions.size and not 0 <= positions.min() <= positions.max() < len(self):
            raise IndexError(
                f"positions {positions.min()}..{positions.max()} are not all inside [0, {len(self)}), the epoch"
            )
        return self._ids_at(positions)

    @abstractmethod
    def _ids_at(self, positions: FrameIds) -> FrameIds:
        """`ids_at` once the positions are known to be inside."""


class SequentialOrder(EpochOrder):
    """Frame ids as they lie on disk."""

    def __init__(self, num_frames: int) -> None:
        self._num_frames = num_frames

    def __len__(self) -> int:
        return self._num_frames

    def _ids_at(self, positions: FrameIds) -> FrameIds:
        return positions.copy()


class PermutationOrder(EpochOrder):
    """Every frame exactly once, in a global random order."""

    def __init__(self, num_frames: int, keys: Words) -> None:
        self._permutation = Permutation(num_frames, keys)

    def __len__(self) -> int:
        return len(self._permutation)

    def _ids_at(self, positions: FrameIds) -> FrameIds:
        return self._permutation.items_at(positions)


class IidOrder(EpochOrder):
    """Every position draws uniformly from all frames, independently of the others."""

    with_replacement = True

    def __init__(self, num_frames: int, keys: Words) -> None:
        self._num_frames = num_frames
        self._key = keys[_ITEM_KEY]

    def __len__(self) -> int:
        return self._num_frames

    def _ids_at(self, positions: FrameIds) -> FrameIds:
        words = words_at(self._key, positions.astype(np.uint64))
        return integers_below(words, self._num_frames).astype(np.int64)


class ShardVisitOrder(EpochOrder):
    """Independent visits: each draws one shard, then `frames_per_visit` different frames of it.

    Visit v owns the positions [v * frames_per_visit, (v + 1) * frames_per_visit) and is a function of
    (seed, epoch, v) alone. The `proportional` rule draws a frame uniformly and visits the shard that holds it, so
    a shard is as likely as it is large and every frame equally likely, whatever the sizes. Empty shards are never
    visited.
    """

    with_replacement = True

    def __init__(
        self,
        shard_sizes: npt.NDArray[np.int64],
        keys: Words,
        *,
        frames_per_visit: int,
        shard_choice: ShardChoice,
    ) -> None:
        shard_ends = np.cumsum(shard_sizes)
        occupied = shard_sizes > 0
        self._sizes, self._ends = shard_sizes[occupied], shard_ends[occupied]
        self._frames_per_visit = frames_per_visit
        self._shard_choice = shard_choice
        self._keys = keys

    def __len__(self) -> int:
        """Positions of whole visits."""
        return self._num_frames // self._frames_per_visit * self._frames_per_visit

    @property
    def _num_frames(self) -> int:
        return int(self._ends[-1])

    def _ids_at(self, positions: FrameIds) -> FrameIds:
        visits, row_of_position = np.unique(positions // self._frames_per_visit, return_inverse=True)
        shards = self._shards_of(visits)
        counters = visits[:, None] * self._frames_per_visit + np.arange(self._frames_per_visit)
        words = words_at(self._keys[_ITEM_KEY], counters.astype(np.uint64))
        drawn = np.empty(words.shape, np.int64)
        for row, shard in enumerate(shards.tolist()):
            size = int(self._sizes[shard])
            drawn[row] = self._ends[shard] - size + draw_without_replacement(words[row], size)
        return drawn[row_of_position, positions % self._frames_per_visit]

    def _shards_of(self, visits: FrameIds) -> FrameIds:
        """Which of the shards that hold frames each visit reads."""
        words = words_at(self._keys[_SHARD_KEY], visits.astype(np.uint64))
        if self._shard_choice == "uniform":
            return integers_below(words, len(self._sizes)).astype(np.int64)
        anchor_frames = integers_below(words, self._num_frames).astype(np.int64)
        return np.searchsorted(self._ends, anchor_frames, side="right").astype(np.int64)


def epoch_order(
    shard_sizes: npt.ArrayLike,
    *,
    sampling: Sampling = "permutation",
    seed: int = 0,
    epoch: int = 0,
    frames_per_visit: int | None = None,
    shard_choice: ShardChoice = "proportional",
) -> EpochOrder:
    """The order of one epoch over shards of `shard_sizes` frames, shape (S,).

    `frames_per_visit` and `shard_choice` belong to `sampling="shards"`.

    >>> epoch_order([3, 2], sampling="sequential").ids(1, 4).tolist()
    [1, 2, 3]
    >>> sorted(epoch_order([3, 2], seed=7, epoch=1).ids(0, 5).tolist())
    [0, 1, 2, 3, 4]

    Raises:
        SamplingError: a misspelt name, no frames at all, an option of another sampling, a visit longer than the
            smallest shard, or a seed or epoch outside [0, 2**32).
    """
    sizes = check_shard_sizes(shard_sizes)
    check_sampling(sampling, frames_per_visit=frames_per_visit, shard_choice=shard_choice)
    num_frames = int(sizes.sum())
    keys = epoch_keys(seed=seed, epoch=epoch, num_keys=NUM_ROUNDS)
    if sampling == "sequential":
        return SequentialOrder(num_frames)
    if sampling == "permutation":
        return PermutationOrder(num_frames, keys)
    if sampling == "iid":
        return IidOrder(num_frames, keys)
    assert frames_per_visit is not None  # check_sampling
    smallest = int(sizes[sizes > 0].min())
    if frames_per_visit > smallest:
        raise SamplingError(
            f"frames_per_visit is {frames_per_visit}, but shard {int(np.flatnonzero(sizes == smallest)[0])} "
            f"holds {smallest} frames, and a visit takes different frames of one shard; "
            f"ask for at most {smallest}"
        )
    return ShardVisitOrder(sizes, keys, frames_per_visit=frames_per_visit, shard_choice=shard_choice)


def check_sampling(sampling: Sampling, *, frames_per_visit: int | None, shard_choice: ShardChoice) -> None:
    """The one place that knows the names of samplings and which options belong to which.

    Raises:
        SamplingError: a misspelt name, `sampling="shards"` without a positive frames_per_visit, or an option of
            `shards` given to another sampling.
    """
    for option, value, names in (
        ("sampling", sampling, get_args(Sampling)),
        ("shard_choice", shard_choice, get_args(ShardChoice)),
    ):
        if value not in names:
            raise SamplingError(f"{option} must be one of {', '.join(names)}; found {value!r}")
    if sampling == "shards":
        if frames_per_visit is None or frames_per_visit < 1:
            raise SamplingError(
                f"sampling='shards' needs frames_per_visit of 1 or more, found {frames_per_visit}"
            )
    elif frames_per_visit is not None or shard_choice != "proportional":
        raise SamplingError(
            f"shards_per_batch, frames_per_visit and shard_choice belong to sampling='shards', "
            f"found sampling={sampling!r}"
        )


def check_shard_sizes(shard_sizes: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The sizes as int64 of shape (S,).

    Raises:
        SamplingError: negative sizes, not one flat list of integers, or no frame in all of them.
    """
    sizes = np.asarray(shard_sizes)
    if sizes.ndim != 1 or (sizes.size and not np.issubdtype(sizes.dtype, np.integer)) or (sizes < 0).any():
        raise SamplingError(f"shard sizes must be a flat list of counts, found {sizes!r}")
    if not sizes.sum():
        raise SamplingError(f"the store is empty: no frame in its {len(sizes)} shards")
    return sizes.astype(np.int64)


def chi2_of_uniform_shard_choice(shard_sizes: npt.ArrayLike) -> float:
    """Chi^2 of `shard_choice="uniform"` against uniform frames: A(n) / H(n) - 1 over the shards that hold frames.

    Its square root bounds the bias of any per-frame mean, in standard deviations of that quantity over frames.

    >>> chi2_of_uniform_shard_choice([10, 10, 0])
    0.0
    """
    sizes = check_shard_sizes(shard_sizes)
    sizes = sizes[sizes > 0]
    return float(sizes.mean() * (1 / sizes).mean() - 1) if sizes.min() < sizes.max() else 0.0
