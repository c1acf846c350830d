"""What a sampler draws how often, and how often two frames of a batch come from one shard: exact, before training.

Needs shard sizes and settings alone, no pixel. Formulas are those of SAMPLING.md, by number.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from loader.bias import formulas as bias_formulas
from loader.bias import steps as step_law
from loader.bias.clips import ClipCoverage, clip_coincidences
from loader.bias.design_effect import worst_visit_design_effect
from loader.bias.pairs import (
    block_kappa,
    iid_kappa,
    pair_chi2,
    permutation_kappa,
    sequential_kappa,
    visit_shard_kappa,
)
from loader.bias.pairs import (
    visit_kappa as kappa_of_visits,
)
from loader.errors import SamplingError
from loader.sampling import BatchPlan, Remainder, SamplingSpec
from loader.sampling.orders import check_shard_sizes, frames_per_block

Reals = npt.NDArray[np.float64]

Target: TypeAlias = Literal["frames", "windows"]
"""What a sampler is to draw uniformly: all frames of all videos, or, for clips, all whole windows of all videos."""


@dataclass(frozen=True, kw_only=True)
class SamplingLaw:
    """The law of one sampler over one set of shards.

    By steps: each batch of an epoch, of whatever rank, counts alike, and its frames share its weight (S50).
    """

    name: str
    """The sampler in words, as its options are written."""
    num_frames: int
    """Frames of all shards, and for clips of all videos: what `chi2` counts against."""
    slots_per_batch: int
    """Frames in a global batch, all ranks' together: R B, or R B T for clips; no more than an epoch has."""
    slots_per_visit: int
    """Slots that are drawn together from one shard or video: m, T for clips, 1 where none are."""
    shard_probability: Reals | None
    """Share of shard s in a batch, shape (S,); None where the frames of a shard are not all alike."""
    chi2: float
    """N sum p^2 - 1 of the law p of an epoch's average batch against all frames alike, those never shown included."""
    chi2_over_windows: float | None
    """Clips: M sum P^2 - 1 of the epoch's average law P against all whole windows alike (S20). None without clips."""
    total_variation: float
    """Half the summed |p - 1/N|."""
    max_over_representation: float
    """Largest p over 1/N."""
    chi2_at_start: float
    """Chi^2 over frames of the law of an epoch's first position alone, over all seeds and epochs."""
    chi2_at_middle: float | None
    """The same for a position in the middle; None where it is not computed."""
    chi2_at_end: float
    """The same for the last position."""
    kappa: dict[str, float]
    """P[two distinct slots of a batch share ...]: `shard`; for clips `clip`, `video` and `frame`."""
    visit_kappa: float | None
    """P[two distinct slots belong to one visit], where visits are independent or as good as that; else None."""
    num_positions_dropped: int
    """Positions, of a frame or clip each, that no rank reads of an epoch that would show all. Draws with replacement
    have none."""
    num_positions_doubled: int
    """Reads of an epoch's positions beyond the first, to pad the last step."""
    because: str
    """Why the bias is what it is, in one line."""
    proven_worst_effect: float | None = None
    """The greatest design effect that any data can give, where it is known beyond 1 + (B - 1) kappa."""
    kappa_is_exact: bool = True
    """False where `kappa` is averaged over a few of the orders that unequal shards can have."""
    rank_batch: int | None = None
    """Frames or clips of a rank's whole batch: less than asked for where an epoch holds no whole step. None where no
    loader of ours makes them."""
    chi2_of_pairs: float | None = None
    """Chi^2 of the two frames in two slots of a batch against independent pairs (S52); for clips of the windows of two
    clips. None where a batch holds no two, or nobody computed it."""
    chi2_of_pairs_is_exact: bool = True
    """False where it is at least so much."""
    epoch_variance: float | None = None
    """Variance of the mean of one epoch's steps over sigma^2 (S51), for clips over that of the windows' means. None
    where it takes data, and for draws with replacement, whose batches are independent."""
    chi2_is_by_slots: bool = False
    """True where `chi2` counts slots because steps of short batches are beyond the formulas here."""
    num_windows: int | None = None
    """Clips: whole windows of all videos, M."""
    num_short_videos: int = 0
    """Clips: videos with frames, but too few for a whole window."""
    num_frames_in_short_videos: int = 0
    """Clips: the frames of those videos, never shown."""
    num_frames_never_shown: int = 0
    """Frames of probability 0: for clips those of short videos and those that no whole window holds."""

    @property
    def num_positions_read(self) -> int:
        """Positions, of a frame or clip each, that all ranks read in an epoch, those read twice twice."""
        of_epoch = self.num_frames if self.num_windows is None else self.num_windows
        return of_epoch - self.num_positions_dropped + self.num_positions_doubled

    @property
    def num_whole_steps(self) -> int:
        """Steps of an epoch in which every rank has a whole batch."""
        slots_per_position = 1 if self.num_windows is None else self.slots_per_visit
        return self.num_positions_read // (self.slots_per_batch // slots_per_position)

    @property
    def target(self) -> Target:
        """What the sampler is meant to draw uniformly: windows for clips, else frames."""
        return "frames" if self.chi2_over_windows is None else "windows"

    def chi2_over(self, target: Target) -> float:
        """Chi^2 against `target`.

        Raises:
            SamplingError: windows, and no clips are drawn.
        """
        if target == "frames":
            return self.chi2
        if self.chi2_over_windows is None:
            raise SamplingError(f"{self.name}: draws single frames, and only clips have a law over windows")
        return self.chi2_over_windows

    def is_uniform_over(self, target: Target) -> bool:
        """Whether every position of an epoch, not only its average, is uniform over `target`."""
        return self.chi2_over(target) == 0 and (target == "windows" or self.chi2_at_start == 0)

    @property
    def worst_kappa(self) -> float:
        """The coincidence that the worst design effect, 1 + (B - 1) kappa, stands on."""
        return self.visit_kappa if self.visit_kappa is not None else max(self.kappa.values())

    @property
    def worst_design_effect(self) -> float:
        """The greatest variance of a batch's mean over that of independent frames; see `floor_is_proven`.

        That of (S47) for visits; elsewhere 1 + (B - 1) kappa, as if all frames of a shard were one picture.
        """
        if self.proven_worst_effect is not None:
            return self.proven_worst_effect
        return 1 + (self.slots_per_batch - 1) * self.worst_kappa

    @property
    def effective_batch_floor(self) -> float:
        """Independent frames that a batch is worth at least, whatever the data; see `floor_is_proven`.

        Infinite where every batch has the same mean, as a visit to the whole of the only shard.
        """
        worst = self.worst_design_effect
        return self.slots_per_batch / worst if worst > 0 else float("inf")

    @property
    def floor_is_proven(self) -> bool:
        """False for shards of unequal size in a stream: small ones that follow each other may be alike (S25)."""
        if self.visit_kappa is not None or self.proven_worst_effect is not None:
            return True
        if self.shard_probability is None:
            return False
        held = self.shard_probability[self.shard_probability > 0]
        return bool(held.max() == held.min())


