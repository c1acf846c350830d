"""The epochs of a loader: a plan that draws anchors, and the windows around them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, cast

from frame_store.protocol import FrameStore
from frame_store.views import cache_ids_of, frame_ids_of
from loader.sampling import WINDOW_OPTIONS, BatchOptions, BatchPlan, EpochCursor, plan_epochs
from loader.sampling.orders import Int64s
from loader.windows.request import BatchRequest
from loader.windows.spec import window_spec
from loader.windows.whole import WholeWindows, anchors_with_whole_windows
from loader.windows.windows import Windows


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowedEpochs:
    """What a loader shows in which order."""

    plan: BatchPlan
    """Draws the anchors, as ids of `anchors`."""
    cursor: EpochCursor
    windows: Windows
    whole: WholeWindows | None
    """The anchors of whole windows; None where every frame of the store is an anchor."""

    @property
    def anchors(self) -> FrameStore:
        """The frames that are drawn: the store, or a view of it."""
        return self.windows.store if self.whole is None else self.whole.anchors

    @property
    def frames_per_batch(self) -> int:
        """Most frames that a batch shows."""
        return self.plan.frames_per_batch * self.windows.spec.frames_per_anchor

    def frame_ids(self, epoch: int, *, first_position: int = 0) -> Iterator[Int64s]:
        """The anchors of each batch of `epoch` from `first_position` on, as ids of the store: int64, shape (B,)."""
        for drawn in self.plan.batches(epoch, first_position=first_position):
            if self.whole is None:
                yield drawn
            else:
                yield frame_ids_of(self.windows.store, cache_ids_of(self.whole.anchors, drawn))

    def requests(self, epoch: int, *, first_position: int = 0) -> Iterator[BatchRequest]:
        """The request of each batch of `epoch` from `first_position` on."""
        return map(self.windows.request, self.frame_ids(epoch, first_position=first_position))

    def __str__(self) -> str:
        """What is shown, how it is drawn and how long an epoch is, for the `repr` of a loader."""
        spec = str(self.windows.spec)
        notes = () if self.whole is None else self.whole.notes
        return "; ".join([*([spec] if spec else []), str(self.plan), *notes])


def plan_windows(
    maker: str, store: FrameStore, options: BatchOptions, *, columns: Collection[str] = ()
) -> WindowedEpochs:
    """The epochs of a loader that `maker` makes over `store`, at the start of epoch 0.

    `columns` are the names of all columns that a batch has. Warns as `plan_epochs` does.

    Raises:
        SamplingError: the options contradict each other or the store; see `plan_epochs`, `window_spec`, `Windows` and
            `anchors_with_whole_windows`.
    """
    of_windows: dict[str, Any] = {name: value for name, value in options.items() if name in WINDOW_OPTIONS}
    of_plan = {name: value for name, value in options.items() if name not in WINDOW_OPTIONS}
    windows = Windows(store, window_spec(**of_windows), columns=columns)
    whole = anchors_with_whole_windows(windows) if windows.spec.edges == "whole" else None
    plan, cursor = plan_epochs(
        maker,
        store if whole is None else whole.anchors,
        cast("BatchOptions", of_plan),
        fingerprint=store.fingerprint,
        weighted=store,
        windows=windows.spec.to_builtins(),
        unit="window" if windows.spec.has_windows else "frame",
    )
    return WindowedEpochs(plan=plan, cursor=cursor, windows=windows, whole=whole)
