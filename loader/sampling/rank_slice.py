"""Which positions of an epoch's order a rank reads at each step.

Global step t has the positions [t * R * B, (t + 1) * R * B), and rank r reads its r-th slice of B positions. Ranks
share each step; they never own whole shards. So all ranks at step t together read the next R * B positions of the
order, and an epoch can go on from that position with another number of ranks or another batch size.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.errors import SamplingError

Remainder: TypeAlias = Literal["drop", "pad", "uneven"]
"""What becomes of the last global step of an epoch if it is not whole.

`drop`: the step, which is the last N mod R B positions of the order, is left out. Every rank has the same number of
batches. A shuffled order leaves out other frames in every epoch, so no frame is drawn less often; `sequential` always
leaves out the same frames. `pad`: the step is filled with positions from the start of the order. Every rank has the
same number of batches, and those frames are read twice in the epoch. `uneven`: every position is read once. In the last
step some ranks have a short batch or none, so do not use it if ranks wait for each other. A trainer that takes a step
for each batch gives a frame of a short batch more weight (S50). `SamplingSpec.default_remainder` is the default."""


def check_remainder(remainder: object) -> None:
    """Refuse other values than those of `Remainder`, with a SamplingError."""
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
    """Positions of the epoch that were read before, by any number of ranks and any batch sizes."""

    def __post_init__(self) -> None:
        """Check the rank, the batch size and the first position."""
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
        """Global steps that are left, including a step in which some rank has no batch."""
        whole_steps, rest = divmod(self.num_positions - self.first_position, self.positions_per_step)
        return whole_steps + (rest > 0 and self.remainder != "drop")

    def __len__(self) -> int:
        """Batches of this rank in the rest of the epoch."""
        is_short = self.remainder == "uneven" and self._start(self.num_steps - 1) >= self.num_positions
        return self.num_steps - (is_short and self.num_steps > 0)

    def positions(self, step: int) -> npt.NDArray[np.int64]:
        """Positions that this rank reads at `step`, counted from `first_position`: at least 1, at most `batch_size`.

        Raises:
            IndexError: step outside [0, len(self)).
        """
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} is outside [0, {len(self)})")
        start = self._start(step)
        positions = np.arange(start, start + self.batch_size)
        if start + self.batch_size <= self.num_positions:
            return positions
        if self.remainder == "pad":
            return positions % self.num_positions
        return positions[positions < self.num_positions]

    def position_after(self, step: int) -> int:
        """The position where the epoch goes on after all ranks have read `step`; `num_positions` at its end."""
        if step + 1 >= self.num_steps:
            return self.num_positions
        return self.first_position + (step + 1) * self.positions_per_step

    def _start(self, step: int) -> int:
        return self.first_position + step * self.positions_per_step + self.rank * self.batch_size
