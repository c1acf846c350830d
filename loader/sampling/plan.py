"""Every batch of every epoch for one rank, as frame ids: what `FrameLoader` and `FrameBatchSampler` share."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameStore
from frame_store.shared import chi2_of_uniform_shards, counted, counted_in_groups, whole_number
from loader.errors import SamplingError
from loader.sampling.caller_warning import warn_caller
from loader.sampling.orders import (
    EpochOrder,
    FrameIds,
    check_shard_sizes,
    contiguous_video_sizes,
    epoch_order,
    short_videos_text,
)
from loader.sampling.rank_slice import RankSlice, Remainder, check_remainder
from loader.sampling.spec import Sampling, SamplingSpec, ShardChoice

MAX_FRAMES_PER_BLOCK = 8192
"""Ids computed by one call, of a batch or more: 64 KiB, and the cost of a NumPy call spread over many batches."""


class BatchOptions(TypedDict, total=False):
    """Which frames come together when. Shared by all that make batches; see `BatchPlan` for what each means."""

    batch_size: int
    sampling: Sampling
    seed: int
    remainder: Remainder | None
    shards_per_batch: int | None
    frames_per_visit: int | None
    shard_choice: ShardChoice
    frames_with_replacement: bool
    shards_per_block: int | None
    clip_frames: int | None
    clip_stride: int
    rank: int | None
    world_size: int | None


class BatchPlan:
    """Frame ids of the batches of one rank: a pure function of the arguments, the epoch and the position in it."""

    def __init__(
        self,
        shard_sizes: npt.ArrayLike,
        *,
        video_sizes: npt.ArrayLike | None = None,
        batch_size: int = 128,
        sampling: Sampling = "permutation",
        seed: int = 0,
        remainder: Remainder | None = None,
        shards_per_batch: int | None = None,
        frames_per_visit: int | None = None,
        shard_choice: ShardChoice = "proportional",
        frames_with_replacement: bool = False,
        shards_per_block: int | None = None,
        clip_frames: int | None = None,
        clip_stride: int = 1,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        """Check the arguments against the shards.

        Args:
            shard_sizes: frames per shard, shape (S,).
            video_sizes: for clips: frames per video, shape (V,), in the order of frame ids.
            batch_size: frames (or clips) per batch and rank.
            sampling: `permutation`, `iid`, `sequential`, `shards` or `block`; see `loader.sampling.spec.Sampling`.
                `iid` and `shards` draw with replacement and end after the whole batches, whatever `remainder` says.
            seed: in [0, 2**32); with the epoch it determines the order.
            remainder: what becomes of a last step that is not whole; see `Remainder`. None for
                `uneven` where the order is always the same (`sequential`), so that no frame is left out for good, and
                `drop` elsewhere. An epoch that holds no whole step is then one smaller batch on each rank, with a
                warning; "drop" refuses it.
            shards_per_batch: for `shards`: visits per batch, K. K * m is the batch size; one of them is enough.
            frames_per_visit: for `shards`: frames of one shard per visit, m.
            shard_choice: for `shards`: see `loader.sampling.spec.ShardChoice`.
            frames_with_replacement: for `shards`: whether a visit may draw a frame twice.
            shards_per_block: for `block`: frames of this many shards are shuffled together, k.
            clip_frames: sample clips of this many frames, T, of one video each: whole windows, drawn by
                `permutation` or `iid`. An epoch's order has one clip for each whole window of every video, so it
                holds most frames T times; videos shorter than a clip have no window and are left out.
            clip_stride: distance between the frames of a clip, q, in stored frames, the same in every clip.
            rank: this process among `world_size`; None for 0.
            world_size: processes that share an epoch: step t's batches of all ranks together are the order's own
                next world_size * batch_size positions. None for 1.

        Raises:
            SamplingError: the arguments contradict each other or the shards.
        """
        batch_size, seed, rank, world_size = (
            whole_number(name, value, error=SamplingError)
            for name, value in (
                ("batch_size", batch_size),
                ("seed", seed),
                ("rank", 0 if rank is None else rank),
                ("world_size", 1 if world_size is None else world_size),
            )
        )
        self._shard_sizes = check_shard_sizes(shard_sizes)
        self._video_sizes = video_sizes
        self.seed = seed
        self.spec = SamplingSpec(
            sampling=sampling,
            frames_per_visit=frames_of_visit(
                batch_size=batch_size, shards_per_batch=shards_per_batch, frames_per_visit=frames_per_visit
            ),
            shard_choice=shard_choice,
            frames_with_replacement=frames_with_replacement,
            shards_per_block=shards_per_block,
            clip_frames=clip_frames,
            clip_stride=clip_stride,
        )
        if remainder is not None:
            check_remainder(remainder)
        if self.spec.with_replacement and remainder != "drop":
            # Draws with replacement miss frames anyway: a short batch behind whole ones would only cost.
            remainder = None
        self._whole = RankSlice(
            num_positions=len(self.order(0)),
            batch_size=batch_size,
            rank=rank,
            world_size=world_size,
            remainder=self.spec.default_remainder if remainder is None else remainder,
        )
        self._batch_size_asked_for = batch_size
        if remainder is None:
            self._shrink_to_fit()
        self._check_not_empty()

    def __len__(self) -> int:
        """Batches of this rank in an epoch, the same in every epoch."""
        return len(self._whole)

    @property
    def num_positions(self) -> int:
        """Positions in an epoch's order, all ranks together."""
        return self._whole.num_positions

    @property
    def batch_size(self) -> int:
        """Frames or clips of a whole batch, B: what was asked for, or less where an epoch holds no whole step."""
        return self._whole.batch_size

    @property
    def drops_last(self) -> bool:
        """Whether every batch has `batch_size` frames, because what is left of an epoch is dropped."""
        return self._whole.remainder == "drop"

    @property
    def num_positions_dropped(self) -> int:
        """Positions of an epoch's order that no rank reads."""
        whole = self._whole
        return whole.num_positions % whole.positions_per_step if whole.remainder == "drop" else 0

    @property
    def num_positions_doubled(self) -> int:
        """Reads of an epoch's positions beyond the first, to pad the last step."""
        whole = self._whole
        return -whole.num_positions % whole.positions_per_step if whole.remainder == "pad" else 0

    @property
    def warnings(self) -> list[str]:
        """What the caller should know of this plan, a sentence each: a bias, and batches smaller than asked for."""
        found = []
        if self.spec.shard_choice == "uniform" and (chi2 := chi2_of_uniform_shards(self._shard_sizes)):
            found.append(
                f"shard_choice='uniform' is biased on shards of unequal size: frames of small shards are drawn too "
                f"often, chi^2 = {chi2:.4g} against uniform frames; shard_choice='proportional' has no bias"
            )
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
    def _unit(self) -> str:
        return "frame" if self.spec.clip_frames is None else "clip"

    @property
    def frames_per_batch(self) -> int:
        """Frames in a batch at most: batch_size, or batch_size T for clips; no more than an epoch has."""
        return min(self._whole.batch_size, self.num_positions) * (self.spec.clip_frames or 1)

    def __str__(self) -> str:
        """How frames are drawn and how long an epoch is, for the `repr` of a loader."""
        whole, spec = self._whole, self.spec
        parts = [
            f"{spec} seed={self.seed}",
            f"an epoch is {counted_in_groups(whole.num_positions, self._unit)}",
        ]
        if spec.clip_frames is not None:
            assert self._video_sizes is not None  # else there would be no order
            among = "one for each whole window"
            if spec.with_replacement:
                among = "drawn among as many whole windows"
            parts[-1] += f", {among}"
            hidden = short_videos_text(
                self._video_sizes, clip_frames=spec.clip_frames, stride=spec.clip_stride
            )
            if hidden is not None:
                parts.append(hidden)
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
            parts.append(f"{counted_in_groups(self.num_positions_doubled, is_of, are_of)} read again")
        return "; ".join(parts)

    def order(self, epoch: int) -> EpochOrder:
        """The whole order of `epoch`, all ranks together.

        Raises:
            SamplingError: epoch outside [0, 2**32).
        """
        return epoch_order(
            self._shard_sizes, self.spec, seed=self.seed, epoch=epoch, video_sizes=self._video_sizes
        )

    def slice_from(self, position: int) -> RankSlice:
        """Share of this rank in what is left of an epoch from `position` on."""
        return replace(self._whole, first_position=position)

    def batches(self, epoch: int, *, first_position: int = 0) -> Iterator[FrameIds]:
        """Frame ids of each batch of `epoch` from `first_position` on: int64, shape (B,), or (B, T) for clips.

        The last batch may be shorter. Step t ends at position `slice_from(first_position).position_after(t)`.
        """
        order, share = self.order(epoch), self.slice_from(first_position)
        frames_per_step = share.batch_size * (self.spec.clip_frames or 1)
        steps_per_block = max(1, MAX_FRAMES_PER_BLOCK // frames_per_step)
        for first_step in range(0, len(share), steps_per_block):
            steps = range(first_step, min(first_step + steps_per_block, len(share)))
            positions = [share.positions(step) for step in steps]
            ids = order.ids_at(np.concatenate(positions))
            yield from np.split(ids, np.cumsum([len(part) for part in positions])[:-1])

    def _shrink_to_fit(self) -> None:
        """Where an epoch holds no whole step, share it out in one step: equal batches, of whole visits."""
        whole = self._whole
        if whole.remainder != "drop" or whole.num_positions >= whole.positions_per_step:
            return
        visit = self.spec.frames_per_visit or 1
        if fitting := whole.num_positions // whole.world_size // visit * visit:
            self._whole = replace(whole, batch_size=fitting)

    def _check_not_empty(self) -> None:
        """A training loop over no batches looks like success: refuse it where a rank would get none."""
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


def plan_batches(store: FrameStore, **options: Unpack[BatchOptions]) -> BatchPlan:
    """The plan over a store's shards, and over its videos where clips are asked for; warns of what it should.

    Raises:
        SamplingError: see `BatchPlan`; also clips of a store that does not hold its videos frame after frame.
    """
    wants_clips = options.get("clip_frames") is not None
    video_sizes = contiguous_video_sizes(store) if wants_clips else None
    plan = BatchPlan(store.shard_sizes, video_sizes=video_sizes, **options)
    for warning in plan.warnings:
        warn_caller(warning)
    return plan


def frames_of_visit(
    *, batch_size: int, shards_per_batch: int | None, frames_per_visit: int | None
) -> int | None:
    """Frames of one visit, from K = shards_per_batch, m = frames_per_visit or both; None where neither is given.

    Raises:
        SamplingError: K m is not the batch size, or one of them no whole number.
    """
    batch_size = whole_number("batch_size", batch_size, error=SamplingError)
    if shards_per_batch is not None:
        shards_per_batch = whole_number("shards_per_batch", shards_per_batch, error=SamplingError)
    if frames_per_visit is not None:
        frames_per_visit = whole_number("frames_per_visit", frames_per_visit, error=SamplingError)
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