def sampling_law(
    shard_sizes: npt.ArrayLike,
    spec: SamplingSpec,
    *,
    batch_size: int,
    world_size: int = 1,
    remainder: Remainder | None = None,
    video_sizes: npt.ArrayLike | None = None,
) -> SamplingLaw:
    """The law of `spec` over shards of `shard_sizes` frames, shape (S,); for clips over `video_sizes`, shape (V,).

    With several ranks the batch is the global one: `batch_size` positions of each, whose gradients are averaged. They
    are `world_size` times `batch_size` neighbouring positions of the one order, so it is a batch of that size (S48).
    `chi2_of_pairs` is of a rank's own batch. `remainder` None is the sampling's own.

    Raises:
        SamplingError: what the loader itself would refuse.
    """
    sizes = check_shard_sizes(shard_sizes)
    # The loader's own plan refuses what the loader would, and tells how long an epoch is.
    plan = BatchPlan(
        sizes,
        spec,
        batch_size=batch_size,
        seed=0,
        remainder=remainder,
        rank=0,
        world_size=world_size,
        video_sizes=video_sizes,
    )
    dropped = 0 if spec.with_replacement else plan.num_positions_dropped
    doubled = plan.num_positions_doubled
    rank_batch = plan.batch_size if doubled else min(plan.batch_size, plan.num_positions)
    global_batch = plan.batch_size * world_size
    if not doubled:
        global_batch = min(global_batch, plan.num_positions)
    if spec.clip_frames is not None:
        assert video_sizes is not None  # else BatchPlan would have refused
        law = _law_of_clips(check_shard_sizes(video_sizes), spec, global_batch, dropped, doubled)
    else:
        law = _law_of_frames(sizes, spec, global_batch, dropped, doubled)
    of_pairs = pair_chi2(plan, sizes, law.shard_probability)
    return replace(
        law,
        **step_law.short_batch_law(plan),
        rank_batch=rank_batch,
        chi2_of_pairs=None if of_pairs is None else of_pairs[0],
        chi2_of_pairs_is_exact=of_pairs is None or of_pairs[1],
        epoch_variance=step_law.epoch_variance(plan),
    )


