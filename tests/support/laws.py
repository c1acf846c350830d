"""Laws by the options of a loader, and what its plans really draw."""

import numpy as np

from loader import SamplingSpec
from loader.batch_plan import BatchPlan
from loader.sampling_law import sampling_law

SPECS = {
    "permutation": {"sampling": "permutation"},
    "iid": {"sampling": "iid"},
    "sequential": {"sampling": "sequential"},
    "visits": {"sampling": "shards", "frames_per_visit": 2},
    "visits, naive": {"sampling": "shards", "frames_per_visit": 2, "shard_choice": "uniform"},
    "visits, again": {"sampling": "shards", "frames_per_visit": 2, "frames_with_replacement": True},
    "block": {"sampling": "block", "shards_per_block": 1},
}


def law_of(sizes, *, batch_size, world_size=1, remainder="uneven", video_sizes=None, **options):
    return sampling_law(
        sizes,
        SamplingSpec(**options),
        batch_size=batch_size,
        world_size=world_size,
        remainder=remainder,
        video_sizes=video_sizes,
    )


def measured_counts(sizes, *, batch_size, world_size, remainder, **options):
    counts = np.zeros(sum(sizes), np.int64)
    for rank in range(world_size):
        plan = BatchPlan(
            sizes, batch_size=batch_size, rank=rank, world_size=world_size, remainder=remainder, **options
        )
        for ids in plan.batches(0):
            np.add.at(counts, ids, 1)
    return counts
