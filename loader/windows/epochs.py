"""The epochs of a loader: a plan that draws anchors, and the windows around them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, cast

from frame_store.protocol import FrameStore
from frame_store.views import cache_ids_of, frame_ids_of
from loader.sampling import (
    WINDOW_OPTIONS,
    BatchOptions,
    BatchPlan,
    EpochCursor,
    RankSlice,
    plan_batches,
    plan_epochs,
)
from loader.sampling.orders import Int64s
from loader.windows.located import located_together
from loader.windows.request import BatchRequest
from loader.windows.spec import window_spec
from loader.windows.whole import WholeWindows, anchors_with_whole_windows
from loader.windows.windows import Windows


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedAnchors:
    """The anchors of the epochs over a store, and the plan that draws them."""

    plan: BatchPlan
    """Draws the anchors, as ids of `anchors`."""
    store: FrameStore
    """What the ids of frames are of: the loader's store, or what that was earlier."""
    whole: WholeWindows | None
    """The anchors of whole windows; None where every frame of the store is an anchor."""

    @property
    def anchors(self) -> FrameStore:
        """The frames that are drawn: the store, or a view of it."""
        return self.store if self.whole is None else self.whole.anchors

    def frame_ids(self, epoch: int, *, first_position: int = 0) -> Iterator[Int64s]:
        """The anchors of each batch of `epoch` from `first_position` on, as ids of the store: int64, shape (B,)."""
        for drawn in self.plan.batches(epoch, first_position=first_position):
            if self.whole is None:
                yield drawn
            else:
                yield frame_ids_of(self.store, cache_ids_of(self.whole.anchors, drawn))


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowedEpochs:
    """What a loader shows in which order."""

    cursor: EpochCursor[PlannedAnchors]
    windows: Windows

    @property
    def planned(self) -> PlannedAnchors:
        """Of the epoch that is under way, or else of the next one."""
        return self.cursor.frames.planned

    @property
    def plan(self) -> BatchPlan:
        """Draws the anchors of that epoch, as ids of `anchors`."""
        return self.planned.plan

    @property
    def whole(self) -> WholeWindows | None:
        """The anchors of whole windows; None where every frame of the store is an anchor."""
        return self.planned.whole

    @property
    def anchors(self) -> FrameStore:
        """The frames that are drawn: the store, or a view of it."""
        return self.planned.anchors

    @property
    def frames_per_batch(self) -> int:
        """Most frames that a batch shows."""
        return self.plan.frames_per_batch * self.windows.spec.frames_per_anchor

    def slice_from(self, epoch: int, position: int) -> RankSlice:
        """Share of this rank in the rest of `epoch`, from `position` on."""
        return self.cursor.frames_of(epoch).plan.slice_from(position)

    def frame_ids(self, epoch: int, *, first_position: int = 0) -> Iterator[Int64s]:
        """The anchors of each batch of `epoch` from `first_position` on, as ids of the store: int64, shape (B,)."""
        return self.cursor.frames_of(epoch).planned.frame_ids(epoch, first_position=first_position)

    def requests(self, epoch: int, *, first_position: int = 0) -> Iterator[BatchRequest]:
        """The request of each batch of `epoch` from `first_position` on."""
        made = map(self.windows.request, self.frame_ids(epoch, first_position=first_position))
        return located_together(made, self.windows.base, frames_per_batch=self.frames_per_batch)

    def requests_to_come(
        self, epoch: int, position: int, *, next_epochs: bool
    ) -> Iterator[tuple[int, BatchRequest]]:
        """The requests from a place to the end of its epoch, or through the epochs after it, each with its epoch.

        They end where an epoch has no batch for this rank.
        """
        for request in self.requests(epoch, first_position=position):
            yield epoch, request
        is_over = not next_epochs
        while not is_over:
            epoch, is_over = epoch + 1, True
            for request in self.requests(epoch):
                is_over = False
                yield epoch, request

    def __str__(self) -> str:
        """What is shown, how it is drawn and how long an epoch is, for the `repr` of a loader."""
        spec = str(self.windows.spec)
        notes = () if self.whole is None else self.whole.notes
        return "; ".join([*([spec] if spec else []), str(self.plan), *notes])


@dataclass(frozen=True, kw_only=True, eq=False)
class _AnchorPlanner:
    """Plans the anchors of a store, for windows around them."""

    windows: Windows
    columns: tuple[str, ...]

    def __call__(self, store: FrameStore, options: BatchOptions) -> PlannedAnchors:
        windows, spec = self.windows, self.windows.spec
        if store is not windows.store:
            windows = Windows(store, spec, columns=self.columns)
        whole = anchors_with_whole_windows(windows) if spec.edges == "whole" else None
        plan = plan_batches(
            store if whole is None else whole.anchors,
            weighted=store,
            unit="window" if spec.has_windows else "frame",
            **options,
        )
        return PlannedAnchors(plan=plan, store=store, whole=whole)


def plan_windows(
    maker: str, store: FrameStore, options: BatchOptions, *, columns: Collection[str] = ()
) -> WindowedEpochs:
    """The epochs of a loader that `maker` makes over `store`, at the start of epoch 0.

    `columns` are the names of all columns that a batch has. Warns as `plan_epochs` does.

    Raises:
        SamplingError: the options contradict each other or the store; see `plan_epochs`, `plan_batches`, `window_spec`,
            `Windows` and `anchors_with_whole_windows`.
    """
    of_windows: dict[str, Any] = {name: value for name, value in options.items() if name in WINDOW_OPTIONS}
    of_plan = {name: value for name, value in options.items() if name not in WINDOW_OPTIONS}
    windows = Windows(store, window_spec(**of_windows), columns=columns)

    cursor = plan_epochs(
        maker,
        store,
        cast("BatchOptions", of_plan),
        _AnchorPlanner(windows=windows, columns=tuple(columns)),
        windows=windows.spec.to_builtins(),
    )
    return WindowedEpochs(cursor=cursor, windows=windows)
