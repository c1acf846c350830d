"""Which positions of an epoch's order a rank reads at each step.

Global step t owns the positions [t * R * B, (t + 1) * R * B) and rank r its r-th slice of B: ranks interleave inside
a step, never by whole shards, so the union of the ranks at step t is the order's own next R * B frames, and an epoch
can go on from that one position with another number of ranks.
"""

from dataclasses import dataclass

from loader.errors import SamplingError


@dataclass(frozen=True, kw_only=True)
class RankSlice:
    """One rank's share of `num_positions`, in batches of at most `batch_size`."""

    num_positions: int
    """Positions in the epoch's order."""
    batch_size: int
    """Frames per batch and rank, B."""
    rank: int
    """0 <= rank < world_size."""
    world_size: int
    """Number of ranks, R."""
    drop_last: bool
    """True: the last global step counts only if it is whole, so every rank has the same number of batches and up to
    R * B - 1 positions are left out. False: every position is read; the last step's ranks may have a short batch
    or none, so do not use it where ranks wait for each other."""

    def __post_init__(self) -> None:
        """Refuse ranks and batches that do not exist."""
        if self.batch_size < 1:
            raise SamplingError(f"batch_size must be 1 or more, found {self.batch_size}")
        if not 0 <= self.rank < self.world_size:
            raise SamplingError(f"rank must be in [0, world_size), found {self.rank} of {self.world_size}")

    @property
    def positions_per_step(self) -> int:
        """R * B."""
        return self.world_size * self.batch_size

    def __len__(self) -> int:
        """Batches of this rank in an epoch."""
        whole_steps, remainder = divmod(self.num_positions, self.positions_per_step)
        has_last = not self.drop_last and remainder > self.rank * self.batch_size
        return whole_steps + has_last

    def positions(self, step: int) -> range:
        """Positions that this rank reads at `step`, at least one and at most `batch_size`.

        Raises:
            IndexError: step outside [0, len(self)).
        """
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} is outside [0, {len(self)})")
        start = step * self.positions_per_step + self.rank * self.batch_size
        return range(start, min(start + self.batch_size, self.num_positions))
