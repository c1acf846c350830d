"""Every batch of every epoch for one rank, as frame ids: what `FrameLoader` and `FrameBatchSampler` share."""

import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from loader.epoch_order import (
    EpochOrder,
    FrameIds,
    Sampling,
    ShardChoice,
    check_shard_sizes,
    chi2_of_uniform_shard_choice,
    epoch_order,
)
from loader.errors import SamplingError
from loader.rank_slice import RankSlice

MAX_POSITIONS_PER_BLOCK = 8192
"""Positions turned into ids by one call: 64 KiB, and the cost of a NumPy call spread over many batches."""


class BatchPlan:
    """Frame ids of the batches of one rank: a pure function of the arguments, the epoch and the step."""

    def __init__(
        self,
        shard_sizes: npt.ArrayLike,
        *,
        batch_size: int,
        sampling: Sampling,
        seed: int,
        drop_last: bool,
        shards_per_batch: int | None,
        frames_per_visit: int | None,
        shard_choice: ShardChoice,
        rank: int,
        world_size: int,
    ) -> None:
        """See `FrameLoader` for the arguments.

        Raises:
            SamplingError: the arguments contradict each other or the store.
        """
        self._shard_sizes = check_shard_sizes(shard_sizes)
        self._sampling = sampling
        self._seed = seed
        self._frames_per_visit = _frames_per_visit(
            batch_size=batch_size, shards_per_batch=shards_per_batch, frames_per_visit=frames_per_visit
        )
        self._shard_choice = shard_choice
        first_epoch = self.order(0)
        self._slice = RankSlice(
            num_positions=len(first_epoch),
            batch_size=batch_size,
            rank=rank,
            world_size=world_size,
            # Draws with replacement miss frames anyway: a short batch would only cost.
            drop_last=drop_last or first_epoch.with_replacement,
        )
        self._check_not_empty()
        if shard_choice == "uniform" and (chi2 := chi2_of_uniform_shard_choice(self._shard_sizes)):
            warnings.warn(
                f"shard_choice='uniform' is biased on shards of unequal size: frames of small shards are drawn too "
                f"often, chi^2 = {chi2:.4g} against uniform frames; shard_choice='proportional' has no bias",
                stacklevel=3,
            )

    def __len__(self) -> int:
        """Batches of this rank in an epoch, the same in every epoch."""
        return len(self._slice)

    def order(self, epoch: int) -> EpochOrder:
        """The whole order of `epoch`, all ranks together."""
        return epoch_order(
            self._shard_sizes,
            sampling=self._sampling,
            seed=self._seed,
            epoch=epoch,
            frames_per_visit=self._frames_per_visit,
            shard_choice=self._shard_choice,
        )

    def batches(self, epoch: int) -> Iterator[FrameIds]:
        """Frame ids of each batch of `epoch`, in order: int64, shape (B,), the last one maybe shorter."""
        order = self.order(epoch)
        steps_per_block = max(1, MAX_POSITIONS_PER_BLOCK // self._slice.batch_size)
        for first_step in range(0, len(self), steps_per_block):
            steps = range(first_step, min(first_step + steps_per_block, len(self)))
            spans = [self._slice.positions(step) for step in steps]
            ids = order.ids_at(np.concatenate([np.arange(span.start, span.stop) for span in spans]))
            yield from np.split(ids, np.cumsum([len(span) for span in spans])[:-1])

    def _check_not_empty(self) -> None:
        """A training loop over no batches looks like success: refuse it where no rank would get one."""
        needed, available = self._slice.positions_per_step, self._slice.num_positions
        if self._slice.drop_last and available < needed:
            raise SamplingError(
                f"an epoch of {available} frames holds no whole step of batch_size {self._slice.batch_size} x "
                f"{self._slice.world_size} ranks; take a smaller batch_size"
                f"{'' if self.order(0).with_replacement else ' or drop_last=False'}"
            )


def _frames_per_visit(
    *, batch_size: int, shards_per_batch: int | None, frames_per_visit: int | None
) -> int | None:
    """Frames of one visit, from K = shards_per_batch, m = frames_per_visit or both; None where neither is given."""
    if shards_per_batch is None:
        if frames_per_visit is None or frames_per_visit < 1:
            return frames_per_visit
        shards_per_batch = batch_size // frames_per_visit
    elif frames_per_visit is None:
        frames_per_visit = batch_size // max(shards_per_batch, 1)
    if shards_per_batch < 1 or shards_per_batch * frames_per_visit != batch_size:
        raise SamplingError(
            f"shards_per_batch x frames_per_visit must be batch_size, "
            f"found {shards_per_batch} x {frames_per_visit} for {batch_size}"
        )
    return frames_per_visit
