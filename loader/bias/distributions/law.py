"""`SamplingLaw`: how often one sampler draws each frame, and how often two frames of a batch share a shard."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from loader.bias.checks import Reals
from loader.errors import SamplingError

Target: TypeAlias = Literal["frames", "windows", "weights"]
"""What a sampler should draw: all frames of all videos uniformly, or, for windows, all windows of all videos uniformly,
or each video as often as its weight says."""


@dataclass(frozen=True, kw_only=True)
class SamplingLaw:
    """The distribution of one sampler over one set of shards.

    It counts by steps: every batch of an epoch, on every rank, has the same weight, and the frames of a batch share
    the weight of the batch (S50).
    """

    name: str
    """The sampler, written as its options."""
    num_frames: int
    """Frames of all shards, and for windows of all videos. `chi2` compares with these."""
    slots_per_batch: int
    """Frames in a global batch of all ranks: R B, or R B T for windows, and at most the number that an epoch has."""
    slots_per_visit: int
    """Slots that are drawn together from one shard or video: m, m T or T for windows, 1 for single frames."""
    shard_probability: Reals | None
    """Share of shard s in a batch, shape (S,). None if the frames of a shard are not equally likely."""
    chi2: float
    """N sum p^2 - 1. p is the distribution of an epoch's average batch over all frames, also those never shown."""
    chi2_over_windows: float | None
    """Windows: M sum P^2 - 1. P is the epoch's average distribution over all windows (S20). None without windows."""
    total_variation: float
    """Half the sum of |p - 1/N| over the frames."""
    max_over_representation: float
    """Largest p, times N."""
    chi2_at_start: float
    """Chi^2 over frames of an epoch's first position alone, over all seeds and epochs."""
    chi2_at_middle: float | None
    """The same for a position in the middle. None if it is not computed."""
    chi2_at_end: float
    """The same for the last position."""
    kappa: dict[str, float]
    """Probability that two distinct slots of a batch share a `shard`. For windows: one window (`clip`), and with
    `permutation` and `iid` a `video` and a `frame`."""
    visit_kappa: float | None
    """Probability that two distinct slots belong to one visit. None unless visits are independent, or nearly so."""
    num_positions_dropped: int
    """Positions, of a frame or window each, that no rank reads in an epoch. 0 for draws with replacement."""
    num_positions_doubled: int
    """Reads of a position beyond its first read, which fill the last step."""
    because: str
    """Why the bias has this value, in one line."""
    proven_worst_effect: float | None = None
    """The greatest design effect that any data can give. None if only 1 + (B - 1) kappa is known."""
    kappa_is_exact: bool = True
    """False if `kappa` is a mean over a few of the possible orders of unequal shards."""
    rank_batch: int | None = None
    """Frames or windows of a rank's whole batch. This is less than the batch size if an epoch holds no whole step. None
    if the batches come from another loader."""
    chi2_of_pairs: float | None = None
    """Chi^2 of the two frames in two slots of a batch against independent pairs (S52); for windows, of two
    windows. None if a batch holds no pair, or if no formula is known."""
    chi2_of_pairs_is_exact: bool = True
    """False if `chi2_of_pairs` is a lower bound, or an approximation."""
    chi2_of_pairs_is_bound: bool = True
    """False for `stratified`: where its `chi2_of_pairs` is not exact, it is an unbiased estimate from some batches of
    an epoch, or, with weights, the chi^2 of the points that draw frames, which is an upper bound (S67)."""
    epoch_variance: float | None = None
    """Variance of the mean of one epoch's steps over sigma^2 (S51); for windows, over that of their means. None
    if it depends on the data, and for draws with replacement, whose batches are independent."""
    chi2_is_by_slots: bool = False
    """True if `chi2` counts slots, because no formula counts the steps of short batches."""
    slots_per_window: int = 1
    """Frames of a window, T."""
    num_windows: int | None = None
    """Windows of all videos, M. None without windows."""
    num_short_videos: int = 0
    """Videos that have frames, but too few for a whole window."""
    num_frames_in_short_videos: int = 0
    """The frames of those videos. They are never shown."""
    weights: str | None = None
    """The weights that state the target. `chi2`, `total_variation`, `max_over_representation` and the chi2 of positions
    and of pairs then compare with that target, and design effects with independent draws of it. None without weights:
    the target is uniform."""
    chi2_of_target: float = 0.0
    """Chi^2 of the target against uniform frames; 0 without weights."""
    importance_effect: float = 1.0
    """With weights: by how much the variance grows if each frame is weighed back to uniform frames (S59)."""
    num_short_shards: int = 0
    """Shards of fewer frames than a visit draws: visits to them draw with replacement, those to others do not (S56)."""
    num_frames_never_shown: int = 0
    """Frames of probability 0. For windows these are the frames of short videos, and frames in no whole window."""

    @property
    def num_positions_read(self) -> int:
        """Positions, of a frame or window each, that all ranks read in an epoch. A position read twice counts twice."""
        of_epoch = self.num_frames if self.num_windows is None else self.num_windows
        return of_epoch - self.num_positions_dropped + self.num_positions_doubled

    @property
    def num_whole_steps(self) -> int:
        """Steps of an epoch in which every rank has a whole batch."""
        return self.num_positions_read // (self.slots_per_batch // self.slots_per_window)

    @property
    def target(self) -> Target:
        """What the sampler should draw: windows or frames uniformly, or by weights where these are given."""
        if self.weights is not None:
            return "weights"
        return "frames" if self.chi2_over_windows is None else "windows"

    def chi2_over(self, target: Target) -> float:
        """Chi^2 over `target`.

        Raises:
            SamplingError: the target is windows, and single frames are drawn, or weights, and there are none.
        """
        if target == "weights":
            if self.weights is None:
                raise SamplingError(f"{self.name}: draws without weights")
            return self.chi2
        if target == "frames":
            return self.chi2 if self.weights is None else self.chi2_of_target
        if self.chi2_over_windows is None:
            raise SamplingError(
                f"{self.name}: draws single frames, and only windows have a distribution over windows"
            )
        return self.chi2_over_windows

    def is_uniform_over(self, target: Target) -> bool:
        """Whether every position of an epoch, not only the average position, is uniform over `target`."""
        return self.chi2_over(target) == 0 and (target == "windows" or self.chi2_at_start == 0)

    @property
    def worst_kappa(self) -> float:
        """The kappa in the worst design effect, 1 + (B - 1) kappa."""
        return self.visit_kappa if self.visit_kappa is not None else max(self.kappa.values())

    @property
    def worst_design_effect(self) -> float:
        """The greatest variance of a batch's mean over that of independent frames; see `floor_is_proven`.

        For visits it is that of (S47). Else it is 1 + (B - 1) kappa, as if all frames of a shard were one picture.
        """
        if self.proven_worst_effect is not None:
            return self.proven_worst_effect
        return 1 + (self.slots_per_batch - 1) * self.worst_kappa

    @property
    def effective_batch_floor(self) -> float:
        """The least effective batch, in independent frames, that any data can give; see `floor_is_proven`.

        Infinite if every batch has the same mean, for example if a visit reads the whole of the only shard.
        """
        worst = self.worst_design_effect
        return self.slots_per_batch / worst if worst > 0 else float("inf")

    @property
    def floor_is_proven(self) -> bool:
        """False for unequal shards in a stream, because small neighbouring shards may be alike (S25)."""
        if self.visit_kappa is not None or self.proven_worst_effect is not None:
            return True
        if self.shard_probability is None:
            return False
        held = self.shard_probability[self.shard_probability > 0]
        return bool(held.max() == held.min())
