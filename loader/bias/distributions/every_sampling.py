"""How often a sampler draws each frame, exact and before training: from shard sizes and settings, without pixels."""

from dataclasses import replace

import numpy.typing as npt

from loader.bias.checks import Integers
from loader.bias.distributions.clips import clip_law
from loader.bias.distributions.last_batch import epoch_variance, with_short_batch
from loader.bias.distributions.law import SamplingLaw
from loader.bias.distributions.sequential import sequential_law
from loader.bias.distributions.shard_visits import shard_visits_law
from loader.bias.distributions.uniform import block_law, iid_law, permutation_law
from loader.bias.pairs import pair_chi2
from loader.sampling import BatchPlan, Remainder, SamplingSpec
from loader.sampling.orders import check_shard_sizes


def sampling_law(
    shard_sizes: npt.ArrayLike,
    spec: SamplingSpec,
    *,
    batch_size: int,
    world_size: int = 1,
    remainder: Remainder | None = None,
    video_sizes: npt.ArrayLike | None = None,
) -> SamplingLaw:
    """The distribution of `spec` over shards of `shard_sizes` frames, shape (S,); for clips over `video_sizes`, (V,).

    With several ranks the batch is the global one, because their gradients are averaged. It consists of `world_size`
    times `batch_size` neighbouring positions of one order, so it is a batch of that size (S48). `chi2_of_pairs`
    describes one rank's batch. `remainder` None selects the default of the sampling.

    Raises:
        SamplingError: the loader would refuse these options.
    """
    sizes = check_shard_sizes(shard_sizes)
    # The loader's own plan refuses the same options, and knows the length of an epoch.
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
        assert video_sizes is not None  # BatchPlan refuses clips without them
        law = clip_law(check_shard_sizes(video_sizes), spec, global_batch, dropped=dropped, doubled=doubled)
    else:
        law = _law_of_frames(sizes, spec, global_batch, dropped=dropped, doubled=doubled)
    of_pairs = pair_chi2(plan, sizes, law.shard_probability)
    return replace(
        with_short_batch(law, plan),
        rank_batch=rank_batch,
        chi2_of_pairs=None if of_pairs is None else of_pairs[0],
        chi2_of_pairs_is_exact=of_pairs is None or of_pairs[1],
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
        "block": block_law,
    }[spec.sampling]
    return of_epoch(sizes, spec, batch_size, dropped=dropped, doubled=doubled)
