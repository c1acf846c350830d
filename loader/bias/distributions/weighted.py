"""Draws by weights, of `iid`, `shards` and `stratified`: without bias against the target that the weights state."""

from dataclasses import replace

import numpy as np

from loader.bias.checks import Integers
from loader.bias.design_effect import importance_design_effect
from loader.bias.distributions.law import SamplingLaw
from loader.bias.distributions.uniform import uniform_law
from loader.bias.pairs import visit_kappa, visit_shard_kappa
from loader.sampling import SamplingSpec
from loader.sampling.orders import WeightedFrames


def weighted_law(sizes: Integers, spec: SamplingSpec, batch_size: int, frames: WeightedFrames) -> SamplingLaw:
    """Every slot draws a video by its weight, and then each of its frames alike (S57)."""
    weights = frames.weights
    frames_per_visit = spec.frames_per_visit or 1
    of_shard = frames.shard_shares
    if spec.sampling == "stratified":
        kappa = 0.0  # it depends on where the shards lie in the order of the strata
    else:
        kappa = visit_shard_kappa(of_shard, batch_size=batch_size, frames_per_visit=frames_per_visit)
    law = uniform_law(
        sizes,
        spec,
        batch_size,
        kappa=kappa,
        because="every slot draws a video by its weight, and then each of its frames alike",
        visit_kappa=visit_kappa(batch_size=batch_size, frames_per_visit=frames_per_visit),
    )
    return replace(
        law,
        kappa={} if spec.sampling == "stratified" else law.kappa,
        shard_probability=None,  # the frames of a shard are not equally likely
        proven_worst_effect=float(frames_per_visit) if np.count_nonzero(of_shard) > 1 else 1.0,
        num_frames_never_shown=int(weights.video_sizes[weights.parts == 0].sum()),
        weights=weights.name,
        chi2_of_target=weights.chi2_over_frames,
        importance_effect=importance_design_effect(weights.shares, weights.video_sizes),
    )
