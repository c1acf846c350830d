"""Which frames the epochs of a loader have: all of its store, or those that the store had earlier."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, cast

import numpy as np
from typing_extensions import TypeVar

from frame_store.growth import earlier_store, generation_frames_of, num_forgotten_in, numbers_of_frames
from frame_store.protocol import FrameStore
from frame_store.shared import counted, counted_in_groups
from frame_store.views import View, frames_per_video
from loader.sampling.options import BatchOptions
from loader.sampling.plan import BatchPlan

_MOST_NUMBERS: Final = 16
"""Of a message."""


class HasPlan(Protocol):
    """What a loader plans for the frames of a store."""

    @property
    def plan(self) -> BatchPlan:
        """The batches of every epoch."""
        ...


Planned = TypeVar("Planned", bound=HasPlan, default=BatchPlan)


@dataclass(frozen=True, kw_only=True, eq=False)
class FramesOfEpochs(Generic[Planned]):
    """The frames that some epochs are over, and what was planned for them."""

    num_frames: int
    """Of the store then."""
    fingerprint: str
    """Of the store then."""
    planned: Planned
    generation_frames: tuple[int, ...] = ()
    """Frames of each generation of the cache then; empty where shards do not matter, and for other stores."""

    @property
    def plan(self) -> BatchPlan:
        """The batches of every epoch over these frames."""
        return self.planned.plan


class EpochFrames(Generic[Planned]):
    """Plans epochs over all frames of a store, or over the frames that it had earlier."""

    def __init__(
        self,
        store: FrameStore,
        options: BatchOptions,
        make: Callable[[FrameStore, BatchOptions], Planned],
    ) -> None:
        """Plan the epochs over all frames; `make`, which pickles, plans the frames of a store by `options`.

        Raises what `make` raises.
        """
        self._store, self._options, self._make = store, options, make
        self.whole = self._planned(store)

    def earlier(
        self, *, num_frames: int, fingerprint: str, generation_frames: tuple[int, ...]
    ) -> FramesOfEpochs[Planned] | None:
        """Epochs over the frames that the store had then; None if it never had these. See `earlier_store`.

        Raises what `make` raises.
        """
        store = earlier_store(
            self._store, num_frames=num_frames, fingerprint=fingerprint, generation_frames=generation_frames
        )
        if store is None:
            return None
        return self.whole if store is self._store else self._planned(store)

    def mismatch(self, *, num_frames: int) -> str | None:
        """Why a state of other frames does not fit, where that can be told; None where it is of another store."""
        store, own = self._store, len(self._store)
        if num_frames > own and generation_frames_of(store):
            return (
                f"the store has fewer frames than the state, {own:,} and {num_frames:,}: if the cache has grown since "
                f"this version of it was opened, open the newer version"
            )
        num_forgotten = num_forgotten_in(store)
        if num_forgotten:
            return (
                f"{counted(num_forgotten, 'video of the cache was', 'videos of the cache were')} forgotten: a state "
                f"made before that has other frames, and its epoch cannot be ended"
            )
        if not generation_frames_of(store):
            return None
        if isinstance(store, View):
            return "the view never had these frames, at any time of its cache"
        numbers = [f"{number:,}" for number in numbers_of_frames(store)]
        if len(numbers) > _MOST_NUMBERS:
            numbers = ["...", *numbers[-_MOST_NUMBERS:]]
        sizes = ", ".join(numbers)
        return f"the numbers of frames of the cache after its builds were {sizes}, none with that fingerprint"

    def more_than(self, earlier: FramesOfEpochs[Planned]) -> str | None:
        """A warning that the store has more frames than epochs take; None if it has not."""
        more = self.whole.num_frames - earlier.num_frames
        if more <= 0:
            return None
        return (
            f"epochs go on over the {counted_in_groups(earlier.num_frames, 'frame')} of the state; the store has "
            f"{more:,} more by now: grow=True takes them from the next epoch on"
        )

    def _planned(self, store: FrameStore) -> FramesOfEpochs[Planned]:
        planned = self._make(store, self._options_for(store))
        uses_shards = planned.plan.spec.uses_shards
        return FramesOfEpochs(
            num_frames=len(store),
            fingerprint=store.fingerprint,
            planned=planned,
            generation_frames=generation_frames_of(store) if uses_shards else (),
        )

    def _options_for(self, store: FrameStore) -> BatchOptions:
        """The options for the frames of an earlier time: weights of later videos are left out."""
        weights: Any = self._options.get("weights")
        num_videos = len(frames_per_video(self._store))
        if store is self._store or np.ndim(weights) != 1 or len(weights) != num_videos:
            return self._options
        earlier = {**self._options, "weights": np.asarray(weights)[: len(frames_per_video(store))]}
        return cast("BatchOptions", earlier)
