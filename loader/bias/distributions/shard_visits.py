"""Shard-by-shard sampling (`shards`): each visit draws a shard, then a few of its frames."""

from dataclasses import replace

import numpy as np

from frame_store.shared import chi2_of_uniform_shards
from loader.bias.checks import Integers
from loader.bias.design_effect import worst_visit_design_effect
from loader.bias.distributions.law import SamplingLaw
from loader.bias.distributions.uniform import uniform_law
from loader.bias.pairs import visit_kappa, visit_shard_kappa
from loader.sampling import SamplingSpec
from loader.sampling.orders import draws_again


def shard_visits_law(sizes: Integers, spec: SamplingSpec, batch_size: int) -> SamplingLaw:
    """Unbiased if shards are drawn in proportion to their frames (S5); biased if they are drawn uniformly (S3)."""
    frames_per_visit = spec.frames_per_visit or 1
    share = sizes / sizes.sum()
    held = sizes > 0
    is_uniform = spec.shard_choice == "uniform"
    probability = held / np.count_nonzero(held) if is_uniform else share
    law = uniform_law(
        sizes,
        spec,
        batch_size,
        kappa=visit_shard_kappa(
            probability,
            batch_size=batch_size,
            frames_per_visit=frames_per_visit,
            are_spread=spec.has_spread_visits,
        ),
        because="the shard of a uniformly drawn frame is visited (anchor-frame rule)",
        visit_kappa=visit_kappa(batch_size=batch_size, frames_per_visit=frames_per_visit),
    )
    law = replace(
        law,
        proven_worst_effect=worst_visit_design_effect(
            sizes,
            probability,
            frames_per_visit=frames_per_visit,
            with_replacement=draws_again(sizes, spec),
        ),
    )
    if not spec.frames_with_replacement:
        law = replace(law, num_short_shards=int(draws_again(sizes[held], spec).sum()))
    chi2 = chi2_of_uniform_shards(sizes) if is_uniform else 0.0
    if chi2 == 0:
        return law
    return replace(
        law,
        shard_probability=probability,
        chi2=chi2,
        chi2_at_start=chi2,
        chi2_at_middle=chi2,
        chi2_at_end=chi2,
        total_variation=float(np.abs(probability - share).sum() / 2),
        max_over_representation=float(probability[held].max() / share[held].min()),
        because="shards of unequal size are drawn equally often, so frames of small shards are shown too often: "
        "A(n)/H(n) - 1",
    )
