"""What a plan of a look-ahead costs: a prediction without decoding anything."""

from collections.abc import Iterable
from dataclasses import dataclass

from loader.lookahead.plan import GroupRead, LookaheadStep


@dataclass(frozen=True, kw_only=True)
class LookaheadCost:
    """What a stretch of a plan costs."""

    num_frames: int
    """Frames delivered."""
    num_decoded: int
    """Frames decoded."""
    num_reads: int
    """Runs of the decoder: seeks, and mostly also files opened."""

    @property
    def decoded_per_frame(self) -> float:
        """Frames decoded for each one delivered: images/s = frames decoded per second / this; NaN without frames."""
        return self.num_decoded / self.num_frames if self.num_frames else float("nan")


def num_decoded(read: GroupRead) -> int:
    """Frames that come out of the decoder up to the last one wanted."""
    return int(read.frame_ids[-1]) - read.group + 1


def cost_of(steps: Iterable[LookaheadStep]) -> LookaheadCost:
    """Add up what steps cost; slice the plan to leave its first window out, in which the buffer fills."""
    steps = list(steps)
    reads = [read for step in steps for read in step.reads]
    return LookaheadCost(
        num_frames=sum(len(step.frame_ids) for step in steps),
        num_decoded=sum(map(num_decoded, reads)),
        num_reads=len(reads),
    )