def _law_of_frames(
    sizes: npt.NDArray[np.int64], spec: SamplingSpec, batch_size: int, dropped: int, doubled: int
) -> SamplingLaw:
    if spec.sampling == "iid":
        kappa = iid_kappa(sizes) if batch_size > 1 else 0.0
        because = "every draw is uniform"
        return _uniform(sizes, spec, batch_size, kappa=kappa, because=because, visit_kappa=0.0)
    if spec.sampling == "shards":
        return _law_of_visits(sizes, spec, batch_size)
    if spec.sampling == "sequential":
        return _law_of_sequential(sizes, batch_size, dropped, doubled)
    if spec.sampling == "permutation":
        kappa = permutation_kappa(sizes, num_slots=batch_size) if batch_size > 1 else 0.0
        visit_kappa = 0.0
        because = "every position of an epoch is uniform over the seeds"
    else:
        block_frames = frames_per_block(sizes, shards_per_block=spec.shards_per_block or 1)
        kappa = block_kappa(
            sizes,
            block_frames=block_frames,
            batch_size=batch_size,
            num_batches=(int(sizes.sum()) - dropped + doubled) // batch_size,
        )
        visit_kappa = None
        because = "the random rotation makes every position of an epoch uniform, whatever the shard sizes"
    return _uniform(
        sizes,
        spec,
        batch_size,
        kappa=kappa,
        because=because,
        visit_kappa=visit_kappa,
        dropped=dropped,
        doubled=doubled,
    )


def _uniform(
    sizes: npt.NDArray[np.int64],
    spec: SamplingSpec,
    batch_size: int,
    *,
    kappa: float,
    because: str,
    dropped: int = 0,
    doubled: int = 0,
    visit_kappa: float | None = None,
) -> SamplingLaw:
    return SamplingLaw(
        name=str(spec),
        num_frames=int(sizes.sum()),
        slots_per_batch=batch_size,
        slots_per_visit=spec.frames_per_visit or 1,
        shard_probability=sizes / sizes.sum(),
        chi2=0.0,
        chi2_over_windows=None,
        total_variation=0.0,
        max_over_representation=1.0,
        chi2_at_start=0.0,
        chi2_at_middle=0.0,
        chi2_at_end=0.0,
        kappa={"shard": kappa},
        visit_kappa=visit_kappa,
        num_positions_dropped=dropped,
        num_positions_doubled=doubled,
        because=because,
    )


