"""Every batch that a sampler may give of a tiny population, by the name of the sampler in `laws`."""

import itertools

import numpy as np

from loader.sampling.orders.blocks import frames_per_block
from tests.support.statistics.enumeration import Outcomes, Population, shard_visits

TINY = Population([2, 3, 4], seed=1)


def every_iid_batch(num_frames, batch_size):
    batches = list(itertools.product(range(num_frames), repeat=batch_size))
    return Outcomes.of((1 / len(batches), batch) for batch in batches)


def every_permuted_batch(num_frames, batch_size):
    batches = list(itertools.permutations(range(num_frames), batch_size))
    return Outcomes.of((1 / len(batches), batch) for batch in batches)


def every_block_batch(population, batch_size):
    """Whole batches of the epochs of a rotated block shuffle; one shard of average size a block."""
    num_frames = population.num_frames
    block_frames = frames_per_block(population.sizes, shards_per_block=1)
    pairs = []
    for order in itertools.permutations(range(population.num_shards)):
        circle = [frame for shard in order for frame in population.ids_of(shard)]
        for cut in range(num_frames):
            stream = circle[cut:] + circle[:cut]
            blocks = [stream[start : start + block_frames] for start in range(0, num_frames, block_frames)]
            for shuffled in itertools.product(*map(itertools.permutations, blocks)):
                epoch = list(itertools.chain(*shuffled))
                pairs += [
                    epoch[batch * batch_size :][:batch_size] for batch in range(num_frames // batch_size)
                ]
    return Outcomes.of((1 / len(pairs), batch) for batch in pairs)


VISITED = {"num_visits": 2, "frames_per_visit": 2}
EVERY_OUTCOME = {
    "iid": lambda: every_iid_batch(9, 4),
    "permutation": lambda: every_permuted_batch(9, 4),
    "visits": lambda: shard_visits(TINY, TINY.share, **VISITED),
    "visits, again": lambda: shard_visits(TINY, TINY.share, frames_again=True, **VISITED),
    "visits, naive": lambda: shard_visits(TINY, np.full(3, 1 / 3), **VISITED),
    "block": lambda: every_block_batch(TINY, 4),
}
