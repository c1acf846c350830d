"""Every batch of every epoch for one rank, as frame ids; used by `FrameLoader` and `FrameBatchSampler`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Unpack

import numpy as np
import numpy.typing as npt

from frame_store.growth import has_grown
from frame_store.protocol import FrameStore
from frame_store.shared import chi2_of_uniform_shards, counted, counted_in_groups, whole_number
from frame_store.views import View
from loader.errors import SamplingError, warn_caller
from loader.sampling.options import BatchOptions, frames_of_visit, spec_of, with_defaults
from loader.sampling.orders import (
    EpochOrder,
    Int64s,
    ShortShards,
    StratumOrder,
    WeightedFrames,
    check_shard_sizes,
    order_over,
    short_shards_text,
)
from loader.sampling.rank_slice import RankSlice, Remainder, check_remainder
from loader.sampling.spec import SamplingSpec, check_strata

MAX_FRAMES_PER_BLOCK = 8192
"""Most ids computed by one call, unless a batch has more: 64 KiB. One NumPy call then serves many batches."""


class BatchPlan:
    """Frame ids of the batches of one rank: a pure function of the arguments, the epoch and the position in it."""

    def __init__(
        self,
        shard_sizes: npt.ArrayLike,
        spec: SamplingSpec,
        *,
        batch_size: int,
        seed: int,
        remainder: Remainder | None,
        rank: int,
        world_size: int,
        unit: str = "frame",
        short_shards: ShortShards = "refuse",
        frames: WeightedFrames | None = None,
        strata: StratumOrder | None = None,
    ) -> None:
        """Check the arguments against the shards; see `BatchOptions` for the meaning of each.

        Args:
            shard_sizes: frames per shard, shape (S,).
            spec: how the order is drawn.
            batch_size: frames per batch and rank.
            seed: of the order.
            remainder: None for the default of the sampling.
            rank: number of this process.
            world_size: number of processes.
            unit: what a position of the order is called in texts.
            short_shards: for `shards`: see `ShortShards`.
            frames: the frames under weights, where `spec` names weights.
            strata: the frames by time or by content, for `stratified` without weights. Without it the plan has no
                orders, only their numbers of positions and batches.

        Raises:
            SamplingError: the arguments contradict each other or the shards.
        """
        batch_size, seed, rank, world_size = (
            whole_number(name, value, error=SamplingError)
            for name, value in (
                ("batch_size", batch_size),
                ("seed", seed),
                ("rank", rank),
                ("world_size", world_size),
            )
        )
        self._shard_sizes = check_shard_sizes(shard_sizes)
        self.seed = seed
        self.short_shards: ShortShards = short_shards
        self.frames = frames
        self.strata = strata
        self._unit = unit
        self.spec = spec
        frames_of_visit(
            batch_size=batch_size, shards_per_batch=None, frames_per_visit=spec.frames_per_visit
        )  # refuses visits that do not fill a batch
        if remainder is not None:
            check_remainder(remainder)
        if self.spec.with_replacement and remainder != "drop":
            # Draws with replacement miss frames in any case, so a short last batch would have no use.
            remainder = None
        self._whole = RankSlice(
            num_positions=self._num_positions(),
            batch_size=batch_size,
            rank=rank,
            world_size=world_size,
            remainder=self.spec.default_remainder if remainder is None else remainder,
        )
        self._batch_size_asked_for = batch_size
        if remainder is None:
            self._shrink_to_fit()
        self._check_not_empty()

    @property
    def plan(self) -> "BatchPlan":
        """Itself: what a loader without windows plans for its frames."""
        return self

    def __len__(self) -> int:
        """Batches of this rank in an epoch, the same in every epoch."""
        return len(self._whole)

    @property
    def num_positions(self) -> int:
        """Positions in the order of an epoch, for all ranks together."""
        return self._whole.num_positions

    @property
    def batch_size(self) -> int:
        """Frames of a whole batch, B: the given size, or less if an epoch holds no whole step."""
        return self._whole.batch_size

    @property
    def drops_last(self) -> bool:
        """Whether every batch has `batch_size` frames, because the remainder of an epoch is dropped."""
        return self._whole.remainder == "drop"

    @property
    def num_positions_dropped(self) -> int:
        """Positions of an epoch's order that no rank reads."""
        whole = self._whole
        return whole.num_positions % whole.positions_per_step if whole.remainder == "drop" else 0

    @property
    def num_positions_doubled(self) -> int:
        """Positions of an epoch that are read a second time, to pad the last step."""
        whole = self._whole
        return -whole.num_positions % whole.positions_per_step if whole.remainder == "pad" else 0

    @property
    def warnings(self) -> list[str]:
        """Warnings for the caller, one sentence each: a bias, and batches smaller than the given size."""
        found = []
        if self.spec.shard_choice == "uniform" and (chi2 := chi2_of_uniform_shards(self._shard_sizes)):
            found.append(
                f"shard_choice='uniform' is biased on shards of unequal size: frames of small shards are drawn too "
                f"often, chi^2 = {chi2:.4g} against uniform frames; shard_choice='proportional' has no bias"
            )
        if (reason := short_shards_text(self._shard_sizes, self.spec)) is not None:
            found.append(reason)
        if self._is_shrunk:
            found.append(
                f"an epoch of {counted_in_groups(self.num_positions, self._unit)} is less than a step of batch_size "
                f"{self._batch_size_asked_for} x {counted(self._whole.world_size, 'rank')}: it is one batch of "
                f"{counted(self.batch_size, self._unit)} on each rank"
            )
        return found

    @property
    def _is_shrunk(self) -> bool:
        return self.batch_size < self._batch_size_asked_for

    @property
    def frames_per_batch(self) -> int:
        """Most frames in a batch: batch_size, but no more than an epoch has."""
        return min(self._whole.batch_size, self.num_positions)

    def __str__(self) -> str:
        """How frames are drawn and how long an epoch is, for the `repr` of a loader."""
        whole, spec = self._whole, self.spec
        parts = [
            f"{spec} seed={self.seed}",
            f"an epoch is {counted_in_groups(whole.num_positions, self._unit)}",
        ]
        up_to = "up to " if whole.remainder == "uneven" else ""
        batches = counted_in_groups(len(self), "batch", "batches")
        parts.append(f"{batches} of {up_to}{counted(whole.batch_size, self._unit)}")
        if self._is_shrunk:
            parts[-1] += f" instead of {self._batch_size_asked_for}"
        if whole.world_size > 1:
            parts[-1] += f" for rank {whole.rank} of {whole.world_size}"
        if self.num_positions_dropped and not spec.with_replacement:
            dropped = counted_in_groups(self.num_positions_dropped, "of the order is", "of the order are")
            parts.append(f"the last {dropped} dropped")
        if self.num_positions_doubled:
            is_of, are_of = f"{self._unit} is", f"{self._unit}s are"
            doubled = counted_in_groups(self.num_positions_doubled, is_of, are_of)
            parts.append(f"{doubled} read again")
        return "; ".join(parts)

    def order(self, epoch: int) -> EpochOrder:
        """The whole order of `epoch`, all ranks together.

        Raises:
            SamplingError: epoch outside [0, 2**32).
        """
        return order_over(
            self._shard_sizes,
            self.spec,
            seed=self.seed,
            epoch=epoch,
            short_shards=self.short_shards,
            frames=self.frames,
            strata=self.strata,
        )

    def _num_positions(self) -> int:
        if self.spec.sampling == "stratified":
            return int(self._shard_sizes.sum())
        return len(self.order(0))

    def slice_from(self, position: int) -> RankSlice:
        """Share of this rank in the rest of an epoch, from `position` on."""
        return replace(self._whole, first_position=position)

    def batches(self, epoch: int, *, first_position: int = 0) -> Iterator[Int64s]:
        """Frame ids of each batch of `epoch` from `first_position` on: int64, shape (B,).

        The last batch may be shorter. Step t ends at position `slice_from(first_position).position_after(t)`.
        """
        order, share = self.order(epoch), self.slice_from(first_position)
        steps_per_block = max(1, MAX_FRAMES_PER_BLOCK // share.batch_size)
        for first_step in range(0, len(share), steps_per_block):
            steps = range(first_step, min(first_step + steps_per_block, len(share)))
            positions = [share.positions(step) for step in steps]
            ids = order.ids_at(np.concatenate(positions))
            yield from np.split(ids, np.cumsum([len(part) for part in positions])[:-1])

    def _shrink_to_fit(self) -> None:
        """If an epoch holds no whole step, make it one step: equal batches of whole visits on each rank."""
        whole = self._whole
        if whole.remainder != "drop" or whole.num_positions >= whole.positions_per_step:
            return
        visit = self.spec.frames_per_visit or 1
        if fitting := whole.num_positions // whole.world_size // visit * visit:
            self._whole = replace(whole, batch_size=fitting)

    def _check_not_empty(self) -> None:
        """Refuse an epoch without a batch for some rank: a training loop over no batches looks like success."""
        share, visit = self._whole, self.spec.frames_per_visit or 1
        available, needed = share.num_positions, share.positions_per_step
        if share.world_size * visit > available:
            parts = counted(available // visit, self._unit)
            if visit > 1:
                parts = f"{counted(available // visit, 'visit')} of {visit} frames"
            raise SamplingError(
                f"{counted(share.world_size, 'rank')} cannot share an epoch of {counted(available, self._unit)}: "
                f"it holds {parts}, and each rank needs one"
            )
        if share.remainder == "drop" and available < needed:
            raise SamplingError(
                f"remainder='drop': an epoch of {counted(available, self._unit)} holds no whole step of batch_size "
                f"{share.batch_size} x {counted(share.world_size, 'rank')}; take a smaller batch_size, or leave "
                f"remainder out for one smaller batch on each rank"
            )


def make_plan(
    shard_sizes: npt.ArrayLike,
    *,
    unit: str = "frame",
    short_shards: ShortShards = "refuse",
    store: FrameStore | None = None,
    weighted: FrameStore | None = None,
    **options: Unpack[BatchOptions],
) -> BatchPlan:
    """The plan for `options`, over shards of `shard_sizes` frames; `unit` is what texts call a position.

    Weights and strata need `store`, whose frames are drawn; see `video_weights` for `weighted`.

    Raises:
        SamplingError: the options contradict each other or the shards.
    """
    all_options = with_defaults(options)
    rank, world_size = all_options["rank"], all_options["world_size"]
    check_strata(all_options["strata"])
    spec, frames, strata = spec_of(all_options), None, None
    if all_options["weights"] is not None:
        replace(
            spec, weights="given"
        )  # refuses samplings that have no weights before the weights are looked at
        if store is None:
            raise SamplingError("weights need the videos of a store")
        frames = WeightedFrames(store, all_options["weights"], weighted=weighted)
        spec = replace(spec, weights=frames.weights.label)
    if spec.sampling == "stratified":
        if store is None:
            raise SamplingError("sampling='stratified' needs the videos of a store")
        strata = StratumOrder(store, all_options["strata"])
        spec = replace(spec, strata=strata.label)
    return BatchPlan(
        shard_sizes,
        spec,
        batch_size=all_options["batch_size"],
        seed=all_options["seed"],
        remainder=all_options["remainder"],
        rank=0 if rank is None else rank,
        world_size=1 if world_size is None else world_size,
        unit=unit,
        short_shards=short_shards,
        frames=frames,
        strata=strata,
    )


def plan_batches(
    store: FrameStore,
    *,
    unit: str = "frame",
    weighted: FrameStore | None = None,
    **options: Unpack[BatchOptions],
) -> BatchPlan:
    """The plan over the shards of a store; `unit` is what texts call a position. Gives the plan's warnings.

    Weights are for the videos of `weighted`, see `video_weights`. An append may bring few frames, and so short shards.

    Raises:
        SamplingError: see `make_plan`.
    """
    may_be_short = isinstance(store, View) or has_grown(store)
    plan = make_plan(
        store.shard_sizes,
        unit=unit,
        short_shards="replace" if may_be_short else "refuse",
        store=store,
        weighted=weighted,
        **options,
    )
    for warning in plan.warnings:
        warn_caller(warning)
    return plan


def plan_store(store: FrameStore, options: BatchOptions) -> BatchPlan:
    """`plan_batches` over all frames of a store."""
    return plan_batches(store, **options)
