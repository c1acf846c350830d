"""Every batch that a sampler may give of a tiny population, by the name of the sampler in `laws`."""

import itertools

import numpy as np

from tests.support.statistics.design_effects import every_epoch
from tests.support.statistics.enumeration import Outcomes, Population, shard_visits, whole_batches
from tests.support.statistics.spread_orders import spread_visits

TINY = Population([2, 3, 4], seed=1)


def every_iid_batch(num_frames, batch_size):
    return Outcomes.equally_likely(list(itertools.product(range(num_frames), repeat=batch_size)))


def every_permuted_batch(num_frames, batch_size):
    return Outcomes.equally_likely(list(itertools.permutations(range(num_frames), batch_size)))


def every_block_batch(population, batch_size):
    """Whole batches of the epochs of `block`; one shard of average size a block."""
    return whole_batches(every_epoch(population, {"sampling": "block", "shards_per_block": 1}), batch_size)


VISITED = {"num_visits": 2, "frames_per_visit": 2}
EVERY_OUTCOME = {
    "iid": lambda: every_iid_batch(9, 4),
    "permutation": lambda: every_permuted_batch(9, 4),
    "visits": lambda: spread_visits(TINY, 2, 2),
    "visits, again": lambda: spread_visits(TINY, 2, 2, frames_again=True),
    "visits, naive": lambda: shard_visits(TINY, np.full(3, 1 / 3), **VISITED),
    "block": lambda: every_block_batch(TINY, 4),
}
