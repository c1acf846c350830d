"""Every outcome of nested orders and of spread visits, straight from their definition: all coins, all turns."""

import itertools
from functools import cache

import numpy as np

from tests.support.statistics.enumeration import shard_visits


@cache
def nested_orders(num_places):
    """Place of each position, for all coins of the tree: equally likely tuples, 2^(num_places - 1) of them."""
    if num_places < 2:
        return (tuple(range(num_places)),)
    orders = []
    half = (num_places + 1) // 2
    for first, second in itertools.product(nested_orders(half), nested_orders(num_places - half)):
        for is_left in (True, False):
            places = [0] * num_places
            places[0::2] = [place + (0 if is_left else num_places - half) for place in first]
            places[1::2] = [place + (half if is_left else 0) for place in second]
            orders.append(tuple(places))
    return tuple(orders)


def nested_blocks(streams, block_frames):
    """Every epoch of equally likely streams (S, N) in blocks whose order is nested: frame ids, shape (epochs, N)."""
    streams = np.asarray(streams)
    num_frames = streams.shape[1]
    blocks = []
    for start in range(0, num_frames, block_frames):
        orders = nested_orders(min(block_frames, num_frames - start))
        blocks.append([[start + place for place in order] for order in orders])
    places = np.array([list(itertools.chain(*chosen)) for chosen in itertools.product(*blocks)])
    return streams[:, places].reshape(-1, num_frames)


def spread_shards(shares, num_visits, *, first_visit=0):
    """Shards of neighbouring visits on a circle of arcs: a dict from a tuple of shards to its probability.

    Sums over all coins. In the mean over the turn u of the circle, each visit is uniform in its 2^-J-th of the circle.
    Its chance of a shard is linear in u between the turns at which ends meet, so a Gauss rule on each piece is exact.
    """
    ends = np.concatenate([[0.0], np.cumsum(shares)])
    num_parts = 1 << (first_visit + num_visits - 1).bit_length()
    width = 1 / num_parts
    turns = np.unique(np.round((ends[:, None] - np.arange(num_parts) * width) % 1, 14))
    turns = np.unique(np.concatenate([[0.0], turns, [1.0]]))
    nodes, weights = np.polynomial.legendre.leggauss(num_visits // 2 + 1)
    total = np.zeros((len(shares),) * num_visits)
    orders = nested_orders(num_parts)
    for low, high in itertools.pairwise(turns):
        for node, weight in zip(nodes, weights, strict=True):
            turn = (low + high) / 2 + (high - low) / 2 * node
            starts = (np.arange(num_parts) * width + turn) % 1
            chances = (
                sum(
                    np.clip(
                        np.minimum(starts[:, None] + width, ends[1:] + round_)
                        - np.maximum(starts[:, None], ends[:-1] + round_),
                        0,
                        None,
                    )
                    for round_ in (0, 1)
                )
                / width
            )
            for order in orders:
                joint = np.ones(())
                for visit in range(num_visits):
                    joint = np.multiply.outer(joint, chances[order[first_visit + visit]])
                total += joint * weight * (high - low) / 2 / len(orders)
    return {tuple(map(int, shards)): total[tuple(shards)] for shards in np.argwhere(total > 1e-15)}


def spread_visits(population, num_visits, frames_per_visit, *, frames_again=False):
    """Batches of visits by spread anchors, as `shard_visits` has those of independent ones."""
    drawn = spread_shards(population.share, num_visits)
    return shard_visits(
        population,
        None,
        num_visits=num_visits,
        frames_per_visit=frames_per_visit,
        frames_again=frames_again,
        drawn=[(probability, visited) for visited, probability in drawn.items()],
    )
