"""Which positions of an epoch's order a rank reads at each step.

Global step t owns the positions [t * R * B, (t + 1) * R * B) and rank r its r-th slice of B: ranks interleave inside
a step, never by whole shards, so the union of the ranks at step t is the order's own next R * B positions, and an
epoch can go on from that one position with another number of ranks or another batch size.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.errors import SamplingError

Remainder: TypeAlias = Literal["drop", "pad", "uneven"]
"""What becomes of the last global step of an epoch where it is not whole.

`drop`: it is left out, the last N mod R B positions of the order; every rank has the same number of batches. A
shuffled order leaves out other frames every epoch, so no frame is drawn less often; `sequential` always the same
ones. `pad`: it is filled up with the positions from the start of the order; every rank has the same number of
batches, and those frames are read twice this epoch. `uneven`: every position is read once. Some ranks have a short
batch or none in the last step, so do not use it where ranks wait for each other; and a trainer that takes a step for
each batch gives a frame of a short batch more weight (S50). `SamplingSpec.default_remainder` is what holds unless
one of them is asked for."""


def check_remainder(remainder: object) -> None:
    """Refuse what is no `Remainder`.

    Raises:
        SamplingError: as it says.
    """
    if remainder not in get_args(Remainder):
        raise SamplingError(f"remainder must be one of {', '.join(get_args(Remainder))}; found {remainder!r}")


@dataclass(frozen=True, kw_only=True)
class RankSlice:
    """One rank's share of an epoch's positions, in batches of at most `batch_size`."""

    num_positions: int
    """Positions in the epoch's order."""
    batch_size: int
    """Positions per batch and rank, B."""
    rank: int
    """0 <= rank < world_size."""
    world_size: int
    """Number of ranks, R."""
    remainder: Remainder
    first_position: int = 0
    """Positions of the epoch that are done already, by whatever ranks and batch sizes."""

    def __post_init__(self) -> None:
        """Refuse ranks, batches and places that do not exist."""
        check_remainder(self.remainder)
        if self.batch_size < 1:
            raise SamplingError(f"batch_size must be 1 or more, found {self.batch_size}")
        if not 0 <= self.rank < self.world_size:
            raise SamplingError(f"rank must be in [0, world_size), found {self.rank} of {self.world_size}")
        if not 0 <= self.first_position <= self.num_positions:
            raise SamplingError(
                f"an epoch of {counted(self.num_positions, 'position')} cannot go on at {self.first_position}"
            )

    @property
    def positions_per_step(self) -> int:
        """R * B."""
        return self.world_size * self.batch_size

    @property
    def num_steps(self) -> int:
        """Global steps that are left, those on which some rank has no batch included."""
        whole_steps, rest = divmod(self.num_positions - self.first_position, self.positions_per_step)
        return whole_steps + (rest > 0 and self.remainder != "drop")

    def __len__(self) -> int:
        """Batches of this rank in what is left of the epoch."""
        is_short = self.remainder == "uneven" and self._start(self.num_steps - 1) >= self.num_positions
        return self.num_steps - (is_short and self.num_steps > 0)

    def positions(self, step: int) -> npt.NDArray[np.int64]:
        """Positions that this rank reads at `step`, counted from `first_position`: at least 1, at most `batch_size`.

        Raises:
            IndexError: step outside [0, len(self)).
        """
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} is outside [0, {len(self)})")
        positions = np.arange(self._start(step), self._start(step) + self.batch_size)
        if self.remainder == "pad":
            return positions % self.num_positions
        return positions[positions < self.num_positions]

    def position_after(self, step: int) -> int:
        """Where the epoch goes on once all ranks have had `step`: `num_positions` where nothing is left of it."""
        if step + 1 >= self.num_steps:
            return self.num_positions
        return self.first_position + (step + 1) * self.positions_per_step

    def _start(self, step: int) -> int:
        return self.first_position + step * self.positions_per_step + self.rank * self.batch_size
