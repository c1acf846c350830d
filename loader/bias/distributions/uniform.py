"""Samplings under which every position of an epoch is uniform: `iid`, `permutation`, `stratified` and `block`."""

from dataclasses import replace

from loader.bias.checks import Integers
from loader.bias.distributions.law import SamplingLaw
from loader.bias.nested import worst_nested_effect
from loader.bias.pairs import block_kappa, iid_kappa, permutation_kappa
from loader.sampling import SamplingSpec
from loader.sampling.orders import frames_per_block


def uniform_law(
    sizes: Integers,
    spec: SamplingSpec,
    batch_size: int,
    *,
    kappa: float,
    because: str,
    dropped: int = 0,
    doubled: int = 0,
    visit_kappa: float | None = None,
) -> SamplingLaw:
    """A distribution without bias over shards of `sizes` frames."""
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


def iid_law(sizes: Integers, spec: SamplingSpec, batch_size: int) -> SamplingLaw:
    """Independent draws."""
    kappa = iid_kappa(sizes) if batch_size > 1 else 0.0
    return uniform_law(sizes, spec, batch_size, kappa=kappa, because="every draw is uniform", visit_kappa=0.0)


def permutation_law(
    sizes: Integers, spec: SamplingSpec, batch_size: int, *, dropped: int, doubled: int
) -> SamplingLaw:
    """One order of all frames (S8)."""
    return uniform_law(
        sizes,
        spec,
        batch_size,
        kappa=permutation_kappa(sizes, num_slots=batch_size) if batch_size > 1 else 0.0,
        because="every position of an epoch is uniform over the seeds",
        visit_kappa=0.0,
        dropped=dropped,
        doubled=doubled,
    )


def stratified_law(
    sizes: Integers, spec: SamplingSpec, batch_size: int, *, dropped: int, doubled: int
) -> SamplingLaw:
    """One order of all frames that spreads every run of positions (S63)."""
    law = uniform_law(
        sizes,
        spec,
        batch_size,
        kappa=0.0,
        because="every position of an epoch is uniform over the seeds",
        visit_kappa=0.0,
        dropped=dropped,
        doubled=doubled,
    )
    worst = None
    if batch_size <= law.num_frames:
        num_batches = max(1, law.num_whole_steps)
        worst = worst_nested_effect(law.num_frames, batch_size=batch_size, num_batches=num_batches)
    # How often two slots share a shard depends on where the shards lie in the order of the strata.
    return replace(law, kappa={}, proven_worst_effect=float(batch_size) if worst is None else worst)


def block_law(
    sizes: Integers, spec: SamplingSpec, batch_size: int, *, dropped: int, doubled: int
) -> SamplingLaw:
    """The rotated block shuffle (S9)."""
    kappa = block_kappa(
        sizes,
        block_frames=frames_per_block(sizes, shards_per_block=spec.shards_per_block or 1),
        batch_size=batch_size,
        num_batches=(int(sizes.sum()) - dropped + doubled) // batch_size,
    )
    return uniform_law(
        sizes,
        spec,
        batch_size,
        kappa=kappa,
        because="the random rotation makes every position of an epoch uniform, for any shard sizes",
        dropped=dropped,
        doubled=doubled,
    )
