"""How often a sampler draws each frame, exact and before training: from shard sizes and settings, without pixels."""

from dataclasses import replace

import numpy.typing as npt

from loader.bias.checks import Integers
from loader.bias.distributions.last_batch import epoch_variance, with_short_batch
from loader.bias.distributions.law import SamplingLaw
from loader.bias.distributions.sequential import sequential_law
from loader.bias.distributions.shard_visits import shard_visits_law
from loader.bias.distributions.uniform import block_law, iid_law, permutation_law, stratified_law
from loader.bias.distributions.weighted import weighted_law
from loader.bias.distributions.window_frames import WindowsOfVideos
from loader.bias.distributions.windows import WindowCoverage, window_law
from loader.bias.pairs import pair_chi2
from loader.errors import SamplingError
from loader.sampling import BatchPlan, Remainder, SamplingSpec
from loader.sampling.orders import ShortShards, WeightedFrames, check_shard_sizes


def sampling_law(
    shard_sizes: npt.ArrayLike,
    spec: SamplingSpec,
    *,
    batch_size: int,
    world_size: int = 1,
    remainder: Remainder | None = None,
    windows: WindowsOfVideos | None = None,
    short_shards: ShortShards = "refuse",
    frames: WeightedFrames | None = None,
) -> SamplingLaw:
    """The distribution of `spec` over shards of `shard_sizes` frames, shape (S,), or of the windows around its frames.

    With several ranks the batch is the global one, because their gradients are averaged. It consists of `world_size`
    times `batch_size` neighbouring positions of one order, so it is a batch of that size (S48). `chi2_of_pairs`
    describes one rank's batch. `remainder` None selects the default of the sampling. `short_shards` is "replace" for
    views, as in the loader. `frames` are those under weights, where `spec` names weights; the law is then counted
    against the target that the weights state.

    Raises:
        SamplingError: the loader would refuse these options, or there is no formula for the windows.
    """
    sizes = check_shard_sizes(shard_sizes)
    coverage = None
    if windows is not None:
        coverage = WindowCoverage.of(windows.video_sizes, windows.spec)
        sizes = windows.anchor_shard_sizes(sizes)
        if windows.spec.edges == "whole":
            short_shards = "replace"  # the anchors are a view
    # The loader's own plan refuses the same options, and knows the length of an epoch.
    plan = BatchPlan(
        sizes,
        spec,
        batch_size=batch_size,
        seed=0,
        remainder=remainder,
        rank=0,
        world_size=world_size,
        unit="frame" if windows is None else "window",
        short_shards=short_shards,
        frames=frames,
    )
    dropped = 0 if spec.with_replacement else plan.num_positions_dropped
    doubled = plan.num_positions_doubled
    rank_batch = plan.batch_size if doubled else min(plan.batch_size, plan.num_positions)
    global_batch = plan.batch_size * world_size
    if not doubled:
        global_batch = min(global_batch, plan.num_positions)
    if frames is not None:
        if windows is not None:
            raise SamplingError(
                f"{spec}: there is no formula for the frames that windows show where anchors are drawn by weights"
            )
        of_frames = weighted_law(sizes, spec, global_batch, frames)
    else:
        of_frames = _law_of_frames(sizes, spec, global_batch, dropped=dropped, doubled=doubled)
    of_pairs = pair_chi2(plan, sizes, of_frames.shard_probability)
    law = with_short_batch(of_frames, plan)
    if windows is not None and coverage is not None:
        law = window_law(law, spec, coverage, windows.spec)
    return replace(
        law,
        rank_batch=rank_batch,
        chi2_of_pairs=None if of_pairs is None else of_pairs[0],
        chi2_of_pairs_is_exact=of_pairs is None or of_pairs[1],
        chi2_of_pairs_is_bound=spec.sampling != "stratified",
        epoch_variance=epoch_variance(plan),
    )


def _law_of_frames(
    sizes: Integers, spec: SamplingSpec, batch_size: int, *, dropped: int, doubled: int
) -> SamplingLaw:
    if spec.sampling == "iid":
        return iid_law(sizes, spec, batch_size)
    if spec.sampling == "shards":
        return shard_visits_law(sizes, spec, batch_size)
    of_epoch = {
        "sequential": sequential_law,
        "permutation": permutation_law,
        "stratified": stratified_law,
        "block": block_law,
    }[spec.sampling]
    return of_epoch(sizes, spec, batch_size, dropped=dropped, doubled=doubled)