def _law_of_visits(sizes: npt.NDArray[np.int64], spec: SamplingSpec, batch_size: int) -> SamplingLaw:
    frames_per_visit = spec.frames_per_visit or 1
    visit_kappa = kappa_of_visits(batch_size=batch_size, frames_per_visit=frames_per_visit)
    if spec.shard_choice == "uniform":
        held = sizes > 0
        probability = held / np.count_nonzero(held)
    else:
        probability = sizes / sizes.sum()
    kappa = visit_shard_kappa(probability, batch_size=batch_size, frames_per_visit=frames_per_visit)
    law = _uniform(
        sizes,
        spec,
        batch_size,
        kappa=kappa,
        because="the shard of a uniformly drawn frame is visited (anchor-frame rule)",
        visit_kappa=visit_kappa,
    )
    law = replace(
        law,
        proven_worst_effect=worst_visit_design_effect(
            sizes,
            probability,
            frames_per_visit=frames_per_visit,
            with_replacement=spec.frames_with_replacement,
        ),
    )
    chi2 = bias_formulas.chi2_of_uniform_shards(sizes) if spec.shard_choice == "uniform" else 0.0
    if chi2 == 0:
        return law
    share = sizes / sizes.sum()
    return replace(
        law,
        shard_probability=probability,
        chi2=chi2,
        chi2_at_start=chi2,
        chi2_at_middle=chi2,
        chi2_at_end=chi2,
        total_variation=float(np.abs(probability - share).sum() / 2),
        max_over_representation=float(probability[held].max() / share[held].min()),
        because="shards of unequal size are drawn alike, so frames of small ones too often: A(n)/H(n) - 1",
    )


def _law_of_sequential(
    sizes: npt.NDArray[np.int64], batch_size: int, dropped: int, doubled: int
) -> SamplingLaw:
    num_frames = int(sizes.sum())
    # All ranks' batches together are the order on disk, cut every batch_size positions; a short one does not count.
    num_batches = (num_frames - dropped + doubled) // batch_size
    law = _uniform(
        sizes,
        SamplingSpec(sampling="sequential"),
        batch_size,
        kappa=sequential_kappa(sizes, batch_size, num_batches),
        because="every epoch shows every frame once, always at the same position and in the same batch",
        dropped=dropped,
        doubled=doubled,
    )
    certain = float(num_frames - 1)  # one frame has all the probability
    return replace(
        law,
        **step_law.fixed_order_law(num_frames, dropped=dropped, doubled=doubled),
        chi2_at_start=certain,
        chi2_at_middle=certain,
        chi2_at_end=certain,
        # The order is what it is: a batch may be one picture, and frames that no whole batch shows may be the mean.
        proven_worst_effect=num_frames * -(-num_batches * batch_size // num_frames) / max(1, num_batches),
    )


def _law_of_clips(
    video_sizes: npt.NDArray[np.int64], spec: SamplingSpec, batch_size: int, dropped: int, doubled: int
) -> SamplingLaw:
    clip_frames = spec.clip_frames or 1
    coverage = ClipCoverage.of(video_sizes, clip_frames=clip_frames, stride=spec.clip_stride)
    kappa = clip_coincidences(
        video_sizes,
        clip_frames=clip_frames,
        stride=spec.clip_stride,
        batch_size=batch_size,
        with_replacement=spec.with_replacement,
    )
    chi2 = coverage.chi2_over_frames
    because = "every whole window is equally likely at every position, so nothing is off over windows"
    if chi2:
        because += (
            "; frames near a video's ends lie in fewer windows than those inside, hence chi2 over frames"
        )
    return SamplingLaw(
        name=str(spec),
        num_frames=coverage.num_frames,
        slots_per_batch=batch_size * clip_frames,
        slots_per_visit=clip_frames,
        shard_probability=None,
        chi2=chi2,
        chi2_over_windows=0.0,
        total_variation=coverage.total_variation,
        max_over_representation=coverage.max_over_representation,
        chi2_at_start=chi2,
        chi2_at_middle=chi2,
        chi2_at_end=chi2,
        kappa=kappa,
        visit_kappa=kappa["clip"],
        num_positions_dropped=dropped,
        num_positions_doubled=doubled,
        because=because,
        num_windows=coverage.num_windows,
        num_short_videos=coverage.num_short_videos,
        num_frames_in_short_videos=coverage.num_frames_in_short_videos,
        num_frames_never_shown=coverage.num_frames_never_shown,
    )
