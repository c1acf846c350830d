"""Laws by the options of a loader, and what its plans really draw."""

import numpy as np

from loader import SamplingSpec
from loader.bias.distributions.every_sampling import sampling_law
from loader.sampling.plan import make_plan

SPECS = {
    "permutation": {"sampling": "permutation"},
    "iid": {"sampling": "iid"},
    "sequential": {"sampling": "sequential"},
    "visits": {"sampling": "shards", "frames_per_visit": 2},
    "visits, naive": {"sampling": "shards", "frames_per_visit": 2, "shard_choice": "uniform"},
    "visits, again": {"sampling": "shards", "frames_per_visit": 2, "frames_with_replacement": True},
    "block": {"sampling": "block", "shards_per_block": 1},
}


def law_of(sizes, *, batch_size, world_size=1, remainder=None, video_sizes=None, **options):
    return sampling_law(
        sizes,
        SamplingSpec(**options),
        batch_size=batch_size,
        world_size=world_size,
        remainder=remainder,
        video_sizes=video_sizes,
    )


def batches_of(sizes, *, batch_size, world_size=1, remainder=None, epoch=0, **options):
    """Frame ids of every batch of an epoch, of all ranks."""
    plans = [
        make_plan(
            sizes, batch_size=batch_size, rank=rank, world_size=world_size, remainder=remainder, **options
        )
        for rank in range(world_size)
    ]
    return [ids for plan in plans for ids in plan.batches(epoch)]


def measured_counts(sizes, **options):
    """How often the ranks together show each frame in an epoch."""
    return np.bincount(np.concatenate(batches_of(sizes, **options)).ravel(), minlength=sum(sizes))


def law_by_steps(batches, num_frames):
    """Each batch counts alike, and its frames share its weight."""
    laws = [np.bincount(np.ravel(ids), minlength=num_frames) / np.size(ids) for ids in batches]
    return np.mean(laws, axis=0)
